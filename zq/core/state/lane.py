"""A lane: the tasks of one priority of a queue that wait, in the order of service.

A lane is a window on its part of the pending table: the batches that are next are in memory, in a heap by task key;
from `cursor` on the table has to be read. Memory therefore does not grow with the backlog.

Invariant: every batch with waiting tasks is in the heap, or its key is at or behind the cursor.
"""

from __future__ import annotations

from heapq import heappush
from typing import Protocol

from zq.wire.messages import Options

LANE_BATCHES_MAX = 1024
"""New batches that a lane keeps in memory beyond which they stay on disk until they are next: a worker's largest credit
in batches of ten.
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
