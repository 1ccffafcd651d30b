"""Rows that rot in the midst of a storm: each is set aside, and all else is counted right and can be served."""

from __future__ import annotations

import random

import pytest

from tests.simulation import rot as rot_of_rows
from tests.simulation.disk import Disk
from tests.simulation.invariants import check_books
from tests.simulation.kitchen import Kitchen, _storm, run
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.peers import Customer, Worker
from tests.simulation.world import World
from zq.core import tables
from zq.core.coordinator import Machine
from zq.core.options import Now
from zq.core.recount import Recount
from zq.core.storage import Damage
from zq.core.tables import TABLES
from zq.errors import StoreCorruptError
from zq.store.memory import MemoryStore
from zq.store.records import CHECKPOINT_TABLE

ROTTING = (tables.PENDING, tables.PARKED, tables.SCHEDULED, tables.DEAD, tables.PROGRESS, tables.LEASES, tables.RESULTS)

SEEDS = 12

RUNNING_SEEDS = (0, 1, 2, 17, 23, 32, 40, 54)
"""In which rows rot in the running loop: those in which each fault that is planted there is caught."""


def storm(seed: int) -> Kitchen:
    """Returns a coordinator in the midst of a storm."""
    world, ledger = World(seed), Ledger()
    ledger.has_replays = world.has_replays
    kitchen = Kitchen(world, ledger, Disk(world, seed))
    queues = ("pizza", "pasta", "boxes", "joined", "complaints")
    customers = [Customer(world, ledger, name) for name in ("ann", "bob")]
    _storm(world, kitchen, customers, [Worker(world, ledger, f"shop-{i}", queues) for i in range(2)], 6)
    return kitchen


def copied(kitchen: Kitchen) -> MemoryStore:
    store = MemoryStore((*TABLES, CHECKPOINT_TABLE))
    for table, values in kitchen.disk.tables.values.items():
        for key, value in values.items():
            store.set(table, key, value)
    return store


def set_aside(store: MemoryStore, table: str, keys: list[bytes]) -> None:
    """Does what the store does of rows whose checksum fails."""
    for number, key in enumerate(keys, 1):
        stored = b"rot!" + store.values[table][key][:-1] + b"?"
        store.set(table, key, None)
        damage = Damage(table, key, None, stored, "its checksum fails", 0.0)
        store.set(tables.DAMAGED, tables.damaged_key(number), damage.record())
    store.set(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack(([table], 1)))


def rot(seeds: int) -> dict[str, int]:
    """Lets rows rot in the midst of storms; returns how many of each table.

    Raises:
        Violation: something else is not as it was.
    """
    rotted = dict.fromkeys(ROTTING, 0)
    for seed in range(seeds):
        kitchen = storm(seed)
        kitchen.disk.tables.lose()  # what is on disk is what rots
        for table in ROTTING:
            store = copied(kitchen)
            keys = sorted(store.values[table])
            rotten = random.Random(f"{table} {seed}").sample(keys, min(2, len(keys)))
            set_aside(store, table, rotten)
            now = kitchen.world.clocks()
            machine = Machine(kitchen.options, now, store)
            for later in range(3):
                machine.turn(Now(now.monotonic + later, now.wall + later))
                tx = store.begin()
                check_books(machine.books, tx)
                tx.abort()
            if machine.damaged < len(rotten) or set(rotten) & set(store.values[table]):
                raise Violation(f"seed {seed}: what is damaged of table {table} is not set aside")
            if table == tables.PROGRESS and set(rotten) & set(store.values[tables.PENDING]):
                raise Violation(f"seed {seed}: a batch is served of which nobody knows what was done")
            rotted[table] += len(rotten)
    return rotted


def test_rows_that_rot_while_it_runs_cost_what_is_in_them_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rot_of_rows, "SHARE", 1.0)
    happened: dict[str, int] = {}
    for seed in RUNNING_SEEDS:
        for fault, count in run(seed).happened.items():
            happened[fault] = happened.get(fault, 0) + count

    quiet = {"rot met", "set aside", "turn with StoreCorruptError"} - set(happened)
    assert not quiet, f"these never happened, so nothing was shown about them: {sorted(quiet)}"


def test_whatever_rots_all_else_is_counted_right() -> None:
    assert all(rot(SEEDS).values()), "of a table nothing has rotted"


@pytest.mark.parametrize("part", ["_count_queues", "_mend_index", "_mend_lines", "_set_hurt_aside"])
def test_recount_that_leaves_something_out_is_caught(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recount, part, lambda self: None)

    with pytest.raises((Violation, StoreCorruptError)):
        rot(SEEDS)
