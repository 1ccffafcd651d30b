"""The load balancer with bare sockets, and frames as the guide has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import zmq

from patterns.guide import LoadBalancer
from tests.patterns.raw_peers import RawPeers, Socket, receive, wait_until


@pytest.fixture
def balancer() -> Iterator[LoadBalancer]:
    with LoadBalancer(frontend="tcp://127.0.0.1:*", backend="tcp://127.0.0.1:*") as one:
        yield one


def ready_worker(peers: RawPeers, balancer: LoadBalancer, ready: bytes = b"READY") -> Socket:
    worker = peers.connect(zmq.REQ, balancer.backend)
    count = len(balancer._free)
    worker.send(ready)
    wait_until(lambda: len(balancer._free) > count)
    return worker


def ask(peers: RawPeers, balancer: LoadBalancer, *content: bytes) -> Socket:
    client = peers.connect(zmq.REQ, balancer.frontend)
    client.send_multipart(content)
    return client


@pytest.mark.parametrize("ready", [b"READY", b"\x01"])
def test_a_request_goes_to_a_worker_that_asked_and_its_reply_comes_back(
    peers: RawPeers, balancer: LoadBalancer, ready: bytes
) -> None:
    worker = ready_worker(peers, balancer, ready)
    for number in range(3):
        client = ask(peers, balancer, b"one", b"%d" % number)
        address, *rest = receive(worker)
        assert rest == [b"", b"one", b"%d" % number]
        worker.send_multipart([address, b"", b"baked"])
        assert receive(client) == [b"baked"]
    wait_until(lambda: balancer.answered == 3)


def test_the_least_recently_used_worker_is_first(peers: RawPeers, balancer: LoadBalancer) -> None:
    workers = [ready_worker(peers, balancer) for _ in range(3)]
    for turn in range(6):
        client = ask(peers, balancer, b"x")
        request = receive(workers[turn % 3])
        workers[turn % 3].send_multipart(request)
        assert receive(client) == [b"x"]


def test_requests_wait_with_their_clients_until_a_worker_is_free(peers: RawPeers, balancer: LoadBalancer) -> None:
    clients = [ask(peers, balancer, b"%d" % number) for number in range(5)]
    worker = peers.connect(zmq.REQ, balancer.backend)
    worker.send(b"READY")
    for _ in clients:
        worker.send_multipart(receive(worker))
    assert [receive(client) for client in clients] == [[b"%d" % number] for number in range(5)]


def test_a_worker_that_has_gone_gets_nothing(peers: RawPeers, balancer: LoadBalancer) -> None:
    gone = ready_worker(peers, balancer)
    gone.close(0)
    staying = ready_worker(peers, balancer)
    client = ask(peers, balancer, b"x")
    if not staying.poll(2000):  # it went to the other one, whose end had not been noticed yet: a known weakness
        client = ask(peers, balancer, b"x")
    for _ in range(3):
        staying.send_multipart(receive(staying))
        assert receive(client) == [b"x"]
        client = ask(peers, balancer, b"x")


def test_a_reply_to_a_client_that_has_gone_is_counted(peers: RawPeers, balancer: LoadBalancer) -> None:
    worker = ready_worker(peers, balancer)
    client = ask(peers, balancer, b"x")
    receive(worker)
    worker.send_multipart([b"gone", b"", b"reply"])
    wait_until(lambda: balancer.undeliverable == 1)
    assert client.poll(0) == 0


@pytest.mark.parametrize("frames", [[b"x"], [b"", b"x"], [b"", b"a", b"b"], [b"", b"a", b""], [b""]])
def test_a_malformed_message_of_a_worker_is_counted(
    peers: RawPeers, balancer: LoadBalancer, frames: list[bytes]
) -> None:
    peers.connect(zmq.DEALER, balancer.backend).send_multipart(frames)
    wait_until(lambda: balancer.malformed == 1)
    assert not balancer._free


def test_a_malformed_request_is_counted_and_takes_no_worker(peers: RawPeers, balancer: LoadBalancer) -> None:
    worker = ready_worker(peers, balancer)
    peers.connect(zmq.DEALER, balancer.frontend).send_multipart([b"no delimiter"])
    wait_until(lambda: balancer.malformed == 1)
    client = ask(peers, balancer, b"x")
    worker.send_multipart(receive(worker))
    assert receive(client) == [b"x"]
