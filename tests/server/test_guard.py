"""What the guard does as memory grows; the memory is literal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

import zq
from zq.core.peer_limits import PeerLimits
from zq.server.connections import Connections
from zq.server.guard import AROUND_SECONDS, GROWING_SECONDS, GROWTH_BYTES, WATCH_SECONDS, MemoryGuard
from zq.wire.limits import FRAME_BYTES_MAX

MIB = 1 << 20


class Watched(Connections):
    """Connections that note what is asked of them."""

    looks = 0
    cuts_asked = 0
    least = -1
    blamed: list[int]

    def look_around(self, now: float) -> bool:
        self.looks += 1
        return True

    def blame(self, growth: int) -> None:
        self.blamed.append(growth)

    def cut_largest(self, text: str, least: int = 0) -> bool:
        self.cuts_asked += 1
        self.least = least
        return False


class Room:
    """A guard, and the memory that it sees."""

    def __init__(self, connections: Watched, memory_max: int | None) -> None:
        self.memory = 100 * MIB
        self.now = 0.0
        self.connections = connections
        self.guard = MemoryGuard(connections, memory_max, lambda: self.memory)

    def watch(self, memory: int) -> None:
        self.memory = memory
        self.now += WATCH_SECONDS
        self.guard.watch(self.now)


@pytest.fixture
def connections() -> Iterator[Watched]:
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    made = Watched(socket, PeerLimits(), connections_max=10, bytes_max=1 << 30, clock=lambda: 0.0)
    made.blamed = []
    yield made
    made.close()
    socket.close(0)
    context.term()


def test_connections_are_looked_at_when_memory_has_grown_and_only_then(connections: Watched) -> None:
    room = Room(connections, None)

    for memory in (100 * MIB, 100 * MIB + GROWTH_BYTES, 50 * MIB):
        room.watch(memory)
    assert connections.looks == 0
    room.watch(51 * MIB + GROWTH_BYTES)
    assert connections.looks == 1
    room.watch(51 * MIB + GROWTH_BYTES)
    assert connections.looks == 1


def test_at_three_quarters_the_largest_connection_ends_and_above_all_of_it_the_coordinator(
    connections: Watched,
) -> None:
    room = Room(connections, 400 * MIB)

    room.watch(300 * MIB)
    assert connections.cuts_asked == 0
    room.watch(301 * MIB)
    assert connections.cuts_asked == 1
    room.watch(400 * MIB)
    with pytest.raises(zq.MemoryLimitError, match="has 401 MiB of memory and may have 400"):
        room.watch(401 * MIB)


def test_without_a_limit_who_piles_up_more_than_a_message_ends_and_the_coordinator_does_not(
    connections: Watched,
) -> None:
    room = Room(connections, None)

    room.watch(1 << 50)

    assert (connections.cuts_asked, connections.least) == (1, FRAME_BYTES_MAX)


def test_growth_is_blamed_once_and_looked_for_quickly_while_it_goes_on(connections: Watched) -> None:
    room = Room(connections, None)

    room.watch(120 * MIB)
    assert room.guard.next_at == room.now + AROUND_SECONDS
    room.watch(125 * MIB)
    assert connections.blamed == [20 * MIB]
    room.now += GROWING_SECONDS
    room.watch(125 * MIB)
    assert room.guard.next_at == room.now + WATCH_SECONDS
