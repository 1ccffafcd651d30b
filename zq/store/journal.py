"""The journal as a file: filled with zeros beforehand, so that a flush has nothing but the record to write.

A page at its beginning says what it is; the records follow. It is made beside its place and gets its name when it is
whole, so that what has the name is never half of one. Room is taken by writing, not by promise: what is only promised
costs a second flush, of the file system's own books, at each first write to it.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.processes.forks import drop_in_forks
from zq.store.hold import DATA_FILE, JOURNAL_FILE
from zq.store.place import FlushedFilePlace, OpenFolder
from zq.store.records import SALT_BYTES, Checkpoint, RedoRecord, records_beyond
from zq.store.room import LACKS

NEW_JOURNAL_FILE = "journal.new"
"""What the journal is called while it is made."""

KIND = b"zq journal 1\n"
"""How the file begins; behind it are its salt and a checksum over both."""

PAGE_BYTES = 4096

FIRST_PLACE = PAGE_BYTES
"""Bytes before the first record: a page of their own, which is never written again."""

ROOM_MIN, ROOM_MAX = 1 << 20, 8 << 20
"""Bytes for records: to begin with, and at most. With the last of it, a restart still takes less than a second."""

_HEAD_BYTES = len(KIND) + SALT_BYTES + 4


def _head(salt: bytes) -> bytes:
    text = KIND + salt
    return text + crc32(text).to_bytes(4, "big")


class JournalFile:
    """The file of a directory. See `zq.store.seam.RedoLog`; one thread uses it."""

    def __init__(self, folder: OpenFolder, number: int, salt: bytes) -> None:
        """Takes an open file; `open` and `make` are what is called. The folder stays open for as long as it is used."""
        self.salt = salt
        self.used = 0
        self.flushes = 0
        self._folder = folder
        self._opened = ExitStack()
        self._take(number)

    @property
    def name(self) -> str:
        return f"{self._folder.name}/{JOURNAL_FILE}"

    def _take(self, number: int) -> None:
        """Takes an open file, in the place of the one before."""
        self._opened.close()
        found = os.fstat(number)
        self.capacity = found.st_size - FIRST_PLACE
        self._number = number
        self._place = FlushedFilePlace(self._folder, JOURNAL_FILE, number)
        self._opened.callback(self._place.file.close)
        self._opened.callback(drop_in_forks(self._place.file.close))

    @classmethod
    def open(cls, folder: OpenFolder, salt: bytes, *, to_write: bool = True) -> JournalFile:
        """Opens the journal that the tables of a directory were written with.

        Raises:
            StoreCorruptError: it is not there, or another one is.
            StoreError: it cannot be opened.
        """
        path = Path(folder.name, JOURNAL_FILE)
        try:
            way = os.O_RDWR if to_write else os.O_RDONLY
            number = os.open(JOURNAL_FILE, way | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.number)
        except FileNotFoundError:
            raise StoreCorruptError(
                f"{path} is not there, and the tables were written with it: put it back. What it held of the last second "
                "may be nowhere else (docs/journal.md)"
            ) from None
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        try:
            _check_head(path, number, salt)
            return cls(folder, number, salt)
        except BaseException:
            os.close(number)
            raise

    @classmethod
    def make(cls, folder: OpenFolder) -> JournalFile:
        """Makes a new journal, in the place of one that no table was written with.

        Raises:
            OSError: there is no room for it, or it cannot be written.
            StoreError: what has its name is no journal.
        """
        _check_replaceable(folder.reach() / JOURNAL_FILE)
        salt = os.urandom(SALT_BYTES)
        number = _make_file(folder, salt, ROOM_MIN)
        try:
            os.fsync(folder.number)
            return cls(folder, number, salt)
        except BaseException:
            os.close(number)
            raise

    def append(self, record: bytes) -> None:
        trouble = self._place.look_at_size()  # first: it may be another's file that would be written to
        if trouble is not None:
            self._refuse(trouble)
        try:
            _write(self._number, record, FIRST_PLACE + self.used)
        except OSError as error:
            text = f"cannot write {self.name}: {error.strerror}; it is read at the next start"
            raise (StoreFullError if error.errno in LACKS else StoreError)(text) from error
        self.used += len(record)

    def flush(self) -> None:
        try:
            _flush(self._number)
        except OSError as error:
            raise StoreError(
                f"cannot flush {self.name}: {error.strerror}; whether it is on disk is unknown until the directory is opened again"
            ) from error
        self.flushes += 1

    def check_place(self) -> None:
        """Looks whether the file is still the one that has its name; raises StoreError otherwise."""
        trouble = self._place.look()
        if trouble is not None:
            self._refuse(trouble)

    def _refuse(self, trouble: str) -> NoReturn:
        raise StoreError(
            f"{self.name} {trouble}. It was removed, replaced, cut off or closed while it was in use, and nothing that "
            "came since was answered: put it back"
        )

    def read(self) -> bytes:
        try:
            data = os.pread(self._number, self.capacity, FIRST_PLACE)
        except OSError as error:
            raise StoreError(f"cannot read {self.name}: {error.strerror}") from error
        if len(data) != self.capacity:
            raise StoreCorruptError(f"expected {self.capacity} bytes of {self.name}, got {len(data)}: restore a backup")
        return data

    def restart(self, *, grows: bool) -> None:
        self.used = 0
        if grows and self.capacity < ROOM_MAX:
            self._grow(min(2 * self.capacity, ROOM_MAX))

    def _grow(self, capacity: int) -> None:
        """Takes a file with more room, or goes on with this one: a disk that is full is no reason to stop.

        It is called while no record in the file counts, so that it does not matter which of the two a start finds; one
        that has grown by a part would be taken for one that was cut off.
        """
        folder = self._folder
        try:
            number = _make_file(folder, self.salt, capacity)
        except OSError:
            return
        self._take(number)
        try:
            os.fsync(folder.number)
        except OSError as error:
            raise StoreError(f"cannot flush {folder.name}: {error.strerror}") from error

    def remove(self) -> None:
        """Closes it, and takes it away: the tables need it no more."""
        self.close()
        with suppress(FileNotFoundError):
            os.unlink(JOURNAL_FILE, dir_fd=self._folder.number)
        os.fsync(self._folder.number)

    def close(self) -> None:
        self._opened.close()


def read_beyond(directory: Path, checkpoint: Checkpoint) -> list[RedoRecord]:
    """Returns what the tables of a directory lack of its journal; raises as `JournalFile.open` and `records_beyond`."""
    if not checkpoint.salt:
        return []
    with ExitStack() as opened:
        try:
            folder = OpenFolder(directory)
        except OSError as error:
            raise StoreError(f"cannot open {directory}: {error.strerror}") from error
        opened.callback(folder.close)
        log = JournalFile.open(folder, checkpoint.salt, to_write=False)
        opened.callback(log.close)
        return records_beyond(checkpoint, log.read(), log.name)


def read_remains(directory: Path) -> tuple[bytes, bytes]:
    """Returns the salt of whatever is left of a journal, empty where its head is not whole, and all bytes from the
    first place on.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    data = (directory / JOURNAL_FILE).read_bytes()
    head = data[:_HEAD_BYTES]
    return head[len(KIND) : -4] if _is_head(head) else b"", data[FIRST_PLACE:]


def _check_head(path: Path, number: int, salt: bytes) -> None:
    """Raises when a file is not the journal with a salt, whole."""
    found = os.fstat(number)
    if not stat.S_ISREG(found.st_mode):
        raise StoreCorruptError(f"{path} is no file: put the journal back that the tables were written with")
    if found.st_nlink > 1:
        raise StoreError(f"{path} has another name, too (a hard link): remove it")
    head = os.pread(number, _HEAD_BYTES, 0)
    if not _is_head(head):
        raise StoreCorruptError(f"{path} is no journal of zq: put the one back that the tables were written with")
    if head != _head(salt):
        raise StoreCorruptError(
            f"{path} belongs to another directory: put the one back that the tables were written with"
        )
    size = found.st_size - FIRST_PLACE
    if size < ROOM_MIN or size % ROOM_MIN:
        raise StoreCorruptError(
            f"{path} has {found.st_size} bytes, expected {FIRST_PLACE} and a multiple of {ROOM_MIN}: it was cut off. Restore "
            "a backup of the whole directory, or save what is left with `zq salvage`"
        )


def _check_replaceable(path: Path) -> None:
    """Raises when what has the name of the journal, while none is in use, was not made as one."""
    if os.path.lexists(path) and not _is_ours(path):
        raise StoreError(
            f"{path} is no journal of zq, and would be overwritten: move it away, or choose another directory"
        )


def check_not_alone(directory: Path) -> None:
    """Raises when a journal is there without its tables: new ones, made in their place, would take its place, too."""
    if _is_ours(directory / JOURNAL_FILE) and not os.path.lexists(directory / DATA_FILE):  # which is made before it
        raise StoreCorruptError(
            f"{directory} has a {JOURNAL_FILE} and no {DATA_FILE}, whose last second it holds: put that back, or restore a "
            f"backup of the whole directory. Remove {JOURNAL_FILE} to begin anew"
        )


def remove_stray(directory: Path) -> None:
    """Removes a journal that no table was written with, and nothing else of its name."""
    path = directory / JOURNAL_FILE
    if _is_ours(path):
        path.unlink()


def _is_ours(path: Path) -> bool:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return stat.S_ISREG(os.fstat(number).st_mode) and _is_head(os.pread(number, _HEAD_BYTES, 0))
    finally:
        os.close(number)


def _is_head(head: bytes) -> bool:
    return head.startswith(KIND) and crc32(head[:-4]).to_bytes(4, "big") == head[-4:]


def _make_file(folder: OpenFolder, salt: bytes, room: int) -> int:
    """Makes a journal, whole and on disk before it has its name, which is not flushed; returns its descriptor.

    Raises:
        OSError: there is no room for it, or it cannot be written.
    """
    new, at = NEW_JOURNAL_FILE, folder.number
    with suppress(FileNotFoundError):
        os.unlink(new, dir_fd=at)
    number = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=at)
    try:
        _write(number, _head(salt).ljust(FIRST_PLACE, b"\0"), 0)
        _fill(number, FIRST_PLACE, FIRST_PLACE + room)
        os.rename(new, JOURNAL_FILE, src_dir_fd=at, dst_dir_fd=at)
    except BaseException:
        os.close(number)
        with suppress(OSError):
            os.unlink(new, dir_fd=at)
        raise
    return number


def _fill(number: int, start: int, stop: int) -> None:
    """Writes zeros, and returns when they are on disk; a page at a time, for Linux keeps what was written at once as
    one thing in its memory, which is dirty as a whole when a byte of it is.
    """
    zeros = bytes(PAGE_BYTES)
    for place in range(start, stop, PAGE_BYTES):
        _write(number, zeros, place)
    _flush(number)


def _flush(number: int) -> None:
    """Returns when the bytes of a file are on disk, and its size where that is another."""
    if sys.platform == "darwin":  # whose fsync leaves them in the cache of the disk
        fcntl.fcntl(number, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(number)


def _write(number: int, data: bytes, place: int) -> None:
    """Writes all of it, at a place."""
    written = os.pwrite(number, data, place)
    while written < len(data):
        written += os.pwrite(number, memoryview(data)[written:], place + written)
