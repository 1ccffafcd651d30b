"""Looks a directory over, and changes nothing: every page, every row and its checksum, the journal, and what is around.

While a coordinator serves, the pages are those of one moment: a reader of LMDB's keeps them from being written over.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

from zq.care.findings import Finding, Weight
from zq.care.surroundings import look_around
from zq.core.storage import Damage
from zq.core.tables import DAMAGED, RECOUNT_KEY, unpack
from zq.errors import StoreError
from zq.store.copying import is_in_use, pinned
from zq.store.hold import DATA_FILE, JOURNAL_FILE
from zq.store.journal import JournalFile
from zq.store.raw import RawFile, RawRow
from zq.store.records import CHECKPOINT_KEY, CHECKPOINT_TABLE, Checkpoint, records_beyond

SHOWN_MAX = 20
"""Broken things that are told one by one; of more, how many there are."""

ADVANCE_ROWS = 1000
"""Rows between two words about how far it is."""

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
    with ExitStack() as opened:
        in_use = is_in_use(path)
        if in_use:
            yield Finding(Weight.FINE, str(path), "a coordinator serves it: what follows is of one moment")
            opened.enter_context(pinned(path))
        try:
            raw = opened.enter_context(RawFile.open(path))
        except StoreError as error:
            yield Finding(Weight.BROKEN, str(path / DATA_FILE), str(error), "restore a backup")
            return
        checkpoint = yield from _rows(raw, str(path / DATA_FILE), advance)
        yield from _journal(path, checkpoint, in_use=in_use)


def _rows(raw: RawFile, where: str, advance: Callable[[int], None] | None) -> Generator[Finding, None, Checkpoint]:
    """Yields what is broken, and returns what the tables know of their journal."""
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
        if row.table == DAMAGED and row.key != RECOUNT_KEY and row.fault is None:
            yield _set_aside(row)
        if row.table == CHECKPOINT_TABLE and row.key == CHECKPOINT_KEY and row.fault is None:
            checkpoint = Checkpoint.from_bytes(row.value)
        if advance is not None and rows % ADVANCE_ROWS == 0:
            advance(rows)
    if broken > SHOWN_MAX:
        yield Finding(Weight.BROKEN, where, f"{broken - SHOWN_MAX} more rows or pages", SALVAGE)
    if not broken:
        text = f"{rows} rows in {len(tables)} tables on {raw.meta.last_page + 1} pages are as they were written"
        yield Finding(Weight.FINE, where, text)
    return checkpoint


def _set_aside(row: RawRow) -> Finding:
    """Returns what was found damaged before, of which nothing is left to do but to know it."""
    damage = Damage(*unpack(row.value))
    if damage.is_mended:
        return Finding(Weight.NOTE, f"table {DAMAGED}", f"was put right: {damage}")
    return Finding(Weight.WARNING, f"table {DAMAGED}", f"was set aside: {damage}", "a backup may have it whole")


def _finding_of(row: RawRow) -> Finding:
    where = f"table {row.table}" if row.table else DATA_FILE
    if row.is_part:
        span = f" (from key {row.key.hex() or 'the first'} to {'the last' if row.stop is None else row.stop.hex()})"
        return Finding(Weight.BROKEN, where, f"{row.fault}{span if row.is_lost and row.table else ''}", SALVAGE)
    return Finding(Weight.BROKEN, where, f"row {row.key.hex()}: {row.fault}", SALVAGE)


def _journal(path: Path, checkpoint: Checkpoint, *, in_use: bool) -> Iterator[Finding]:
    where = str(path / JOURNAL_FILE)
    if not checkpoint.salt:
        yield Finding(Weight.FINE, where, "the tables need none")
        return
    try:
        log = JournalFile.open(path, checkpoint.salt)
        try:
            count = len(records_beyond(checkpoint, log.read(), log.name))
        finally:
            log.close()
    except StoreError as error:
        if in_use:  # it is written while it is read
            yield Finding(Weight.NOTE, where, "changes while it is looked at")
        else:
            yield Finding(Weight.BROKEN, where, str(error), "docs/journal.md says what to do")
        return
    text = f"whole up to record {checkpoint.sequence + count}, of which the tables lack {count}"
    yield Finding(Weight.FINE, where, text)
