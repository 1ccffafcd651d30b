"""Handlers that are coroutines, in a loop of the worker and in one of a child process: the same behaviour."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import wait_until
from tests.worker import coroutine_shop
from zq.sessions.ids import IdMaker
from zq.task import Task
from zq.wire.batch import decode_payload, encode_payload, iterate_payloads, pack_payloads
from zq.wire.messages import DEFAULT_OPTIONS, Assignment
from zq.worker import loop_child_runner
from zq.worker.child_thread import ChildThread
from zq.worker.harvest import Report
from zq.worker.loop_runner import Coroutines, is_coroutine_handler
from zq.worker.runner import Chunk

OPTIONS = zq.CoordinatorOptions(
    heartbeat_interval=0.1, suspect_after=0.3, gone_after=0.6, retry=zq.RetryPolicy.exponential(0.01)
)


class Owner:
    def note_progress(self, task: Task, fraction: float) -> None:
        raise AssertionError("nobody reports progress here")

    def is_cancelled(self, task: Task) -> bool:
        return False


def run(handler: Any, count: int, stop: tuple[int, ...] = ()) -> tuple[list[Report], list[int]]:
    """Runs a chunk in an engine alone; returns its reports and the indexes that were over."""
    reports: list[Report] = []
    over: list[int] = []

    async def serve() -> None:
        ended = asyncio.Event()

        def take(assignment: Assignment, indexes: list[int], report: Report) -> None:
            over.extend(indexes)
            reports.append(report)
            if len(over) == count:
                ended.set()

        engine = Coroutines(
            {"q": handler}, Owner(), IdMaker("prefix"), take, lambda: None, asyncio.get_running_loop().call_soon
        )
        ends, blob = pack_payloads([encode_payload(n) for n in range(count)])
        engine.begin(Chunk(Assignment(7, "b", count, "q", DEFAULT_OPTIONS, 1, 0, ends, blob), 0, count), {})
        for index in stop:
            engine.stop(7, index)
        await ended.wait()
        assert engine.running() == []

    asyncio.run(serve())
    return reports, over


def test_what_ends_in_one_turn_is_one_completion_in_order() -> None:
    async def handler(task: Task) -> int:
        for _ in range(10 - task.payload):
            await asyncio.sleep(0)
        barrier.append(task.payload)
        while len(barrier) < 5:
            await asyncio.sleep(0)
        return int(task.payload)

    barrier: list[int] = []
    reports, over = run(handler, 5)

    assert barrier == [4, 3, 2, 1, 0]
    assert sorted(over) == [0, 1, 2, 3, 4]
    results = [
        decode_payload(data)
        for report in reports
        for one in report.done
        for data in iterate_payloads(one.ends, one.blob)
    ]
    assert sorted(results) == [0, 1, 2, 3, 4]
    assert sum(len(report.done) for report in reports) <= 2


@pytest.mark.parametrize("error", [ValueError("burnt"), SystemExit("burnt"), asyncio.CancelledError("burnt")])
def test_whatever_a_coroutine_raises_fails_its_task_and_no_other(error: BaseException) -> None:
    async def handler(task: Task) -> None:
        if task.payload == 1:
            raise error

    reports, _ = run(handler, 3)

    (failed,) = [one for report in reports for one in report.failed]
    assert failed.index == 1
    assert failed.error.startswith(f"{type(error).__name__}: burnt")
    assert [(one.lo, one.hi) for report in reports for one in report.done] == [(0, 1), (2, 3)]


def test_result_of_a_coroutine_that_cannot_be_sent_is_its_failure() -> None:
    async def handler(task: Task) -> object:
        return object()

    reports, _ = run(handler, 1)

    assert "expected a payload of None, bool" in reports[0].failed[0].error


def test_task_that_is_stopped_before_its_first_step_never_runs() -> None:
    seen: list[int] = []

    async def handler(task: Task) -> None:
        seen.append(task.payload)

    reports, over = run(handler, 3, stop=(1,))

    assert sorted(over) == [0, 1, 2]
    assert seen == [0, 2]
    assert sum(one.hi - one.lo for report in reports for one in report.done) == 2


def test_coroutine_that_suppresses_its_cancellation_runs_on_and_its_end_is_ignored() -> None:
    seen: list[str] = []

    async def handler(task: Task) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("ran on")
        return 1

    async def serve() -> list[Report]:
        reports: list[Report] = []
        ended = asyncio.Event()

        def take(assignment: Assignment, indexes: list[int], report: Report) -> None:
            reports.append(report)
            ended.set()

        engine = Coroutines(
            {"q": handler}, Owner(), IdMaker("prefix"), take, lambda: None, asyncio.get_running_loop().call_soon
        )
        ends, blob = pack_payloads([encode_payload(1)])
        engine.begin(Chunk(Assignment(7, "b", 1, "q", DEFAULT_OPTIONS, 1, 0, ends, blob), 0, 1), {})
        await asyncio.sleep(0)
        engine.stop(7, 0)
        await asyncio.sleep(0)
        assert len(engine) == 1  # it keeps its place
        await ended.wait()
        return reports

    (report,) = asyncio.run(serve())

    assert seen == ["ran on"]
    assert (report.done, report.failed) == ([], [])


def test_coroutine_functions_are_told_from_others() -> None:
    class Callable:
        async def __call__(self, task: Task) -> None: ...

    async def function(task: Task) -> None: ...

    assert is_coroutine_handler(function)
    assert is_coroutine_handler(Callable())
    assert not is_coroutine_handler(lambda task: None)


# With a coordinator, in threads and in child processes.


@pytest.fixture(params=[0, 1], ids=["thread", "child"])
def processes(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger"
    path.mkdir()
    monkeypatch.setenv("ZQ_TEST_LEDGER", str(path))
    return path


@pytest.fixture
def client(tmp_path: Path, ledger: Path, processes: int) -> Iterator[zq.Client]:
    with (
        zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket", options=OPTIONS) as coordinator,
        zq.Client(coordinator.address) as client,
    ):
        worker = zq.Worker(coordinator.address, concurrency=8, processes=processes)
        worker.handlers.update(coroutine_shop.worker.handlers)
        worker.spec = "tests.worker.coroutine_shop:worker"
        with worker:
            yield client
            for name in "0123456789":
                (ledger / f"release-{name}").touch()
            (ledger / "unblock").touch()


def wait_noted(ledger: Path, name: str) -> None:
    wait_until((ledger / name).exists, name)


def test_as_many_coroutines_run_at_once_as_the_worker_takes(client: zq.Client, processes: int) -> None:
    receipts = client.submit_many("meet", [8] * 8)

    pids = {receipt.result(timeout=60) for receipt in receipts}

    assert len(pids) == 1
    assert (pids == {os.getpid()}) == (processes == 0)


def test_no_more_coroutines_run_than_the_worker_takes(client: zq.Client, ledger: Path) -> None:
    receipts = client.submit_many("wait", range(10))
    wait_until(lambda: len(list(ledger.glob("started-*"))) == 8, "eight coroutines")
    (ledger / "release-0").touch()
    receipts[0].result(timeout=60)
    wait_until(lambda: len(list(ledger.glob("started-*"))) == 9, "another one in the free place")

    wait_until(lambda: client.query("workers")[0]["running"] == 8, "the news of what runs")


def test_coroutine_of_a_cancelled_task_is_cancelled(client: zq.Client, ledger: Path) -> None:
    receipt = client.submit("wait", "1")
    wait_until(lambda: receipt.status().progress == 0.5, "progress")

    receipt.cancel()

    wait_noted(ledger, "cancelled-1-True")
    with pytest.raises(zq.TaskCancelledError):
        receipt.result(timeout=60)


def test_cancelled_coroutine_is_told_once_and_may_take_its_time(client: zq.Client, ledger: Path) -> None:
    receipt = client.submit("tidy", None)
    wait_noted(ledger, "started")
    receipt.cancel()
    wait_noted(ledger, "tidying")
    for _ in range(30):  # the worker looks at what runs, again and again
        client.submit("meet", 0).result(timeout=60)

    (ledger / "release-1").touch()

    wait_noted(ledger, "tidied")


def test_coroutine_that_runs_over_its_timeout_is_cancelled_and_fails(client: zq.Client, ledger: Path) -> None:
    receipt = client.submit("wait", "1", timeout=0.1, max_attempts=1)

    with pytest.raises(zq.TaskFailedError, match=r"ran longer than its timeout of 0.1 s"):
        receipt.result(timeout=60)

    wait_until(lambda: list(ledger.glob("cancelled-1-*")), "the cancellation")


def test_what_coroutines_forward_is_stored_with_their_completion(client: zq.Client) -> None:
    client.submit("forward", 7).result(timeout=60)

    (task,) = client.pull("boxes", wait=10)
    assert task.payload == {"box": 7}
    task.done()


def test_coroutine_that_holds_its_loop_does_not_silence_the_heart(client: zq.Client, ledger: Path) -> None:
    receipt = client.submit("block", None)
    wait_noted(ledger, "blocking-1")
    (worker,) = client.query("workers")

    def has_lived() -> bool:
        (now,) = client.query("workers")
        assert now["state"] == "live"
        return bool(now["connected_for"] > worker["connected_for"] + 3 * OPTIONS.gone_after)

    wait_until(has_lived, "three times the silence after which it would be gone")
    (ledger / "unblock").touch()
    assert receipt.result(timeout=60) == "attempt 1"


def test_plain_functions_run_beside_coroutines(client: zq.Client, processes: int) -> None:
    pid = client.submit("plain", None).result(timeout=60)

    assert (pid == os.getpid()) == (processes == 0)


def test_running_coroutines_end_before_a_worker_that_stops(tmp_path: Path, ledger: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.Client(coordinator.address) as client:
        worker = zq.Worker(coordinator.address, concurrency=2)
        worker.handlers.update(coroutine_shop.worker.handlers)
        worker.start()
        receipts = client.submit_many("wait", [0, 1, 2])
        wait_noted(ledger, "started-1-1")
        stopping = threading.Thread(target=worker.stop)
        stopping.start()
        wait_until(lambda: receipts[2].status().state == "waiting", "what has not started goes back")
        for name in "01":
            (ledger / f"release-{name}").touch()
        stopping.join(60)

        assert [receipt.result(timeout=60) for receipt in receipts[:2]] == ["attempt 1", "attempt 1"]
        assert receipts[2].status().state == "waiting"


@pytest.mark.parametrize("processes", [1], indirect=True, ids=["child"])
def test_child_that_dies_is_charged_for_what_ran_and_everything_runs_again(client: zq.Client, ledger: Path) -> None:
    waiting = client.submit("wait", 1)
    wait_noted(ledger, "started-1-1")

    dead = client.submit("die", None)

    assert dead.result(timeout=60) == "attempt 2"
    assert "ended with exit code 3" in str(dead.status().timeline)
    wait_noted(ledger, "started-1-2")
    (ledger / "release-1").touch()
    assert waiting.result(timeout=60) == "attempt 2"


@pytest.mark.parametrize("processes", [1], indirect=True, ids=["child"])
def test_child_whose_death_is_noticed_late_is_charged_for_what_ran_all_the_same(
    client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ChildThread._answers
    has_died, may_notice = threading.Event(), threading.Event()
    children: list[int] = []

    def answers(self: ChildThread, process: subprocess.Popen[bytes]) -> Iterator[Any]:
        children.append(process.pid)
        yield from real(self, process)
        process.wait()
        has_died.set()
        may_notice.wait()

    monkeypatch.setattr(ChildThread, "_answers", answers)
    try:
        dead = client.submit("die", None)
        assert has_died.wait(60)

        assert client.submit("meet", 0).result(timeout=60)
    finally:
        may_notice.set()
    assert dead.result(timeout=60) == "attempt 2"
    assert len(children) == 2


@pytest.mark.parametrize("processes", [1], indirect=True, ids=["child"])
def test_child_whose_loop_is_held_by_a_cancelled_coroutine_is_killed(
    client: zq.Client, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_child_runner, "STOP_GRACE", 0.6)
    receipt = client.submit("block", None)
    wait_noted(ledger, "blocking-1")

    receipt.cancel()

    assert client.submit("plain", None).result(timeout=60)
    assert client.submit("meet", 0).result(timeout=60)
