"""What rots on the disk costs its own batch: it is named, and everything else goes on."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.simulation.invariants import check_books
from zq.core import tables
from zq.core.coordinator import Machine
from zq.core.options import Now
from zq.core.storage import Damage
from zq.store import LmdbOptions, damage, open_store
from zq.store.raw import RawFile, RawRow
from zq.store.records import CHECKPOINT_TABLE

OPTIONS = zq.CoordinatorOptions(heartbeat_interval=0.5, suspect_after=1.0, gone_after=3.0)
BATCHES, SIZE = 30, 4


@pytest.fixture(scope="module", params=[True, False], ids=["journal", "no journal"])
def journal(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def serve(path: Path, journal: bool) -> zq.Coordinator:
    return zq.Coordinator(path, options=OPTIONS, store_options=LmdbOptions(map_bytes=64 << 20, journal=journal))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, journal: bool) -> Path:
    """A directory with batches, one of them partly done, delays, a dead letter, a group, ordered and unique tasks."""
    path = tmp_path_factory.mktemp("rot") / "s.zq"
    with serve(path, journal) as coordinator, zq.Client(coordinator.address) as client:
        for n in range(BATCHES):
            client.submit_many("q", [f"payload {n} {i}" for i in range(SIZE)])
        for task in client.pull("q", max_tasks=2, wait=5):
            task.done(f"result of {task.payload}")
        client.submit("once", "found", id="done-1")
        [task] = client.pull("once", wait=5)
        task.done("an answer that is kept")
        client.submit("later", "much later", id="far-1", delay=1e6)
        client.submit("sad", "burnt", id="dead-1", max_attempts=1)
        [task] = client.pull("sad", wait=5)
        task.fail("too hot", is_final=True)
        for n in range(3):
            client.submit("ordered", f"step {n}", id=f"ordered-{n}", key="one", ordered=True)
        client.submit("unique", "the only", id="unique-1", unique="key of one")
        client.group(["first of the group", "second of the group"], queue="members", id="group-1")
        client.schedules.define("nightly", "reports", {"of": "orders"}, cron="30 2 29 2 *")
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "s.zq")
    return tmp_path / "s.zq"


def flip_row(
    path: Path, is_it: Callable[[RawRow], bool], bits: tuple[int, ...] = (3, 12, 77), *, of_key: bool = False
) -> None:
    """Flips bits of the first row of which something holds: of the end of its value, or of its key."""
    with RawFile.open(path) as raw:
        row = next(row for row in raw.rows() if row.fault is None and is_it(row))
    data = bytearray((path / "data.mdb").read_bytes())
    places = [row.key + row.stored]
    at = data.rindex(places[0])
    assert data.count(places[0]) >= 1
    while at >= 0:  # an older copy of it may lie in a page that is free
        end = at + len(row.key) if of_key else at + len(places[0])
        for bit in bits:
            data[end - 1 - bit // 8] ^= 1 << bit % 8
        at = data.rfind(places[0], 0, at)
    (path / "data.mdb").write_bytes(data)


def drain(client: zq.Client, *queues: str) -> list[Any]:
    found = []
    for queue in queues:
        while tasks := client.pull(queue, max_tasks=50, wait=0.05):
            found += [task.payload for task in tasks]
            for task in tasks:
                task.done()
    return found


def damages_of(path: Path, journal: bool) -> list[Damage]:
    store = open_store(path, (*tables.TABLES,), LmdbOptions(map_bytes=64 << 20, journal=journal))
    tx = store.begin()
    found = [Damage(*tables.unpack(value)) for _, value in tx.scan(tables.DAMAGED, *tables.damaged_bounds())]
    tx.abort()
    store.close()
    return found


def check_counts(client: zq.Client) -> None:
    """The counts are those of what is found by looking."""
    for queue in client.query("queues"):
        for state in ("waiting", "scheduled", "dead"):
            assert len(list(client.tasks(state, queue=queue["name"]))) == queue[state], (queue["name"], state)


@pytest.mark.parametrize("is_large", [False, True], ids=["at a start", "when it is read"])
def test_a_batch_that_is_damaged_costs_itself_alone(
    path: Path,
    journal: bool,
    is_large: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with RawFile.open(path) as raw:
        ids = [row.key.decode() for row in raw.rows() if row.table == tables.INDEX]
    flip_row(path, lambda row: row.table == tables.PENDING and b"payload 7 1" in row.stored)
    if is_large:
        monkeypatch.setattr(damage, "PAGES_MAX", 0)

    monkeypatch.chdir(path.parent)
    with serve(Path(path.name), journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        monkeypatch.chdir("/")
        path = path.rename(path.with_name("moved.zq"))  # it is found by what is open
        client.submit("other", 1)
        assert len(list(client.tasks("waiting", queue="q"))) == SIZE * (BATCHES - 1) - 2
        [damaged] = [id for id in ids if id != "dead-1" and client.status(id).state == "dead"]
        assert "damaged on the disk" in client.why(damaged).details["reason"]
        check_counts(client)
        assert sorted(drain(client, "q")) == sorted(
            f"payload {n} {i}" for n in range(BATCHES) for i in range(SIZE) if n != 7 and (n, i) not in {(0, 0), (0, 1)}
        )
        assert drain(client, "other") == [1]
        status = client.query("status")
        assert status["damaged"] == 1
        assert status["recounted"] == {"dropped": 0, "rebuilt": 1, "righted": 2}  # its end, its id, and its queue

    [found] = damages_of(path, journal)
    assert found.table == tables.PENDING
    assert found.key.hex() in caplog.text
    assert f"queue q: {SIZE} tasks were in what is gone" in caplog.text
    assert "table index: rows put right by others: 1" in caplog.text
    assert all(record.levelno < logging.ERROR or "damaged" in record.message for record in caplog.records)


def is_of(table: str, row: RawRow) -> bool:
    return row.table == table


class Damaging:
    """Bits of a row that are flipped."""

    def __init__(self, name: str, bits: tuple[int, ...], *, of_key: bool) -> None:
        self.name, self.bits, self.of_key = name, bits, of_key


DAMAGINGS = [
    Damaging("value", (3, 12, 31), of_key=False),
    Damaging("key", (0, 2, 5), of_key=True),
    Damaging("one bit of the key", (1,), of_key=True),
]


@pytest.mark.parametrize("damaging", DAMAGINGS, ids=lambda one: one.name)
def test_books_agree_with_the_tables_whatever_row_is_damaged(
    path: Path, journal: bool, damaging: Damaging, tmp_path: Path
) -> None:
    whole, path = path, tmp_path / "damaged.zq"
    shutil.copytree(whole, path)
    with RawFile.open(path) as raw:
        found = {row.table for row in raw.rows() if row.fault is None}
    bitten = 0
    assert len(found) > 14
    for table in sorted(found - {"zq", CHECKPOINT_TABLE}):
        shutil.copytree(whole, path, dirs_exist_ok=True)
        flip_row(path, partial(is_of, table), damaging.bits, of_key=damaging.of_key)

        store = open_store(path, tables.TABLES, LmdbOptions(map_bytes=64 << 20, journal=journal))
        machine = Machine(OPTIONS, Now(1e6, time.time()), store)
        tx = store.begin()
        check_books(machine.books, tx)
        tx.abort()
        bitten += len(store.damages) > 0
        is_mended = len(damaging.bits) == 1
        assert [one.is_mended for one in store.damages] == [is_mended], table
        if table in (tables.PROGRESS, tables.RESULTS):  # the batch goes with it, or its checksum says whose it is
            assert machine.damaged == (2 if damaging.name == "value" else 0), table
        else:
            assert machine.damaged == (not is_mended), table
        machine.turn(Now(1e6 + 1, time.time()))
        store.close()
    assert bitten > 12


# What hangs on a row that is gone.


def is_result_of_done_1(row: RawRow) -> bool:
    return row.table == tables.RESULTS and b"an answer that is kept" in row.stored


def test_a_result_that_is_damaged_is_told_and_never_an_empty_one(path: Path, journal: bool) -> None:
    if journal:  # its key, too: then nobody knows whose it was, and the one that has no other is told
        flip_row(path, is_result_of_done_1, (40, 41), of_key=True)
        damaged = b"an answer that is kept"
        data = (path / "data.mdb").read_bytes()
        assert damaged in data
        (path / "data.mdb").write_bytes(data.replace(damaged, damaged[::-1]))
    else:
        flip_row(path, is_result_of_done_1)

    with serve(path, journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        with pytest.raises(zq.TaskFailedError, match="it was done, and what is known of that was damaged on the disk"):
            client.result("done-1")
        check_counts(client)


def test_a_result_of_which_the_id_is_damaged_is_dropped_and_that_is_said(path: Path, journal: bool) -> None:
    flip_row(path, lambda row: row.table == tables.INDEX and row.key == b"done-1")
    store = open_store(path, tables.TABLES, LmdbOptions(map_bytes=64 << 20, journal=journal))

    machine = Machine(OPTIONS, Now(1e6, time.time()), store)

    assert "table results: rows dropped: 1, each of which is a result, and its task is not there" in machine.recounted
    assert machine.righted.dropped == 1
    store.close()


def test_a_group_of_which_a_member_is_damaged_fails_and_does_not_wait_for_ever(path: Path, journal: bool) -> None:
    flip_row(path, lambda row: row.table == tables.PENDING and b"second of the group" in row.stored)

    with serve(path, journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        assert client.status("dead-1").state == "dead"
        with pytest.raises(zq.TaskFailedError, match="members of it were damaged on the disk"):
            client.result("group-1")


def test_a_unique_key_of_a_task_that_is_damaged_is_free(path: Path, journal: bool) -> None:
    flip_row(path, lambda row: row.table == tables.PENDING and b"the only" in row.stored)

    with serve(path, journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        client.submit("unique", "the next one", id="unique-2", unique="key of one")
        assert drain(client, "unique") == ["the next one"]


def test_the_next_task_of_a_key_has_its_turn_when_the_first_is_damaged(path: Path, journal: bool) -> None:
    flip_row(path, lambda row: row.table == tables.PENDING and b"step 0" in row.stored)

    with serve(path, journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        assert drain(client, "ordered") == ["step 1", "step 2"]


def test_tasks_of_a_queue_whose_record_is_damaged_are_in_one_that_is_named_anew(path: Path, journal: bool) -> None:
    flip_row(path, lambda row: row.table == tables.QUEUES and b"ordered" in row.stored, (100, 101, 102))

    with serve(path, journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        [name] = [queue["name"] for queue in client.query("queues") if queue["name"].startswith("recovered-")]
        assert drain(client, name) == ["step 0", "step 1", "step 2"]


def test_counters_that_are_damaged_are_made_up_larger_than_all_that_there_was(path: Path, journal: bool) -> None:
    flip_row(path, is_counters)

    with serve(path, journal) as coordinator, zq.Client(coordinator.address, timeout=20) as client:
        new = [f"new {n}" for n in range(20)]
        client.submit_many("q", new)
        found = drain(client, "q", "ordered", "unique", "members")
        assert len(found) == len(set(found))
        assert set(new) < set(found)
        assert len(found) == SIZE * BATCHES - 2 + len(new) + 3 + 1 + 2
        assert client.query("status")["epoch"] > 1 << 16


def is_counters(row: RawRow) -> bool:
    return (row.table, row.key) == (tables.META, tables.COUNTERS_KEY)
