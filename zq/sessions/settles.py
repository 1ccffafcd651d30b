"""Gathers the completions and failures of pulled tasks into settles: as for submits, what comes while one is in
flight goes out together with the next.
"""

from collections import deque

from zq.sessions.outcomes import FOREVER, Reply
from zq.wire.limits import MESSAGE_BATCHES_MAX
from zq.wire.messages import Done, Failed, Settle, Span

PULLER_SETTLE_BYTES_MAX = 2 << 20
"""Where a settle is cut, unless one completion is larger: an eighth of a frame."""

ENTRY_OVERHEAD_BYTES = 64
"""What a completion counts for beside its result and what it forwards."""


class Settling:
    """The end of one pulled task on its way.

    Args:
        entry: how it ended.
        deadline: monotonic seconds.
        reply: resolves to None when it is on disk; rejects with StaleLeaseError when it was refused.
    """

    __slots__ = ("asked_at", "bytes", "deadline", "entry", "reply")

    def __init__(self, entry: Done | Failed, deadline: float, reply: Reply) -> None:
        self.entry = entry
        self.deadline = deadline
        self.reply: Reply | None = reply  # None: answered, or timed out
        self.asked_at = 0.0
        self.bytes = ENTRY_OVERHEAD_BYTES
        if isinstance(entry, Done):
            self.bytes += len(entry.blob) + sum(len(one.blob) + ENTRY_OVERHEAD_BYTES for one in entry.forwards)
        else:
            self.bytes += 4 * len(entry.error)

    def is_in(self, spans: tuple[Span, ...]) -> bool:
        entry = self.entry
        index = entry.lo if isinstance(entry, Done) else entry.index
        return any(span.token == entry.token and span.lo <= index < span.hi for span in spans)


class Settles:
    """What waits to be settled; one settle is in flight at a time."""

    def __init__(self) -> None:
        self.is_in_flight = False
        self._queue: deque[Settling] = deque()

    def add(self, settling: Settling) -> None:
        self._queue.append(settling)

    def take_load(self) -> list[Settling]:
        """Returns what the next settle should carry; nothing while another is in flight."""
        load: list[Settling] = []
        size = 0
        while self._queue and not self.is_in_flight and len(load) < MESSAGE_BATCHES_MAX:
            size += self._queue[0].bytes
            if load and size > PULLER_SETTLE_BYTES_MAX:
                break
            settling = self._queue.popleft()
            if settling.reply is not None:
                load.append(settling)
        self.is_in_flight = self.is_in_flight or bool(load)
        return load

    def take_expired(self, now: float) -> list[tuple[Reply, float]]:
        return take_expired(self._queue, now)

    def deadline(self) -> float:
        """Returns the first deadline of all that waits here."""
        return min((one.deadline for one in self._queue), default=FOREVER)

    def take_all(self) -> list[Reply]:
        """Empties the queue; returns who waited."""
        replies = [one.reply for one in self._queue if one.reply is not None]
        self._queue.clear()
        return replies


def settle_message(number: int, load: list[Settling]) -> Settle:
    """Makes the message of a load; a puller has no credit to report."""
    entries = [settling.entry for settling in load]
    done = tuple(entry for entry in entries if isinstance(entry, Done))
    return Settle(number, None, done, tuple(entry for entry in entries if isinstance(entry, Failed)))


def take_expired(settlings: "deque[Settling] | list[Settling]", now: float) -> list[tuple[Reply, float]]:
    """Returns, and forgets, who waited past a deadline, each with when it asked."""
    expired: list[tuple[Reply, float]] = []
    for settling in settlings:
        if settling.deadline <= now and settling.reply is not None:
            expired.append((settling.reply, settling.asked_at))
            settling.reply = None
            settling.deadline = FOREVER
    return expired
