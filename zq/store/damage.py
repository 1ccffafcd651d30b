"""What is damaged in a directory, and what is done about it: rows are set aside, a file with broken pages is made anew.

Before anything is opened the file is looked at without LMDB (`zq.store.raw`). A row that does not match its checksum is
moved into the table `damaged`, in one transaction for all that were found. Where pages are broken, nothing may be
written beside them: a new file is made of the rows that can be read, and takes the place of the old one, which stays
beside it. What cannot be read is a row of `damaged`, too, by the keys between which it was. In either case a row there
says of which tables something is gone, and whoever opens the books counts anew (`zq.core.recount`).

A row whose key has one flipped bit is found out by its checksum, and put where it belongs. So are the rows of tables of
which no payload is a part, whatever bit it is: without them nobody knows what a queue is called.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import lmdb

from zq.core import tables
from zq.core.storage import Damage
from zq.core.sums import SUM_BYTES, is_whole, salt_of, sealed
from zq.core.tables import SCHEMA
from zq.errors import StoreCorruptError, StoreError
from zq.store.carrying import INFO_TABLE, readable, refusal, schema_rows
from zq.store.hold import DATA_FILE, flush, forget_readers
from zq.store.raw import LIST_OF_TABLES, MISPLACED, RawFile, RawRow
from zq.store.records import CHECKPOINT_TABLE

log = logging.getLogger(__name__)

PAGES_MAX: Final = 4096
"""Pages in use up to which all of a file is looked at when it is opened: a tenth of a second. What is damaged in a
larger one is found when it is read.
"""

REBUILT_FILE: Final = "data.rebuilt"
"""What the new data file is called while it is made."""

KEPT_FILES: Final = "data.damaged-"
"""What the name of a file begins with that had broken pages, and of which another one was made; a number follows."""

KEPT_FILES_MAX: Final = 3
"""Of these: each may be as large as the store."""

MENDED_BYTES_MAX: Final = 1024
"""Of a row of which every bit is tried."""

BOOKKEEPING: Final = (tables.META, tables.QUEUES, CHECKPOINT_TABLE)

_COMMIT_ROWS = 5000

_LOOKS_MAX = 5
"""At a file that is written meanwhile."""


class Look(NamedTuple):
    """What was seen of a data file.

    Attributes:
        rows: what is damaged.
        schema: what it says of its schema; None when nothing is in it yet.
    """

    rows: list[RawRow]
    schema: bytes | None


def check_ours(directory: Path, *, is_read_only: bool = False) -> None:
    """Raises when zq did not write what is in a directory, before anything there is written, made or locked. It says
    nothing of one that has no data file, or one that is empty or may not be read.

    Args:
        is_read_only: whether it will only be read, and of one that does not tell its tables what it can.

    Raises:
        StoreVersionError: another version of zq wrote it, or something else.
        StoreCorruptError: it is no file of LMDB, or does not tell which tables it has.
    """
    for _ in range(_LOOKS_MAX):
        if not _is_to_be_looked_at(directory / DATA_FILE):
            return
        with RawFile.open(directory) as raw:
            trouble = _trouble_of(raw, directory)
        if trouble is None or (is_read_only and isinstance(trouble, StoreCorruptError)):
            return
        with RawFile.open(directory) as again:
            if again.meta == raw.meta:  # else it is written meanwhile, and pages are of one moment and another
                raise trouble


def _is_to_be_looked_at(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0 and os.access(path, os.R_OK)


def _trouble_of(raw: RawFile, directory: Path) -> StoreError | None:
    faults = list(raw.first_faults())
    try:
        _check_length(raw, directory / DATA_FILE, faults)
        _check_list(directory, faults)
    except StoreCorruptError as error:
        return error
    if raw.schema_text is not None and readable(raw.schema_text) is None:
        return refusal(str(directory), raw.schema_text)
    return refusal(str(directory), None) if _is_foreign(raw, faults) else None


def _is_foreign(raw: RawFile, faults: Iterable[RawRow]) -> bool:
    """Returns whether a file whose list of tables can be read has something, and nothing that tells of a schema."""
    if raw.schema_text is not None or raw.has_all_tables or _lost_list(faults) is not None:
        return False
    trees = raw.tables()
    is_ours = set(trees) <= {INFO_TABLE} and not any(tree.entries for tree in trees.values())  # which is made first
    return not is_ours or raw.meta.main.entries != len(trees)


def _lost_list(faults: Iterable[RawRow]) -> RawRow | None:
    return next(
        (row for row in faults if row.is_lost and not row.table and str(row.fault).startswith(LIST_OF_TABLES)), None
    )


def look(directory: Path, *, is_thorough: bool) -> Look:
    """Looks for what is damaged in a data file: at all of it only up to PAGES_MAX, unless that is to be thorough.

    Raises:
        StoreCorruptError: it is no file of LMDB, or it was cut off.
        StoreVersionError: another version of zq wrote it, or somebody else.
        StoreError: it cannot be read.
    """
    path = directory / DATA_FILE
    if path.stat().st_size == 0:
        raise StoreCorruptError(
            f"{path} is empty: a copy that failed, or a disk that was repaired. Restore a backup of the whole directory; "
            f"to begin anew, remove {DATA_FILE}, `lock` and `journal`"
        )
    with RawFile.open(directory) as raw:
        found = list(raw.first_faults())
        if _is_foreign(raw, found):
            raise refusal(str(directory), None)
        if raw.schema_text is not None and readable(raw.schema_text) is None:
            raise refusal(str(directory), raw.schema_text)
        pages = sum(tree.pages + tree.overflow_pages for tree in raw.tables().values())
        if not found and not is_thorough and pages > PAGES_MAX and raw.size >= raw.meta.bytes_min:
            return Look([], raw.schema_text)
        found = list(raw.rows(only_faults=True))
        _check_length(raw, path, found)
        _check_list(directory, found)
    _check_journal(path, found)
    return Look(found, raw.schema_text)


def _check_length(raw: RawFile, path: Path, found: list[RawRow]) -> None:
    """Raises StoreCorruptError when something that was looked for is beyond the end of the file."""
    if raw.is_cut_off or (raw.size < raw.meta.bytes_min and _lost_list(found) is not None):
        raise StoreCorruptError(
            f"{path} is damaged: {raw.about_size}. Restore a backup of the whole directory, or save what is left with `zq salvage`"
        )


def _check_list(directory: Path, found: list[RawRow]) -> None:
    """Raises when nobody knows which tables there are: a directory must not be taken for an empty one."""
    lost = _lost_list(found)
    if lost is not None:
        raise StoreCorruptError(
            f"{directory / DATA_FILE} is damaged where it says which tables it has ({lost.fault}): restore a backup of the whole "
            "directory, or save what is left with `zq salvage`, which finds rows page by page"
        )


def _check_journal(name: Path, found: list[RawRow]) -> None:
    """Raises StoreCorruptError when nobody knows any more which records of the journal the tables have."""
    for row in found:
        is_its = row.table == CHECKPOINT_TABLE or (not row.table and row.key == CHECKPOINT_TABLE.encode())
        if is_its and mend_row(row) is None:
            raise StoreCorruptError(
                f"{name} is damaged where it says which records of the journal it has ({row.fault}): restore a backup of the "
                "whole directory, or save what is left with `zq salvage`"
            )


def rebuild(directory: Path, map_bytes: int) -> list[Damage]:
    """Makes the data file anew of all that can be read in it; the old one stays beside it, under another name.

    Raises:
        StoreError: there is no room for it, say; everything is as it was.
    """
    made = directory / REBUILT_FILE
    made.unlink(missing_ok=True)
    log.warning("%s has broken pages: it is made anew of what can be read", directory / DATA_FILE)
    try:
        with RawFile.open(directory) as raw:
            found, _ = copy_rows(raw, made, map_bytes)
        flush(made)
        _take_place(made, directory / DATA_FILE)
        flush(directory)
    except (lmdb.Error, OSError) as error:
        made.unlink(missing_ok=True)
        raise StoreError(
            f"{directory / DATA_FILE} has broken pages, and there was no making it anew of what can be read: {error}"
        ) from error
    return found


def _take_place(made: Path, path: Path) -> None:
    before = kept_files(path.parent)
    kept = path.with_name(f"{KEPT_FILES}{max(before, default=0) + 1}")
    kept.hardlink_to(path)
    forget_readers(path.parent)
    made.rename(path)
    log.warning("the damaged file is kept as %s; nothing reads it, and it may be removed", kept)
    for number in sorted(before)[: -KEPT_FILES_MAX + 1]:
        before[number].unlink(missing_ok=True)
        log.warning("%s is removed: of damaged files, the last %d are kept", before[number], KEPT_FILES_MAX)


def kept_files(directory: Path) -> dict[int, Path]:
    """Returns the data files that are kept since they had broken pages, by their numbers."""
    found = {one.name.removeprefix(KEPT_FILES): one for one in directory.glob(f"{KEPT_FILES}*")}
    return {int(number): one for number, one in found.items() if number.isdecimal()}


def copy_rows(
    raw: RawFile,
    made: Path,
    map_bytes: int,
    advance: Callable[[int], None] | None = None,
    strays_of: Iterable[str] = (),
) -> tuple[list[Damage], int]:
    """Makes a data file of all that can be read in another one; what cannot be is in its table `damaged`.

    Args:
        advance: is told now and then how many rows were read.
        strays_of: tables of which rows are looked for on pages that nothing leads to, where a part of any is lost.

    Returns:
        What is damaged, and how many rows were found on such pages.

    Raises:
        lmdb.Error: of what is written.
    """
    now, found, mended = time.time(), [], []
    env = lmdb.open(str(made), map_size=max(map_bytes, 2 * raw.size), subdir=False, lock=False, max_dbs=64, sync=False)
    try:
        copier = _Copier(env)
        for count, row in enumerate(raw.rows(), 1):
            if advance is not None and count % _COMMIT_ROWS == 0:
                advance(count)
            if row.fault is None:
                copier.put(row.table, row.key, row.stored)
                continue
            right = mend_row(row)
            found.append(_damage_of(row, now, is_mended=right is not None))
            mended += [] if right is None else [right]
        for table, key, stored in mended:
            copier.put_default(table, key, stored)  # what is there by now is newer
        strays = 0
        if any(one.is_part for one in found):
            strays = sum(copier.put_default(row.table, row.key, row.stored) for row in raw.stray_rows(strays_of))
        for key, stored in schema_rows(raw.schema_text or b"%d" % SCHEMA).items():
            copier.put_default(INFO_TABLE, key, stored)
        copier.commit()
        _note(env, found)
    finally:
        env.close()
    return found, strays


class _Copier:
    """Writes rows into a new environment, some thousands in a transaction."""

    def __init__(self, env: lmdb.Environment) -> None:
        self._env = env
        self._dbs: dict[str, Any] = {}
        self._rows = 0
        self._txn = env.begin(write=True)

    def put(self, table: str, key: bytes, stored: bytes) -> None:
        self._txn.put(key, stored, db=self._db(table))
        self._rows += 1
        if self._rows % _COMMIT_ROWS == 0:
            self.commit()
            self._txn = self._env.begin(write=True)

    def put_default(self, table: str, key: bytes, stored: bytes) -> bool:
        return self._txn.put(key, stored, db=self._db(table), overwrite=False)

    def commit(self) -> None:
        self._txn.commit()

    def _db(self, table: str) -> Any:
        if table not in self._dbs:
            self._dbs[table] = self._env.open_db(table.encode(), txn=self._txn)
        return self._dbs[table]


def set_aside(env: lmdb.Environment, rows: Sequence[RawRow], error: StoreCorruptError | None = None) -> list[Damage]:
    """Moves rows into the table `damaged`, in one transaction, and puts right what can be.

    Args:
        env: to be written.
        rows: what was found in it.
        error: names another row, which may be whole by its checksum, and of which nobody can make anything.

    Raises:
        lmdb.Error: of what is read or written.
    """
    if error is not None and error.table and not any(_is_of(error, row) for row in rows):
        rows = [*rows, *_row_of(env, error)]
    if not rows:
        return []
    now, found = time.time(), []
    wanted: dict[str, set[tuple[bytes, bytes]]] = {}
    for row in rows:
        wanted.setdefault(row.table, set()).add((row.key, row.stored))
    with env.begin(write=True) as txn:
        for table, of_table in wanted.items():
            db = env.open_db(table.encode(), txn=txn)
            taken = list(_take_out(txn, db, of_table))
            for key, stored in taken:
                row = next(one for one in rows if (one.table, one.key, one.stored) == (table, key, stored))
                right = mend_row(row)
                found.append(_damage_of(row, now, is_mended=right is not None))
                if right is not None:
                    txn.put(right[1], right[2], db=db, overwrite=False)  # what is there by now is newer
        _note_in(env, txn, found)
    return found


def _is_of(error: StoreCorruptError, row: RawRow) -> bool:
    return (row.table, row.key) == (error.table, error.key)


def _row_of(env: lmdb.Environment, error: StoreCorruptError) -> list[RawRow]:
    db = env.open_db(error.table.encode())
    with env.begin(db=db) as txn:
        stored: Any = txn.get(error.key)
    return [] if stored is None else [RawRow(error.table, error.key, stored, str(error))]


def _take_out(txn: lmdb.Transaction, db: Any, wanted: set[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """Deletes rows by where they are found, for a search by their keys may not come to them."""
    with txn.cursor(db) as cursor:
        is_there = cursor.first()
        while is_there and wanted:
            row = cursor.item()
            if row in wanted:
                wanted.discard(row)
                is_there = cursor.delete()
                yield row
            else:
                is_there = cursor.next()


def _note(env: lmdb.Environment, found: list[Damage]) -> None:
    with env.begin(write=True) as txn:
        _note_in(env, txn, found)


def _note_in(env: lmdb.Environment, txn: lmdb.Transaction, found: list[Damage]) -> None:
    """Writes what was found into the table of it, and from which row on a recount has to look."""
    if not found:
        return
    db, salt = env.open_db(tables.DAMAGED.encode(), txn=txn), salt_of(tables.DAMAGED)
    with txn.cursor(db) as cursor:
        number = int.from_bytes(cursor.key()[1:9], "big") + 1 if _to_last(cursor) else 1
    rows = [(tables.damaged_key(number + n), one.record()) for n, one in enumerate(found)]
    before = txn.get(tables.RECOUNT_KEY, db=db)
    gone, first = ((), number) if before is None else tables.unpack(bytes(before)[SUM_BYTES:])
    rows.append((tables.RECOUNT_KEY, tables.pack((sorted({*gone, *(one.table for one in found)}), first))))
    for key, value in rows:
        txn.put(key, sealed(salt, key, value), db=db)


def _to_last(cursor: lmdb.Cursor) -> bool:
    """Goes to the last row that says what was set aside; returns whether there is one."""
    is_there = cursor.last()
    while is_there and not tables.is_damaged_key(bytes(cursor.key())):
        is_there = cursor.prev()
    return is_there


def _damage_of(row: RawRow, now: float, *, is_mended: bool) -> Damage:
    is_mended = is_mended or (row.is_part and not row.is_lost)  # whose rows are all there
    why = f"{row.fault}; it was put right" if is_mended else str(row.fault)
    return Damage(row.table, row.key, row.stop, row.stored, why, now, row.is_part, is_mended)


def mend_row(row: RawRow) -> tuple[str, bytes, bytes] | None:
    """Returns table, key and what is stored of a row of which one bit was flipped; None when that is not what it has,
    or when the bit is of a payload: nobody guesses at these.
    """
    table, key, stored = row.table, row.key, row.stored
    if row.right is not None:
        return table, *row.right
    if row.is_part or table == INFO_TABLE or len(stored) < SUM_BYTES:
        return None
    salt = salt_of(table)
    if row.fault == MISPLACED:
        return table, key, stored
    for other in _flipped(key):
        if is_whole(salt, other, stored):
            return table, other, stored
    if table in BOOKKEEPING and len(stored) <= MENDED_BYTES_MAX:
        for other in _flipped(stored):
            if is_whole(salt, key, other):
                return table, key, other
    return None


def _flipped(data: bytes) -> Iterator[bytes]:
    for place in range(len(data)):
        for bit in range(8):
            yield data[:place] + bytes((data[place] ^ 1 << bit,)) + data[place + 1 :]
