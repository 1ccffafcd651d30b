"""What LMDB gives and raises, checked and in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import lmdb

from zq.errors import StoreCorruptError, StoreError, StoreFullError
from zq.store.hold import DATA_FILE, flush

NEW_FILE = "data.new"
"""What the data file is called while it is made."""


def open_value(table: str, key: bytes, stored: bytes, salt: int) -> bytes:
    value = stored[4:]
    if crc32(value, crc32(key, salt)).to_bytes(4, "big") != stored[:4]:
        raise StoreCorruptError(
            f"the row of key {key.hex()} in table {table} does not match its checksum: restore a backup",
            table,
            key,
            stored,
        )
    return value


def keep_for_ever(thing: object) -> None:
    """Keeps a thing until its process ends: an environment in a forked child, which would wait for the transaction that
    is open in it, of a thread that is not there; or one whose files are not its own any more.
    """
    import ctypes  # when it is needed, which is hardly ever

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def store_error(error: lmdb.Error, what: str) -> StoreError:
    if isinstance(error, lmdb.MapFullError):
        return StoreFullError(f"{what}: the map is full")
    if isinstance(error, lmdb.CorruptedError | lmdb.InvalidError):
        return StoreCorruptError(f"{what}: {error}")
    return StoreError(f"{what}: {error}")


def second_writer(path: Path) -> StoreError:
    """Returns what is raised in a process whose directory somebody else has written."""
    return StoreError(
        f"{path} was written by another process while this one had it, whatever became of its locks: nothing that came "
        "since the last answer is stored. Let one coordinator run on it, and look it over with `zq doctor`"
    )


def make_data_file(path: Path) -> None:
    """Makes the data file of a directory, which has its name when it is whole: LMDB opens none that a power cut left
    half made.
    """
    made = path / NEW_FILE
    made.unlink(missing_ok=True)
    lmdb.open(str(made), map_size=1 << 20, subdir=False, lock=False).close()
    flush(made)
    made.rename(path / DATA_FILE)


def scan_rows(
    txn: lmdb.Transaction, table: str, place: tuple[Any, int], start: bytes, stop: bytes | None
) -> Iterator[tuple[bytes, bytes]]:
    """Yields the rows of a table between two keys, in order, as `zq.core.storage.Transaction.scan`.

    Args:
        place: what LMDB calls the table, and the salt of its checksums.
    """
    db, salt = place
    try:
        with txn.cursor(db) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return
            rows: Iterator[Any] = cursor.iternext()
            for key, value in rows:
                if stop is not None and key >= stop:
                    return
                yield key, open_value(table, key, value, salt)
    except lmdb.Error as error:
        raise store_error(error, f"cannot read table {table}") from error
