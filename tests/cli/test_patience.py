"""What is said while the end of a task is waited for."""

from __future__ import annotations

import pytest

import zq
from zq.cli.steering import patience
from zq.cli.steering.patience import Patience


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FARE_INTERVAL", 0.02)


def test_why_a_task_waits_is_said_once(coordinator: zq.Coordinator) -> None:
    said: list[str] = []
    with zq.Client(coordinator.address) as client:
        receipt = client.submit("orders", 1)
        worker = zq.Worker(coordinator.address)
        worker.task("orders")(lambda task: "baked")

        def say(line: str) -> None:
            said.append(line)
            worker.start()

        assert Patience(client, receipt, say).result(None) == "baked"
        worker.stop()

    assert said == [f"{receipt.id} waits: no worker for queue orders is there"]


def test_attempts_that_fail_are_said(coordinator: zq.Coordinator) -> None:
    said: list[str] = []
    worker = zq.Worker(coordinator.address)

    @worker.task("orders")
    def bake(task: zq.Task) -> str:
        if not [line for line in said if "failed" in line]:
            raise ValueError("no oven")
        return "baked"

    with zq.Client(coordinator.address) as client, worker:
        receipt = client.submit("orders", 1, max_attempts=1000, retry=zq.RetryPolicy.constant(0.05))
        assert Patience(client, receipt, said.append).result(None) == "baked"

    assert f"{receipt.id}: attempt 1 failed: ValueError: no oven; next try in 0.05 s" in said


def test_who_gives_up_is_told_so(coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address) as client, pytest.raises(zq.TimedOutError):
        Patience(client, client.submit("orders", 1), lambda line: None).result(0.0)


def test_attempts_before_a_quick_end_are_said_too(coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FARE_INTERVAL", 60.0)
    said: list[str] = []
    worker = zq.Worker(coordinator.address)

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        raise ValueError("no oven")

    with zq.Client(coordinator.address) as client, worker:
        receipt = client.submit("orders", 1, max_attempts=2, retry=zq.RetryPolicy.constant(0.01))
        with pytest.raises(zq.TaskFailedError):
            Patience(client, receipt, said.append).result(None)

    assert said == [f"{receipt.id}: attempt 1 failed: ValueError: no oven; next try in 0.01 s"]
