"""Workers are told from afar to drain, to go on, to end, and to have another size."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import PATIENCE, wait_until
from tests.worker.loud_shop import worker as shop


def row(client: zq.Client) -> zq.WorkerStatus:
    [found] = client.workers.list()
    return found


def open_shop(coordinator: zq.Coordinator, *, processes: int, concurrency: int = 1) -> zq.Worker:
    shop.adopt(zq.Worker(coordinator.address, name="shop", processes=processes, concurrency=concurrency))
    return shop


def submit_held(client: zq.Client, folder: Path, count: int, queue: str = "held") -> list[zq.Receipt]:
    return [client.submit(queue, f"{folder}/{number}") for number in range(count)]


def wait_for_running(client: zq.Client, count: int) -> None:
    wait_until(lambda: [one.running for one in client.workers.list()] == [count], f"{count} that run")


@pytest.mark.parametrize("queue", ["held", "held-coroutine"])
@pytest.mark.parametrize("processes", [0, 1])
def test_worker_that_drains_finishes_what_runs_gives_back_the_rest_and_takes_no_more_until_it_resumes(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path, processes: int, queue: str
) -> None:
    with open_shop(coordinator, processes=processes):
        receipts = submit_held(client, tmp_path, 3, queue)
        wait_for_running(client, 1)
        client.workers.drain("shop")
        wait_until(lambda: row(client).is_draining and row(client).held == 1, "what has not started is back")
        (tmp_path / "0").touch()
        receipts[0].result(timeout=PATIENCE)
        wait_until(lambda: row(client).held == 0, "nothing is held")
        assert client.queues.show(queue).waiting == 2
        assert row(client).state == "live"

        client.workers.resume("shop")
        for number in (1, 2):
            (tmp_path / str(number)).touch()
            receipts[number].result(timeout=PATIENCE)
        assert not row(client).is_draining


@pytest.mark.parametrize("processes", [0, 1])
def test_worker_that_is_told_to_stop_ends_as_by_a_signal(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path, processes: int
) -> None:
    worker = open_shop(coordinator, processes=processes)
    thread = threading.Thread(target=worker.run)
    thread.start()
    [receipt] = submit_held(client, tmp_path, 1)
    wait_for_running(client, 1)
    client.workers.stop("shop")
    wait_until(lambda: row(client).is_draining, "it drains")
    (tmp_path / "0").touch()
    receipt.result(timeout=PATIENCE)
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert client.workers.list() == []


def test_worker_in_the_background_is_stopped_from_afar_too(coordinator: zq.Coordinator, client: zq.Client) -> None:
    with open_shop(coordinator, processes=0):
        wait_until(lambda: client.workers.list() and row(client).pid, "it says what it is")
        client.workers.stop("shop")
        wait_until(lambda: not client.workers.list(), "it has left")


@pytest.mark.parametrize("processes", [0, 1])
def test_worker_runs_more_and_fewer_tasks_at_once(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path, processes: int
) -> None:
    with open_shop(coordinator, processes=processes):
        receipts = submit_held(client, tmp_path, 6)
        wait_for_running(client, 1)
        client.workers.resize("shop", 3)
        wait_for_running(client, 3)
        assert row(client).processes == 3 * processes
        client.workers.resize("shop", 1)
        wait_until(lambda: row(client).concurrency == 1 + 1, "its size, with one for coroutines")
        for number in range(3):
            (tmp_path / str(number)).touch()
            receipts[number].result(timeout=PATIENCE)
        wait_for_running(client, 1)
        client.workers.resize("shop", 2)
        wait_for_running(client, 2)
        for number in range(3, 6):
            (tmp_path / str(number)).touch()
        processes_of = {receipt.result(timeout=PATIENCE) for receipt in receipts}

    assert (len(processes_of) > 1) == (processes > 0)


@pytest.mark.parametrize("processes", [0, 1])
def test_coroutines_run_more_at_once(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path, processes: int
) -> None:
    worker = open_shop(coordinator, processes=processes)
    plain = {name: worker.handlers.pop(name) for name in ("held", "plain", "frail")}
    try:
        with worker:
            receipts = submit_held(client, tmp_path, 4, "held-coroutine")
            wait_for_running(client, 1)
            client.workers.resize("shop", 4)
            wait_for_running(client, 4)
            for number in range(4):
                (tmp_path / str(number)).touch()
            for receipt in receipts:
                receipt.result(timeout=PATIENCE)
    finally:
        worker.handlers.update(plain)


def test_row_shows_what_the_worker_holds_and_where_it_is(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path
) -> None:
    with open_shop(coordinator, processes=1):
        [receipt] = submit_held(client, tmp_path, 1)
        wait_for_running(client, 1)
        shown = row(client)
        (tmp_path / "0").touch()
        child = receipt.result(timeout=PATIENCE)

    [task] = shown.tasks
    assert (task.id, task.queue) == (receipt.id, "held")
    assert task.started_time is not None
    assert (shown.processes, shown.trouble) == (1, None)
    assert shown.pid not in (None, child)


def test_what_cannot_be_told_is_an_error_in_words(coordinator: zq.Coordinator, client: zq.Client) -> None:
    with pytest.raises(zq.RemoteProtocolError, match="there is no worker 'nobody'"):
        client.workers.drain("nobody")
    with pytest.raises(ValueError, match="expected size from 1 to 1000, got 0"):
        client.workers.resize("nobody", 0)
