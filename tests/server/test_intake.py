"""The budget of a turn: what is taken from the socket, and when it is enough. Time is literal, sockets are real."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import zmq

from zq.server.intake import OUTBOX_BYTES_MAX, TURN_BYTES_MAX, TURN_MESSAGES_MAX, TURN_SECONDS, Intake
from zq.server.sender import Sender
from zq.wire.codec import encode
from zq.wire.messages import DEFAULT_OPTIONS, Answer, Batch, Error, FromCoordinator, Ping, Submit, ToCoordinator


@dataclass
class Desk:
    """An intake with one connection per speaker, and the time."""

    context: zmq.Context[zmq.Socket[bytes]]
    now: float = 0.0
    step: float = 0.0  # seconds that each look at the clock takes
    outbox: list[tuple[bytes, FromCoordinator]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sockets: list[zmq.Socket[bytes]] = []
        self.router = self.socket(zmq.ROUTER)
        self.router.sndhwm = self.router.rcvhwm = 100_000
        self.router.bind("inproc://desk")
        self.sender = Sender(self.router)
        self.intake = Intake(self.router, self.sender, self.clock)

    def socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        self.sockets.append(socket)
        return socket

    def clock(self) -> float:
        self.now += self.step
        return self.now

    def speaker(self) -> zmq.Socket[bytes]:
        dealer = self.socket(zmq.DEALER)
        dealer.sndhwm = 100_000
        dealer.connect("inproc://desk")
        return dealer

    def turn(self) -> Iterator[tuple[bytes, ToCoordinator | Error]]:
        self.outbox = []
        self.sender.forget()
        return self.intake.turn(self.outbox)


@pytest.fixture
def desk() -> Iterator[Desk]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = Desk(context)
    yield made
    for socket in made.sockets:
        socket.close(linger=0)
    context.term()


def ping(speaker: zmq.Socket[bytes], *numbers: int) -> None:
    for number in numbers:
        speaker.send(encode(Ping(number)))


def test_turn_ends_when_its_time_is_used_up_and_the_rest_is_for_the_next(desk: Desk) -> None:
    ping(desk.speaker(), *range(5))

    turn = desk.turn()
    _, first = next(turn)
    desk.now += TURN_SECONDS + 0.001

    assert first == Ping(0)
    assert next(turn, None) is None
    assert [message for _, message in desk.turn()] == [Ping(1), Ping(2), Ping(3), Ping(4)]


def test_turn_ends_when_its_answers_are_large(desk: Desk) -> None:
    ping(desk.speaker(), *range(5))
    answer = Answer(1, bytes(OUTBOX_BYTES_MAX // 2))

    taken = []
    for peer, message in desk.turn():
        taken.append(message)
        desk.outbox.append((peer, answer))

    assert taken == [Ping(0), Ping(1)]


def test_turn_ends_when_many_bytes_have_come(desk: Desk) -> None:
    speaker = desk.speaker()
    large = encode(Submit(1, (Batch("b", "q", DEFAULT_OPTIONS, struct.pack("<I", 1 << 20), bytes(1 << 20)),)))
    for _ in range(10):
        speaker.send(large)

    assert len(list(desk.turn())) == TURN_BYTES_MAX >> 20
    assert len(list(desk.turn())) == 2


def test_turn_ends_when_many_messages_have_come(desk: Desk) -> None:
    ping(desk.speaker(), *range(TURN_MESSAGES_MAX + 1))

    assert len(list(desk.turn())) == TURN_MESSAGES_MAX
    assert len(list(desk.turn())) == 1


def test_connections_are_heard_in_turn_however_much_one_has_to_say(desk: Desk) -> None:
    loud, calm = desk.speaker(), desk.speaker()
    ping(loud, *range(100))
    ping(calm, 1000)

    turn = desk.turn()

    assert Ping(1000) in [next(turn)[1] for _ in range(3)]


def test_parts_of_one_message_are_read_over_several_turns_and_are_one_refusal(desk: Desk) -> None:
    speaker = desk.speaker()
    speaker.send_multipart([b"x" * 10] * 5000)
    ping(speaker, 7)
    desk.step = TURN_SECONDS / 1000

    turns: list[list[ToCoordinator | Error]] = []
    while not turns or not turns[-1]:
        turns.append([message for _, message in desk.turn()])
        assert len(turns) < 100

    assert len(turns) > 3
    assert turns[-1][0] == Error(None, "malformed", "expected a message of one frame, got 5000")
    assert sum(one.size for one in desk.intake.received[:1]) == 50_000
    assert turns[-1][1:] + [message for _, message in desk.turn()] == [Ping(7)]


def test_what_a_turn_has_received_is_kept_until_the_next(desk: Desk) -> None:
    ping(desk.speaker(), 1, 2, 3)

    turn = desk.turn()
    next(turn)
    next(turn)

    assert [one.frame for one in desk.intake.received] == [encode(Ping(1)), encode(Ping(2))]
