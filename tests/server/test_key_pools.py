"""With keys, what is said by all connections of a key counts together, and its limits are those of each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from zq.core.peer_limits import PeerLimits
from zq.core.rights.guard import Guard
from zq.core.rights.rights import Rights
from zq.core.rights.usage import NO_TRAFFIC, KeyTraffic
from zq.keys.door import Door
from zq.server.accounts import RATE_BURST_SECONDS, Rate
from zq.server.connections import Connections
from zq.server.key_pools import OUTBOX_BYTES_LEAST, KeyPools
from zq.server.peer_connection import PeerConnection
from zq.server.reception import Reception
from zq.server.sender import Sender
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import Error, Ping, ToCoordinator


class TillDoor(Door):
    """Knows the key of each connection by its routing id: till-1 is of till."""

    def __init__(self) -> None:
        self.guard = Guard()  # and nothing else of a door

    def greet(self, peer: bytes, frame: Any) -> bool:
        public = peer.decode().partition("-")[0]
        known = self.guard.caller(peer)
        if known is None:
            self.guard.introduce(peer, public, "")
        return known is None

    def let(self, **limits: tuple[tuple[str, int], ...]) -> None:
        self.guard.update({name: Rights(name, "client", limits=limits) for name, limits in limits.items()})


class Guests(Connections):
    """Connections inside of this process, which have no descriptors, but are open."""

    def meet(self, peer: bytes, descriptor: int | None) -> PeerConnection:
        assert descriptor is None
        found = self.by_peer[peer] = PeerConnection(-1, self.limits, self.clock())
        found.peer, found.is_open = peer, True
        return found


class Desk:
    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.now = 0.0
        self.context = context
        self.router = context.socket(zmq.ROUTER)
        self.connections = Guests(
            self.router, PeerLimits(), connections_max=1000, bytes_max=1 << 30, clock=lambda: self.now
        )
        self.router.bind("inproc://desk")
        self.door = TillDoor()
        self.pools = KeyPools(self.door, self.connections)
        sender = Sender(self.router, self.connections)
        clock = self.connections.clock
        self.reception = Reception(self.router, sender, self.connections, self.pools.greet, clock, clock)
        self.speakers: dict[str, zmq.Socket[bytes]] = {}

    def say(self, name: str, count: int) -> int:
        """Says so many pings at a connection; returns how many of them reach the machine."""
        if name not in self.speakers:
            self.speakers[name] = self.context.socket(zmq.DEALER)
            self.speakers[name].routing_id = name.encode()
            self.speakers[name].connect("inproc://desk")
        for number in range(count):
            self.speakers[name].send(encode(Ping(number)))
        return sum(1 for _ in self.turn())

    def turn(self) -> Iterator[tuple[bytes, ToCoordinator | Error]]:
        return self.reception.turn([])

    def let(self, **limits: tuple[tuple[str, int], ...]) -> None:
        self.door.let(**limits)
        self.pools.renew()

    def connection(self, name: str) -> PeerConnection:
        return self.connections.by_peer[name.encode()]


@pytest.fixture
def desk() -> Iterator[Desk]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = Desk(context)
    yield made
    made.connections.close()
    for socket in (made.router, *made.speakers.values()):
        socket.close(linger=0)
    context.term()


SLOW = (("messages_per_second", 5),)
BURST = int(5 * RATE_BURST_SECONDS)


def test_connections_of_a_key_share_its_rate_and_another_key_is_served(desk: Desk) -> None:
    desk.let(till=SLOW, other=SLOW)

    assert desk.say("till-1", BURST // 2) == BURST // 2
    assert desk.say("till-2", BURST) == BURST // 2
    assert desk.say("till-1", 1) == 0
    assert desk.say("other-1", BURST) == BURST

    answer = decode_from_coordinator(desk.speakers["till-1"].recv())
    assert isinstance(answer, Error)
    assert answer.text.startswith("key till, on all its connections, has used up its messages a second; come back")
    assert desk.pools.traffic_of("till") == KeyTraffic(2, BURST // 2 + 1)


def test_a_new_connection_of_a_key_has_no_rate_of_its_own(desk: Desk) -> None:
    desk.let(till=SLOW)
    desk.say("till-1", BURST)
    desk.connection("till-1").leave()

    assert desk.say("till-2", 1) == 0


def test_limits_that_change_hold_for_connections_that_are_there(desk: Desk) -> None:
    desk.let(till=())
    assert desk.say("till-1", 1) == 1
    assert desk.connection("till-1").limits == PeerLimits()

    desk.let(till=(*SLOW, ("tasks_per_second", 7), ("bytes_in", 1 << 20), ("bytes_out", 1 << 20)))

    limits = desk.connection("till-1").limits
    assert (limits.bytes_in, limits.bytes_out) == (1 << 20, 1 << 20)
    assert desk.connection("till-1").tasks.left == 7 * RATE_BURST_SECONDS
    assert desk.connection("till-1").look_at == (1 << 20) // 8
    assert desk.say("till-1", BURST + 1) == BURST
    desk.let(till=())
    desk.now = 1.0
    assert desk.say("till-1", BURST + 1) == BURST + 1


def test_the_answers_of_a_turn_are_no_more_than_a_key_with_the_least_may_have_waiting(desk: Desk) -> None:
    desk.let(till=(("bytes_out", 16 << 20),))
    desk.say("till-1", 1)
    assert desk.connections.bytes_out_least == 16 << 20

    desk.let(till=(("bytes_out", 1000),))
    assert desk.connections.bytes_out_least == 4 * OUTBOX_BYTES_LEAST
    desk.let(till=())
    assert desk.connections.bytes_out_least == PeerLimits().bytes_out


def test_a_key_that_is_not_there_any_more_is_forgotten_with_its_connections(desk: Desk) -> None:
    desk.let(till=(), other=())
    desk.say("till-1", 1)

    desk.let(other=())
    assert desk.pools.traffic_of("till").connections == 1
    desk.connection("till-1").leave()
    desk.let(other=SLOW)

    assert desk.pools.traffic_of("till") is NO_TRAFFIC


def test_whoever_has_no_rights_is_in_no_pool(desk: Desk) -> None:
    desk.let(till=())

    desk.say("stranger-1", 1)

    assert desk.connection("stranger-1").pool is None


def test_a_rate_that_is_lowered_leaves_no_more_than_its_own_burst() -> None:
    rate = Rate(100, 0.0)

    rate.take_rate(1, 10.0)

    assert rate.left == RATE_BURST_SECONDS
    rate.take(5, 10.0)
    rate.take_rate(10, 10.0)
    assert rate.refill(11.0)
