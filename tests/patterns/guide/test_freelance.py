"""The client asks one server at a time, goes on when it is silent, and never hangs; servers are bare REP and ROUTER."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import zmq

from patterns.guide import FreelanceClient
from tests.patterns.raw_peers import RawPeers, receive
from zq import ClosedError, TimedOutError


class Server:
    """A REP server in a thread: answers each request with its name, as the guide's second model."""

    def __init__(self, peers: RawPeers, name: bytes) -> None:
        self.name = name
        self.requests: list[list[bytes]] = []
        self._socket, self.address = peers.bind(zmq.REP)
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._is_stopping.is_set():
            if self._socket.poll(20):
                number, *content = self._socket.recv_multipart()
                self.requests.append(content)
                self._socket.send_multipart([number, self.name, *content])
        self._socket.close()

    def stop(self) -> None:
        self._is_stopping.set()
        self._thread.join()


@pytest.fixture
def servers(peers: RawPeers) -> Iterator[list[Server]]:
    made = [Server(peers, b"first"), Server(peers, b"second")]
    yield made
    for server in made:
        server.stop()


def test_the_server_that_answered_is_asked_again(servers: list[Server]) -> None:
    with FreelanceClient([server.address for server in servers], timeout=20, try_timeout=20) as client:
        replies = [client.request(b"one", b"%d" % number) for number in range(5)]
    name = replies[0][0]
    assert replies == [[name, b"one", b"%d" % number] for number in range(5)]
    assert sorted(len(server.requests) for server in servers) == [0, 5]


def test_a_silent_server_costs_its_timeout_once(peers: RawPeers, servers: list[Server]) -> None:
    silent, address = peers.bind(zmq.ROUTER)
    with FreelanceClient([address], timeout=1, try_timeout=0.5) as waiter, pytest.raises(TimedOutError):
        waiter.request(b"connects")  # so that it surely could be
    with FreelanceClient([address, servers[0].address], timeout=20, try_timeout=0.5) as client:
        while not client.failovers:  # until its connection to the silent one was up in time
            client.servers.sort(key=lambda one: one != address)
            client.request(b"one")
        assert client.servers == [servers[0].address, address]
        failovers = client.failovers
        for _ in range(5):
            assert client.request(b"two")[0] == b"first"
        assert client.failovers == failovers
    assert silent.poll(1000)


def test_a_dead_server_costs_nothing(servers: list[Server]) -> None:
    first, second = servers
    first.stop()  # its port is closed: connections are refused, and it is not even waited for
    with FreelanceClient([first.address, second.address], timeout=20, try_timeout=20) as client:
        for _ in range(3):
            assert client.request(b"one")[0] == b"second"
        assert (client.servers[0], client.failovers) == (second.address, 0)


def test_a_server_that_dies_is_replaced_by_the_next(servers: list[Server]) -> None:
    first, second = servers
    with FreelanceClient([first.address, second.address], timeout=20, try_timeout=0.5) as client:
        client.request(b"one")
        (first if client.servers[0] == first.address else second).stop()
        living = client.servers[1]
        for _ in range(3):
            assert client.request(b"two")[1:] == [b"two"]
            assert client.servers[0] == living


def test_a_late_reply_is_not_taken_for_that_to_the_next_request(peers: RawPeers) -> None:
    server, address = peers.bind(zmq.ROUTER)
    with FreelanceClient([address], timeout=1.0, try_timeout=20) as client:
        with pytest.raises(TimedOutError, match="none of 1 servers answered within 1 s; 1 requests were sent"):
            client.request(b"one")
        first = receive(server)

        def answer_late() -> None:
            second = receive(server)
            assert first[:2] == second[:2]  # the same connection
            server.send_multipart([*first[:3], b"late"])
            server.send_multipart([*second[:3], b"in time"])

        thread = threading.Thread(target=answer_late)
        thread.start()
        client._timeout = 20
        assert client.request(b"two") == [b"in time"]
        thread.join()


def test_servers_that_are_not_there_are_given_up() -> None:
    with socket.socket() as held:  # its port is nobody else's meanwhile, and nobody listens there
        held.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{held.getsockname()[1]}"
        check_given_up([address, "tcp://127.0.0.1:1"])


def check_given_up(servers: list[str]) -> None:
    with (
        FreelanceClient(servers, timeout=0.2) as client,
        pytest.raises(TimedOutError, match=r"none of 2 servers answered within 0\.2 s; 0 requests were sent"),
    ):
        client.request(b"one")


def test_malformed_replies_are_counted(peers: RawPeers) -> None:
    server, address = peers.bind(zmq.ROUTER)

    def answer() -> None:
        name, _, number, _ = receive(server)
        for bad in ([b"x"], [b"", b"x", b"y"], [b"", number], [b"", b"", b"reply"]):
            server.send_multipart([name, *bad])
        server.send_multipart([name, b"", number, b"good"])

    thread = threading.Thread(target=answer)
    thread.start()
    with FreelanceClient([address], timeout=20, try_timeout=20) as client:
        assert client.request(b"one") == [b"good"]
        assert client.malformed == 4
    thread.join()


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="expected one or more servers"):
        FreelanceClient([])
    with pytest.raises(ValueError, match="expected one or more servers"):
        FreelanceClient("tcp://127.0.0.1:9")  # a text is a sequence, too
    with pytest.raises(ValueError, match="expected an address like"):
        FreelanceClient(["nowhere"])
    with FreelanceClient(["tcp://127.0.0.1:9"]) as client, pytest.raises(ValueError, match="one or more frames"):
        client.request()
    with pytest.raises(ClosedError, match="the client is closed"):
        client.request(b"one")
