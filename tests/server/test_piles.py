"""What is known of bytes that never become a message; bytes and memory are literal."""

from __future__ import annotations

from zq.core.peer_limits import PeerLimits
from zq.server.peer_connection import PeerConnection
from zq.server.piles import BLAMED_BYTES_MAX, PART_FACTOR, UNFINISHED_BYTES_MAX, Piles

MIB = 1 << 20


class Room:
    """Connections that are looked at together."""

    def __init__(self, count: int) -> None:
        self.piles = Piles()
        self.connections = [PeerConnection(number, PeerLimits(), 0.0) for number in range(count)]

    def look(self, growth: int, *inside: int) -> list[int]:
        """Looks at all, after the socket has run dry, and returns which of them are to end."""
        self.piles.note_drained(len(self.connections))
        return self.look_while_busy(growth, *inside)

    def look_while_busy(self, growth: int, *inside: int) -> list[int]:
        for one, bytes_inside in zip(self.connections, inside, strict=True):
            self.piles.weigh(one.pile, bytes_inside, one.reached, len(self.connections))
        return [one.descriptor for one, _ in self.piles.share(growth)]


def test_small_parts_are_weighed_by_the_memory_that_they_cost() -> None:
    room = Room(1)

    assert room.look(30 * MIB, 1 * MIB) == []
    assert room.look(30 * MIB, 2 * MIB) == []
    assert room.look(30 * MIB, 3 * MIB) == [0]


def test_parts_that_cost_what_they_are_end_above_the_largest_message() -> None:
    room = Room(1)

    assert room.look(16 * MIB, 16 * MIB) == []
    assert room.look(2 * MIB, UNFINISHED_BYTES_MAX + 1) == []
    assert room.look(1 * MIB, UNFINISHED_BYTES_MAX + 2) == [0]


def test_memory_is_forgotten_when_something_becomes_a_message() -> None:
    room = Room(1)

    for turn in range(1, 100):
        assert room.look(30 * MIB, 1 * MIB) == []
        assert room.look(30 * MIB, 2 * MIB) == []
        room.connections[0].reached = turn * 2 * MIB


def test_who_sent_little_is_not_to_blame_for_who_sent_much() -> None:
    room = Room(2)

    ended = [room.look(35 * MIB, step * MIB, step * MIB // 20) for step in range(1, 30)]

    assert {0} == {one for some in ended for one in some}


def test_growth_of_the_program_around_is_not_blamed_on_a_large_message() -> None:
    room = Room(1)
    least = BLAMED_BYTES_MAX // PART_FACTOR

    assert room.look(1 << 40, least - 2) == []
    assert room.look(1 << 40, least - 1) == []


def test_nobody_ends_whose_messages_may_only_not_have_been_heard_yet() -> None:
    room = Room(3)

    for step in range(1, 30):
        room.piles.taken = step % 6  # not once around
        assert room.look_while_busy(100 * MIB, step * MIB, 0, 0) == []
