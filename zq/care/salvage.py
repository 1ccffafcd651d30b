"""Saves what is left of a directory: all that can be read of it, into a new one, with a report of what is not there.

Rows are read without LMDB, and those of broken pages go without. Of the journal every whole record that the tables lack
is applied, in the order in which they were written; where one is missing, what followed is applied all the same, since
it was answered, and everything is counted anew. The directory itself is only read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from zq.care.repair import mend_all, recount
from zq.care.set_aside import all_set_aside
from zq.core.counters import begin_later
from zq.core.recount import DAMAGED_PROGRESS, DAMAGED_RECORD, DAMAGED_RESULT
from zq.core.remains import ask_recount
from zq.core.state.queue import QueueRecord
from zq.core.storage import Transaction
from zq.core.tables import AT_ENDED, INDEX, QUEUES, TABLES, unpack
from zq.errors import StoreCorruptError, StoreError, StoreLockedError
from zq.store import LmdbOptions, LmdbStore
from zq.store.copying import REPORT_FILE, check_unused, making
from zq.store.damage import copy_rows
from zq.store.draft import MAP_SPARE
from zq.store.hold import DATA_FILE, JOURNAL_FILE
from zq.store.journal import ROOM_MIN, read_remains
from zq.store.raw import RawFile
from zq.store.records import (
    CHECKPOINT_KEY,
    CHECKPOINT_TABLE,
    MAGIC,
    Checkpoint,
    RedoRecord,
    all_records,
    apply,
    leave_log,
    read_chain,
)

DAMAGED_REASONS = frozenset({DAMAGED_RECORD, DAMAGED_RESULT, DAMAGED_PROGRESS})


class Salvaged(NamedTuple):
    """What was saved, and what was not.

    Attributes:
        tasks: that have not ended.
        damaged: rows and parts of tables that could not be taken over.
        ids: of tasks and batches that are known to be gone.
        records: of the journal that were applied.
        records_missing: that were written before others which are there.
        report: the file that names all of it.
    """

    tasks: int
    damaged: int
    ids: int
    records: int
    records_missing: int
    report: str


def salvage(directory: str | Path, target: str | Path, advance: Callable[[int], None] | None = None) -> Salvaged:
    """Makes a new directory of what can be read in one, whatever is broken there, as long as one of the two meta pages
    of its data file is whole. As after a restore, handlers may see again what was done before.

    Args:
        target: where nothing is yet.
        advance: is told now and then how many rows were read.

    Raises:
        StoreLockedError: a coordinator has the directory.
        StoreCorruptError: its data file has no meta page that can be read.
        StoreError: there is something at the target, or one of the two cannot be read or written.
    """
    source, target = Path(directory), Path(target)
    check_unused(source, "stop its coordinator first, or make a backup of it")
    before = _times_of(source)
    with making(source, target) as part:
        with RawFile.open(source) as raw:
            map_bytes = 2 * raw.size + MAP_SPARE
            _, strays = copy_rows(raw, part / DATA_FILE, map_bytes, advance, (*TABLES, CHECKPOINT_TABLE))
            is_older = bool(raw.meta_faults)
            if raw.schema_text is None and not (strays or raw.has_all_tables):
                raise StoreError(f"{source} has nothing that zq wrote, as far as it can be read")
        options = LmdbOptions(map_bytes=map_bytes, free_bytes_min=0, journal=False)
        with closing(LmdbStore(part, (*TABLES, CHECKPOINT_TABLE), options)) as store:
            mend_all(store)
            log = _add_records(source, store, is_older=is_older)
            notes = recount(store)
            tx = store.begin()
            try:
                lines = [*_lines_of(tx), *log.lines, *({"what": "recount", "why": note} for note in notes)]
                tasks = sum(_unfinished(QueueRecord(*unpack(value))) for _, value in tx.scan(QUEUES))
            finally:
                tx.abort()
        if strays:
            lines.append({"what": "strays", "why": f"{strays} rows were found on pages that nothing leads to any more"})
        _write_report(part / REPORT_FILE, lines)
        if _times_of(source) != before:
            raise StoreLockedError(f"{source} was written while it was read: stop its coordinator first")
    kinds = [line["what"] for line in lines]
    damaged, ids = kinds.count("damaged"), kinds.count("id")
    return Salvaged(tasks, damaged, ids, log.applied, log.missing, str(target / REPORT_FILE))


def _times_of(directory: Path) -> list[tuple[int, int, int] | None]:
    """Returns what is another when the files of a directory are written, or others have their names."""
    found = [directory / name for name in (DATA_FILE, JOURNAL_FILE)]
    about = [path.stat() if path.exists() else None for path in found]
    return [None if one is None else (one.st_ino, one.st_size, one.st_mtime_ns) for one in about]


class _Log:
    """What the journal had, and what of it is missing."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.applied = 0
        self.missing = 0

    def tell(self, why: str, **more: Any) -> None:
        self.lines.append({"what": "journal", "why": why, **more})


def _add_records(source: Path, store: LmdbStore, *, is_older: bool) -> _Log:
    """Applies what the tables lack of the journal, and has everything counted anew."""
    log = _Log()
    tx = store.begin()
    try:
        row = tx.get(CHECKPOINT_TABLE, CHECKPOINT_KEY)
        checkpoint = Checkpoint.from_bytes(row)
        is_known = row is not None and not (is_older and not checkpoint.salt)
        last = checkpoint.sequence
        for record in _records(source, checkpoint, log, is_known=is_known):
            if last and record.sequence > last + 1:
                count = record.sequence - last - 1
                log.missing += count
                why = f"records {last + 1} to {record.sequence - 1} are gone; what follows them is applied"
                log.tell(why, first=last + 1, count=count)
            last = record.sequence
            _apply(record, tx, log)
        leave_log(checkpoint, last, tx)
        begin_later(tx)
        ask_recount(tx, TABLES)
    except BaseException:
        tx.abort()
        raise
    tx.commit()
    return log


def _records(source: Path, checkpoint: Checkpoint, log: _Log, *, is_known: bool) -> Iterator[RedoRecord]:
    """Yields the records to be applied, in order.

    Args:
        is_known: whether the tables say which records they have.
    """
    if is_known and not checkpoint.salt:
        return
    try:
        salt, data = read_remains(source)
    except OSError as error:
        if checkpoint.salt or not isinstance(error, FileNotFoundError):
            why = f"it cannot be read ({error.strerror}): what was answered after record {checkpoint.sequence} is gone"
            log.tell(why, first=checkpoint.sequence + 1)
        return
    if is_known and salt and salt != checkpoint.salt:
        log.tell(f"it belongs to another directory: what was answered after record {checkpoint.sequence} is gone")
        return
    salt = checkpoint.salt if is_known else salt
    if not salt:
        log.tell("its head is not whole, and the tables do not say either how to read it")
        return
    found = all_records(data, salt)
    if is_known:
        found = [one for one in found if one.sequence > checkpoint.sequence]
    else:
        log.tell("the tables do not say which records they have: those of it are applied again")
        found = _latest(found, read_chain(memoryview(data), salt))
    yield from found
    last, place = (found[-1].sequence, found[-1].end) if found else (checkpoint.sequence, 0)
    if len(data) < ROOM_MIN or len(data) % ROOM_MIN:
        log.tell(f"it was cut off: what was answered after record {last}, if anything was, is gone", first=last + 1)
    elif data.startswith(MAGIC, place) and int.from_bytes(data[place + 8 : place + 16], "big") == last + 1:
        why = f"record {last + 1} at byte {place} is not whole: it was never answered, or damaged later"
        log.tell(why, first=last + 1)


def _latest(found: list[RedoRecord], chain: list[RedoRecord]) -> list[RedoRecord]:
    """Returns those that were written since the last checkpoint or just before it, so that to apply them once more
    changes nothing: from the first place on; where nothing is whole there, the last ones without a gap.
    """
    if chain:
        return [one for one in found if one.sequence >= chain[0].sequence]
    latest: list[RedoRecord] = []
    for one in found:
        latest = [*latest, one] if latest and latest[-1].sequence + 1 == one.sequence else [one]
    return latest


def _apply(record: RedoRecord, tx: Transaction, log: _Log) -> None:
    try:
        apply(record, tx)
        log.applied += 1
    except (StoreCorruptError, ValueError, TypeError) as error:
        log.missing += 1
        log.tell(f"record {record.sequence} is not applied: {error}", first=record.sequence, count=1)


# The report.


def _lines_of(tx: Transaction) -> Iterator[dict[str, Any]]:
    for one in all_set_aside(tx):
        if not one.damage.is_mended:
            yield {"what": "damaged", **one.as_map()}
    for key, value in tx.scan(INDEX):
        record = unpack(value)
        if record[0] == AT_ENDED and record[4] in DAMAGED_REASONS:
            yield {"what": "id", "id": key.decode(errors="replace"), "why": record[4]}


def _unfinished(queue: QueueRecord) -> int:
    return sum(queue.waiting) + queue.leased + queue.scheduled + queue.parked


def _write_report(path: Path, lines: list[dict[str, Any]]) -> None:
    with path.open("x", encoding="utf-8") as file:
        path.chmod(0o600)
        file.writelines(f"{json.dumps(line)}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
