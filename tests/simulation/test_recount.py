"""A recount changes nothing where nothing is gone, and makes books that agree with themselves of whatever is left; both
at each start in storms, when there is most to be counted.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.simulation.invariants import check_books
from tests.simulation.kitchen import run
from zq.core import tables
from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.recount import Recount
from zq.core.storage import Damage, Transaction
from zq.store import MemoryStore

SEEDS = 8
LOSSES = 2
"""Books that are made of each start, each without some of the rows."""

Rows = dict[tuple[str, bytes], bytes]


def rows_in(tx: Transaction) -> Rows:
    return {(table, key): value for table in tables.TABLES for key, value in tx.scan(table)}


def check_loss(rows: Rows, draw: random.Random, seen: Counter[str]) -> None:
    """Takes some rows away, as a store does that sets them aside, and opens the books."""
    store = MemoryStore(tables.TABLES)
    for (table, key), value in rows.items():
        store.set(table, key, value)
    by_table: dict[str, list[tuple[str, bytes]]] = {}
    for row in sorted(rows):
        by_table.setdefault(row[0], []).append(row)
    drawn = [draw.choice(by_table[draw.choice(sorted(by_table))]) for _ in range(draw.choice((1, 1, 3, 10)))]
    lost = sorted(set(drawn))
    for number, (table, key) in enumerate(lost, 1):
        store.set(table, key, None)
        damage = Damage(table, key, None, b"\0\0\0\0" + rows[table, key], "it is tried", 0.0)
        store.set(tables.DAMAGED, tables.damaged_key(number), damage.record())
        seen[table] += 1
    names = sorted({table for table, _ in lost})
    store.set(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack((names, 1)))
    for _ in range(2):
        machine = Machine(CoordinatorOptions(), Now(1e6, 2e9), store)
        assert machine.damaged >= len(lost)
        tx = store.begin()
        check_books(machine.books, tx)
        tx.put(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack(((), 1 << 40)))  # and once more, with nothing new
        tx.commit()


def check_told(notes: list[str], before: Rows, after: Rows) -> None:
    """Each row that was dropped, rebuilt or put right is counted in words."""
    changed: Counter[str] = Counter()
    for table, key in before.keys() | after.keys():
        old, new = before.get((table, key)), after.get((table, key))
        if old != new and table not in (tables.META, tables.DAMAGED):
            kind = "dropped" if new is None else "rebuilt from others" if old is None else "put right by others"
            changed[f"table {table}: rows {kind}"] += 1
    told = [note.partition(",")[0] for note in notes if note.startswith("table ")]
    assert sorted(told) == sorted(f"{text}: {count}" for text, count in changed.items())


def test_recounts_of_stormy_books(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Recount.run
    seen: Counter[str] = Counter()
    draw = random.Random(20261129)
    is_inside = False

    def recount_always(self: Recount) -> bool:
        nonlocal is_inside
        before = rows_in(self.tx)
        is_asked = (tables.DAMAGED, tables.RECOUNT_KEY) in before  # by another check
        if is_inside or is_asked or (tables.META, tables.COUNTERS_KEY) not in before:
            has_recounted = real(self)
            check_told(self.notes, before, rows_in(self.tx))
            seen["told"] += len(self.notes)
            return has_recounted
        self.tx.put(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack(((), 1)))
        assert real(self)
        assert rows_in(self.tx) == before
        assert self.notes == []
        seen["recounts"] += 1
        is_inside = True
        try:
            for _ in range(LOSSES):
                check_loss(before, draw, seen)
        finally:
            is_inside = False
        return True

    monkeypatch.setattr(Recount, "run", recount_always)

    for seed in range(SEEDS):
        run(seed)

    assert seen["recounts"] > SEEDS < seen["told"]
    assert not {tables.PENDING, tables.INDEX, tables.QUEUES, tables.LINES, tables.GROUPS, tables.LEASES} - set(seen)
