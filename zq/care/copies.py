"""Copies of a directory: a backup while it is in use, a restored one, and itself without what is free in it."""

from __future__ import annotations

from pathlib import Path

from zq.core.counters import begin_later
from zq.core.storage import Transaction
from zq.core.tables import TABLES
from zq.store.copying import Copied, check_there, check_unused, copy_store
from zq.store.lmdb import LmdbStore


def back_up(directory: str | Path, target: str | Path) -> Copied:
    """Copies a directory, of a coordinator that may be running, into a new one that is whole by itself: with all that
    was answered before this was called.

    Args:
        target: where nothing is yet.

    Raises:
        StoreError: there is something at the target, or one of the two cannot be read or written.
        StoreVersionError: another version of zq wrote it, or something else.
        StoreCorruptError: something is gone that was answered.
    """
    return copy_store(Path(directory), Path(target), TABLES)


def restore(backup: str | Path, target: str | Path) -> Copied:
    """Makes the directory of a coordinator from a backup, which stays as it is.

    What was done since the backup is done again. Its epoch is far above those of the life that is over, so that no
    completion which a worker still has from there is taken for one of a task that was handed out anew.

    Args:
        backup: made by `back_up`, or a copy of a whole directory.
        target: where nothing is yet.

    Raises: as `back_up`; StoreCorruptError also when a row is not as it was written.
    """
    return copy_store(Path(backup), Path(target), TABLES, _begin_anew)


def _begin_anew(tx: Transaction) -> None:
    for table in TABLES:
        for _ in tx.scan(table):  # which looks at its checksum
            pass
    begin_later(tx)


def compact(directory: str | Path) -> tuple[int, int]:
    """Writes the data file of a directory anew, without what is free in it; no coordinator may be running.

    Returns:
        Its bytes before and after.

    Raises:
        StoreLockedError: a coordinator has it.
        StoreError: there is none, or no room for a second file beside it, or it cannot be read or written; it is as it
            was.
        StoreVersionError: another version of zq wrote it, or something else.
    """
    path = Path(directory)
    check_there(path)
    check_unused(path, "stop its coordinator first")
    store = LmdbStore(path, TABLES)
    try:
        return store.compact()
    finally:
        store.close()
