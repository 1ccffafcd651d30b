"""A directory of an earlier schema opens, and what is in it goes on."""

from __future__ import annotations

import lzma
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import pytest

import zq
from tests.process.kitchen import wait_until
from tests.store.recorded.__main__ import OPTIONS
from zq.core.tables import SCHEMA, SCHEMAS_BEFORE
from zq.store import LmdbOptions

SOON = replace(OPTIONS, heartbeat_interval=0.5, suspect_after=1.0, gone_after=3.0)
"""For holders of leases that do not come again."""

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "s.zq"
    path.mkdir(mode=0o700)
    (path / "data.mdb").write_bytes(lzma.decompress((RECORDED / "schema-12.mdb.xz").read_bytes()))
    return path


def schema_of(path: Path) -> bytes:
    with lmdb.open(str(path), max_dbs=3) as env, env.begin(db=env.open_db(b"zq")) as txn:
        return txn.get(b"schema") or b""


def test_every_earlier_schema_that_is_read_has_a_recorded_directory() -> None:
    assert sorted(path.name for path in RECORDED.glob("*.xz")) == [f"schema-{n}.mdb.xz" for n in SCHEMAS_BEFORE]


@pytest.mark.parametrize("journal", [True, False])
def test_tasks_of_a_directory_of_the_schema_before_are_done(directory: Path, journal: bool) -> None:
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
        for id in ("waiting-1", "failed-1", "due-1", "leased-1", "team-a/theirs-1", "ordered-3"):
            client.result(id, timeout=60)

        assert client.result("squares", timeout=60) == 14
        assert [one.name for one in client.schedules.list()] == ["nightly"]
        assert [one.pattern for one in client.topics.list()] == ["orders.#"]
        assert [(one.name, one.max_tasks) for one in client.namespaces.list()] == [("team-a", 1000)]
        wait_until(lambda: client.query("status")["waiting"] == 0, "the end of all that waits")

    assert [one for one in made if one in (1, 2, 3)] == [1, 2, 3]  # those of the ordered key
    assert schema_of(directory) == b"%d" % SCHEMA
