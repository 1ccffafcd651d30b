"""The worker speaks RFC 6 with a bare ROUTER socket, and works together with the queue of this package."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import zmq

from patterns.guide import ParanoidPirateQueue, ParanoidPirateWorker
from tests.patterns.raw_peers import RawPeers, is_silent, receive, wait_until

INTERVAL = 0.1
ENVELOPE = [b"client 1", b""]


def echo(content: list[bytes]) -> list[bytes]:
    return content


def worker_of(address: str, handler: object = echo, missed_max: int = 100) -> ParanoidPirateWorker:
    # Some tests pass bad ones.
    return ParanoidPirateWorker(address, handler, heartbeat_interval=INTERVAL, missed_max=missed_max)  # type: ignore[arg-type]


def test_ready_is_first_and_heartbeats_follow(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    with worker_of(address):
        name, *message = receive(queue)
        assert message == [b"\x01"]
        assert receive(queue) == [name, b"\x02"]
        assert receive(queue) == [name, b"\x02"]


def test_a_request_is_answered_in_its_envelope(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    with worker_of(address, lambda content: [b"baked", *content]) as worker:
        name, _ = receive(queue)
        queue.send_multipart([name, b"client 1", b"request 17", b"", b"one", b"calzone"])
        assert receive(queue, skip=[name, b"\x02"]) == [
            *[name, b"client 1", b"request 17", b""],
            *[b"baked", b"one", b"calzone"],
        ]
        wait_until(lambda: worker.handled == 1)


def test_heartbeats_go_out_while_the_handler_works(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    oven = threading.Event()

    def bake(content: list[bytes]) -> list[bytes]:
        oven.wait(20)
        return content

    with worker_of(address, bake):
        name, _ = receive(queue)
        queue.send_multipart([name, *ENVELOPE, b"one"])
        for _ in range(5):
            assert receive(queue) == [name, b"\x02"]
        oven.set()
        assert receive(queue, skip=[name, b"\x02"]) == [name, *ENVELOPE, b"one"]


def test_a_silent_queue_gets_ready_again_on_a_fresh_socket(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    with worker_of(address, missed_max=3):
        name, *message = receive(queue)
        assert message == [b"\x01"]
        other, *message = receive(queue, skip=[name, b"\x02"])
        assert other != name
        assert message == [b"\x01"]


def test_a_worker_whose_queue_has_gone_is_ready_only_when_its_handler_is(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    oven = threading.Event()

    def bake(content: list[bytes]) -> list[bytes]:
        oven.wait(20)
        return content

    with worker_of(address, bake, missed_max=3) as worker:
        name, _ = receive(queue)
        queue.send_multipart([name, *ENVELOPE, b"one"])
        wait_until(lambda: worker._queue is None)
        assert is_silent(queue, skip=[name, b"\x02"])
        oven.set()
        other, *message = receive(queue, skip=[name, b"\x02"])
        assert other != name
        assert message == [b"\x01"]
        assert worker.lost == 1


def test_a_handler_that_raises_makes_the_worker_say_ready(peers: RawPeers, caplog: pytest.LogCaptureFixture) -> None:
    queue, address = peers.bind(zmq.ROUTER)

    def bake(content: list[bytes]) -> list[bytes]:
        return {b"bad": [], b"wrong": ["text"]}.get(content[0], content)  # type: ignore[return-value]  # on purpose

    with worker_of(address, bake) as worker:
        name, _ = receive(queue)
        for bad in (b"bad", b"wrong"):
            queue.send_multipart([name, *ENVELOPE, bad])
            assert receive(queue, skip=[name, b"\x02"]) == [name, b"\x01"]
        queue.send_multipart([name, *ENVELOPE, b"good"])
        assert receive(queue, skip=[name, b"\x02"]) == [name, *ENVELOPE, b"good"]
        assert worker.failures == 2
    assert "expected the handler to return a list of one or more bytes" in caplog.text


def test_a_malformed_request_is_counted_and_stops_nothing(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    with worker_of(address) as worker:
        name, _ = receive(queue)
        for bad in ([b"\x07"], [b"client", b""], [b"", b""][:1], [b"a", b"b"]):
            queue.send_multipart([name, *bad])
        wait_until(lambda: worker.malformed == 4)
        queue.send_multipart([name, *ENVELOPE, b"one"])
        assert receive(queue, skip=[name, b"\x02"]) == [name, *ENVELOPE, b"one"]


def test_a_stopped_worker_finishes_what_it_has_in_hand(peers: RawPeers) -> None:
    queue, address = peers.bind(zmq.ROUTER)
    started, oven = threading.Event(), threading.Event()

    def bake(content: list[bytes]) -> list[bytes]:
        started.set()
        oven.wait(20)
        return content

    with worker_of(address, bake) as worker:
        name, _ = receive(queue)
        queue.send_multipart([name, *ENVELOPE, b"one"])
        started.wait(20)
        worker.stop()
        oven.set()
    assert receive(queue, skip=[name, b"\x02"]) == [name, *ENVELOPE, b"one"]


def test_queue_and_workers_of_this_package_work_together(peers: RawPeers) -> None:
    with (
        ParanoidPirateQueue(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*") as queue,
        worker_of(queue.backend),
        worker_of(queue.backend),
    ):
        client = peers.connect(zmq.DEALER, queue.frontend)
        for number in range(300):
            client.send_multipart([b"%d" % number, b"", b"x%d" % number])
        replies = sorted(tuple(receive(client)) for _ in range(300))
    assert replies == sorted((b"%d" % number, b"", b"x%d" % number) for number in range(300))


def test_a_failing_handler_does_not_lose_its_request(peers: RawPeers) -> None:
    errors: Iterator[BaseException] = iter([RuntimeError("the oven is cold"), SystemExit(3)])

    def bake(content: list[bytes]) -> list[bytes]:
        for error in errors:
            raise error
        return content

    with (
        ParanoidPirateQueue(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*") as queue,
        worker_of(queue.backend, bake),
    ):
        client = peers.connect(zmq.REQ, queue.frontend)
        client.send(b"one")
        assert receive(client) == [b"one"]
        assert queue.reassigned == 2
