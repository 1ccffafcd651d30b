"""Anybody may submit to the queues of a durable pipeline: what is none of a run's becomes a dead letter, and the run
gives what it would have given.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

import zq
from patterns import batch, gather, scatter, stage
from patterns.durable.parcels import cursor_queue, run_queue, stage_queue
from patterns.run.settings import RunOptions
from patterns.work.items import Loose, Plain, WithoutResult, encode
from patterns.work.plan import SINK
from tests.patterns.shop import countdown, double, total

pytestmark = pytest.mark.usefixtures("tidy")


def nested(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


FOREIGN: dict[str, Any] = {
    "none": None,
    "number": 5,
    "text": "a",
    "map": {"a": 1},
    "no frames": [],
    "no frame": [5],
    "bytes": b"\x00",
    "bytes in a list": [b"\xc1"],
    "nested": nested(500),
    "short": [msgpack.packb([1, 2])],
    "other form": [msgpack.packb([-1, 0.0, 7, 0, []])],
    "no cost": [msgpack.packb([-1, "a", 0, 0, [1]])],
    "no items": [encode(SINK, Plain(0, []), 0.0)],
    "items that are none": [msgpack.packb([-1, 0.0, 0, 0, 5])],
    "number that was never sent": [encode(SINK, Plain(10**6, [1]), 0.0)],
    "number below 0": [encode(SINK, Plain(-5, [1]), 0.0)],
    "number that is none": [msgpack.packb([-1, 0.0, 0, "a", [1]])],
    "origin that is none": [msgpack.packb([-1, 0.0, 1, msgpack.packb(["a"]), [1]])],
    "path of nothing": [encode(SINK, Loose([(((0, (0, 0)),), ())], [1]), 0.0)],
    "failure that is none": [msgpack.packb([-1, 0.0, 2, msgpack.packb([0]), [[1]]])],
    "no failures": [encode(SINK, WithoutResult([], []), 0.0)],
    "other node": [encode(77, Plain(0, [1]), 0.0)],
    "node that is none": [msgpack.packb([["a"], 0.0, 0, 0, [1]])],
    "two frames": [encode(SINK, Plain(0, [1]), 0.0)] * 2,
}


@stage
def add(numbers: list[int]) -> int:
    return sum(numbers)


PIPELINES = {"stage": double, "batch": double | batch(7) | add, "scatter": scatter(countdown) | double | gather(total)}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[zq.Client]:
    with zq.Coordinator(tmp_path / "data") as one, zq.Client(one.address) as made:
        yield made


def options(client: zq.Client) -> RunOptions:
    return {"address": client.address, "threads": True, "quiet": True, "lease": 30.0, "run_id": "r", "ordered": True}


@pytest.mark.parametrize("which", PIPELINES)
def test_run_goes_on_beside_tasks_that_are_none_of_its_own(client: zq.Client, which: str) -> None:
    pipeline: Any = PIPELINES[which]
    plan = pipeline.plan()
    expected = list(pipeline.run(range(1, 60), threads=True, quiet=True, ordered=True))
    queues = [run_queue(plan.name, "r"), cursor_queue(plan.name, "r")]
    queues += [stage_queue(plan, node) for node in plan.working if node.kind != "batch"]
    foreign = [client.submit(queue, payload, max_attempts=1).id for queue in queues for payload in FOREIGN.values()]

    with pipeline.run(range(1, 60), **options(client)) as run:
        begun = list(itertools.islice(run, 1))
        for queue in queues:
            foreign += [client.submit(queue, payload, max_attempts=1).id for payload in FOREIGN.values()]
        assert begun + list(run) == expected

    assert {client.status(id).state for id in foreign} <= {"dead", "waiting"}
    reasons = {one.reason for queue in queues[:2] for one in client.dead.list(queue=queue, limit=1000)}
    assert any("this is no task of run r of pipeline" in str(reason) for reason in reasons)
    assert any("this is no cursor of run r of pipeline" in str(reason) for reason in reasons)


def test_notice_of_the_end_of_others_is_no_failure_of_a_run(client: zq.Client) -> None:
    home = run_queue(double.plan().name, "r")
    client.submit("elsewhere", None, on_dead=home)
    client.pull("elsewhere")[0].fail("no", is_final=True)

    assert list(double.run(range(30), **options(client))) == [2 * number for number in range(30)]
    assert [one.queue for one in client.dead.list(queue=home)] == [home]
