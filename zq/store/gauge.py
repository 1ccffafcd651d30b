"""How full a store on a disk is: by its map, or by what the disk gives, whichever is less."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from time import monotonic

from zq.core.storage import STORE_FULL, StoreInfo, marks_of
from zq.store.room import DiskRoom, reserve_of

LOOK_EVERY = 64
"""Transactions between two looks at the room left: a look costs as much as a small transaction, and 64 small ones fill
little of a reserve.
"""

LOOK_BYTES = 256 << 10
"""Bytes written after which the next transaction looks, however few they were: large payloads fill a reserve
quickly.
"""

LOOK_AGE_MAX = 0.5
"""After which the next transaction looks, however little was written: others fill and empty the disk, too."""

Measure = Callable[[], tuple[int, int]]


class Gauge:
    """What is in use, estimated between two looks by what was written, and the marks that it has passed.

    Attributes:
        written_bytes: what was written, in all; it only grows.
        capacity: bytes that can be in use, as far as is known.
        marks: where it is full, short and spent.
    """

    __slots__ = (
        "_clock", "_free_least", "_full_at", "_is_low", "_look_at", "_map_bytes", "_measure", "_most", "_room", "_since_look", "_used",
        "_written_at_end", "_written_before", "capacity", "marks", "written_bytes",
    )  # fmt: skip

    def __init__(
        self,
        room: DiskRoom,
        measure: Measure,
        map_bytes: int,
        free_least: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Looks for the first time.

        Args:
            room: what its file has of the disk.
            measure: returns the bytes of it that are in use, and those up to the last page that ever was committed.
            map_bytes: that it may have.
            free_least: free bytes of the disk below which nothing new is admitted.
            clock: returns monotonic seconds.
        """
        self.written_bytes = 0
        self._clock = clock
        self._room = room
        self._measure = measure
        self._map_bytes = map_bytes
        self._free_least = free_least
        self._most = min(map_bytes, room.limit)
        self._written_at_end = 0  # bytes, in all
        self.look()

    @property
    def in_use(self) -> int:
        """About how many bytes are in use, with what was written since the last look."""
        return self._used + self.written_bytes - self._written_before

    @property
    def is_full(self) -> bool:
        return self.written_bytes > self._full_at  # asked many times a turn

    @property
    def is_short(self) -> bool:
        return self.in_use > self.marks.short

    @property
    def is_spent(self) -> bool:
        return self.in_use > self.marks.spent

    @property
    def way_out_bytes(self) -> float:
        return self.capacity - self.marks.spent

    @property
    def room_bytes(self) -> float:
        return self.capacity - self.in_use

    @property
    def full_by(self) -> str:
        """What there is too little of while it is full."""
        if self._is_low:
            return self._room.lack or "disk"
        return "store" if self.capacity >= self._map_bytes else self._room.lack or "limit"

    @property
    def why_full(self) -> str:
        """The same in words."""
        by = self.full_by
        if by == "store":
            return STORE_FULL
        return self._room.text(by, self._free_least)

    def takes(self, count: float) -> bool:
        """Returns whether a commit finds so many bytes: in what is held, or on the disk as it is now."""
        used, end = self._measure()
        return max(self._room.held, end) - used + self._room.free_bytes() >= count

    def info(self) -> StoreInfo:
        """Looks, and tells what it saw."""
        self.look()
        by, why = (self.full_by, self.why_full) if self.is_full else ("", "")
        return StoreInfo(self._used, self._map_bytes, self._room.free_bytes(), self.is_full, by, why, self._room.held)

    def note_turn(self) -> None:
        """Looks if a look is due."""
        self._since_look += 1
        written = self.written_bytes - self._written_before
        if self._since_look >= LOOK_EVERY or written >= LOOK_BYTES or self.is_full or self._clock() >= self._look_at:
            self.look()

    def note_end(self) -> None:
        """Notes that nothing that was written waits for its commit."""
        self._written_at_end = self.written_bytes

    def look(self) -> None:
        """Looks at the room left, and takes more of the disk ahead of need."""
        now = self._clock()
        self._since_look, self._look_at = 0, now + LOOK_AGE_MAX
        self._written_before = self.written_bytes
        room, most = self._room, self._most
        self._used, end = self._measure()
        waiting = self.written_bytes - self._written_at_end
        room.hold(end, waiting, most, now)
        end += waiting
        reserve = None
        self.capacity = most
        if room.lack and room.held < most:
            self.capacity, reserve = max(room.held, self._used), reserve_of(end)
        self.marks = marks_of(self.capacity, reserve)
        self._is_low = self._runs_low(end)
        self._full_at = -inf if self._is_low else self.marks.full - self._used + self.written_bytes

    def _runs_low(self, end: int) -> bool:
        """Returns whether the disk runs low. The file never shrinks, so what is free inside of what it holds counts as
        room, too.

        Some of the disk has to be free all the same, since a large value may find no gap inside; the same holds for
        what is held behind the end, when there is no more.
        """
        room, least = self._room, self._free_least
        if room.lack and room.held - end < reserve_of(end) // 4:
            return True
        free = room.free_bytes()
        return free + max(0, max(room.held, end) - self._used) < least or free < least // 4
