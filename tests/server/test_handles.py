"""The handle on a connection: whom a descriptor belongs to, when numbers are used again and words come late."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.process.kitchen import wait_until
from tests.server import raw
from zq.core.peer_limits import PeerLimits
from zq.server import kernel
from zq.server.connections import LATE_SECONDS, Connections
from zq.server.peer_connection import PeerConnection
from zq.server.reception import Reception
from zq.server.sender import Sender

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is known to tell all of it")


class Door:
    """A ROUTER and its connections."""

    def __init__(self, address: str) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.now = 0.0
        self.connections = Connections(
            self.router, PeerLimits(), connections_max=100, bytes_max=1 << 30, clock=lambda: self.now
        )
        self.router.bind(address)
        self.address = self.router.getsockopt_string(zmq.LAST_ENDPOINT)

    def hear(self, count: int) -> None:
        """Waits until so many connections are open."""

        def has_come() -> bool:
            self.connections.hear()
            return len(self.connections) == count

        wait_until(has_come, f"{count} connections")

    def meet(self) -> PeerConnection:
        """Reads a message, and returns the connection that it came by."""
        assert self.router.poll(30_000)
        peer = self.router.recv()
        frame = self.router.recv(copy=False)
        found = self.connections.by_peer.get(peer)
        return found or self.connections.meet(peer, frame.get(zmq.SRCFD))


@pytest.fixture(params=["tcp", "ipc"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    made = Door("tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path}/socket")
    yield made
    made.connections.close()
    made.router.close(0)
    made.context.term()


def is_ended(peer: socket.socket) -> bool:
    peer.settimeout(30)
    try:
        while peer.recv(1000):
            pass
    except ConnectionError:
        pass
    return True


def test_cut_ends_the_connection_of_its_peer_and_no_other(door: Door) -> None:
    with raw.shake_hands(door.address) as first, raw.shake_hands(door.address) as second:
        first.sendall(raw.frame(b"first"))
        one = door.meet()
        second.sendall(raw.frame(b"second"))
        two = door.meet()

        assert door.connections.cut(one, "a reason", "for a test")
        assert is_ended(first)
        door.hear(1)
        assert two.is_open
        second.sendall(raw.frame(b"again"))
        assert door.meet() is two
        assert door.connections.cuts == {"a reason": 1}


def test_descriptor_that_is_another_connections_by_now_is_not_cut(door: Door) -> None:
    with raw.shake_hands(door.address) as first:
        first.sendall(raw.frame(b"first"))
        old = door.meet()
    wait_until(lambda: not _is_socket(old.descriptor), "the first connection to end")
    others = [raw.shake_hands(door.address) for _ in range(3)]
    assert _is_socket(old.descriptor), "the number is not used again, so this test shows nothing"

    assert not door.connections.cut(old, "a reason", "for a test")

    for other in others:
        other.sendall(raw.frame(b"alive"))
        assert door.meet().is_open
        other.close()
    assert not door.connections.cuts


def _is_socket(descriptor: int) -> bool:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith("socket:")
    except OSError:
        return False


def test_late_message_of_a_closed_connection_is_not_taken_for_one_of_its_successor(door: Door) -> None:
    with raw.shake_hands(door.address) as first:
        first.sendall(raw.frame(b"late"))
        door.hear(1)
        assert door.router.poll(30_000)
    door.hear(0)
    with raw.shake_hands(door.address) as second:
        door.hear(1)

        assert not door.meet().is_open
        second.sendall(raw.frame(b"now"))
        assert not door.meet().is_open  # in doubt for a while: nobody is cut for another
        door.now += LATE_SECONDS + 0.1
        door.connections.forget_strangers(door.now)
        second.sendall(raw.frame(b"now"))
        assert door.meet().is_open


def test_waiting_bytes_are_what_the_system_has_not_delivered(door: Door) -> None:
    with raw.shake_hands(door.address) as lazy:
        lazy.sendall(raw.frame(b"hello"))
        connection = door.meet()
        assert connection.peer is not None
        for _ in range(20):
            door.router.send_multipart([connection.peer, bytes(1 << 20)])
            connection.sent += 1 << 20

        def is_waiting() -> bool:  # when ZeroMQ's thread has come to it
            door.connections.look(connection, door.now)
            return connection.waiting > 5 << 20

        wait_until(is_waiting, "it to wait")

        lazy.settimeout(30)
        left = 20 * ((1 << 20) + 9)
        while left > 0:
            left -= len(lazy.recv(1 << 20))

        def is_delivered() -> bool:
            door.connections.look(connection, door.now)
            return connection.waiting < 1000

        wait_until(is_delivered, "all to be acknowledged")


@pytest.mark.parametrize("has_keys", [False, True], ids=["plain", "keys"])
@pytest.mark.parametrize("size", [1, 221, 222, 240, 255, 256, 70_000])
def test_what_has_been_read_is_counted_as_it_travels(has_keys: bool, size: int) -> None:
    context: zmq.Context[Any] = zmq.Context()
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    public, secret = zmq.curve_keypair()
    if has_keys:
        router.curve_server, router.curve_secretkey = True, secret
        dealer.curve_serverkey = public
        dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
    connections = Connections(router, PeerLimits(), connections_max=9, bytes_max=1 << 30, clock=lambda: 0.0)
    reception = Reception(router, Sender(router, connections), connections)
    router.bind("tcp://127.0.0.1:*")
    dealer.connect(router.getsockopt_string(zmq.LAST_ENDPOINT))
    count = 500
    for _ in range(count):
        dealer.send(bytes(size))
    left = count
    while left:
        assert router.poll(30_000)
        left -= sum(1 for _ in reception.turn([]))
    (connection,) = connections.by_peer.values()

    connections.look(connection, 0.0)

    assert connection.piled < 1000  # the greeting alone
    assert connection.received_more >= 0  # nothing was counted twice
    connections.close()
    for one in (router, dealer):
        one.close(0)
    context.term()


def test_duplicate_of_nothing_is_none() -> None:
    with kernel.duplicate(-1) as found:
        assert found is None
