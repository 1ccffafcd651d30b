"""A transaction over rows that are only read: what it would change stays in memory, to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Protocol

import lmdb

from zq.core.storage import StoreInfo
from zq.core.sums import salt_of
from zq.errors import StoreError
from zq.store.engine import open_value, scan_rows, store_error
from zq.store.hold import DATA_FILE, check_readers

MAP_SPARE = 1 << 30
"""Bytes by which a file may grow while it is opened."""

DBS_MAX = 64


class ReadRows(Protocol):
    """What is read."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]: ...


class LmdbRows:
    """The rows of a transaction of LMDB's that only reads; each is checked. A table that is not there is empty."""

    def __init__(self, env: lmdb.Environment, txn: lmdb.Transaction, tables: Iterable[str]) -> None:
        self._txn = txn
        self._dbs: dict[str, tuple[Any, int]] = {}
        for table in tables:
            try:
                self._dbs[table] = env.open_db(table.encode(), txn=txn, create=False), salt_of(table)
            except lmdb.NotFoundError:
                continue

    def get(self, table: str, key: bytes) -> bytes | None:
        if table not in self._dbs:
            return None
        db, salt = self._dbs[table]
        try:
            value: Any = self._txn.get(key, db=db)
        except lmdb.BadValsizeError:
            return None
        except lmdb.Error as error:
            raise store_error(error, f"cannot read table {table}") from error
        return None if value is None else open_value(table, key, value, salt)

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        if table not in self._dbs:
            return
        yield from scan_rows(self._txn, table, self._dbs[table], start, stop)


@contextmanager
def reading(directory: Path, tables: Iterable[str], *, in_use: bool) -> Iterator[LmdbRows]:
    """Reads the tables of a directory as of one moment, and writes nothing where nobody else has it open.

    Raises:
        StoreError: it cannot be read.
    """
    size = (directory / DATA_FILE).stat().st_size
    if in_use:
        check_readers(directory)
    try:
        with (
            lmdb.open(
                str(directory), map_size=size + MAP_SPARE, max_dbs=DBS_MAX, readonly=True, create=False, lock=in_use
            ) as env,
            env.begin() as txn,
        ):
            yield LmdbRows(env, txn, tables)
    except lmdb.Error as error:
        raise StoreError(f"cannot read {directory}: {error}") from error


class DraftTransaction:
    """See `zq.core.storage.Transaction`; its commit keeps what was written for whoever asks, and stores nothing."""

    is_full = is_short = is_spent = False
    why_full = ""
    way_out_bytes = room_bytes = inf

    def __init__(self, rows: ReadRows) -> None:
        self._rows = rows
        self._changes: dict[str, dict[bytes, bytes | None]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        changed = self._changes.get(table, {})
        return changed[key] if key in changed else self._rows.get(table, key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self._changes.setdefault(table, {})[key] = value

    def put_many(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> None:
        self._changes.setdefault(table, {}).update(items)

    def delete(self, table: str, key: bytes) -> bool:
        is_there = self.get(table, key) is not None
        if is_there:
            self._changes.setdefault(table, {})[key] = None
        return is_there

    def delete_many(self, table: str, keys: Sequence[bytes]) -> list[bool]:
        return [self.delete(table, key) for key in keys]

    def scan(self, table: str, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        changes = self._changes.get(table, {})
        changed = sorted(key for key in changes if key >= start and (stop is None or key < stop))
        at = 0
        for key, stored in self._rows.scan(table, start, stop):
            while at < len(changed) and changed[at] < key:
                yield from self._changed(changes, changed[at])
                at += 1
            if at < len(changed) and changed[at] == key:
                yield from self._changed(changes, key)
                at += 1
            else:
                yield key, stored
        for key in changed[at:]:
            yield from self._changed(changes, key)

    def _changed(self, changes: dict[bytes, bytes | None], key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = changes[key]
        if value is not None:
            yield key, value

    def commit(self) -> None:
        """Does nothing."""

    def abort(self) -> None:
        self._changes.clear()

    def changes(self) -> Iterator[tuple[str, bytes, bytes | None, bytes | None]]:
        """Yields table, key, what is there and what would be, of all that would be another."""
        for table, changed in self._changes.items():
            for key, after in changed.items():
                before = self._rows.get(table, key)
                if before != after:
                    yield table, key, before, after


class DraftStore:
    """See `zq.core.storage.Store`: one that has a single transaction, which is never over."""

    def __init__(self, tx: DraftTransaction) -> None:
        self._tx = tx

    def begin(self) -> DraftTransaction:
        return self._tx

    def info(self) -> StoreInfo:
        return StoreInfo(0, 0, None, is_full=False)

    def close(self) -> None:
        """Does nothing."""
