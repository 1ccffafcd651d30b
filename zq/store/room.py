"""The room that the data file has on its disk, held back: what is only free may be somebody else's a moment later.

Theory of operation. LMDB writes behind the end of its file whatever finds no place inside. So blocks of the disk are
taken for the file ahead of its end, which stays where it is: a *reserve* at least, in steps that grow with the file. As
long as that works, the room of the store is its map. When the disk has no more to give, the room of the store is what
it holds by then: nothing new is admitted into the last part of it, which is for what was accepted before.

Where a file system cannot do that (NFS, ZFS, macOS), what is free counts in the place of what is held: then a write may
find no room all the same, which undoes its turn.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

from zq.errors import StoreError

RESERVE_MIN, RESERVE_MAX, RESERVE_PART = 1 << 20, 64 << 20, 8
"""Bytes that are held behind the end of the file: one part in so many of it, within these. Completions, a checkpoint
and the next start take it; of a file that is still small no more than that, since many directories stay as they are.
"""

STEP = 64 << 10
"""Bytes: all that is held is a multiple of it."""

ROOM_RETRY_SECONDS = 0.25
"""Between two tries to get more of a disk that had none."""

LACKS = {errno.ENOSPC: "disk", errno.EDQUOT: "quota", errno.EFBIG: "limit"}
"""What is used up, by the error that says so."""

_KEEP_SIZE = 1
"""Of fallocate(2) of Linux: the file does not get longer, so that its length still says where LMDB has written to."""

Allocate = Callable[[int, int, int], None]


def reserve_of(end: int) -> int:
    """Returns the bytes that are to be held behind the end of a file."""
    return max(RESERVE_MIN, min(end // RESERVE_PART, RESERVE_MAX))


class DiskRoom:
    """The room of one file; belongs to the thread that has it open.

    Attributes:
        held: bytes of the file, from its beginning, that can be written without asking the disk for any.
        lack: why it cannot have more: `disk`, `quota`, or `limit` (of the size of a file); empty while it can.
        needed: bytes that it wanted then.
        path: the file's directory, as messages call it.
    """

    def __init__(self, number: int, path: Path) -> None:
        """Takes an open file; `hold` is to be called next.

        Args:
            number: its descriptor, by which it can be written; it is asked in the place of its name, which another
                file may get.
            path: of its directory, for messages.
        """
        self.held = 0
        self.lack = ""
        self.needed = RESERVE_MIN
        self.path = path.absolute()
        self.limit = _size_limit()
        self._number = number
        found = os.fstat(number)
        self._identity = found.st_dev, found.st_ino
        self._allocate: Allocate | None = _allocator()
        self._retry_at = -inf  # monotonic
        self._is_known = False  # whether `held` is, which an earlier life may have left

    def free_bytes(self) -> int:
        """Returns how much of the disk is free for this process; raises StoreError when nobody can tell."""
        try:
            disk, found = os.fstatvfs(self._number), os.fstat(self._number)
        except OSError as error:
            raise StoreError(f"cannot look at the data file of {self.path}: {error.strerror}") from error
        if (found.st_dev, found.st_ino) != self._identity:
            raise StoreError(f"the data file of {self.path} was closed by something else in this process")
        return disk.f_bavail * disk.f_frsize

    def hold(self, end: int, waiting: int, most: float, now: float) -> None:
        """Takes room behind the end of the file, if there is less than is to be.

        Args:
            end: bytes from its beginning that were written.
            waiting: bytes that will be, behind them perhaps.
            most: bytes that the file may ever have.
            now: monotonic time.
        """
        if self._is_known:
            self.held = max(self.held, end)  # more was written than was held
        end += waiting
        reserve = reserve_of(end)
        least = min(end + reserve, most)
        self.needed = int(max(least - max(self.held, end), STEP))
        if self._allocate is None:
            self._count_free(end, least)
        elif self.held >= least:
            self.lack = ""
        elif not self.lack or now >= self._retry_at:
            self._retry_at = now + ROOM_RETRY_SECONDS
            self._extend(end, least, min(least + reserve // 2, most))

    def is_out(self) -> bool:
        """Looks whether a write failed for want of room, and not otherwise: the disk has none now, and what was written
        could be flushed.
        """
        try:
            os.fsync(self._number)  # the system tells each descriptor for itself what it could not write
        except OSError:
            return False
        if self._allocate is None:
            self.lack = "disk" if self.free_bytes() < RESERVE_MIN else ""
        elif self._take(self.held, self.held + RESERVE_MIN):
            return False
        return bool(self.lack)

    def text(self, lack: str, least: int) -> str:
        """Returns what there is too little of, in words for whoever is refused.

        Args:
            lack: `disk`, `quota` or `limit`.
            least: bytes of the disk that are kept free.
        """
        free = _mib(self.free_bytes())
        if lack == "limit":
            text = f"the files of this process may not become larger (ulimit -f), as that in {self.path} would have to"
        elif self.lack:
            what = "the disk" if lack == "disk" else "the quota"
            text = f"{what} of {self.path} is full: {free} MiB of the disk are free, {_mib(self.needed)} MiB are needed"
        else:
            text = f"the disk of {self.path} is low: {free} MiB are free, {_mib(least)} MiB are to stay so (--disk-free-mib)"
        return f"{text}; what was accepted goes on, and more is accepted when there is room"

    def _extend(self, end: int, least: float, wanted: float) -> None:
        is_first, self._is_known = not self._is_known, True
        start = self._first_gap(end) if is_first else self.held // STEP * STEP
        if not is_first and self.free_bytes() < least - start:  # to try takes and gives back all that there is
            self.lack = self.lack or "disk"
            return
        for stop in (wanted, least):
            if self._take(start, _in_steps(stop)):
                return
        if is_first and self.lack:
            self._find_held(start, _in_steps(least))

    def _take(self, start: int, stop: int) -> bool:
        """Takes the blocks between two places; returns whether they are held now, or never will be."""
        assert self._allocate is not None
        try:
            self._allocate(self._number, start, stop - start)
        except OSError as error:
            self.lack = LACKS.get(error.errno or 0, "")
            if not self.lack:  # this file system cannot do it
                self._allocate = None
                self._count_free(start, stop)
            return not self.lack
        self.held, self.lack = stop, ""
        return True

    def _find_held(self, start: int, stop: int) -> None:
        """Finds out how much is held since an earlier life, on a disk that has nothing more."""
        lack = self.lack
        low, high = start, stop
        while high - low > STEP:
            middle = low + (high - low) // (2 * STEP) * STEP
            if self._take(start, middle):
                low = middle
            else:
                high = middle
        self.held, self.lack = low, lack

    def _first_gap(self, end: int) -> int:
        """Returns from where on there may be places without blocks: in a file that was copied, anywhere."""
        found = os.fstat(self._number)
        return 0 if found.st_blocks * 512 < found.st_size else end // STEP * STEP

    def _count_free(self, end: int, least: float) -> None:
        self.held = end + self.free_bytes()
        self.lack = "disk" if self.held < least else ""


def fill_gaps(path: Path, count: int) -> None:
    """Makes a file that has blocks for so many bytes at least, zeros where there was nothing.

    Raises:
        OSError: there is no room for it, or it cannot be written.
    """
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(number)
        if found.st_blocks * 512 < count or found.st_size < count:
            for place in range(0, count, 4096):
                os.pwrite(number, os.pread(number, 4096, place).ljust(4096, b"\0"), place)
    finally:
        os.close(number)


def _size_limit() -> float:
    """Returns the bytes that a file of this process may have (`ulimit -f`)."""
    import resource

    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return inf if most == resource.RLIM_INFINITY else most


def _in_steps(count: float) -> int:
    return int(-(-count // STEP)) * STEP


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f}".removesuffix(".0")


@cache
def _allocator() -> Allocate | None:
    """Returns a function that takes blocks for a file, by descriptor, place and count of bytes, and raises OSError;
    None where there is none. `os.posix_fallocate` is not it: where a file system has no such thing it writes into the
    file, and it makes it longer.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    system = ctypes.CDLL(None, use_errno=True)
    function: Any = getattr(system, "fallocate64", None) or getattr(system, "fallocate", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def allocate(number: int, start: int, count: int) -> None:
        while function(number, _KEEP_SIZE, start, count):
            fault = ctypes.get_errno()
            if fault != errno.EINTR:
                raise OSError(fault, os.strerror(fault))

    return allocate
