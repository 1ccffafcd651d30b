"""A journal in memory, which knows what of it is flushed."""

from __future__ import annotations

from zq.errors import StoreError


class MemoryLog:
    """See `zq.store.seam.RedoLog`. What was appended and not flushed may be there after a crash, or a part of it.

    Attributes:
        data: all bytes that it has room for.
        flushed: bytes from the first place on that are flushed for sure.
        fails: whether the next flush does.
    """

    def __init__(self, capacity: int = 4096, most: int = 1 << 16) -> None:
        self.name = "the journal in memory"
        self.salt = b"salt of a journal"
        self.capacity = capacity
        self.used = 0
        self.most = most
        self.data = bytearray(capacity)
        self.flushed = 0
        self.flushes = 0
        self.fails = False
        self.is_removed = False

    def append(self, record: bytes) -> None:
        assert self.used + len(record) <= self.capacity
        self.data[self.used : self.used + len(record)] = record
        self.used += len(record)

    def flush(self) -> None:
        if self.fails:
            raise StoreError("cannot flush the journal in memory: it was asked to fail")
        self.flushed = self.used
        self.flushes += 1

    def check_place(self) -> None:
        """Does nothing: its place is this object."""

    def read(self) -> bytes:
        return bytes(self.data)

    def restart(self, *, grows: bool) -> None:
        self.used = self.flushed = 0
        if grows and self.capacity < self.most:
            self.data += bytes(self.capacity)
            self.capacity *= 2

    def remove(self) -> None:
        self.is_removed = True

    def close(self) -> None:
        """Does nothing: it is what is left of a process."""
