"""Tasks that a worker has in hand and nowhere, and runners that break."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import PATIENCE, wait_until
from zq.sessions.worker import WorkerSession
from zq.wire.messages import DEFAULT_OPTIONS, Assign, Assignment, Done, Span, Welcome
from zq.worker.bench import Bench
from zq.worker.runner import Chunk, Runner
from zq.worker.strays import Strays


class IdleRunner:
    """A runner whose thread lives, or not, and that has some chunks."""

    def __init__(self, *chunks: Chunk) -> None:
        self.chunks = list(chunks)
        self.thread = threading.current_thread()

    def in_hand(self) -> list[Chunk]:
        return self.chunks


def lease(token: int, tasks: int) -> Assignment:
    ends = b"".join(i.to_bytes(4, "little") for i in range(1, tasks + 1))
    return Assignment(token, f"b{token}", tasks, "q", DEFAULT_OPTIONS, 1, 0, ends, b"x" * tasks)


def session_with(*leases: Assignment) -> WorkerSession:
    session = WorkerSession("w", "i", ("q",), 1, list)
    session.connected(0.0)
    session.receive(0.0, Welcome(1, 1.0, 3.0, 15.0, ()))
    session.receive(0.0, Assign(leases))
    return session


def looks(strays: Strays, count: int) -> list[list[Span]]:
    found = []
    for _ in range(count):
        found.append(strays.look(max(strays.next_at, 0.0)))
    return found


def test_what_is_nowhere_in_two_looks_is_found_and_nothing_else() -> None:
    on_bench, running, reported, lost, in_part = (lease(token, 4) for token in range(1, 6))
    session = session_with(on_bench, running, reported, lost, in_part)
    bench = Bench(1)
    bench.put([on_bench])
    bench.put_back(Chunk(in_part, 0, 1))
    session.finish([Done(3, "b3", 0, 4, b"", b"", ()), Done(5, "b5", 2, 3, b"", b"", ())], [], 1)
    runner: Any = IdleRunner(Chunk(running, 0, 4))
    strays = Strays(session, bench, [runner])

    assert looks(strays, 3)[:2] == [[], []]  # new in the first, nowhere in the second
    found = [sorted(spans) for spans in looks(Strays(session, bench, [runner]), 3)]
    assert found == [[], [], [Span(4, 0, 4), Span(5, 1, 2), Span(5, 3, 4)]]


def test_what_is_found_again_was_on_its_way() -> None:
    one = lease(1, 4)
    session, bench = session_with(one), Bench(1)
    strays = Strays(session, bench, [])
    assert looks(strays, 2) == [[], []]
    bench.put([one])
    assert looks(strays, 1) == [[]]
    bench.close()

    assert looks(strays, 2) == [[], [Span(1, 0, 4)]]


def test_what_a_runner_has_whose_thread_ended_is_nowhere() -> None:
    one = lease(1, 4)
    runner: Any = IdleRunner(Chunk(one, 0, 4))
    runner.thread = threading.Thread(target=list)
    strays = Strays(session_with(one), Bench(1), [runner])

    assert looks(strays, 3) == [[], [], [Span(1, 0, 4)]]


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    options = zq.CoordinatorOptions(suspect_after=PATIENCE, gone_after=10 * PATIENCE)
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket", options=options) as coordinator:
        yield coordinator


def test_task_that_gets_lost_in_a_worker_is_given_back_and_the_log_says_so(
    coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("zq.worker.strays.STRAYS_LOOK_INTERVAL", 0.05)
    lost: list[Any] = []
    put = Bench.put

    def lose_once(self: Bench, assignments: list[Assignment]) -> None:
        if lost:
            put(self, assignments)
        lost.append(assignments)

    monkeypatch.setattr(Bench, "put", lose_once)
    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: task.attempt)
    with zq.Client(coordinator.address) as client, worker, caplog.at_level(logging.ERROR):
        assert client.request("q", None, PATIENCE) == 1

    assert "1 tasks were in hand and nowhere in this worker" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("is_in_background", [False, True], ids=["run", "start"])
def test_worker_whose_runner_breaks_gives_back_what_it_holds_and_ends(
    coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch, is_in_background: bool
) -> None:
    def broken(*_: object) -> int:
        raise AssertionError("a fault of the runner")

    worker = zq.Worker(coordinator.address)
    worker.task("q")(lambda task: task.attempt)
    with zq.Client(coordinator.address) as client:
        receipts = client.submit_many("q", range(5))
        with monkeypatch.context() as patch:
            patch.setattr(Runner, "run", broken)
            if is_in_background:
                worker.start()
            else:
                with pytest.raises(zq.RunnerBrokenError):
                    worker.run()
            wait_until(lambda: client.query("status")["workers"] == 0, "the worker to end")
            worker.stop()
        assert client.query("status")["leased"] == 0
        with worker:
            assert [receipt.result(timeout=PATIENCE) for receipt in receipts] == [1] * 5
