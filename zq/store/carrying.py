"""Which schema a directory has; one of an earlier schema is carried over: its rows get the checksums of this one, some
thousands in a commit.

Two rows of the table `zq` say the schema, of which one has a checksum; where neither can be read, the checksums of the
other rows tell, since those of schema 12 and 13 are of values alone (`zq.store.raw`).

While it goes on, the schema that is stored is `13>14`, which no other version opens, and beside it stands up to which
row of which table it has come: a start that was killed in the middle is gone on with by the next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from time import monotonic
from typing import Any, Final

import lmdb
import msgpack

from zq.core.sums import SUM_BYTES, is_whole, salt_of, sealed
from zq.core.tables import SCHEMA, SCHEMAS_BEFORE
from zq.errors import StoreVersionError

log = logging.getLogger(__name__)

INFO_TABLE: Final = "zq"
"""Of the store itself: its rows are not those of the seam."""

SCHEMA_KEY: Final = b"schema"
SEALED_KEY: Final = b"sealed"
"""Says what SCHEMA_KEY says, under a checksum; a directory that an earlier version wrote has none."""

PLACE_KEY: Final = b"carried"
"""Up to where a directory was carried over."""

_SALT: Final = salt_of(INFO_TABLE)

COMMIT_ROWS_MAX, COMMIT_BYTES_MAX = 5000, 4 << 20
"""Of a commit: so much is written anew before the room of what it replaces is free."""

SLOW_SECONDS = 2.0
"""Between two lines in the log."""


def schema_told(found: bytes | None, again: bytes | None) -> bytes | None:
    """Returns what two rows say of the schema; None when that cannot be read.

    Args:
        found: what is stored under SCHEMA_KEY.
        again: what is stored under SEALED_KEY.
    """
    if again is not None and is_whole(_SALT, SEALED_KEY, again):
        return again[SUM_BYTES:]
    return found if found is not None and (found.isdigit() or readable(found) is not None) else None


def readable(text: bytes) -> int | None:
    """Returns the schema that a directory has, or is carried over from; None for one that is not read."""
    for schema in (SCHEMA, *SCHEMAS_BEFORE):
        if text in (b"%d" % schema, b"%d>%d" % (schema, SCHEMA)):
            return schema
    return None


def schema_rows(text: bytes) -> dict[bytes, bytes]:
    """Returns the rows that say a schema."""
    return {SCHEMA_KEY: text, SEALED_KEY: sealed(_SALT, SEALED_KEY, text)}


def put_schema(txn: lmdb.Transaction, db: Any, text: bytes) -> None:
    """Writes the rows that say a schema, where they are not there."""
    for key, stored in schema_rows(text).items():
        if txn.get(key, db=db) != stored:
            txn.put(key, stored, db=db)


def refusal(name: str, text: bytes | None) -> StoreVersionError:
    """Returns why a directory is not opened, of a schema that is not read, or that says none."""
    if text is None:
        return StoreVersionError(f"{name} holds an LMDB database that zq did not write; choose another directory")
    return StoreVersionError(
        f"{name} has schema {text.decode(errors='replace')}, this version of zq reads schema {SCHEMA}: "
        "drain it with the version that wrote it, or choose another directory"
    )


def check_schema(env: lmdb.Environment, name: str, told: bytes | None) -> None:
    """Notes the schema in an environment, and carries one of an earlier schema over.

    Args:
        env: the environment, opened to be written.
        name: of its directory, for the errors.
        told: the schema that it has (`zq.store.damage.look`), None when there is nothing in it.

    Raises:
        StoreVersionError: another version of zq wrote it.
        lmdb.Error: of what is written.
    """
    told = told or b"%d" % SCHEMA
    schema = readable(told)
    if schema is None:
        raise refusal(name, told)
    table = env.open_db(INFO_TABLE.encode())
    with env.begin(write=True, db=table) as txn:
        put_schema(txn, table, told if schema == SCHEMA else b"%d>%d" % (schema, SCHEMA))
    if schema != SCHEMA:
        _carry_over(env, table, name, schema)


def _carry_over(env: lmdb.Environment, info: Any, name: str, schema: int) -> None:
    with env.begin() as txn:
        tables = sorted(bytes(key) for key, _ in txn.cursor())
    rows, told_at = 0, monotonic() + SLOW_SECONDS
    for table in tables:
        if table == INFO_TABLE.encode():
            continue
        for done in _carry_table(env, info, table, schema):
            rows += done
            if monotonic() >= told_at:
                log.warning("%s is carried over from schema %d to %d: %d rows so far", name, schema, SCHEMA, rows)
                told_at = monotonic() + SLOW_SECONDS
    with env.begin(write=True, db=info) as txn:
        txn.delete(PLACE_KEY)
        put_schema(txn, info, b"%d" % SCHEMA)
    log.info("%s was carried over from schema %d to %d: %d rows", name, schema, SCHEMA, rows)


def _carry_table(env: lmdb.Environment, info: Any, table: bytes, schema: int) -> Iterator[int]:
    """Writes the rows of a table anew from where it was left, and yields how many in each transaction."""
    db = env.open_db(table)
    is_more = True
    while is_more:
        with env.begin(write=True) as txn:
            place: Any = txn.get(PLACE_KEY, db=info)
            at_table, last = (b"", b"") if place is None else msgpack.unpackb(place)
            if at_table > table:
                return
            rows = _rows_after(txn, db, last if at_table == table else b"")
            is_more = bool(rows)
            if is_more:
                salt = salt_of(table.decode())
                # One that is not whole stays as it is, and so it is not whole under this schema either.
                whole = [
                    (key, sealed(salt, key, stored[SUM_BYTES:]))
                    for key, stored in rows
                    if is_whole(salt, key, stored, schema)
                ]
                for key, stored in whole:
                    txn.put(key, stored, db=db)
                txn.put(PLACE_KEY, msgpack.packb((table, rows[-1][0])), db=info)
        yield len(rows)


def _rows_after(txn: lmdb.Transaction, db: Any, last: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    taken = 0
    with txn.cursor(db) as cursor:
        if not (cursor.set_range(last + b"\0") if len(last) < 511 and last else cursor.first()):
            return found
        rows: Any = cursor.iternext()
        for key, stored in rows:
            if key <= last:
                continue
            found.append((key, stored))
            taken += len(key) + len(stored)
            if len(found) >= COMMIT_ROWS_MAX or taken >= COMMIT_BYTES_MAX:
                break
    return found
