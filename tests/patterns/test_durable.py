"""What only durable runs can do: go on, be taken over, outlive items that kill, and have workers elsewhere."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from patterns import StageError, TakenOverError, gather, scatter, stage
from patterns.durable.parcels import run_queue
from patterns.run.settings import RunOptions
from tests.patterns.kitchen import pipeline as kitchen
from tests.patterns.shop import die_on_sevens, double, fail_on_sevens, repeat, total
from tests.process.kitchen import wait_until


def with_(shared: RunOptions, **more: Any) -> RunOptions:
    options: Any = {**shared, **more}
    found: RunOptions = options
    return found


pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "data") as one:
        yield one


@pytest.fixture
def shared(coordinator: zq.Coordinator) -> RunOptions:
    return {"address": coordinator.address, "threads": True, "quiet": True, "lease": 1.0}


@pytest.mark.parametrize("ordered", [True, False])
def test_run_that_was_closed_goes_on_where_it_was(shared: RunOptions, ordered: bool) -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for number in range(300):
            read.append(number)
            yield number

    taken: list[int] = []
    for stop in (10, 57, 1000):
        with double.run(source(), **with_(shared, run_id="r", ordered=ordered)) as run:
            taken += itertools.islice(run, stop)

    assert sorted(taken) == [2 * n for n in range(300)]
    assert ordered is False or taken == sorted(taken)
    assert (run.sent, run.completed) == (300, 300)


def test_run_of_a_fork_goes_on_until_all_of_each_item_is_there(shared: RunOptions) -> None:
    taken: list[int] = []
    for stop in (1, 1, 1, 2, 5, 100):
        with (repeat | double).run(range(30), **with_(shared, run_id="r")) as run:
            taken += itertools.islice(run, stop)

    assert sorted(taken) == [2 * n for n in range(30) for _ in range(n % 3)]
    assert (run.sent, run.completed) == (30, 30)


def test_run_that_has_ended_gives_nothing(shared: RunOptions) -> None:
    assert len(list(double.run(range(5), **with_(shared, run_id="r")))) == 5

    assert list(double.run(range(5), **with_(shared, run_id="r"))) == []


def test_a_run_that_has_ended_leaves_no_queues_but_what_tells_that_it_has(
    coordinator: zq.Coordinator, shared: RunOptions
) -> None:
    assert len(list(double.run(range(5), **shared))) == 5
    assert len(list(double.run(range(5), **with_(shared, run_id="r")))) == 5

    with zq.Client(coordinator.address) as client:
        left = [row.name for row in client.queues.list() if "/runs/" in row.name]
    assert [name.partition("/")[2] for name in left] == ["runs/r/cursor"]


def test_run_goes_on_after_an_error_that_was_raised(shared: RunOptions) -> None:
    taken: list[int] = []
    errors = 0
    for _ in range(4):
        try:
            taken.extend(fail_on_sevens.run(range(30), **with_(shared, run_id="r", ordered=True)))
        except StageError:
            errors += 1

    assert errors == 3
    assert taken == [n for n in range(30) if n % 10 != 7]


def test_nothing_of_a_run_is_left_in_the_coordinator(shared: RunOptions, coordinator: zq.Coordinator) -> None:
    assert len(list((double | repeat).run(range(50), **shared))) == 50

    with zq.Client(coordinator.address) as client:
        status = client.query("status")
        assert [status[state] for state in ("waiting", "leased", "scheduled", "dead")] == [0, 0, 0, 0]


def test_second_caller_is_refused_while_the_first_lives(shared: RunOptions) -> None:
    with double.run(itertools.count(), **with_(shared, run_id="r")) as run:
        next(run)
        with pytest.raises(TakenOverError, match=r"run r of pipeline .* has another caller, which lives"):
            next(double.run(itertools.count(), **with_(shared, run_id="r")))
        assert next(run) is not None


def test_caller_that_was_taken_over_stops(shared: RunOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    from patterns.durable.cursor import Keeper

    monkeypatch.setattr(Keeper, "start", lambda self: None)
    monkeypatch.setattr(Keeper, "close", lambda self: None)
    first = double.run(itertools.count(), **with_(shared, run_id="r"))
    results = [next(first)]
    second = double.run(itertools.count(), **with_(shared, run_id="r"))
    results.append(next(second))  # the lease of the first, which nobody keeps, runs out

    with pytest.raises(TakenOverError, match="was taken over"):
        for _ in range(100_000):
            next(first)
    assert next(second) is not None
    first.close()
    second.close()


def test_run_of_another_pipeline_under_the_same_names_is_refused(shared: RunOptions) -> None:
    with double.named("same").run(itertools.count(), **with_(shared, run_id="r")) as run:
        next(run)
    with pytest.raises(ValueError, match="was begun with other stages"):
        next((double | double).named("same").run(itertools.count(), **with_(shared, run_id="r")))


def test_item_that_kills_its_process_fails_alone(tmp_path: Path) -> None:
    run = die_on_sevens.run(range(20), data=tmp_path / "data", on_error="collect", ordered=True, quiet=True)

    assert list(run) == [n for n in range(20) if n != 7]
    (error,) = run.errors
    assert (error.stage, error.item, error.attempts) == ("die_on_sevens", 7, 5)
    assert error.error.startswith("ProcessError: worker ")
    assert (run.sent, run.completed, run.failed) == (20, 19, 1)


def one_part(number: int) -> list[int]:
    return [number]


def test_part_that_kills_its_process_fails_its_item(tmp_path: Path) -> None:
    pipeline = scatter(one_part) | die_on_sevens | gather(total)

    run = pipeline.run([7], data=tmp_path / "data", on_error="collect", quiet=True)

    assert list(run) == []
    assert "member" in run.errors[0].error
    assert (run.sent, run.failed) == (1, 1)


@stage(flat=True, threads=True)
def burst(count: int) -> list[bytes]:
    return [bytes(100_000)] * count


def test_chunk_that_becomes_too_much_for_one_task_is_continued_by_others(shared: RunOptions) -> None:
    assert len(list(burst.run([5] * 40, **shared))) == 200


def test_item_that_becomes_more_than_a_task_can_hand_on_fails_alone(shared: RunOptions) -> None:
    run = burst.run([1, 50, 2], **with_(shared, on_error="collect"))

    assert len(list(run)) == 3
    assert [error.stage for error in run.errors] == ["burst"]


@stage(threads=True)
def large(count: int) -> bytes:
    return bytes(count * 100_000)


@stage(threads=True)
def lengths(parts: list[bytes]) -> int:
    return sum(map(len, parts))


def test_parts_may_have_more_than_one_payload_together(shared: RunOptions) -> None:
    pipeline = scatter(one_by_one) | large | gather(lengths)

    assert list(pipeline.run([9, 60], **with_(shared, ordered=True))) == [900_000, 6_000_000]


@stage(flat=False, threads=True)
def one_by_one(count: int) -> list[int]:
    return [1] * count


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"data": "x", "address": "tcp://127.0.0.1:1"}, "exclude each other"),
        ({"data": "x", "allow_loss": True}, "allow_loss means nothing in a durable run"),
        ({"run_id": "r"}, "run_id means nothing in a direct run"),
        ({"data": "x", "run_id": "a/b"}, "expected a run_id of 1 to 40"),
        ({"data": "x", "lease": 0.1}, "expected lease from 0.5 to 3600"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        double.run([1], **options)


def test_workers_of_the_command_line_serve_a_stage(coordinator: zq.Coordinator) -> None:
    command = [
        sys.executable,
        "-m",
        "zq.cli",
        "worker",
        "tests.patterns.kitchen:pipeline",
        "--address",
        coordinator.address,
    ]
    log = subprocess.DEVNULL
    with (
        subprocess.Popen([*command, "--stage", "bake", "--processes", "2"], stderr=log) as bakers,
        subprocess.Popen([*command, "--stage", "box", "--concurrency", "1"], stderr=log) as boxer,
    ):
        try:
            options: RunOptions = {"address": coordinator.address, "workers": False, "quiet": True}
            results = list(kitchen.run(range(300), **options))
        finally:
            for process in (bakers, boxer):
                process.send_signal(signal.SIGTERM)

    assert sorted(number for number, _, _ in results) == list(range(300))
    assert {boxed_in for _, _, boxed_in in results} == {boxer.pid}
    assert {baked_in for _, baked_in, _ in results}.isdisjoint({bakers.pid, boxer.pid, os.getpid()})


def test_stage_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="there is no stage 'wash' in kitchen; expected one of bake, box"):
        kitchen.__zq_worker__("wash")


def test_worker_that_serves_another_version_fails_the_items_and_says_why(coordinator: zq.Coordinator) -> None:
    other = (double | double).named("twice")
    options: RunOptions = {"address": coordinator.address, "workers": False, "quiet": True, "on_error": "collect"}
    worker = other.__zq_worker__("double")
    worker.address = coordinator.address
    with worker:
        run = double.named("twice").run(range(3), **options)
        assert list(run) == []

    assert all("runs another version of the pipeline twice" in error.error for error in run.errors)
    assert run.failed == 3


def test_progress_and_guarantee_are_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = double.run(range(200), data=tmp_path / "data", threads=True, progress=True, run_id="tonight")
    assert len(list(run)) == 200

    shown = capsys.readouterr().err
    assert f"zq pipeline, embedded in {tmp_path / 'data'}: what was taken from the input is on disk" in shown
    assert "run_id='tonight'" in shown
    assert "200/200" in shown


def test_caller_that_is_busy_keeps_its_run(shared: RunOptions, coordinator: zq.Coordinator) -> None:
    with double.run(range(1000), **with_(shared, run_id="r")) as run, zq.Client(coordinator.address) as client:
        next(run)
        name = run_queue(double.plan().name, "r")
        reported: list[int] = []

        def look() -> bool:
            reported.append(client.query("queue", queue=f"{name}/cursor")["leased"])
            return len(reported) >= 3

        for _ in range(3):
            threading.Event().wait(0.6)  # longer together than a lease
            look()
        assert reported == [1, 1, 1]
        wait_until(lambda: len(list(run)) == 999, "the other results", 30.0)
