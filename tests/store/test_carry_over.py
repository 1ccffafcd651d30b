"""A directory of an earlier schema opens, and what is in it goes on."""

from __future__ import annotations

import tarfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import pytest

import zq
from tests.process.kitchen import wait_until
from tests.store.recorded.__main__ import OPTIONS
from zq.core.tables import SCHEMA, SCHEMAS_BEFORE, TABLES
from zq.errors import StoreCorruptError
from zq.store import LmdbOptions, LmdbStore, carrying, damage
from zq.store.records import CHECKPOINT_TABLE

SOON = replace(OPTIONS, heartbeat_interval=0.5, suspect_after=1.0, gone_after=3.0)
"""For holders of leases that do not come again."""

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture(params=SCHEMAS_BEFORE)
def schema(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def directory(schema: int, tmp_path: Path) -> Path:
    path = tmp_path / "s.zq"
    path.mkdir(mode=0o700)
    with tarfile.open(RECORDED / f"schema-{schema}.tar.xz") as archive:
        archive.extractall(path, filter="data")
    return path


def schema_of(path: Path) -> bytes:
    with lmdb.open(str(path), max_dbs=3) as env, env.begin(db=env.open_db(b"zq")) as txn:
        return txn.get(b"schema") or b""


def test_every_earlier_schema_that_is_read_has_a_recorded_directory() -> None:
    assert sorted(path.name for path in RECORDED.glob("*.xz")) == [f"schema-{n}.tar.xz" for n in SCHEMAS_BEFORE]


@pytest.mark.parametrize(("schema", "journal"), [(12, True), (13, True), (13, False)], indirect=["schema"])
def test_tasks_of_a_directory_of_an_earlier_schema_are_done(directory: Path, schema: int, journal: bool) -> None:
    made: list[Any] = []

    def make(task: zq.Task) -> None:
        made.append(task.payload)

    with (
        zq.Coordinator(directory, options=SOON, store_options=LmdbOptions(journal=journal)) as coordinator,
        zq.Client(coordinator.address) as client,
        ExitStack() as stack,
    ):
        worker = zq.Worker(coordinator.address, concurrency=4)
        for queue in ("waiting", "failed", "later", "leased", "audit", "batch", "team-a/orders", "ordered"):
            worker.task(queue)(make)
        worker.task("square")(lambda task: task.payload**2)
        worker.task("sum")(lambda task: sum(task.payload))
        assert client.result("done-1") == {"baked": "bread"}
        assert [client.status(id).state for id in ("dead-1", "cancelled-1", "far-1")] == [
            "dead",
            "cancelled",
            "scheduled",
        ]
        stack.enter_context(worker)
        for id in (
            *(["journal-1"] if schema > 12 else []),
            "waiting-1",
            "failed-1",
            "due-1",
            "leased-1",
            "team-a/theirs-1",
            "ordered-3",
        ):
            client.result(id, timeout=60)

        assert client.result("squares", timeout=60) == 14
        assert [one.name for one in client.schedules.list()] == ["nightly"]
        assert [one.pattern for one in client.topics.list()] == ["orders.#"]
        assert [(one.name, one.max_tasks) for one in client.namespaces.list()] == [("team-a", 1000)]
        wait_until(lambda: client.query("status")["waiting"] == 0, "the end of all that waits")

    assert [one for one in made if one in (1, 2, 3)] == [1, 2, 3]  # those of the ordered key
    assert schema_of(directory) == b"%d" % SCHEMA


class KilledError(Exception):
    pass


def test_a_carry_over_that_was_killed_is_gone_on_with(
    directory: Path, schema: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "COMMIT_ROWS_MAX", 3)
    whole, kills = carrying._rows_after, 0

    def kill_at_times(*arguments: Any) -> Any:
        found = whole(*arguments)
        if found and found[0][0] not in seen:
            seen.add(found[0][0])
            raise KilledError
        return found

    seen: set[bytes] = set()
    while True:
        monkeypatch.setattr(carrying, "_rows_after", kill_at_times)
        try:
            store = LmdbStore(directory, (*TABLES, CHECKPOINT_TABLE))
        except KilledError:
            kills += 1
            assert schema_of(directory) == b"%d>%d" % (schema, SCHEMA)
        else:
            break

    tx = store.begin()
    rows = [row for table in TABLES for row in tx.scan(table)]  # each of which has its checksum
    tx.abort()
    store.close()
    assert kills > 10
    assert len(rows) > 40
    assert schema_of(directory) == b"%d" % SCHEMA


def test_a_row_that_was_damaged_before_it_was_carried_over_stays_damaged(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "PAGES_MAX", 0)  # nobody looks before it is carried over
    data = bytearray((directory / "data.mdb").read_bytes())
    data[data.index(b"\xa7reports\xc0") + 3] ^= 1
    (directory / "data.mdb").write_bytes(data)
    store = LmdbStore(directory, (*TABLES, CHECKPOINT_TABLE))
    tx = store.begin()

    with pytest.raises(StoreCorruptError, match="in table schedules does not match"):
        list(tx.scan("schedules"))

    tx.abort()
    store.close()
