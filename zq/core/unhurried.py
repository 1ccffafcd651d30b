"""Answers that nobody waits for, and that are said a little later than they could be: each would wake somebody up while
others work.

A worker has nothing to do when it hears that a plain report is settled, and mostly gets its next tasks in the next
turn; so it hears of it then. Who waits for the end of a task has nothing to do when it hears that it has to wait, and
mostly hears of the end soon; so only those are told whose tasks take longer. And who waits for the end of a task in the
same breath as it was submitted has nothing to do with its receipt: it comes with the end, if that is soon. All of them
are there after LATER_SECONDS, and before the answer to a ping or heartbeat that was sent behind what they answer:
messages of one connection are answered in order (protocol 2), as far as that can be told. A receipt is there before
the answer to anything that comes behind it. It rests on a commit: whatever becomes of the machine, it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf

from zq.wire.messages import FromCoordinator, Outcome, Receipt, Settled

LATER_SECONDS = 0.01
"""Seconds after which they are said: a tenth of what a client waits before it says that it was not answered at all."""

UNHEARD_MAX = 1000
"""Waits that are to be answered later; others are answered at once, so that no turn has all of them to answer."""


class Unhurried:
    """What is to be said later.

    Args:
        remind: has `take_due` called at a time (monotonic seconds), or before.
    """

    __slots__ = ("_receipts", "_remind", "_settled", "_unheard")

    def __init__(self, remind: Callable[[float], None]) -> None:
        self._remind = remind
        self._settled: list[tuple[bytes, Settled]] = []  # of one turn
        self._unheard: dict[
            tuple[bytes, int], float
        ] = {}  # waits, and until when they may be unheard; the oldest first
        # Of submits by connection, and until when the first of them may be unsaid; the oldest first.
        self._receipts: dict[bytes, tuple[float, list[Receipt]]] = {}

    def add_settled(self, now: float, peer: bytes, told: Settled) -> None:
        """Has a worker told in the next turn that a report is settled."""
        self._settled.append((peer, told))
        self._remind(now + LATER_SECONDS)

    def add_wait(self, now: float, peer: bytes, request: int, receipt: Receipt | None = None) -> bool:
        """Has a wait answered later of which nothing has ended, with the receipt of what it is for; returns False when
        both are to be said now.
        """
        if len(self._unheard) >= UNHEARD_MAX:
            return False
        until = now + LATER_SECONDS
        self._unheard[peer, request] = until
        if receipt is not None:
            self._receipts.setdefault(peer, (until, []))[1].append(receipt)
        self._remind(until)
        return True

    def forget_wait(self, peer: bytes, request: int) -> None:
        """A wait is over, or about to be answered."""
        if self._unheard:
            self._unheard.pop((peer, request), None)

    @property
    def has_settled(self) -> bool:
        """Whether a worker has not heard yet that a report is settled."""
        return bool(self._settled)

    def take_settled(self) -> list[tuple[bytes, Settled]]:
        """Returns what the turn before has settled."""
        settled, self._settled = self._settled, []
        return settled

    @property
    def has_receipts(self) -> bool:
        """Whether somebody has not heard yet that what he submitted was accepted."""
        return bool(self._receipts)

    @property
    def receipts(self) -> list[tuple[bytes, Receipt]]:
        """All that were not said yet."""
        return [(peer, one) for peer, (_, receipts) in self._receipts.items() for one in receipts]

    def say_soon(self, now: float, receipts: Iterable[tuple[bytes, Receipt]]) -> None:
        """Has receipts said in the next turn."""
        for peer, one in receipts:
            self._receipts.setdefault(peer, (now, []))[1].append(one)
            self._remind(now)

    def forget_receipts(self, peer: bytes) -> None:
        """Forgets those of a connection that is gone, or somebody else's by now."""
        self._receipts.pop(peer, None)

    def take_receipts(self, peer: bytes) -> list[tuple[bytes, Receipt]]:
        """Returns those of a connection, which are to be said before anything else is."""
        _, receipts = self._receipts.pop(peer, (0.0, ()))
        return [(peer, one) for one in receipts]

    def receipts_before(self, told: list[tuple[bytes, FromCoordinator]]) -> list[tuple[bytes, FromCoordinator]]:
        """Returns what is to be said, with the receipts that it must not overtake."""
        if not self._receipts:
            return told
        said: list[tuple[bytes, FromCoordinator]] = []
        for one in told:
            said += self.take_receipts(one[0])
            said.append(one)
        return said

    def take_of(self, peer: bytes) -> list[tuple[bytes, FromCoordinator]]:
        """Returns what is to be said to a connection before anything else."""
        told: list[tuple[bytes, FromCoordinator]] = [one for one in self._settled if one[0] == peer]
        if told:
            self._settled = [one for one in self._settled if one[0] != peer]
        for request in [request for other, request in self._unheard if other == peer]:
            del self._unheard[peer, request]
            told.append((peer, Outcome(request, (), is_last=False)))
        return told

    def take_due(self, now: float) -> tuple[list[tuple[bytes, FromCoordinator]], float]:
        """Returns the receipts, and the answers to waits, that have been unheard for long enough, and when the next is
        due (monotonic), or infinity.
        """
        told: list[tuple[bytes, FromCoordinator]] = []
        next_at = inf
        while self._receipts:
            peer, (until, _) = next(iter(self._receipts.items()))
            if until > now:
                next_at = until
                break
            told += self.take_receipts(peer)
        while self._unheard:
            (peer, request), until = next(iter(self._unheard.items()))
            if until > now:
                return told, min(until, next_at)
            del self._unheard[peer, request]
            told += self.take_receipts(peer)
            told.append((peer, Outcome(request, (), is_last=False)))
        return told, next_at
