"""Answers that nobody waits for, and that are said a little later than they could be: each would wake somebody up while
others work.

A worker has nothing to do when it hears that a plain report is settled, and mostly gets its next tasks in the next
turn; so it hears of it then. Who waits for the end of a task has nothing to do when it hears that it has to wait, and
mostly hears of the end soon; so only those are told whose tasks take longer. Both are there after LATER_SECONDS, and
before the answer to a ping or heartbeat that was sent behind what they answer: messages of one connection are answered
in order (protocol 2), as far as that can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from zq.wire.messages import FromCoordinator, Outcome, Settled

LATER_SECONDS = 0.01
"""Seconds after which they are said: a tenth of what a client waits before it says that it was not answered at all."""

UNHEARD_MAX = 1000
"""Waits that are to be answered later; others are answered at once, so that no turn has all of them to answer."""


class Unhurried:
    """What is to be said later.

    Args:
        remind: has `take_due` called at a time (monotonic seconds), or before.
    """

    __slots__ = ("_remind", "_settled", "_unheard")

    def __init__(self, remind: Callable[[float], None]) -> None:
        self._remind = remind
        self._settled: list[tuple[bytes, Settled]] = []  # of one turn
        self._unheard: dict[
            tuple[bytes, int], float
        ] = {}  # waits, and until when they may be unheard; the oldest first

    def add_settled(self, now: float, peer: bytes, told: Settled) -> None:
        """Has a worker told in the next turn that a report is settled."""
        self._settled.append((peer, told))
        self._remind(now + LATER_SECONDS)

    def add_wait(self, now: float, peer: bytes, request: int) -> bool:
        """Has a wait answered later of which nothing has ended; returns False when it is to be answered now."""
        if len(self._unheard) >= UNHEARD_MAX:
            return False
        self._unheard[peer, request] = now + LATER_SECONDS
        self._remind(now + LATER_SECONDS)
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
        """Returns the answers to waits that have been unheard for long enough, and when the next is due (monotonic), or
        infinity.
        """
        told: list[tuple[bytes, FromCoordinator]] = []
        while self._unheard:
            (peer, request), until = next(iter(self._unheard.items()))
            if until > now:
                return told, until
            del self._unheard[peer, request]
            told.append((peer, Outcome(request, (), is_last=False)))
        return told, inf
