"""A run that cannot go on says why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from patterns import stage
from patterns.durable import engine, stillness
from patterns.durable.stage_worker import make_worker, serving_nodes
from patterns.durable.stillness import STILL_SECONDS, Stillness
from patterns.pipeline.stages import StageOptions
from patterns.work.calls import StageCalls
from patterns.work.plan import make_plan
from tests.patterns.shop import add_one, double
from tests.process.kitchen import PATIENCE, wait_until
from zq.sockets import silence

both = double | add_one

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "data", bind=f"ipc://{tmp_path}/socket") as one:
        yield one


def words(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name.startswith("patterns.durable")]


def test_run_with_a_stage_that_nobody_serves_says_so_once_and_goes_on_when_somebody_does(
    coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stillness, "STILL_SECONDS", 0.05)
    results: list[int] = []
    run = both.run([1, 2, 3], address=coordinator.address, workers=False, quiet=True, run_id="r")
    thread = threading.Thread(target=lambda: results.extend(run))
    plan = make_plan(both)
    first, second = serving_nodes(plan, None)
    with make_worker(plan, [first], coordinator.address):
        thread.start()
        wait_until(lambda: words(caplog), "the reason")
        [told] = words(caplog)
        assert told.startswith(f"stage {second.name} of pipeline {plan.name} waits: no worker")
        with make_worker(plan, [second], coordinator.address):
            thread.join(PATIENCE)

    assert sorted(results) == [3, 5, 7]
    assert len(words(caplog)) <= 2  # that it goes on, if it was asked meanwhile


def test_reason_is_told_again_when_it_is_another_one(
    coordinator: zq.Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    plan = make_plan(double)
    queue = f"{plan.name}/{serving_nodes(plan, None)[0].name}"
    with zq.Client(coordinator.address) as client:
        client.submit(queue, 1)
        look_out = Stillness(client, plan, lambda: now)
        for _ in range(3):
            now += STILL_SECONDS
            look_out.look(is_moving=False)
        client.queues.pause(queue)
        now += STILL_SECONDS / 2
        look_out.look(is_moving=False)
        assert len(words(caplog)) == 1
        now += STILL_SECONDS
        look_out.look(is_moving=True)
        now += STILL_SECONDS
        look_out.look(is_moving=False)

    assert ["no worker" in one for one in words(caplog)] == [True, False]
    assert "paused" in words(caplog)[1]


def test_run_that_has_ended_says_that_it_gives_nothing(
    coordinator: zq.Coordinator, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"address": coordinator.address, "threads": True, "quiet": True, "run_id": "monday"}
    assert list(double.run([1], **options)) == [2]  # type: ignore[arg-type]
    assert list(double.run([1], **options)) == []  # type: ignore[arg-type]

    assert [one for one in words(caplog) if "has ended before, and gives nothing" in one and "run monday" in one]


def test_shared_run_says_that_nobody_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(silence, "QUIET_TOLD", 0.05)
    monkeypatch.setattr(engine, "CLIENT_TIMEOUT", 1.0)
    address = f"ipc://{tmp_path}/nobody"
    with pytest.raises(zq.UnreachableError):
        list(double.run([1], address=address, quiet=True))

    assert caplog.messages == [f"no answer yet from {address}; trying on"]


def test_worker_of_a_pipeline_serves_every_stage_that_is_named() -> None:
    some = both.__zq_worker__("add_one,double").handlers

    assert [queue.rpartition("/")[2] for queue in some] == ["add_one", "double"]
    with pytest.raises(ValueError, match="no stage 'fry'"):
        both.__zq_worker__("double,fry")


def test_unknown_argument_of_a_stage_is_named_with_those_that_there_are() -> None:
    arguments: dict[str, Any] = {"wrokers": 2}

    def fry(item: int) -> int:
        return item

    made: Any = stage
    with pytest.raises(TypeError, match=r"stage fry: expected arguments of name, workers, .*, got wrokers"):
        made(**arguments)(fry)


def test_attempts_of_a_stage_that_are_tried_again_are_told(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def bake(item: int) -> int:
        tries.append(item)
        if len(tries) < 3:
            raise ValueError(f"no oven for {item}\nand more")
        return item

    calls = StageCalls("bake", bake, StageOptions(retries=2, backoff=(0.5, 2.0, 60.0)), lambda seconds: None)
    assert calls.call(7) == (7, None)

    assert caplog.messages == [
        "stage bake failed (attempt 1 of 3): ValueError: no oven for 7; next try in 0.5 s",
        "stage bake failed (attempt 2 of 3): ValueError: no oven for 7; next try in 1 s",
    ]


def test_a_flood_of_failed_attempts_is_not_written(caplog: pytest.LogCaptureFixture) -> None:
    def bake(item: int) -> int:
        raise ValueError

    calls = StageCalls("bake", bake, StageOptions(retries=999), lambda seconds: None)
    _, failure = calls.call(7)

    assert failure is not None
    assert failure.attempts == 1000
    assert len(caplog.messages) < 1000 / 2
