"""Looks a directory over, and changes nothing: every page, every row and its checksum, the journal, and what is around.

While a coordinator serves, the pages are those of one moment: a reader of LMDB's keeps them from being written over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

from zq.care.counting import SHOWN_MAX, find_miscounts
from zq.care.findings import Finding, Weight
from zq.care.set_aside import all_set_aside
from zq.care.surroundings import look_around
from zq.core.recounted import all_changes, notes_of
from zq.core.tables import DAMAGED, SCHEMA, TABLES
from zq.errors import StoreCorruptError, StoreError
from zq.store.copying import is_in_use
from zq.store.damage import check_ours
from zq.store.draft import DraftTransaction, LmdbRows, reading
from zq.store.hold import DATA_FILE, JOURNAL_FILE
from zq.store.journal import read_beyond
from zq.store.raw import RawFile, RawRow
from zq.store.records import CHECKPOINT_KEY, CHECKPOINT_TABLE, Checkpoint, RedoRecord, apply

ADVANCE_ROWS = 1000
"""Rows between two words about how far it is."""

REMEDY = (
    "zq doctor DIR --repair sets it aside, zq salvage DIR --to DIR2 takes over what can be read; a backup has all of it"
)

SALVAGE = "zq salvage DIR --to DIR2 takes over what can be read; a backup has all of it"


def examine(directory: str | Path, advance: Callable[[int], None] | None = None) -> Iterator[Finding]:
    """Yields what is found of a directory, the surroundings first.

    Args:
        advance: is told now and then how many rows were read.

    Raises:
        StoreError: there is no such directory.
    """
    path = Path(directory)
    if not path.is_dir():
        raise StoreError(f"{path} is no directory: expected that of a coordinator")
    yield from look_around(path)
    if not (path / DATA_FILE).is_file():
        return
    try:
        check_ours(path, is_read_only=True)
    except StoreError as error:
        yield Finding(
            Weight.BROKEN, str(path / DATA_FILE), str(error), SALVAGE if isinstance(error, StoreCorruptError) else ""
        )
        return
    with ExitStack() as opened:
        in_use = is_in_use(path)
        rows: LmdbRows | None = None
        if in_use:
            yield Finding(Weight.FINE, str(path), "a coordinator serves it: what follows is of one moment")
            rows = opened.enter_context(reading(path, (*TABLES, CHECKPOINT_TABLE), in_use=True))
        try:
            raw = opened.enter_context(RawFile.open(path))
        except StoreError as error:
            yield Finding(Weight.BROKEN, str(path / DATA_FILE), str(error), "look as its owner")
            return
        checkpoint, broken = yield from _rows(raw, str(path / DATA_FILE), advance)
        records = yield from _journal(path, checkpoint, in_use=in_use)
        if broken or raw.schema != SCHEMA:
            why = "something is broken" if broken else f"it is of schema {raw.schema}"
            yield Finding(Weight.NOTE, str(path), f"nothing was counted, since {why}")
            return
        if rows is None:
            rows = opened.enter_context(reading(path, (*TABLES, CHECKPOINT_TABLE), in_use=False))
        yield from _counts(rows, records, str(path))


def _counts(rows: LmdbRows, records: list[RedoRecord], where: str) -> Iterator[Finding]:
    """Yields what was set aside before, and what the counts have wrong."""
    for one in all_set_aside(rows):
        weight = Weight.NOTE if one.damage.is_mended else Weight.WARNING
        yield Finding(
            weight, f"table {DAMAGED}", str(one), "" if one.damage.is_mended else "a backup may have it whole"
        )
    for text in notes_of(all_changes(rows)):
        yield Finding(Weight.NOTE, where, f"of what was counted anew since it was made, {text}")
    draft = DraftTransaction(rows)
    for record in records:
        apply(record, draft)
    found = list(find_miscounts(DraftTransaction(draft)))
    yield from found
    if not found:
        yield Finding(Weight.FINE, where, "the counts are those of what is there, and nothing names what is not")


def _rows(
    raw: RawFile, where: str, advance: Callable[[int], None] | None
) -> Generator[Finding, None, tuple[Checkpoint, int]]:
    """Yields what is broken, and returns what the tables know of their journal, and how much is broken."""
    checkpoint = Checkpoint()
    tables: set[str] = set()
    rows = broken = 0
    for row in raw.rows():
        if row.fault is not None:
            broken += 1
            if broken <= SHOWN_MAX:
                yield _finding_of(row)
        if row.is_part:
            continue
        rows += 1
        tables.add(row.table)
        if row.table == CHECKPOINT_TABLE and row.key == CHECKPOINT_KEY and row.fault is None:
            checkpoint = Checkpoint.from_bytes(row.value)
        if advance is not None and rows % ADVANCE_ROWS == 0:
            advance(rows)
    if broken > SHOWN_MAX:
        yield Finding(Weight.BROKEN, where, f"{broken - SHOWN_MAX} more rows or pages", REMEDY)
    if not broken:
        text = f"{rows} rows in {len(tables)} tables on {raw.meta.last_page + 1} pages are as they were written"
        yield Finding(Weight.FINE, where, text)
    return checkpoint, broken


def _finding_of(row: RawRow) -> Finding:
    where = f"table {row.table}" if row.table else DATA_FILE
    if row.is_part:
        span = f" (from key {row.key.hex() or 'the first'} to {'the last' if row.stop is None else row.stop.hex()})"
        return Finding(Weight.BROKEN, where, f"{row.fault}{span if row.is_lost and row.table else ''}", REMEDY)
    return Finding(Weight.BROKEN, where, f"row {row.key.hex()}: {row.fault}", REMEDY)


def _journal(path: Path, checkpoint: Checkpoint, *, in_use: bool) -> Generator[Finding, None, list[RedoRecord]]:
    """Yields what there is to say of the journal, and returns what the tables lack of it."""
    where = str(path / JOURNAL_FILE)
    if not checkpoint.salt:
        yield Finding(Weight.FINE, where, "the tables need none")
        return []
    try:
        records = read_beyond(path, checkpoint)
    except StoreError as error:
        if in_use:  # it is written while it is read
            yield Finding(Weight.NOTE, where, "changes while it is looked at")
        else:
            yield Finding(Weight.BROKEN, where, str(error), SALVAGE)
        return []
    text = f"whole up to record {checkpoint.sequence + len(records)}, of which the tables lack {len(records)}"
    yield Finding(Weight.FINE, where, text)
    return [] if in_use else records  # the tables are those of one moment, whole by themselves
