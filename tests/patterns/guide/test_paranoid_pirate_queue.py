"""The queue speaks RFC 6: every peer here is a bare socket, every frame is written as the RFC text has it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq

from patterns.guide import ParanoidPirateQueue
from patterns.guide.paranoid_pirate_queue import REQUEST_ATTEMPTS_MAX
from tests.patterns.raw_peers import RawPeers, Socket, is_silent, receive, wait_until

INTERVAL = 0.1
BEAT = [b"\x02"]


@pytest.fixture
def queue() -> Iterator[ParanoidPirateQueue]:
    """A queue that takes a worker for lost after 10 s: only the tests that are about loss are quicker."""
    with ParanoidPirateQueue(
        frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=INTERVAL, missed_max=100
    ) as one:
        yield one


@pytest.fixture
def hasty_queue() -> Iterator[ParanoidPirateQueue]:
    with ParanoidPirateQueue(
        frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=INTERVAL, missed_max=10
    ) as one:
        yield one


def new_worker(peers: RawPeers, queue: ParanoidPirateQueue, identity: bytes = b"") -> Socket:
    worker = peers.connect(zmq.DEALER, queue.backend, identity=identity)
    worker.send(b"\x01")
    return worker


def ready_worker(peers: RawPeers, queue: ParanoidPirateQueue, identity: bytes = b"") -> Socket:
    """A worker that has said READY and heard a heartbeat, so that the queue surely knows it."""
    worker = new_worker(peers, queue, identity)
    assert receive(worker) == BEAT
    return worker


def ask(peers: RawPeers, queue: ParanoidPirateQueue, *content: bytes) -> Socket:
    client = peers.connect(zmq.REQ, queue.frontend)
    client.send_multipart(content)
    return client


def test_a_request_reaches_a_ready_worker_and_its_reply_the_client(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    client = ask(peers, queue, b"one", b"margherita")

    address, *rest = receive(worker, skip=BEAT)
    assert rest == [b"", b"one", b"margherita"]  # an address stack with null terminator, then the content

    worker.send_multipart([address, b"", b"baked"])
    assert receive(client) == [b"baked"]
    wait_until(lambda: queue.answered == 1)


def test_a_client_gets_its_whole_address_stack_back(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    client = peers.connect(zmq.DEALER, queue.frontend)
    client.send_multipart([b"request 17", b"", b"calzone"])

    address, *rest = receive(worker, skip=BEAT)
    assert rest == [b"request 17", b"", b"calzone"]

    worker.send_multipart([address, b"request 17", b"", b"baked"])
    assert receive(client) == [b"request 17", b"", b"baked"]


def test_heartbeats_go_to_free_and_to_busy_workers(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    busy, free = ready_worker(peers, queue), ready_worker(peers, queue)
    ask(peers, queue, b"one")
    assert receive(busy, skip=BEAT)[1:] == [b"", b"one"]

    for _ in range(3):
        assert receive(busy) == BEAT
        assert receive(free) == BEAT


def test_heartbeats_go_out_while_clients_flood_the_queue(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    client = peers.connect(zmq.DEALER, queue.frontend)
    beats = replies = 0
    while beats < 3:
        try:
            while True:
                client.send_multipart([b"", b"x"], zmq.NOBLOCK)
        except zmq.Again:
            pass
        frames = receive(worker)
        if frames == BEAT:
            beats += 1
        else:
            worker.send_multipart(frames)
            replies += 1
        while client.poll(0):
            client.recv_multipart()
    assert replies > 0


def test_a_heartbeat_never_makes_a_busy_worker_look_free(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    first, second = ask(peers, queue, b"first"), None
    request = receive(worker, skip=BEAT)
    second = ask(peers, queue, b"second")
    for _ in range(5):
        worker.send(b"\x02")
        assert receive(worker) == BEAT

    worker.send_multipart(request)
    assert receive(first) == [b"first"]
    assert receive(worker, skip=BEAT)[1:] == [b"", b"second"]
    assert second.poll(0) == 0


def test_the_least_recently_used_worker_is_first(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    workers = [ready_worker(peers, queue) for _ in range(3)]
    for turn in range(6):
        client = ask(peers, queue, b"%d" % turn)
        worker = workers[turn % 3]
        worker.send_multipart(receive(worker, skip=BEAT))
        assert receive(client) == [b"%d" % turn]


def test_the_request_of_a_silent_worker_goes_to_another(peers: RawPeers, hasty_queue: ParanoidPirateQueue) -> None:
    client = ask(peers, hasty_queue, b"one")
    silent = new_worker(peers, hasty_queue)
    request = receive(silent, skip=BEAT)
    wait_until(lambda: hasty_queue.reassigned == 1)

    other = new_worker(peers, hasty_queue)
    assert receive(other, skip=BEAT) == request
    other.send_multipart([*request[:2], b"from the other"])
    assert receive(client) == [b"from the other"]

    silent.send_multipart([*request[:2], b"too late"])  # a worker that was given up must say READY first
    wait_until(lambda: hasty_queue.malformed == 1)
    assert is_silent(client)


def test_a_worker_that_disconnects_loses_its_request_at_once(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    client = ask(peers, queue, b"one")
    receive(worker, skip=BEAT)
    worker.close(0)
    other = new_worker(peers, queue)
    other.send_multipart(receive(other, skip=BEAT))
    assert receive(client) == [b"one"]
    assert queue.reassigned == 1


def test_ready_from_a_busy_worker_begins_a_new_conversation(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue, identity=b"0A1B-2C3D")  # as the guide's worker names itself
    client = ask(peers, queue, b"one")
    request = receive(worker, skip=BEAT)
    worker.send(b"\x01")
    assert receive(worker, skip=BEAT) == request
    worker.send_multipart(request)
    assert receive(client) == [b"one"]


def test_a_request_that_kills_its_workers_is_dropped(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    ask(peers, queue, b"poison")
    for _ in range(REQUEST_ATTEMPTS_MAX):
        receive(worker, skip=BEAT)
        worker.send(b"\x01")
    wait_until(lambda: queue.abandoned == 1)

    client = ask(peers, queue, b"healthy")
    worker.send_multipart(receive(worker, skip=BEAT))
    assert receive(client) == [b"healthy"]


def test_a_retry_on_a_fresh_socket_is_a_new_request(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    first = ask(peers, queue, b"one")
    wait_until(lambda: queue_length(queue) == 1)
    first.close(0)
    again = ask(peers, queue, b"one")
    wait_until(lambda: queue_length(queue) == 2)

    worker = new_worker(peers, queue)
    requests = [receive(worker, skip=BEAT)]
    worker.send_multipart(requests[0])
    requests.append(receive(worker, skip=BEAT))
    worker.send_multipart(requests[1])  # both are worked on
    assert requests[0][0] != requests[1][0]
    assert receive(again) == [b"one"]


def test_a_reply_to_a_client_that_has_gone_is_counted(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = new_worker(peers, queue)

    def is_counted() -> bool:
        ended = queue.answered + queue.undeliverable
        client = ask(peers, queue, b"one")
        request = receive(worker, skip=BEAT)
        client.close(0)  # the queue may hear of it only after the reply
        worker.send_multipart(request)
        wait_until(lambda: queue.answered + queue.undeliverable > ended)
        return queue.undeliverable > 0

    wait_until(is_counted)


def queue_length(queue: ParanoidPirateQueue) -> int:
    return len(queue._waiting)


def test_a_request_older_than_its_time_to_live_is_dropped(peers: RawPeers) -> None:
    with ParanoidPirateQueue(
        frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=0.05, request_ttl=0.01
    ) as queue:
        ask(peers, queue, b"one")
        wait_until(lambda: queue_length(queue) == 1)
        expires_at = queue._waiting[0].expires_at
        wait_until(lambda: time.monotonic() > expires_at)
        new_worker(peers, queue)
        wait_until(lambda: queue.abandoned == 1)


def test_a_full_queue_holds_its_clients_up(peers: RawPeers) -> None:
    with ParanoidPirateQueue(
        frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=INTERVAL, requests_max=2
    ) as queue:
        clients = [ask(peers, queue, b"%d" % number) for number in range(5)]
        wait_until(lambda: queue_length(queue) == 2)
        worker = peers.connect(zmq.DEALER, queue.backend)
        worker.send(b"\x01")
        for _ in clients:
            worker.send_multipart(receive(worker, skip=BEAT))
            assert queue_length(queue) <= 2
        assert [receive(client) for client in clients] == [[b"%d" % number] for number in range(5)]


def test_few_large_requests_fill_a_queue_too(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    content = bytes(15 << 20)
    clients = [ask(peers, queue, content) for _ in range(6)]
    wait_until(lambda: queue_length(queue) == 5)  # the fifth brings it over WAITING_BYTES_MAX
    worker = new_worker(peers, queue)
    for _ in clients:
        worker.send_multipart([*receive(worker, skip=BEAT)[:2], b"ok"])
    assert [receive(client) for client in clients] == [[b"ok"]] * 6
    assert queue._waiting_bytes == 0


@pytest.mark.parametrize(
    "frames",
    [[b"\x02"], [b"\x03"], [b""], [b"", b""], [b"nobody", b"", b"reply"], [b"x"] * 50],
    ids=["heartbeat", "unknown", "empty", "two empty", "reply", "many"],
)
def test_a_stranger_is_counted_and_stops_nothing(
    peers: RawPeers, queue: ParanoidPirateQueue, frames: list[bytes]
) -> None:
    stranger = peers.connect(zmq.DEALER, queue.backend)
    stranger.send_multipart(frames)
    wait_until(lambda: queue.malformed == 1)

    worker = ready_worker(peers, queue)
    assert is_silent(stranger)  # no heartbeat: RFC 6 has READY first in any conversation
    client = ask(peers, queue, b"one")
    worker.send_multipart(receive(worker, skip=BEAT))
    assert receive(client) == [b"one"]


@pytest.mark.parametrize("frames", [[b"x"], [b"x", b"y"], [b"x", b""]], ids=["one", "two", "no content"])
def test_a_request_without_envelope_or_content_is_counted(
    peers: RawPeers, queue: ParanoidPirateQueue, frames: list[bytes]
) -> None:
    client = peers.connect(zmq.DEALER, queue.frontend)
    client.send_multipart(frames)
    wait_until(lambda: queue.malformed == 1)


def test_a_worker_that_answers_something_else_is_given_up(peers: RawPeers, queue: ParanoidPirateQueue) -> None:
    worker = ready_worker(peers, queue)
    client = ask(peers, queue, b"one")
    request = receive(worker, skip=BEAT)
    worker.send_multipart([b"someone else", b"", b"reply"])
    wait_until(lambda: queue.malformed == 1)

    other = new_worker(peers, queue)
    assert receive(other, skip=BEAT) == request
    other.send_multipart(request)
    assert receive(client) == [b"one"]


def test_limits_are_checked_when_a_queue_is_made() -> None:
    with pytest.raises(ValueError, match="expected requests_max from 1"):
        ParanoidPirateQueue(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", requests_max=0)
    with pytest.raises(ValueError, match="expected an interval above 0"):
        ParanoidPirateQueue(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*", heartbeat_interval=0)
