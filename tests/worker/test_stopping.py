"""A worker is stopped: by anybody, at any time, more than once, and by its own handlers."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.interrupts import interrupt_each_step
from tests.process.kitchen import PATIENCE, wait_until
from tests.worker import stopping_shop
from zq.worker import run_end

PATIENT = zq.CoordinatorOptions(suspect_after=100.0, gone_after=10 * PATIENCE)
"""Whoever leaves without a word keeps its tasks for longer than a test waits."""


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket", options=PATIENT) as coordinator:
        yield coordinator


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address) as client:
        yield client


def stopping_worker(coordinator: zq.Coordinator, *, is_coroutine: bool) -> zq.Worker:
    """Returns a worker whose handler stops it."""
    worker = zq.Worker(coordinator.address)

    def stop(task: zq.Task) -> str:
        worker.stop()
        return "the last"

    async def stop_in_a_loop(task: zq.Task) -> str:
        worker.stop()
        await asyncio.sleep(0)
        return "the last"

    worker.task("q")(stop_in_a_loop if is_coroutine else stop)
    return worker


def in_a_thread(function: Any) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


@pytest.mark.parametrize("is_coroutine", [False, True], ids=["plain", "coroutine"])
def test_handler_stops_its_worker_which_ends_after_it(
    coordinator: zq.Coordinator, client: zq.Client, is_coroutine: bool
) -> None:
    worker = stopping_worker(coordinator, is_coroutine=is_coroutine)
    receipts = client.submit_many("q", range(3))
    thread = in_a_thread(worker.run)

    assert receipts[0].result(timeout=PATIENCE) == "the last"
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert client.query("workers") == []
    status = client.query("status")
    assert (status["done"], status["waiting"], status["leased"]) == (1, 2, 0)


@pytest.mark.parametrize("is_coroutine", [False, True], ids=["plain", "coroutine"])
def test_worker_in_the_background_is_stopped_by_its_handler_too(
    coordinator: zq.Coordinator, client: zq.Client, is_coroutine: bool
) -> None:
    worker = stopping_worker(coordinator, is_coroutine=is_coroutine)
    with worker:
        assert client.request("q", None, PATIENCE) == "the last"
        wait_until(lambda: not client.query("workers"), "the goodbye")


def test_handler_in_a_child_cannot_stop_its_worker_and_is_told_so(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    worker = zq.Worker(coordinator.address, processes=1)
    worker.handlers.update(stopping_shop.worker.handlers)
    worker.spec = "tests.worker.stopping_shop:worker"
    with worker:
        receipt = client.submit("stop", None, max_attempts=1)
        with pytest.raises(zq.TaskFailedError, match="runs in another process than this handler"):
            receipt.result(timeout=PATIENCE)


def test_all_who_stop_a_worker_return_when_it_has_ended(coordinator: zq.Coordinator, client: zq.Client) -> None:
    started, release = threading.Event(), threading.Event()
    worker = zq.Worker(coordinator.address)

    @worker.task("q")
    def handler(task: zq.Task) -> str:
        started.set()
        release.wait()
        return "done"

    worker.start()
    receipt = client.submit("q", None)
    assert started.wait(PATIENCE)
    stoppers = [in_a_thread(worker.stop) for _ in range(3)]
    wait_until(lambda: client.query("workers")[0]["credit"] == 0, "the worker to take no more")
    assert all(stopper.is_alive() for stopper in stoppers)
    release.set()
    for stopper in stoppers:
        stopper.join(PATIENCE)

    assert not any(stopper.is_alive() for stopper in stoppers)
    assert receipt.result(timeout=PATIENCE) == "done"
    assert client.query("workers") == []


def test_second_stop_may_be_shorter(coordinator: zq.Coordinator, client: zq.Client) -> None:
    started, release = threading.Event(), threading.Event()
    worker = zq.Worker(coordinator.address)

    @worker.task("q")
    def handler(task: zq.Task) -> None:
        started.set()
        release.wait()

    worker.start()
    client.submit("q", None)
    assert started.wait(PATIENCE)
    patient = in_a_thread(lambda: worker.stop(timeout=1000 * PATIENCE))
    worker.stop(drain=False)
    patient.join(PATIENCE)

    assert not patient.is_alive()
    wait_until(lambda: client.query("status")["waiting"] == 1, "the goodbye, which may come after a question of others")
    release.set()


def test_stopped_worker_can_run_again(coordinator: zq.Coordinator, client: zq.Client) -> None:
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: task.payload)
    for number in range(3):
        with worker:
            assert client.request("q", number, PATIENCE) == number
        worker.stop()
        assert worker.counters == {}


def test_worker_that_is_stopped_as_it_starts_leaves_nothing_leased(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    receipts = client.submit_many("q", range(40), batch_size=1)
    for _ in range(20):
        worker = zq.Worker(coordinator.address, concurrency=2)
        worker.task("q")(lambda task: None)
        worker.start()
        worker.stop()
    wait_until(lambda: client.query("status")["leased"] == 0, "tasks of workers that have ended to come back")

    assert client.query("workers") == []
    assert len(receipts) == 40


@pytest.mark.parametrize("queue", ["hangs", "hangs-awaited"])
def test_task_of_a_child_that_is_killed_by_a_stop_goes_back_uncharged(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path, queue: str
) -> None:
    receipt = client.submit(queue, str(tmp_path / "started"), max_attempts=1)
    worker = zq.Worker(coordinator.address, processes=1)
    worker.handlers.update(stopping_shop.worker.handlers)
    worker.spec = "tests.worker.stopping_shop:worker"
    with worker:
        wait_until((tmp_path / "started").exists, "its start")
        worker.stop(0.0)

    status = receipt.status()
    assert (status.state, status.attempts) == ("waiting", 0)


@pytest.fixture
def _hangups_are_heard() -> Iterator[None]:
    """As where nobody has started the tests by nohup, whose processes ignore them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hangups_are_heard")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_worker_that_drains_by_a_signal_says_what_it_waits_for(
    coordinator: zq.Coordinator,
    client: zq.Client,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    monkeypatch.setattr(run_end, "FIRST_WORD_AFTER", 0.0)
    worker = zq.Worker(coordinator.address, name="shop")

    @worker.task("q")
    def last(task: zq.Task) -> str:
        os.kill(os.getpid(), number)
        wait_until(lambda: [one for one in caplog.messages if "waiting for" in one], "the word")
        return "the last"

    id = client.submit("q", 1).id
    worker.run()

    assert client.result(id, timeout=PATIENCE) == "the last"
    [told] = [one for one in caplog.messages if "waiting for" in one]
    assert told.startswith(f"worker shop ends, waiting for 1 task ({id}, q, 0 s so far) for ")
    assert told.endswith("; ask again (Ctrl-C, SIGTERM) to end now")


def test_second_signal_ends_a_worker_at_once_and_its_child_is_no_crash(
    coordinator: zq.Coordinator, client: zq.Client, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    receipt = client.submit("hangs", str(tmp_path / "started"), max_attempts=1)
    worker = zq.Worker(coordinator.address, name="shop", processes=1)
    worker.handlers.update(stopping_shop.worker.handlers)
    worker.spec = "tests.worker.stopping_shop:worker"

    def interrupt_twice() -> None:
        wait_until((tmp_path / "started").exists, "its start")
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: any(one.is_draining for one in client.workers.list()), "the drain")
        os.kill(os.getpid(), signal.SIGINT)

    helper = in_a_thread(interrupt_twice)
    worker.run()
    helper.join()

    told = [one.getMessage() for one in caplog.records if one.name.startswith("zq.worker")]
    assert "worker shop ends at once: what runs is ended or left behind, and goes back" in told
    assert [one for one in told if "started again" in one or "died" in one] == []
    status = receipt.status()
    assert (status.state, status.attempts) == ("waiting", 0)


def test_hangup_that_the_process_ignores_is_still_ignored(coordinator: zq.Coordinator) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = zq.Worker(coordinator.address)
        seen: list[object] = []

        @worker.task("q")
        def last(task: zq.Task) -> None:
            seen.append(signal.getsignal(signal.SIGHUP))
            worker.stop()

        with zq.Client(coordinator.address) as client:
            client.submit("q", 1)
            worker.run()
    finally:
        signal.signal(signal.SIGHUP, before)

    assert seen == [signal.SIG_IGN]


def test_stop_may_be_asked_for_by_a_signal_that_interrupts_who_asks() -> None:
    ends: list[tuple[run_end.RunEnd, list[bool]]] = []

    def prepare() -> tuple[Any, Any]:
        end, firsts = run_end.RunEnd(), list[bool]()
        ends.append((end, firsts))
        return lambda: firsts.append(end.begin(50.0)), lambda: firsts.append(end.begin(5.0))

    assert interrupt_each_step(prepare) > 10
    for end, firsts in ends[:-1]:
        assert sorted(firsts) == [False, True]
        assert end.timeout == 5.0
        assert end.seconds_left <= 5.0


def test_signal_handler_that_stops_a_worker_which_is_being_stopped_waits_for_nothing(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    worker = zq.Worker(coordinator.address)
    seen: list[str] = []

    @worker.task("q")
    def wait_for_a_signal(task: zq.Task) -> str:
        wait_until(lambda: client.query("workers")[0]["credit"] == 0, "the worker to be stopped")
        signal.raise_signal(signal.SIGALRM)  # its handler runs in the main thread
        wait_until(lambda: seen, "the handler of the signal to return")
        return "whole"

    def strike(*_: object) -> None:
        worker.stop()
        seen.append("returned")

    receipt = client.submit("q", 1)
    before = signal.signal(signal.SIGALRM, strike)
    try:
        worker.start()
        wait_until(lambda: receipt.status().state == "leased", "the task to start")
        worker.stop()
    finally:
        signal.signal(signal.SIGALRM, before)

    assert seen == ["returned"]
    assert receipt.result(timeout=PATIENCE) == "whole"
