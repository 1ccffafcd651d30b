"""What is taken away from a thread that runs a chunk, and put back for others: nothing of it runs twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from zq.task import Task
from zq.wire.batch import pack_payloads
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Progress
from zq.worker.bench import Bench
from zq.worker.harvest import Report
from zq.worker.thread_runner import ThreadRunner

PATIENCE = 30.0


class Host:
    """A worker with one thread."""

    def __init__(self) -> None:
        self.bench = Bench(1)
        self.reports: list[Report] = []

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def lead(self) -> bool:
        return False

    def leave(self) -> None:
        pass

    def pass_progress(self, message: Progress) -> None:
        raise AssertionError(message)

    def note_progress(self, task: Task, fraction: float) -> None:
        raise AssertionError(fraction)

    def is_cancelled(self, task: Task) -> bool:
        return False

    def put(self, token: int, size: int) -> None:
        """Puts a lease of numbers on the bench."""
        ends, blob = pack_payloads([msgpack.packb(number) for number in range(size)])
        self.bench.put([Assignment(token, f"b{token}", size, "q", DEFAULT_OPTIONS, 1, 0, ends, blob)])


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.bench.close()


@pytest.mark.parametrize("leases", [1, 3])
@pytest.mark.parametrize("held", [0, 2, 4])
def test_what_is_fetched_back_behind_a_task_runs_once(host: Host, leases: int, held: int) -> None:
    seen: list[Any] = []
    is_held, is_free, is_over = threading.Event(), threading.Event(), threading.Event()

    def work(task: Task) -> None:
        seen.append((task.token, task.payload))
        if task.token == 0 and task.payload == held:
            is_held.set()
            assert is_free.wait(PATIENCE)
        if task.token == leases:
            is_over.set()

    host.bench.measure("q", Report([], [], 1, 1e-6))  # such short tasks are taken together
    for token in range(leases):
        host.put(token, 5)
    runner = ThreadRunner(host, {"q": work})
    runner.start()
    assert is_held.wait(PATIENCE)
    for chunk in reversed(runner.fetch_back(time.monotonic(), 0.0)):
        host.bench.put_back(chunk)
    host.put(leases, 1)
    is_free.set()
    assert is_over.wait(PATIENCE)

    assert seen == [*((token, number) for token in range(leases) for number in range(5)), (leases, 0)]
