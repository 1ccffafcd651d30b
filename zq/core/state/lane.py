"""Where waiting batches stand: in a lane, in the order of service, or set aside until something comes.

A lane, one for each priority of a queue, is a window on its part of the pending table: the batches that are next are in
memory, in a heap by task key; from `cursor` on the table has to be read. Memory therefore does not grow with the
backlog.

Invariant of a lane: every batch with waiting tasks is in the heap, or its key is at or behind the cursor.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import islice
from typing import Final, Protocol

from zq.wire.messages import Options

LANE_BATCHES_MAX = 4096
"""New batches that a lane keeps in memory beyond which they stay on disk until they are next: in batches of ten, four
times a worker's largest credit, and twice what one submit_many has under way. To read one again costs as much as to
store it.
"""


class Standing(Protocol):
    """What a lane has to know of a batch that stands in it."""

    key: bytes
    options: Options
    is_queued: bool


class Lane:
    """The tasks of one priority that wait; keys only, the batches are in the books."""

    __slots__ = ("cursor", "heap")

    def __init__(self, cursor: bytes | None = None) -> None:
        self.heap: list[bytes] = []
        self.cursor = cursor  # None: nothing waits that is not in the heap

    def put_back(self, key: bytes) -> None:
        """Puts a batch back that was set aside."""
        heappush(self.heap, key)

    def leave(self, key: bytes) -> None:
        """Leaves a stored batch to be read later."""
        if self.cursor is None or key < self.cursor:
            self.cursor = key

    def takes(self, key: bytes) -> bool:
        """Whether a new batch may be kept in memory."""
        if len(self.heap) >= LANE_BATCHES_MAX and key > self.heap[0]:
            return (
                False  # one that is next is taken all the same: left on disk, it would have its neighbours read again
            )
        return self.cursor is None or key < self.cursor

    def must_read(self) -> bool:
        """Whether the next batch in order may be one that is not in memory."""
        return self.cursor is not None and (not self.heap or self.cursor <= self.heap[0])


NO_HEAPS: Final[dict[str, list[tuple[bytes, bytes]]]] = {}
NOTHING_OPENED: Final[dict[str, None]] = {}


class SetAside:
    """Batches that are ready and wait outside of their lane for one thing, so that nobody waits behind them: for their
    key to have room (`Gate.held`), or for the worker of their key (`Queue.awaiting`).

    Memory has the place and the key of each, however many they are. When what they wait for has come, or is not worth
    waiting for any more, they stand in their place in the lane again (`zq.core.state.service_order.bring_back`). One
    that ended meanwhile, or was moved, is found out then.
    """

    __slots__ = ("_heaps", "_opened")

    def __init__(self) -> None:
        self._heaps = NO_HEAPS  # of (place, task key); invariant: none is empty
        self._opened = NOTHING_OPENED  # what may have come since it was last asked

    def __len__(self) -> int:
        """Returns for how many things anything waits."""
        return len(self._heaps)

    def __iter__(self) -> Iterator[str]:
        """Yields what is waited for; the batches may be taken meanwhile."""
        return iter(list(self._heaps))

    def __contains__(self, reason: str) -> bool:
        return reason in self._heaps

    def put(self, reason: str, place: bytes, key: bytes) -> None:
        """Adds a batch that was taken out of its lane."""
        if self._heaps is NO_HEAPS:  # most queues never set anything aside
            self._heaps, self._opened = {}, {}
        heappush(self._heaps.setdefault(reason, []), (place, key))

    def take(self, reason: str) -> tuple[bytes, bytes] | None:
        """Returns place and key of the first batch that waits for this, and has it no more."""
        waiting = self._heaps.get(reason)
        if waiting is None:
            return None
        first = heappop(waiting)
        if not waiting:
            del self._heaps[reason]
        return first

    def take_all(self) -> list[tuple[bytes, bytes]]:
        """Returns place and key of all batches, and has none any more."""
        waiting = [one for heap in self._heaps.values() for one in heap]
        self._heaps.clear()
        return waiting

    def count(self, reason: str) -> int:
        """Returns how many batches wait for this."""
        return len(self._heaps.get(reason, ()))

    def first_keys(self, most: int) -> list[bytes]:
        """Returns the keys of the batches that are first of what waits for one thing each, of so many things."""
        return [heap[0][1] for heap in islice(self._heaps.values(), most)]

    def reason_of(self, key: bytes) -> str | None:
        """Returns what the batch of a key waits for, or None if it is not here."""
        return next((reason for reason, heap in self._heaps.items() if any(one == key for _, one in heap)), None)

    # What has come.

    @property
    def has_opened(self) -> bool:
        """Whether `take_opened` may have something."""
        return bool(self._opened)

    def open(self, reason: str) -> bool:
        """Notes that this may have come; returns whether anything waits for it."""
        if reason not in self._heaps:
            return False
        self._opened[reason] = None
        return True

    def open_all(self) -> None:
        """Notes that all of it may have come."""
        self._opened.update(dict.fromkeys(self._heaps))

    def take_opened(self, most: int) -> list[str]:
        """Returns what may have come, and is waited for, at most so much; the rest is still to be asked for."""
        taken = list(islice(self._opened, most))
        for reason in taken:
            del self._opened[reason]
        return [reason for reason in taken if reason in self._heaps]
