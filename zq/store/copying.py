"""Copies a directory while it is in use: one that is whole by itself, with all that was answered before it began.

The tables are read in one transaction of LMDB's, which readers of other processes may have beside a writer, and written
without their free pages. What the journal had beyond them at that moment is read first, and written into the copy.
Between the two, a checkpoint may begin the journal anew: it then is no continuation of what was read, and both are read
again. The copy needs no journal, so it has none.

It is made beside its place and gets its name when it is whole and on disk, so that what has the name is never half.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from zq.core.storage import Transaction
from zq.core.sums import SUM_BYTES
from zq.core.tables import SCHEMA
from zq.errors import StoreCorruptError, StoreError, StoreVersionError
from zq.store.carrying import INFO_TABLE, SCHEMA_KEY, SEALED_KEY, schema_told
from zq.store.draft import MAP_SPARE
from zq.store.engine import store_error
from zq.store.hold import DATA_FILE, HOLD_FILE, READERS_FILE, flush
from zq.store.journal import read_beyond
from zq.store.lmdb import LmdbOptions, LmdbStore
from zq.store.records import CHECKPOINT_KEY, CHECKPOINT_TABLE, Checkpoint, RedoRecord, apply, leave_log

PART = ".part"
"""What the name of a copy ends in while it is made."""

REPORT_FILE = "salvage.jsonl"
"""What is not there in a directory that was salvaged, a JSON object a line."""

MADE_FILES = frozenset({DATA_FILE, READERS_FILE, HOLD_FILE, REPORT_FILE})
"""What may be in such a directory that somebody has left half made."""

READS_MAX = 50
TRY_PAUSE = 0.02
"""Seconds between two tries to read tables and journal as of one moment."""


class Copied(NamedTuple):
    """What was copied.

    Attributes:
        bytes: of the copy.
        records: of the journal that are in it beside the tables.
    """

    bytes: int
    records: int


def copy_store(
    source: Path, target: Path, tables: tuple[str, ...], change: Callable[[Transaction], None] | None = None
) -> Copied:
    """Copies what is in a directory, which may be in use, into a new one.

    Args:
        target: where nothing is yet.
        tables: their names.
        change: is told the transaction in which the copy gets its last rows; None: nothing is changed.

    Raises:
        StoreError: there is something at the target, or the source cannot be read, or the target not written.
        StoreVersionError: another version of zq wrote it.
        StoreCorruptError: something is gone that was answered.
    """
    with making(source, target) as part:
        records = _copy_tables(source, part)
        _finish(part, (*tables, CHECKPOINT_TABLE), records, change)
    return Copied((target / DATA_FILE).stat().st_size, len(records))


@contextmanager
def making(source: Path, target: Path) -> Iterator[Path]:
    """Yields an empty directory, which gets its name when the block is left, and is removed when it raises.

    Raises:
        StoreError: there is something at the target, or no data file at the source, or it cannot be written.
    """
    if os.path.lexists(target):
        raise StoreError(f"{target} is there already: expected a new name, or move it away")
    if not (source / DATA_FILE).is_file():
        raise StoreError(f"{source} has no {DATA_FILE}: expected the directory of a coordinator")
    part = target.with_name(target.name + PART)
    try:
        remove_part(part)
        part.mkdir(mode=0o700, parents=True)
        try:
            yield part
            for name in (HOLD_FILE, READERS_FILE):
                (part / name).unlink(missing_ok=True)
            flush(part)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(target)
        flush(target.absolute().parent)
    except lmdb.Error as error:
        raise store_error(error, f"cannot write {part}") from error
    except OSError as error:
        raise StoreError(f"cannot copy {source} to {target}: {error.strerror or error}") from error


def part_of(target: Path) -> Path:
    """Returns the file that grows while a copy is made."""
    return target.with_name(target.name + PART) / DATA_FILE


def remove_part(part: Path) -> None:
    """Removes a copy that was left half made; raises StoreError when something else has its name."""
    if not os.path.lexists(part):
        return
    if not part.is_dir() or part.is_symlink() or not {one.name for one in part.iterdir()} <= MADE_FILES:
        raise StoreError(f"{part} is there, and is no copy that was left half made: move it away")
    shutil.rmtree(part)


def _copy_tables(source: Path, part: Path) -> list[RedoRecord]:
    """Copies the tables as of one moment, and returns what the journal had beyond them then."""
    with _open_reading(source) as env:
        for _ in range(READS_MAX):
            with env.begin() as txn:
                checkpoint = _checkpoint_of(env, txn)
                try:
                    records = read_beyond(source, checkpoint)
                except StoreCorruptError as error:
                    trouble: StoreError = error  # or a checkpoint came between the two
                else:
                    if _is_still(env, checkpoint):
                        _copy_pages(env, txn, part / DATA_FILE)
                        return records
                    trouble = StoreError(f"{source} changes too fast to be copied: try it again")
            time.sleep(TRY_PAUSE)
        raise trouble


def _copy_pages(env: lmdb.Environment, txn: lmdb.Transaction, path: Path) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        env.copyfd(file.fileno(), compact=True, txn=txn)
        os.fsync(file.fileno())


@contextmanager
def _open_reading(source: Path) -> Iterator[lmdb.Environment]:
    size = (source / DATA_FILE).stat().st_size
    try:
        with lmdb.open(
            str(source), map_size=size + MAP_SPARE, max_dbs=2, readonly=True, create=False, max_spare_txns=0
        ) as env:
            _check_schema(env, source)
            yield env
    except lmdb.Error as error:
        raise StoreError(f"cannot read {source}: {error}") from error


def is_in_use(directory: Path) -> bool:
    """Returns whether a coordinator has a directory."""
    try:
        number = os.open(directory / HOLD_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False


def _check_schema(env: lmdb.Environment, source: Path) -> None:
    try:
        with env.begin() as txn:
            db = env.open_db(INFO_TABLE.encode(), txn=txn, create=False)
            rows: list[Any] = [txn.get(key, db=db) for key in (SCHEMA_KEY, SEALED_KEY)]
            found = schema_told(*rows)
    except lmdb.NotFoundError:
        found = None
    if found != b"%d" % SCHEMA:
        schema = "no schema" if found is None else f"schema {found.decode(errors='replace')}"
        raise StoreVersionError(
            f"{source} has {schema}, this version of zq copies schema {SCHEMA}: start a coordinator of this version on it "
            "first, which carries over what it can read"
        )


def _checkpoint_of(env: lmdb.Environment, txn: lmdb.Transaction) -> Checkpoint:
    """Returns what the tables know of their journal; what it says is checked when the copy is opened."""
    try:
        row: Any = txn.get(CHECKPOINT_KEY, db=env.open_db(CHECKPOINT_TABLE.encode(), txn=txn, create=False))
    except lmdb.NotFoundError:
        row = None
    return Checkpoint.from_bytes(None if row is None else row[SUM_BYTES:])


def _is_still(env: lmdb.Environment, checkpoint: Checkpoint) -> bool:
    with env.begin() as txn:
        return _checkpoint_of(env, txn) == checkpoint


def _finish(
    part: Path, tables: tuple[str, ...], records: list[RedoRecord], change: Callable[[Transaction], None] | None
) -> None:
    """Writes into a copy what its tables lack, and that it has no journal."""
    size = (part / DATA_FILE).stat().st_size
    store = LmdbStore(part, tables, LmdbOptions(map_bytes=2 * size + MAP_SPARE, free_bytes_min=0, journal=False))
    try:
        if store.damages:  # in a copy nothing is set aside: it is to be what it was made of
            raise StoreCorruptError(f"{part} is no copy to rely on: {store.damages[0]}")
        tx = store.begin()
        try:
            checkpoint = Checkpoint.from_bytes(tx.get(CHECKPOINT_TABLE, CHECKPOINT_KEY))
            for record in records:
                apply(record, tx)
            leave_log(checkpoint, records[-1].sequence if records else checkpoint.sequence, tx)
            if change is not None:
                change(tx)
        except BaseException:
            tx.abort()
            raise
        tx.commit()
    finally:
        store.close()
