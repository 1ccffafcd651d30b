"""The client asks a bounded number of times, each time on a fresh socket, and never hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import zmq

from patterns.guide import LazyPirateClient
from tests.patterns.raw_peers import RawPeers, Socket, receive
from zq import ClosedError, TimedOutError


def served(server: Socket, serve: Callable[[Socket], object]) -> threading.Thread:
    thread = threading.Thread(target=serve, args=(server,))
    thread.start()
    return thread


def test_a_request_is_answered(peers: RawPeers) -> None:
    server, address = peers.bind(zmq.REP)
    thread = served(server, lambda socket: socket.send_multipart([b"baked", *receive(socket)]))
    with LazyPirateClient(address, timeout=20) as client:
        assert client.request(b"one", b"margherita") == [b"baked", b"one", b"margherita"]
        assert client.retried == 0
    thread.join()


def test_a_retry_goes_out_on_a_fresh_socket_and_the_late_reply_is_not_taken_for_its_own(peers: RawPeers) -> None:
    server, address = peers.bind(zmq.ROUTER)

    def answer_the_first_late(socket: Socket) -> None:
        first = receive(socket)
        second = receive(socket)
        assert first[0] != second[0]
        assert first[1:] == second[1:] == [b"", b"one"]
        socket.send_multipart([first[0], b"", b"late"])
        socket.send_multipart([second[0], b"", b"in time"])

    thread = served(server, answer_the_first_late)
    with LazyPirateClient(address, timeout=0.3, retries=60) as client:
        assert client.request(b"one") == [b"in time"]
        assert client.retried >= 1
    thread.join()


def test_a_server_that_never_answers_is_given_up(peers: RawPeers) -> None:
    _, address = peers.bind(zmq.ROUTER)
    with LazyPirateClient(address, timeout=0.05, retries=2) as client:
        with pytest.raises(TimedOutError, match=r"no reply from tcp://127\.0\.0\.1:[0-9]+ to 3 tries of 0\.05 s"):
            client.request(b"one")
        assert client.retried == 2


def test_a_server_that_is_not_there_is_given_up(peers: RawPeers) -> None:
    server, address = peers.bind(zmq.ROUTER)
    server.close()
    with LazyPirateClient(address, timeout=0.05, retries=0) as client, pytest.raises(TimedOutError):
        client.request(b"one")


def test_it_can_be_used_again_after_a_failure(peers: RawPeers) -> None:
    server, address = peers.bind(zmq.ROUTER)
    with LazyPirateClient(address, timeout=0.05, retries=0) as client:
        with pytest.raises(TimedOutError):
            client.request(b"one")
        receive(server)

    def answer(socket: Socket) -> None:
        name, *frames = receive(socket)
        socket.send_multipart([name, *frames])

    with LazyPirateClient(address, timeout=20) as client:
        thread = served(server, answer)
        assert client.request(b"two") == [b"two"]
        thread.join()


def test_a_closed_client_says_so() -> None:
    client = LazyPirateClient("tcp://127.0.0.1:9")
    client.close()
    client.close()
    with pytest.raises(ClosedError, match="the client is closed"):
        client.request(b"one")


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="expected a timeout above 0 and retries from 0"):
        LazyPirateClient("tcp://127.0.0.1:9", timeout=0)
    with LazyPirateClient("tcp://127.0.0.1:9") as client, pytest.raises(ValueError, match="one or more frames"):
        client.request()
