"""The budget of a turn: what is taken from the socket, and when it is enough. Time is literal, sockets are real."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import zmq

from zq.core.peer_limits import PeerLimits
from zq.server import reception
from zq.server.accounts import SHARE
from zq.server.connections import Connections
from zq.server.peer_connection import PeerConnection
from zq.server.reception import (
    CROWD_MESSAGES,
    OUTBOX_BYTES_MAX,
    QUIET_SECONDS,
    TURN_BYTES_MAX,
    TURN_MESSAGES_MAX,
    TURN_SECONDS,
    Reception,
)
from zq.server.refusals import refusal
from zq.server.sender import Sender
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Answer,
    Batch,
    Error,
    FromCoordinator,
    Group,
    Heartbeat,
    Open,
    Ping,
    Publish,
    Pull,
    Query,
    Submit,
    ToCoordinator,
    Withdraw,
)


class Guests(Connections):
    """Connections inside of this process, where what was sent has come, but which have no descriptors."""

    def meet(self, peer: bytes, descriptor: int | None) -> PeerConnection:
        assert descriptor is None
        found = self.by_peer[peer] = PeerConnection(-1, self.limits, self.clock())
        found.peer = peer
        return found


@dataclass
class Desk:
    """An intake with one connection per speaker, and the time."""

    context: zmq.Context[zmq.Socket[bytes]]
    limits: PeerLimits = field(default_factory=PeerLimits)
    now: float = 0.0
    step: float = 0.0  # seconds that each look at the clock takes
    outbox: list[tuple[bytes, FromCoordinator]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sockets: list[zmq.Socket[bytes]] = []
        self.router = self.socket(zmq.ROUTER)
        self.router.sndhwm = self.router.rcvhwm = 100_000
        self.connections = Guests(self.router, self.limits, connections_max=1000, bytes_max=1 << 30, clock=self.clock)
        self.router.bind("inproc://desk")
        self.sender = Sender(self.router, self.connections)
        self.reception = Reception(self.router, self.sender, self.connections, clock=self.clock, work_clock=self.clock)

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
        return self.reception.turn(self.outbox)


@pytest.fixture
def desk() -> Iterator[Desk]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = Desk(context)
    yield made
    made.connections.close()
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
    speaker = desk.speaker()
    questions = [Query(number, "tasks", {}) for number in range(5)]
    for question in questions:
        speaker.send(encode(question))
    answer = Answer(1, bytes(OUTBOX_BYTES_MAX // 2))

    taken = []
    for peer, message in desk.turn():
        taken.append(message)
        desk.outbox.append((peer, answer))

    assert taken == questions[:2]


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
    assert sum(one.size for one in desk.reception.received[:1]) == 50_000
    assert turns[-1][1:] + [message for _, message in desk.turn()] == [Ping(7)]


def test_what_a_turn_has_received_is_kept_until_the_next(desk: Desk) -> None:
    ping(desk.speaker(), 1, 2, 3)

    turn = desk.turn()
    next(turn)
    next(turn)

    assert [one.frame for one in desk.reception.received] == [encode(Ping(1)), encode(Ping(2))]


def take(desk: Desk, seconds: float = 0.0) -> list[ToCoordinator | Error]:
    """Takes a turn in which each message costs so much."""
    found = []
    for _, message in desk.turn():
        found.append(message)
        desk.now += seconds
    return found


def get_into_debt(desk: Desk, speaker: zmq.Socket[bytes]) -> None:
    for number in range(2):
        ping(speaker, number)
        assert take(desk, 0.05)


def test_expensive_messages_wait_while_others_are_heard_and_come_when_time_has_paid(desk: Desk) -> None:
    dear, calm = desk.speaker(), desk.speaker()
    get_into_debt(desk, dear)

    ping(dear, 100, 101)
    ping(calm, 200)
    assert take(desk) == [Ping(200)]
    assert desk.reception.is_holding
    for number in range(201, 250):
        desk.now += QUIET_SECONDS / 2
        ping(calm, number)
        found = take(desk)
        if found != [Ping(number)]:
            break

    assert found == [Ping(number), Ping(100)]
    assert number > 210


def test_expensive_messages_are_served_when_nobody_else_is_heard(desk: Desk) -> None:
    dear = desk.speaker()
    get_into_debt(desk, dear)

    ping(dear, 100, 101)
    desk.now += QUIET_SECONDS * 2

    assert take(desk, 0.01) == [Ping(100)]
    assert take(desk, 0.01) == [Ping(101)]
    assert not desk.reception.is_holding


def test_all_who_are_in_debt_have_one_share_together(desk: Desk) -> None:
    crowd, calm = [desk.speaker() for _ in range(20)], desk.speaker()
    for one in crowd:
        get_into_debt(desk, one)
        desk.now += QUIET_SECONDS * 2
    for one in crowd:
        ping(one, 100)
    served = 0
    for number in range(1000, 1100):  # ten seconds
        desk.now += 0.1
        ping(calm, number)
        served += len(take(desk, 0.01)) - 1

    assert 0 < served * 0.01 < 10 * 2 * SHARE


def test_large_messages_of_honest_peers_and_many_cheap_ones_make_no_debt(desk: Desk) -> None:
    heavy, calm = desk.speaker(), desk.speaker()
    batches = tuple(Batch(f"b{n}", "q", DEFAULT_OPTIONS, struct.pack("<I", 1), b"x") for n in range(1000))
    for number in range(20):
        heavy.send(encode(Submit(number, batches)))
        take(desk, 0.019)
    for number in range(2000):
        ping(heavy, number)
        take(desk, 0.0019)

    ping(calm, 1)
    ping(heavy, 2)

    assert len(take(desk)) == 2


def test_one_who_fills_a_turn_does_not_delay_the_answer_to_another(desk: Desk) -> None:
    loud, calm = desk.speaker(), desk.speaker()
    ping(loud, *range(1000))
    assert len(take(desk)) == TURN_MESSAGES_MAX

    ping(loud, *range(1000))
    ping(calm, 7)
    found = take(desk)

    assert Ping(7) in found
    assert len(found) <= CROWD_MESSAGES + 2


def test_too_many_waiting_messages_are_refused_as_busy(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "HELD_MESSAGES_MAX", 2)
    dear, calm = desk.speaker(), desk.speaker()
    get_into_debt(desk, dear)

    ping(dear, 100, 101, 102)
    ping(calm, 1)
    assert take(desk) == [Ping(1)]

    answer = decode_from_coordinator(dear.recv(zmq.NOBLOCK))
    assert isinstance(answer, Error)
    assert (answer.request, answer.code) == (102, "busy")
    assert desk.reception.refused == {"time": 1}


REQUESTS: list[ToCoordinator] = [
    Submit(1, (Batch("b", "q", DEFAULT_OPTIONS, struct.pack("<I", 1), b"x"),)),
    Open(2, Group("g", 1, "all", False, "q", DEFAULT_OPTIONS)),
    Publish(3, "p", "t", DEFAULT_OPTIONS, True, struct.pack("<I", 1), b"x"),
    Query(4, "status", {}),
    Pull(5, "c", "q", 1, 1.0, 1.0),
]


@pytest.mark.parametrize("message", REQUESTS, ids=lambda one: type(one).__name__)
def test_every_request_is_refused_by_an_answer_of_its_own_that_can_be_read(message: ToCoordinator) -> None:
    answer = refusal(message, "too much", 2.0)

    assert answer is not None
    assert "busy" in repr(decode_from_coordinator(encode(answer)))
    assert getattr(answer, "request", None) == getattr(message, "request", None)


def test_what_has_no_answer_is_refused_without_one() -> None:
    assert refusal(Heartbeat(1, ()), "too much", 2.0) is None
    assert refusal(Withdraw((1,)), "too much", 2.0) is None
