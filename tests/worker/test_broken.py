"""What is left of a worker when more breaks than a task: a loop that handlers share, or the worker's own threads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import wait_until
from tests.worker import coroutine_shop
from zq.worker.harvest import Harvest
from zq.worker.loop_runner import LoopRunner
from zq.worker.runner import Runner

PATIENCE = 60.0


@pytest.fixture(params=[0, 1], ids=["thread", "child"])
def loop_worker(
    request: pytest.FixtureRequest, coordinator: zq.Coordinator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[zq.Worker]:
    monkeypatch.setenv("ZQ_TEST_LEDGER", str(tmp_path))
    worker = zq.Worker(coordinator.address, concurrency=8, processes=request.param)
    worker.handlers.update(coroutine_shop.worker.handlers)
    worker.spec = "tests.worker.coroutine_shop:worker"
    with worker:
        yield worker


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ("stop", "done"),
        ("exit", "SystemExit: 3"),
        ("exit in a callback", "done"),
        ("close", "RuntimeError: Cannot close a running event loop"),
    ],
)
def test_loop_that_a_handler_would_end_goes_on(
    client: zq.Client, loop_worker: zq.Worker, tmp_path: Path, how: str, end: str
) -> None:
    neighbour = client.submit("wait", "1", max_attempts=1)
    wait_until((tmp_path / "started-1-1").exists, "the neighbour")
    odd = client.submit("harm", how, max_attempts=1)

    if end == "done":
        assert odd.result(PATIENCE) == "done"
    else:
        with pytest.raises(zq.TaskFailedError, match=end):
            odd.result(PATIENCE)
    (tmp_path / "release-1").touch()
    assert neighbour.result(PATIENCE) == "attempt 1"
    assert client.request("harm", "nothing", PATIENCE) == "done"


def test_handler_that_cancels_all_tasks_of_its_loop_ends_no_more_than_tasks(
    client: zq.Client, loop_worker: zq.Worker
) -> None:
    client.queues.set("harm", max_tasks=100)
    client.queues.pause("harm")
    receipts = client.submit_many("harm", ["cancel", *["nothing"] * 7], max_attempts=1)  # some have not begun then
    client.queues.resume("harm")

    for receipt in receipts:
        try:
            assert receipt.result(PATIENCE) == "done"
        except zq.TaskFailedError as error:
            assert "CancelledError" in error.reason
    assert client.request("harm", "nothing", PATIENCE) == "done"


# Faults of the worker's own.


def broken_once(monkeypatch: pytest.MonkeyPatch, kind: type[Any], name: str) -> None:
    """Makes the next call of a method of ours raise."""
    real = getattr(kind, name)
    left = [1]

    def broken(self: Any, *arguments: Any) -> Any:
        if left:
            left.clear()
            raise AssertionError("a fault of ours")
        return real(self, *arguments)

    monkeypatch.setattr(kind, name, broken)


def echo(task: zq.Task) -> Any:
    return task.payload


async def echo_awaited(task: zq.Task) -> Any:
    return task.payload


def fate(receipt: zq.Receipt) -> Any:
    try:
        return receipt.result(PATIENCE)
    except zq.TaskFailedError as error:
        return error.reason.splitlines()[0]


def test_tasks_that_ended_in_the_turn_of_a_fault_are_reported(
    client: zq.Client, coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken_once(monkeypatch, Harvest, "take_report")
    client.queues.pause("q")
    receipts = client.submit_many("q", range(1, 5), max_attempts=1)
    client.queues.resume("q")
    worker = zq.Worker(coordinator.address, concurrency=4)
    worker.task("q")(echo_awaited)
    with worker:
        fates = [fate(receipt) for receipt in receipts]
        assert client.request("q", 5, PATIENCE) == 5

    assert set(fates) <= {1, 2, 3, 4, "AssertionError: a fault of ours"}
    assert "AssertionError: a fault of ours" in fates
    assert "could not be reported" in caplog.text


def test_thread_that_is_just_being_started_is_not_taken_for_one_that_has_ended(
    client: zq.Client, coordinator: zq.Coordinator
) -> None:
    worker = zq.Worker(coordinator.address, concurrency=1)
    worker.task("q")(echo)
    with worker:
        run = worker._live_run()
        assert run is not None
        starting = run._crew._hire()
        starting.thread._ident = 1  # type: ignore[attr-defined] # what a thread has before it counts as alive
        run.runners.insert(0, starting)
        try:
            assert [client.request("q", number, PATIENCE) for number in range(5)] == list(range(5))
            assert run._crew.broken() is None
            assert run.failure is None
        finally:
            run.runners.remove(starting)


FAULT = "the thread that ran it ended by a fault that is not the handler's: AssertionError: a fault of ours"


@pytest.mark.parametrize("kind", ["thread", "loop"])
def test_worker_that_breaks_in_the_background_gives_its_tasks_back_and_says_why(
    client: zq.Client,
    coordinator: zq.Coordinator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
) -> None:
    client.queues.pause("q")
    receipts = client.submit_many("q", range(8), max_attempts=1)
    client.queues.resume("q")
    worker = zq.Worker(coordinator.address, name="broken", concurrency=2)
    worker.task("q")(echo if kind == "thread" else echo_awaited)
    if kind == "thread":
        monkeypatch.setattr(Runner, "run", broken_run)
    else:
        monkeypatch.setattr(LoopRunner, "_take_report", broken_report)
    with worker:
        wait_until(lambda: FAULT in {one.status().reason for one in receipts}, "the fault")
        wait_until(lambda: not client.workers.list(), "its end")

    monkeypatch.undo()
    sound = zq.Worker(coordinator.address, name="sound")
    sound.task("q")(echo)
    with sound:
        fates = [fate(receipt) for receipt in receipts]
    assert [one for number, one in enumerate(fates) if one not in (number, FAULT)] == []
    assert fates.count(FAULT) <= 2
    assert "AssertionError: a fault of ours" in caplog.text


def broken_run(self: Any, chunk: Any, *more: Any) -> None:
    self._slot.token, self._slot.index = chunk.assignment.token, chunk.lo
    raise AssertionError("a fault of ours")


def broken_report(self: Any, *more: Any) -> None:
    raise AssertionError("a fault of ours")
