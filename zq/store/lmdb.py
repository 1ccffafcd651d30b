"""The store on disk: one LMDB environment in a directory, one process at a time, a checksum before each value
(`zq.core.sums`).

Durability: sync and metasync on, writemap off, so that `commit` returns when the data and the page that makes it
current are flushed. The directory must be on a local disk. Room: admission stops (`is_full`) at FULL_FRACTION of the
map, or when the disk runs low, because LMDB needs free pages to delete, too; what is left is for completions. Of the
disk some is held back for them (`zq.store.room`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any
from zlib import crc32

import lmdb

from zq.core.storage import Damage, StoreInfo
from zq.core.sums import salt_of
from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.processes.forks import drop_in_forks
from zq.store.carrying import check_schema
from zq.store.damage import check_ours, look, rebuild, set_aside
from zq.store.engine import NEW_FILE, keep_for_ever, make_data_file, open_value, scan_rows, second_writer, store_error
from zq.store.gauge import Gauge
from zq.store.hold import DATA_FILE, READERS_FILE, DirectoryHold, forget_readers
from zq.store.place import OpenFolder
from zq.store.raw import RawRow
from zq.store.room import LACKS, DiskRoom, fill_gaps
from zq.store.seam import about_journal

PLACE_AGE_MAX = 0.1
"""After which a turn begins with a look at the place: to read what was cut off ends the process without a word."""

ROW_BYTES = 24
"""What a row takes beside its key and value: the header of its node, its checksum, and a place in its page."""

READERS_BYTES = 8192
"""Of LMDB's file of readers, which it writes through memory: without a block for it, that ends a process."""

COMPACT_SPARE = 1 << 20
"""Free bytes beside those of the pages in use that a file which is written anew may take."""


@dataclass(frozen=True, slots=True)
class LmdbOptions:
    """How much room a store may take, and how it is written.

    Attributes:
        map_bytes: largest size of the data file. It is sparse: room is taken as it is needed.
        free_bytes_min: free bytes of the disk below which nothing new is admitted.
        journal: whether small turns are flushed in a journal first (docs/journal.md); without it each of them commits
            the data file. It may be another at each start.
    """

    map_bytes: int = 64 << 30
    free_bytes_min: int = 256 << 20
    journal: bool = True

    def __post_init__(self) -> None:
        for name in ("map_bytes", "free_bytes_min"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} must be a whole number, got {getattr(self, name)!r}")
        if not isinstance(self.journal, bool):
            raise TypeError(f"journal must be True or False, got {self.journal!r}")
        if self.map_bytes < 1 << 20:
            raise ValueError(f"map_bytes must be at least {1 << 20}, got {self.map_bytes}")
        if self.free_bytes_min < 0:
            raise ValueError(f"free_bytes_min must not be negative, got {self.free_bytes_min}")


class LmdbTransaction:
    """See `zq.core.storage.Transaction`."""

    __slots__ = ("_cursors", "_dbs", "_gauge", "_put", "_store", "_txn")

    def __init__(self, store: LmdbStore, txn: lmdb.Transaction, dbs: dict[str, tuple[Any, int]]) -> None:
        self._store = store
        self._gauge = store.gauge
        self._txn = txn
        self._put = txn.put
        self._dbs = dbs
        self._cursors: dict[str, lmdb.Cursor] = {}

    @property
    def is_full(self) -> bool:
        return self._gauge.is_full

    @property
    def why_full(self) -> str:
        return self._gauge.why_full

    @property
    def is_short(self) -> bool:
        return self._gauge.is_short

    @property
    def is_spent(self) -> bool:
        return self._gauge.is_spent

    @property
    def way_out_bytes(self) -> float:
        return self._gauge.way_out_bytes

    @property
    def room_bytes(self) -> float:
        return self._gauge.room_bytes

    def get(self, table: str, key: bytes) -> bytes | None:
        db, salt = self._dbs[table]
        try:
            value: Any = self._txn.get(key, db=db)  # bytes: the transaction has no buffers
        except lmdb.BadValsizeError:
            return None  # a key that cannot be is not there
        except lmdb.Error as error:
            raise store_error(error, f"cannot read table {table}") from error
        return None if value is None else open_value(table, key, value, salt)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._gauge.written_bytes += len(key) + len(value) + ROW_BYTES
        db, salt = self._dbs[table]
        try:
            self._put(key, crc32(value, crc32(key, salt)).to_bytes(4, "big") + value, db=db)
        except lmdb.Error as error:
            raise store_error(error, f"cannot store {len(value)} bytes in table {table}") from error

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        salt = self._dbs[table][1]
        rows = [(key, crc32(value, crc32(key, salt)).to_bytes(4, "big") + value) for key, value in items]
        self._gauge.written_bytes += sum([len(key) + len(value) for key, value in rows]) + ROW_BYTES * len(rows)
        try:
            consumed, _ = self._cursor(table).putmulti(rows)
        except lmdb.Error as error:
            raise store_error(error, f"cannot store {len(rows)} values in table {table}") from error
        if consumed != len(rows):
            raise StoreError(f"table {table} took {consumed} of {len(rows)} values")

    def delete(self, table: str, key: bytes) -> bool:
        try:
            return self._txn.delete(key, db=self._dbs[table][0])
        except lmdb.BadValsizeError:
            return False
        except lmdb.Error as error:
            raise store_error(error, f"cannot delete from table {table}") from error

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        delete, db = self._txn.delete, self._dbs[table][0]
        try:
            return [delete(key, b"", db) for key in keys]
        except lmdb.Error as error:
            raise store_error(error, f"cannot delete from table {table}") from error

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        return scan_rows(self._txn, table, self._dbs[table], start, stop)

    def commit(self) -> None:
        self._end()
        begun_at, id = perf_counter(), self._txn.id()
        try:
            self._store.check_opened()
            self._txn.commit()
        except lmdb.Error as error:
            if self._store.is_out(error):
                raise StoreFullError(f"cannot commit: {self.why_full}") from error
            raise store_error(
                error, "cannot commit; whether it is on disk is unknown until the directory is opened again"
            ) from error
        self._store.commit_seconds = perf_counter() - begun_at
        self._gauge.note_end()
        self._store.note_commit(id)
        self._store.check_place()

    def abort(self) -> None:
        self._end()
        self._gauge.note_end()
        self._txn.abort()

    def _cursor(self, table: str) -> lmdb.Cursor:
        cursor = self._cursors.get(table)
        if cursor is None:
            cursor = self._cursors[table] = self._txn.cursor(self._dbs[table][0])
        return cursor

    def _end(self) -> None:
        self._store.end_writing()
        for cursor in self._cursors.values():
            cursor.close()
        self._cursors.clear()


class LmdbStore:
    """See `zq.core.storage.Store`. The thread that opens it is the one that uses it."""

    def __init__(self, path: str | Path, tables: tuple[str, ...], options: LmdbOptions | None = None) -> None:
        """Locks and opens a directory, and makes it if need be.

        Raises:
            StoreLockedError: another process has it; the text says which.
            StoreVersionError: another version of zq wrote it.
            StoreCorruptError: what is there is not LMDB's.
            StoreError: it cannot be made, read or written.
        """
        self.path = Path(path)
        self.commit_seconds = 0.0  # that the last commit took
        self._options = options or LmdbOptions()
        self._writing: lmdb.Transaction | None = None
        self._pid = os.getpid()
        self._place_at = 0.0  # monotonic, from when on a turn begins with a look at the place
        self._own_id = self._changed_at = 0  # the last transaction; when the file was written, as far as was looked
        self.damages: list[Damage] = []  # that were found and not told yet
        check_ours(self.path)
        self._hold = DirectoryHold(self.path)
        self.check_opened, self.note_read = self._hold.check_opened, self._hold.note_read
        try:
            self._open(tables, is_new=self._hold.is_new)
        except BaseException:
            self._hold.close()
            raise
        self._forget = drop_in_forks(partial(keep_for_ever, self._env))

    def _open(self, tables: tuple[str, ...], *, is_new: bool) -> None:
        self._tables = tables
        try:
            if is_new:
                make_data_file(self.folder.reach())
            os.fsync(self.folder.number)  # LMDB does not flush what names its file; who made that may not have, either
            self._hold.hold_data()
            seen = look(self.folder.reach(), is_thorough=self._hold.is_looping)
            rows = self._rebuild_if_broken(seen.rows)
            self._open_environment(seen.schema, rows)
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError) as error:
            raise StoreCorruptError(f"{self.path} does not hold what LMDB wrote: {error}") from error
        except lmdb.MemoryError as error:
            mib = self._options.map_bytes >> 20
            raise StoreError(
                f"cannot open {self.path}: {error}. The store asks for {mib} MiB of addresses (not of memory), which "
                "`ulimit -v` or a container's limit may forbid: give a smaller map, by --map-mib 1024 or "
                "LmdbOptions(map_bytes=1 << 30)"
            ) from error
        except (lmdb.Error, OSError) as error:
            raise StoreError(f"cannot open {self.path}: {error}") from error

    def _open_environment(self, schema: bytes | None, rows: list[RawRow]) -> None:
        """Opens the environment, sets rows aside, and carries it over if it is of an earlier schema."""
        fill_gaps(self.folder.reach() / READERS_FILE, READERS_BYTES)
        self._env = lmdb.open(
            str(self.folder.reach()),
            map_size=self._options.map_bytes,
            max_dbs=len(self._tables) + 16,
            sync=True,
            metasync=True,
            writemap=False,
        )
        try:
            self._env.reader_check()
            self.damages += set_aside(self._env, rows)
            check_schema(self._env, str(self.path), schema)
            self._dbs = {table: (self._env.open_db(table.encode()), salt_of(table)) for table in self._tables}
            self._room = DiskRoom(self._hold.data_number, self.path)
            self.gauge = Gauge(self._room, self._measure, self._options.map_bytes, self._options.free_bytes_min)
            self._hold.note_opened()
        except BaseException:
            self._env.close()
            raise
        self._own_id = self._env.info()["last_txnid"]

    def _rebuild_if_broken(self, faults: list[RawRow]) -> list[RawRow]:
        """Makes the file anew where pages are broken; returns the rows that are still to be set aside."""
        if not any(row.is_part for row in faults):
            return faults
        self.damages += rebuild(self.folder.reach(), self._options.map_bytes)
        self._hold.hold_data()
        return []

    def mend(self, error: StoreCorruptError) -> None:
        """Sets aside what is damaged, after a turn that met it; no transaction is open. Raises the error when nothing
        is found that explains it, and StoreError when it cannot be set aside.
        """
        count = len(self.damages)
        rows, schema = look(self.folder.reach(), is_thorough=True)
        try:
            if any(row.is_part for row in rows):
                self._forget()
                self._env.close()
                self._open_environment(schema, self._rebuild_if_broken(rows))
                self._forget = drop_in_forks(partial(keep_for_ever, self._env))
            else:
                self.damages += set_aside(self._env, rows, error)
            self._own_id = self._env.info()["last_txnid"]
        except lmdb.Error as failure:
            raise store_error(failure, f"cannot set aside what is damaged in {self.path}") from error
        if len(self.damages) == count:
            raise error

    @property
    def folder(self) -> OpenFolder:
        """The directory, by which all that is in it is reached."""
        return self._hold.folder

    @property
    def written_bytes(self) -> int:
        """What was written, in all."""
        return self.gauge.written_bytes

    @property
    def is_full(self) -> bool:
        return self.gauge.is_full

    @property
    def why_full(self) -> str:
        return self.gauge.why_full

    @property
    def room_bytes(self) -> float:
        return self.gauge.room_bytes

    def begin(self) -> LmdbTransaction:
        if os.getpid() != self._pid:
            raise StoreError("this process was forked from the one that opened the store; start a new one instead")
        self._place_at = 0.0  # to read what was cut off would end the process without a word
        self.notice_room()
        try:
            self._writing = txn = self._env.begin(write=True)
        except lmdb.Error as error:
            raise store_error(error, f"cannot begin a transaction of {self.path}") from error
        if txn.id() != self._own_id + 1:
            raise second_writer(self.path)
        return LmdbTransaction(self, txn, self._dbs)

    def notice_room(self) -> None:
        """Looks at the room left if it is due, also while a transaction is open; after a pause at the place first."""
        if monotonic() >= self._place_at:
            self.check_place()
            self.check_opened()
        self.gauge.note_turn()

    def takes(self, count: float) -> bool:
        """See `zq.store.seam.Tables`."""
        if self.gauge.takes(count):
            return True
        self.gauge.look()
        return False

    def end_writing(self) -> None:
        """Forgets the transaction that was open. For `LmdbTransaction`."""
        self._writing = None

    def check_place(self) -> None:
        """Looks whether the data file is still as this process left it; raises StoreError otherwise."""
        self._hold.check()
        self._place_at = monotonic() + PLACE_AGE_MAX
        if self._hold.changed_at != self._changed_at:  # by this process, if nobody else has committed
            if self._env.info()["last_txnid"] != self._own_id:
                raise second_writer(self.path)
            self._changed_at = self._hold.changed_at

    def note_commit(self, id: int) -> None:
        """Notes that a transaction was committed, unless it had nothing to commit. For `LmdbTransaction`."""
        last = self._env.info()["last_txnid"]
        if last > id:
            raise second_writer(self.path)
        self._own_id = last

    def info(self) -> StoreInfo:
        return self.gauge.info()

    def is_out(self, error: lmdb.Error) -> bool:
        """Returns whether a commit failed since the disk had no room for what it wrote, upon which its transaction
        never was; never of a flush that failed, after which nobody knows. For `LmdbTransaction`.
        """
        code = getattr(error, "code", 0)  # EIO is what LMDB says when a part was written
        if code not in (*LACKS, errno.EIO) or not self._room.is_out():
            return False
        self.gauge.look()
        return True

    def rest(self, now: float) -> None:
        """Does nothing: every commit is the last word."""

    rest_at = inf

    def about_journal(self) -> dict[str, Any]:
        """Returns what `status` tells of the journal: that there is none."""
        return about_journal()

    def compact(self) -> tuple[int, int]:
        """Writes the data file anew beside its place, without what is free in it, and puts it there. Nothing but
        `close` may follow. Killed at any moment, it leaves the one file or the other.

        Returns:
            Its bytes before and after.

        Raises:
            StoreError: there is no room for it, or it cannot be written; the old one is still there.
        """
        place = self.folder.reach()
        data, made = place / DATA_FILE, place / NEW_FILE
        before, needed = data.stat().st_size, self._measure()[0] + COMPACT_SPARE
        free = self._room.free_bytes()
        if free < needed:
            raise StoreError(
                f"{self.path} needs {needed} bytes beside its data file while it is written anew, and {free} are free"
            )
        try:
            made.unlink(missing_ok=True)
            number = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                self._env.copyfd(number, compact=True)
                os.fsync(number)
            finally:
                os.close(number)
            self._env.close()
            forget_readers(self.folder.reach())
            made.rename(data)
            os.fsync(self.folder.number)
        except lmdb.Error as error:
            raise store_error(error, f"cannot write {data} anew") from error
        except OSError as error:
            raise StoreError(f"cannot write {data} anew: {error.strerror}") from error
        return before, data.stat().st_size

    def close(self) -> None:
        if os.getpid() == self._pid:  # a forked child has dropped its copies; those of LMDB it must not touch
            self._forget()
            (keep_for_ever if self._hold.is_lost else lmdb.Environment.close)(self._env)
            self._hold.close()

    def _measure(self) -> tuple[int, int]:
        """Returns the bytes of the pages in use, which free ones inside the file are not, with those of the transaction
        that is open; and the bytes of all pages that were committed.
        """
        end = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        if self._writing is not None:
            return self._used_in(self._writing), end
        with self._env.begin() as txn:
            return self._used_in(txn), end

    def _used_in(self, txn: lmdb.Transaction) -> int:
        used = 0
        for db, _ in self._dbs.values():
            stat = txn.stat(db)
            used += stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
        return used
