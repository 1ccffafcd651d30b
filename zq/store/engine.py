"""What LMDB gives and raises, checked and in words."""

from __future__ import annotations

from zlib import crc32

import lmdb

from zq.errors import StoreCorruptError, StoreError, StoreFullError


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
    """Keeps a thing in a forked child until its process ends. An environment that goes waits for the transaction that
    is open in it, which is another thread's, and there are no others in a child.
    """
    import ctypes  # when it is needed, which is hardly ever

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def store_error(error: lmdb.Error, what: str) -> StoreError:
    if isinstance(error, lmdb.MapFullError):
        return StoreFullError(f"{what}: the map is full")
    if isinstance(error, lmdb.CorruptedError | lmdb.InvalidError):
        return StoreCorruptError(f"{what}: {error}")
    return StoreError(f"{what}: {error}")
