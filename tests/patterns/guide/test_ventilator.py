"""Ventilator, workers and sink: every task has a result, or its number is reported missing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import zmq

from patterns.guide import Sink, Ventilator
from patterns.guide.ventilator import TASKS_HIGH_WATER_MARK, VentilatorWorker
from tests.patterns.raw_peers import RawPeers, receive, wait_until
from zq import TimedOutError


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as one:
        yield one


@pytest.fixture
def ventilator(sink: Sink) -> Iterator[Ventilator]:
    with Ventilator(sink=sink.results) as one:
        yield one


def send_all(ventilator: Ventilator, count: int) -> threading.Thread:
    def send() -> None:
        for number in range(count):
            assert ventilator.send(b"%d" % number, timeout=20) == number
        ventilator.finish()

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def double(payload: bytes) -> bytes:
    return b"%d" % (int(payload) * 2)


def test_every_task_has_one_result(sink: Sink, ventilator: Ventilator) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(VentilatorWorker(ventilator.tasks, sink.results, double))
        ventilator.wait_workers(3, timeout=20)
        thread = send_all(ventilator, 2000)
        assert dict(sink.collect(20)) == {number: b"%d" % (2 * number) for number in range(2000)}
        thread.join()
    assert sink.missing() == []
    assert sink.received == sink.sent == ventilator.sent == 2000


def test_workers_that_start_together_share_the_tasks(peers: RawPeers, ventilator: Ventilator) -> None:
    workers = [peers.connect(zmq.PULL, ventilator.tasks) for _ in range(4)]
    ventilator.wait_workers(4, timeout=20)
    for _ in range(20):
        ventilator.send(b"x", timeout=20)
    for worker in workers:
        for _ in range(5):
            receive(worker)


def test_what_a_dead_worker_had_is_reported_exactly(peers: RawPeers, sink: Sink, ventilator: Ventilator) -> None:
    dying = peers.connect(zmq.PULL, ventilator.tasks)
    with VentilatorWorker(ventilator.tasks, sink.results, double):
        ventilator.wait_workers(2, timeout=20)
        thread = send_all(ventilator, 500)
        taken = int.from_bytes(receive(dying)[0], "big")
        dying.close(0)
        thread.join()
        results = dict(sink.collect(patience=2))
    missing = sink.missing()
    assert taken in missing
    assert sorted([*results, *missing]) == list(range(500))
    assert sink.received + len(missing) == sink.sent == 500


def test_a_task_whose_handler_fails_is_missing_and_the_worker_goes_on(
    sink: Sink, ventilator: Ventilator, caplog: pytest.LogCaptureFixture
) -> None:
    def fragile(payload: bytes) -> bytes:
        if payload == b"3":
            raise SystemExit("too hot")
        return payload

    with VentilatorWorker(ventilator.tasks, sink.results, fragile) as worker:
        thread = send_all(ventilator, 10)
        assert len(list(sink.collect(patience=1))) == 9
        thread.join()
        assert (worker.failures, worker.malformed) == (1, 0)
    assert sink.missing() == [3]
    assert "the sink will report task 3 as missing" in caplog.text


def test_a_slow_sink_holds_everything_up_and_loses_nothing(peers: RawPeers, ventilator: Ventilator) -> None:
    slow, address = peers.bind(zmq.PULL)
    with VentilatorWorker(ventilator.tasks, address, lambda payload: payload * 100_000) as worker:
        thread = send_all(ventilator, 300)
        wait_until(lambda: worker._result is not None)  # nobody takes its results
        numbers = [int.from_bytes(receive(slow)[1], "big") for _ in range(300)]
        thread.join()
    assert numbers == list(range(300))


def test_sending_waits_for_room(peers: RawPeers, ventilator: Ventilator) -> None:
    with pytest.raises(TimedOutError, match=r"no worker had room for task 0 within 0\.01 s"):
        ventilator.send(b"x", timeout=0.01)
    with pytest.raises(TimedOutError, match=r"expected 1 workers within 0\.01 s, got 0"):
        ventilator.wait_workers(1, timeout=0.01)
    worker = peers.connect(zmq.PULL, ventilator.tasks)
    for _ in range(TASKS_HIGH_WATER_MARK * 3):
        ventilator.send(b"x", timeout=20)
        receive(worker)


def test_the_last_tasks_are_not_lost_when_the_ventilator_closes(peers: RawPeers, sink: Sink) -> None:
    with Ventilator(sink=sink.results) as ventilator:
        worker = peers.connect(zmq.PULL, ventilator.tasks)
        for _ in range(TASKS_HIGH_WATER_MARK):
            ventilator.send(b"x", timeout=20)
    for number in range(TASKS_HIGH_WATER_MARK):
        assert receive(worker) == [number.to_bytes(8, "big"), b"x"]


def test_malformed_results_are_counted_and_doubled_ones_ignored(peers: RawPeers, sink: Sink) -> None:
    worker = peers.connect(zmq.PUSH, sink.results)
    one, many = (1).to_bytes(8, "big"), (1 << 40).to_bytes(8, "big")
    bad = [[b"x"], [b"\x01", b"short", b""], [b"\x01", many, b""], [b"\x09", one, b""], [b"\x01", one]]
    for frames in bad:
        worker.send_multipart(frames)
    for frames in ([b"\x01", one, b"hot"], [b"\x01", one, b"again"], [b"\x02", (2).to_bytes(8, "big")]):
        worker.send_multipart(frames)
    assert list(sink.collect(patience=0.5)) == [(1, b"hot")]
    assert sink.missing() == [0]
    assert sink.malformed == len(bad)


def test_a_sink_that_hears_nothing_says_so(sink: Sink) -> None:
    with pytest.raises(TimedOutError, match=r"nothing came for 0\.01 s after 0 results"):
        list(sink.collect(patience=0.01))
