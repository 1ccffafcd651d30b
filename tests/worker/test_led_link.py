"""A worker with one thread for its tasks: that thread takes them in and reports them itself, while it can."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import zq
from tests.client.fake_coordinator import wait_until
from zq.sockets.led_link import LedLink
from zq.worker.thread_runner import ThreadRunner

PATIENCE = 30.0


@pytest.fixture
def takers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that took in what has come as those that lead do, one for each time."""
    found: list[str] = []
    take_in = LedLink._take_in

    def noting(link: LedLink, now: float) -> None:
        found.append(threading.current_thread().name)
        take_in(link, now)

    monkeypatch.setattr(LedLink, "_take_in", noting)
    return found


def test_thread_that_works_takes_in_what_it_works_on(
    coordinator: zq.Coordinator, client: zq.Client, takers: list[str]
) -> None:
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: threading.current_thread().name)
    with worker:
        names = {client.request("q", None, PATIENCE) for _ in range(50)}

    assert names == set(takers)
    assert len(takers) >= 50


def test_what_comes_while_the_leader_is_at_work_is_taken_in_by_the_link(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    seen: list[str] = []

    def work(task: zq.Task) -> str:
        seen.append(task.id)
        if task.payload == "long":
            wait_until(lambda: task.cancelled)
        return "after"

    worker = zq.Worker(coordinator.address)
    worker.task("q")(work)
    with worker:
        receipt = client.submit("q", "long")
        wait_until(lambda: receipt.id in seen)
        client.cancel(receipt.id)
        assert client.request("q", None, PATIENCE) == "after"


def test_two_threads_do_not_lead_and_one_that_is_left_does_again(
    coordinator: zq.Coordinator, client: zq.Client, takers: list[str]
) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)

    def work(task: zq.Task) -> None:
        if task.payload == "both":
            both.wait()

    worker = zq.Worker(coordinator.address, name="w")
    worker.task("q")(work)
    with worker:
        client.request("q", None, PATIENCE)
        client.workers.resize("w", 2)
        for receipt in [client.submit("q", "both") for _ in range(2)]:
            receipt.result(PATIENCE)
        client.workers.resize("w", 1)
        wait_until(lambda: sum(one.name == "zq-handler" for one in threading.enumerate()) == 1)
        takers.clear()
        wait_until(lambda: client.request("q", None, PATIENCE) is None and takers)


def test_thread_that_is_hired_while_another_one_leads_does_not(
    coordinator: zq.Coordinator, client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    start, alone = ThreadRunner.start, []

    def noting(runner: ThreadRunner) -> None:
        alone.append(runner._bench.is_alone)
        start(runner)

    monkeypatch.setattr(ThreadRunner, "start", noting)
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: both.wait() if task.payload else None)
    with worker:
        run = worker._run
        assert run is not None
        client.request("q", None, PATIENCE)
        run._link.call(lambda: run._crew.resize(2))
        for receipt in [client.submit("q", "both") for _ in range(2)]:
            receipt.result(PATIENCE)

    assert alone == [True, False]


def test_second_thread_cannot_lead(coordinator: zq.Coordinator, client: zq.Client) -> None:
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: task.payload)
    with worker:
        run = worker._run
        assert run is not None
        wait_until(lambda: run._link._is_leading)
        assert not run._link.lead()
        assert client.request("q", 1, PATIENCE) == 1


def test_thread_that_ends_leads_no_more(coordinator: zq.Coordinator, client: zq.Client) -> None:
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: task.payload)
    with worker:
        run = worker._run
        assert run is not None
        assert client.request("q", 1, PATIENCE) == 1
        assert run._link._leader == run.runners[0].thread.ident

    assert run._link._leader == 0


def test_report_is_answered_though_nothing_else_comes(coordinator: zq.Coordinator, client: zq.Client) -> None:
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: task.payload)
    with worker:
        assert [client.request("q", number, PATIENCE) for number in range(3)] == [0, 1, 2]
        wait_until(lambda: worker.counters["done"] == 3)


def test_leader_takes_in_what_comes_on_another_connection(tmp_path: Path) -> None:
    data, address = tmp_path / "s.zq", f"ipc://{tmp_path}/socket"
    worker = zq.Worker(address)
    worker.task("q")(lambda task: task.payload)
    with worker, zq.Client(address) as client:
        for number in range(2):
            with zq.Coordinator(data, bind=address):
                assert client.request("q", number, PATIENCE) == number
