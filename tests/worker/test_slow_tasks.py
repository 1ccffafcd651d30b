"""Work in hand follows the handlers: when tasks turn slow, or the worker stops, what has not started goes back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import PATIENCE, wait_until
from tests.worker import loud_shop, slow_shop
from zq.worker.bench import Bench
from zq.worker.harvest import Report

QUICK_TASKS = 300
"""After these, or as many again, a worker asks for more than it will be given slow ones."""

QUICK_SECONDS = 1e-4
"""For one of them."""

BEHIND = 30

KINDS = [("plain", 0), ("plain", 1), ("coroutine", 0), ("coroutine", 1)]


@pytest.fixture(params=KINDS, ids=["threads", "children", "coroutines", "coroutines in a child"])
def kind(request: pytest.FixtureRequest) -> tuple[str, int]:
    found: tuple[str, int] = request.param
    return found


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger"
    path.mkdir()
    monkeypatch.setenv("ZQ_TEST_LEDGER", str(path))
    return path


class Slowing:
    """A worker of one slot that has done quick tasks and is now at a slow one, with others behind it."""

    def __init__(self, coordinator: zq.Coordinator, client: zq.Client, kind: tuple[str, int], ledger: Path) -> None:
        self.queue, self.processes = kind
        self.coordinator, self.client, self.ledger = coordinator, client, ledger
        self.made = 0
        self.first = self.make_worker()

    def make_worker(self, concurrency: int = 1) -> zq.Worker:
        self.made += 1
        worker = zq.Worker(
            self.coordinator.address,
            name=f"shop-{self.made}",
            processes=self.processes,
            concurrency=concurrency,
        )
        worker.task(self.queue)(slow_shop.worker.handlers[self.queue])
        worker.spec = "tests.worker.slow_shop:worker"
        return worker

    def turn_slow(self) -> list[zq.Receipt]:
        """Lets it do quick tasks, and then begin a slow one; returns the receipts of those behind that."""
        wait_until(self.wants_many, "credit")
        receipts = self.client.submit_many(self.queue, ["slow", *[None] * BEHIND])
        wait_until((self.ledger / "started-slow").exists, "the slow task")
        return list(receipts)[1:]

    def wants_many(self) -> bool:
        """Gives it quick tasks; returns whether it wants many by now."""
        self.client.submit_many(self.queue, [None] * QUICK_TASKS, batch_size=100)[-1].result(timeout=PATIENCE)
        return self.row("shop-1")["credit"] > 2 * BEHIND

    def row(self, name: str) -> dict[str, int]:
        return next((row for row in self.client.query("workers") if row["name"] == name), {"credit": 0, "held": -1})

    def release(self) -> None:
        (self.ledger / "release-slow").touch()


@pytest.fixture
def _quick_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker learns that quick tasks are quick on a busy machine, too, where each may take its milliseconds."""
    measure = Bench.measure

    def measure_quick(bench: Bench, queue: str, report: Report, **of_whom: bool) -> None:
        measure(bench, queue, report._replace(seconds=min(report.seconds, report.tasks * QUICK_SECONDS)), **of_whom)

    monkeypatch.setattr(Bench, "measure", measure_quick)


@pytest.fixture
def slowing(tmp_path: Path, kind: tuple[str, int], ledger: Path, _quick_is_quick: None) -> Iterator[Slowing]:
    with (
        zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket") as coordinator,
        zq.Client(coordinator.address) as client,
    ):
        made = Slowing(coordinator, client, kind, ledger)
        with made.first:
            yield made
            made.release()


def test_what_waits_behind_a_slow_task_goes_to_another_worker(slowing: Slowing) -> None:
    behind = slowing.turn_slow()

    with slowing.make_worker():
        assert [receipt.result(timeout=PATIENCE) for receipt in behind] == ["attempt 1"] * BEHIND

    assert slowing.row("shop-1")["held"] == 1


@pytest.mark.parametrize("batch_size", [10, 1])
def test_what_ended_before_a_slow_task_is_reported_meanwhile(slowing: Slowing, batch_size: int) -> None:
    wait_until(slowing.wants_many, "credit")

    receipts = slowing.client.submit_many(slowing.queue, [None, None, "slow", None], batch_size=batch_size)
    before = [receipt.result(timeout=PATIENCE) for receipt in list(receipts)[:2]]

    assert before == ["attempt 1"] * 2
    slowing.release()
    assert receipts[2].result(timeout=PATIENCE) == "attempt 1"
    assert receipts[3].result(timeout=PATIENCE) == "attempt 1"


def test_worker_that_gave_back_gets_no_more_than_it_works_on(slowing: Slowing) -> None:
    slowing.turn_slow()

    wait_until(lambda: slowing.row("shop-1")["held"] == 1, "what waits to go back")
    tasks = slowing.client.query("status")

    assert slowing.row("shop-1")["credit"] == 1
    assert tasks["waiting"] == BEHIND


def test_worker_that_stops_finishes_what_runs_and_gives_back_the_rest_at_once(slowing: Slowing) -> None:
    behind = slowing.turn_slow()
    stopper = threading.Thread(target=slowing.first.stop)
    stopper.start()

    with slowing.make_worker():  # while the first still waits for its task
        assert [receipt.result(timeout=PATIENCE) for receipt in behind] == ["attempt 1"] * BEHIND
    assert stopper.is_alive()
    slowing.release()
    stopper.join(PATIENCE)

    assert not stopper.is_alive()
    assert slowing.client.query("status")["leased"] == 0


def test_urgent_task_overtakes_what_went_back(slowing: Slowing) -> None:
    behind = slowing.turn_slow()
    wait_until(lambda: slowing.row("shop-1")["held"] == 1, "what waits to go back")
    urgent = slowing.client.submit(slowing.queue, None, priority=9)

    with slowing.make_worker():
        assert urgent.result(timeout=PATIENCE) == "attempt 1"
        assert [receipt.result(timeout=PATIENCE) for receipt in behind] == ["attempt 1"] * BEHIND

    ends = [slowing.client.status(one.id).finished_time for one in (urgent, *behind)]
    assert ends[0] == min(end for end in ends if end is not None)


def test_pause_holds_what_waits_behind_a_slow_task(slowing: Slowing) -> None:
    behind = slowing.turn_slow()
    slowing.client.queues.pause(slowing.queue)
    wait_until(lambda: slowing.row("shop-1")["held"] == 1, "what waits to go back")
    slowing.release()
    wait_until(lambda: slowing.row("shop-1")["held"] == 0, "the slow task to end")

    assert slowing.client.query("status")["waiting"] == BEHIND
    slowing.client.queues.resume(slowing.queue)
    assert [receipt.result(timeout=PATIENCE) for receipt in behind] == ["attempt 1"] * BEHIND


@pytest.mark.parametrize("kind", [("holding", 0)], indirect=True, ids=["loop"])
def test_what_a_loop_that_is_held_has_not_begun_goes_to_another_worker(slowing: Slowing) -> None:
    client = slowing.client
    slowing.first.stop()
    many = slowing.make_worker(concurrency=8)
    with many:
        assert client.request("holding", None, PATIENCE) == "attempt 1"
        slow = client.submit("holding", "slow")
        wait_until((slowing.ledger / "started-slow").exists, "the task that holds the loop")
        behind = client.submit_many("holding", [None] * 5)
        with slowing.make_worker():
            assert [receipt.result(timeout=PATIENCE) for receipt in behind] == ["attempt 1"] * 5
        slowing.release()
        assert slow.result(timeout=PATIENCE) == "attempt 1"
        later = client.submit_many("holding", [None] * 20)
        assert [receipt.result(timeout=PATIENCE) for receipt in later] == ["attempt 1"] * 20


def test_what_was_cancelled_is_forgotten_while_others_run(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path
) -> None:
    files = [tmp_path / "cancelled", tmp_path / "other"]
    worker = zq.Worker(coordinator.address, concurrency=2)
    worker.task("held")(loud_shop.worker.handlers["held"])
    try:
        with worker:
            cancelled, other = [client.submit("held", str(file)) for file in files]
            wait_until(lambda: client.query("workers")[0]["running"] == 2, "both tasks")
            run = worker._live_run()
            assert run is not None
            cancelled.cancel()
            wait_until(lambda: run.bench.revoked, "the news")
            files[0].touch()
            wait_until(lambda: not run.bench.revoked, "its end")
            assert other.status().state == "leased"
            files[1].touch()
    finally:
        for file in files:
            file.touch()
