"""How workers are made, and what they refuse; then what only a running one shows."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import PATIENCE, wait_until
from zq import sessions
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Done, Span
from zq.worker.bench import Bench
from zq.worker.harvest import Report
from zq.worker.run import SETTLE_PATIENCE
from zq.worker.thread_runner import Reports

ADDRESS = "tcp://127.0.0.1:1"


def nothing(task: zq.Task) -> None:
    """Does nothing."""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"concurrency": 0}, "expected concurrency from 1 to 1000, got 0"),
        ({"processes": -1}, "expected processes from 0 to 1000, got -1"),
        ({"name": "two words"}, "expected name of 1 to 128 bytes without spaces"),
        ({"address": "localhost"}, "expected an address like tcp://host:7700"),
    ],
)
def test_worker_that_cannot_be_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        zq.Worker(**({"address": ADDRESS} | options))


def test_worker_without_coordinator_and_tasks_stops_without_waiting_for_an_answer() -> None:
    worker = zq.Worker(ADDRESS)
    worker.task("q")(nothing)
    life = worker.start()
    is_up = threading.Event()
    life._call(is_up.set)
    assert is_up.wait(PATIENCE)
    stopping = threading.Thread(target=worker.stop, daemon=True)
    stopping.start()
    stopping.join(SETTLE_PATIENCE / 2)

    assert not stopping.is_alive()


def test_second_handler_of_a_queue_is_refused() -> None:
    worker = zq.Worker(ADDRESS)
    assert worker.task("q")(nothing) is nothing

    with pytest.raises(ValueError, match="queue q has a handler already: nothing"):
        worker.task("q")


def test_worker_without_handlers_does_not_run() -> None:
    with pytest.raises(ValueError, match="has no handler"):
        zq.Worker(ADDRESS, name="w").run()


def test_worker_with_processes_must_be_importable() -> None:
    worker = zq.Worker(ADDRESS, processes=1)
    worker.task("q")(nothing)

    with pytest.raises(ValueError, match="child processes import it from there"):
        worker.start()


def test_second_worker_of_a_name_waits_for_it_says_so_and_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sessions.worker, "NAME_PATIENCE", 0.0)
    options = zq.CoordinatorOptions(heartbeat_interval=0.1, suspect_after=1.0)
    with zq.Coordinator(tmp_path / "s.zq", options=options) as coordinator:
        first, second = (zq.Worker(coordinator.address, name="same") for _ in range(2))
        first.task("q")(nothing)
        second.task("q")(nothing)
        with first, zq.Client(coordinator.address) as client:
            wait_until(lambda: client.query("workers"), "the first worker")

            with pytest.raises(zq.WorkerFencedError, match="another worker has the name same, and keeps it"):
                second.run()

            assert client.submit("q", None).result(PATIENCE) is None
    said = [one.getMessage() for one in caplog.records if "waits for its name" in one.getMessage()]
    assert [text.partition(":")[0] for text in said] == ["worker same waits for its name"]


def test_worker_takes_over_the_name_of_one_that_was_killed(tmp_path: Path) -> None:
    options = zq.CoordinatorOptions(suspect_after=3600.0, gone_after=3600.0)
    with zq.Coordinator(tmp_path / "s.zq", options=options) as coordinator, zq.Client(coordinator.address) as client:
        command = [sys.executable, "-m", "zq.cli", "worker", "tests.cli.kitchen:worker", "--name", "same"]
        killed = subprocess.Popen([*command, "--address", coordinator.address], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: client.query("workers"), "the first worker")
        finally:
            killed.kill()
            killed.wait()
        second = zq.Worker(coordinator.address, name="same")
        second.task("q")(nothing)

        with second:
            assert client.submit("q", None).result(PATIENCE) is None


def test_burst_ends_when_nothing_comes_any_more(tmp_path: Path) -> None:
    done: list[Any] = []
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("q", range(1000))
        worker = zq.Worker(coordinator.address, concurrency=3)
        worker.task("q")(lambda task: done.append(task.payload))

        worker.run(burst=True)

        assert sorted(done) == list(range(1000))
        assert client.query("status")["done"] == 1000


def test_fast_tasks_raise_the_credit_and_slow_ones_do_not() -> None:
    bench = Bench(concurrency=2)
    for _ in range(20):
        bench.measure("slow", Report([], [], 1, 0.5))
    assert bench.credit == 2
    for _ in range(30):
        bench.measure("fast", Report([], [], 1000, 0.01))

    assert bench.credit == 10_000


def test_bench_cuts_leases_into_chunks_and_takes_back_what_was_not_run() -> None:
    bench = Bench(concurrency=1)
    ends = b"".join(i.to_bytes(4, "little") for i in range(1, 101))
    bench.put([Assignment(7, "b", 100, "q", DEFAULT_OPTIONS, 1, 0, ends, b"x" * 100)])
    [first] = bench.take_some()
    assert (first.lo, first.hi) == (0, 1)  # nothing is known about these tasks yet
    bench.measure("q", Report([], [], 1, 0.001))

    [second] = bench.take_some()
    assert (second.lo, second.hi) == (1, 11)
    bench.put_back(second)

    assert bench.close() == [Span(7, 1, 11), Span(7, 11, 100)]
    assert bench.take_some() == []


def test_bench_gives_small_leases_of_a_queue_together_as_far_as_a_chunk_goes() -> None:
    bench = Bench(concurrency=1)
    two = b"".join(i.to_bytes(4, "little") for i in (1, 2))
    leases = [Assignment(token, f"b{token}", 2, "q", DEFAULT_OPTIONS, 1, 0, two, b"xy") for token in range(1, 7)]
    other = Assignment(9, "b9", 2, "other", DEFAULT_OPTIONS, 1, 0, two, b"xy")
    bench.put([*leases[:3], other, *leases[3:]])

    assert [(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in bench.take_some()] == [(1, 0, 1)]
    bench.measure("q", Report([], [], 1, 0.0025))  # so four of them make a chunk of 10 ms

    assert [(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in bench.take_some()] == [(1, 1, 2), (2, 0, 2)]
    assert [(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in bench.take_some()] == [(3, 0, 2)]
    assert [(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in bench.take_some()] == [(9, 0, 1)]
    assert bench.close() == [Span(9, 1, 2), *(Span(token, 0, 2) for token in (4, 5, 6))]
    assert bench.take_some() == []


def test_reports_of_small_leases_go_out_together_and_slow_ones_at_once() -> None:
    passed_on: list[tuple[str, Report]] = []
    reports = Reports("q", lambda queue, report: passed_on.append((queue, report)))
    first, second = (Done(token, "b", 0, 1, b"", b"", ()) for token in (1, 2))
    reports.add(Report([first], [], 1, 0.001))
    reports.add(Report([second], [], 1, 0.001))
    assert passed_on == []
    reports.flush()
    reports.add(Report([first], [], 1, 0.02))
    reports.flush()

    assert passed_on == [("q", Report([first, second], [], 2, 0.002)), ("q", Report([first], [], 1, 0.02))]


def test_handlers_of_a_worker_keep_their_types() -> None:
    worker = zq.Worker(ADDRESS)

    @worker.task("q")
    def handler(task: zq.Task) -> int:
        return 1

    assert handler is worker.handlers["q"]
    assert sys.modules[__name__].nothing is nothing


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_worker_whose_runner_breaks_fails_the_task_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Any, chunk: Any, revoked: Any, report: Any) -> None:
        self._slot.token, self._slot.index = chunk.assignment.token, chunk.lo
        raise AssertionError("a fault of the runner")

    monkeypatch.setattr("zq.worker.runner.Runner.run", broken)
    with zq.Coordinator(tmp_path / "data") as coordinator, zq.Client(coordinator.address) as client:
        receipt = client.submit("q", 1, max_attempts=1)
        worker = zq.Worker(coordinator.address)
        worker.task("q")(nothing)
        with pytest.raises(zq.RunnerBrokenError, match="a thread that runs handlers ended"):
            worker.run()

        with pytest.raises(zq.TaskFailedError, match="the thread that ran it ended by a fault"):
            receipt.result(timeout=PATIENCE)


def test_bench_gives_back_what_was_not_started_within_its_ttl() -> None:
    bench = Bench(concurrency=1, coroutine_queues=frozenset({"async"}))
    ends = b"".join(i.to_bytes(4, "little") for i in range(1, 4))
    short, long = DEFAULT_OPTIONS._replace(ttl=0.001), DEFAULT_OPTIONS._replace(ttl=1000.0)
    bench.put(
        [
            Assignment(7, "b", 3, "q", short, 1, 0, ends, b"xyz"),
            Assignment(8, "c", 3, "q", long, 1, 0, ends, b"xyz"),
            Assignment(9, "d", 3, "async", short, 1, 0, ends, b"xyz"),
        ]
    )
    give_up_at = time.monotonic() + 10
    expired: list[Span] = []
    while len(expired) < 2 and time.monotonic() < give_up_at:
        expired += bench.take_leaving()

    assert sorted(expired) == [Span(7, 0, 3), Span(9, 0, 3)]
    chunks = [one for _ in range(3) for one in bench.take_some()]
    assert [(one.assignment.token, one.lo, one.hi) for one in chunks] == [(8, 0, 1), (8, 1, 2), (8, 2, 3)]
    assert bench.take_coroutines(5) is None
    assert bench.take_leaving() == []


def test_runner_is_not_given_what_expired_while_it_was_busy() -> None:
    bench = Bench(concurrency=1)
    bench.put(
        [
            Assignment(7, "b", 1, "q", DEFAULT_OPTIONS._replace(ttl=0.001), 1, 0, b"\x01\0\0\0", b"x"),
            Assignment(8, "c", 1, "q", DEFAULT_OPTIONS, 1, 0, b"\x01\0\0\0", b"x"),
        ]
    )
    started_at = time.monotonic()
    while time.monotonic() <= started_at + 0.001:
        pass
    [chunk] = bench.take_some()

    assert chunk.assignment.token == 8
    assert bench.take_leaving() == [Span(7, 0, 1)]
