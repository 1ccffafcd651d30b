"""Opens a directory: its tables, and the journal before them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from zq.errors import StoreFullError
from zq.store.journal import JournalFile, check_not_alone, remove_stray
from zq.store.journaled import JournaledStore
from zq.store.lmdb import LmdbOptions, LmdbStore
from zq.store.records import CHECKPOINT_KEY, CHECKPOINT_TABLE, Checkpoint

DiskStore = JournaledStore | LmdbStore
"""What a directory is opened as."""


def open_store(path: str | Path, tables: tuple[str, ...], options: LmdbOptions | None = None) -> DiskStore:
    """Locks and opens a directory, makes it if need be, and applies what its journal has beyond its tables.

    Args:
        tables: their names.
        options: how much room it may take, and whether there is to be a journal from now on.

    Raises:
        StoreLockedError: another process has it; the text says which.
        StoreVersionError: another version of zq wrote it.
        StoreCorruptError: what is there is not LMDB's, or something is gone that was answered.
        StoreFullError: it needs a larger map to be opened in.
        StoreError: it cannot be made, read or written.
    """
    options = options or LmdbOptions()
    check_not_alone(Path(path))
    disk = LmdbStore(path, (*tables, CHECKPOINT_TABLE), options)
    try:
        return _with_journal(disk, has_journal=options.journal)
    except StoreFullError as error:
        disk.close()
        raise StoreFullError(
            f"{path} is full to the brim of its map of {options.map_bytes >> 20} MiB, and cannot be opened in it: give a "
            "larger one, by --map-mib or LmdbOptions(map_bytes=...); nothing is lost"
        ) from error
    except BaseException:
        disk.close()
        raise


def _with_journal(disk: LmdbStore, *, has_journal: bool) -> DiskStore:
    salt = _salt_of(disk)
    if not salt and not has_journal:
        remove_stray(disk.folder.reach())
        return disk
    log = JournalFile.open(disk.folder, salt) if salt else None
    try:
        store = JournaledStore(disk, log, make_log=partial(JournalFile.make, disk.folder))
        store.note_read = disk.note_read
        if has_journal:
            return store
        store.leave_log()
    except BaseException:
        if log is not None:
            log.close()
        raise
    return disk


def _salt_of(disk: LmdbStore) -> bytes:
    tx = disk.begin()
    try:
        return Checkpoint.from_bytes(tx.get(CHECKPOINT_TABLE, CHECKPOINT_KEY)).salt
    finally:
        tx.abort()
