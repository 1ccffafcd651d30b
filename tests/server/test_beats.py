"""Beats that need no turn: which they are, and that they are answered as a turn would answer them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from tests.core.desk import Desk
from tests.server.test_reception import Desk as Intake
from zq.core.rights.guard import Guard
from zq.server.beats import Beats, number_in
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import Beat, Heartbeat, Held, Hello, Ping, Pull, Started, Submit
from zq.wire.steering import About

NUMBERS = (0, 1, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1)


def test_number_of_a_beat_that_lists_nothing_is_found_in_its_frame() -> None:
    for number in NUMBERS:
        frame = encode(Heartbeat(number, ()))
        found = number_in(frame)

        assert found is not None
        assert frame[3:-1] == found


@pytest.mark.parametrize(
    "message",
    [
        Heartbeat(1 << 32, ()),
        Heartbeat(1, (Held(5, ()),)),
        Heartbeat(1, (Held(5, (1, 2)),)),
        Started(()),
        Ping(1),
        Submit(1, ()),
        About("", 1, 0, 1, False, None),
    ],
    ids=lambda message: repr(message)[:40],
)
def test_any_other_message_is_for_a_turn(message: Any) -> None:
    assert number_in(encode(message)) is None


def test_frames_that_only_look_like_a_beat_are_for_a_turn() -> None:
    whole = encode(Heartbeat(300, ()))
    looks = [b"", whole[:3], whole[:-1], whole[:3] + b"\x90", whole[:3] + b"\xcd\x01\x90", whole + b"\x90"]
    looks += [whole[:3] + b"\xa1x\x90", whole[:3] + b"\xd0\x01\x90", whole[:3] + b"\x01\x01\x90"]

    assert [number_in(frame) for frame in looks] == [None] * len(looks)


def test_only_the_beat_of_a_live_worker_without_leases_is_noted_without_a_turn() -> None:
    desk = Desk(heartbeat_interval=1.0, suspect_after=3.0, gone_after=15.0)
    desk.hello(b"idle", "idle")
    desk.hello(b"busy", "busy", queues=("r",))
    desk.submit("a", queue="r")
    desk.say(b"guest", Pull(1, "till", "q", 1, 100.0, 5.0))
    desk.hello(b"guest", "guest", queues=("x",))
    machine = desk.machine

    assert machine.note_beat(desk.now + 2.0, b"idle")
    assert not any(machine.note_beat(desk.now + 2.0, peer) for peer in (b"busy", b"guest", b"stranger"))
    desk.wait(4.0)  # it was heard after two of them
    assert [row["state"] for row in desk.query("workers") if row["name"] == "idle"] == ["live"]
    desk.wait(2.0)
    assert not machine.note_beat(desk.now, b"idle")  # it is suspect, and a turn tells that it is heard again
    desk.say(b"idle", Heartbeat(1, ()))
    assert machine.note_beat(desk.now, b"idle")


@pytest.fixture
def intake() -> Iterator[Intake]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made = Intake(context)
    yield made
    made.connections.close()
    for socket in made.sockets:
        socket.close(linger=0)
    context.term()


def test_beats_are_answered_up_to_the_first_message_for_a_turn(intake: Intake) -> None:
    desk = Desk(heartbeat_interval=0.001)
    beats = Beats(intake.reception, intake.sender)
    worker = intake.speaker()
    worker.send(encode(Hello("w", "w", ("q",), 1, 1, ())))
    assert not beats.take(desk.machine, 0.0)
    desk.turn(*intake.turn())
    for message in (Heartbeat(7, ()), Heartbeat(300, ()), Ping(5), Heartbeat(301, ())):
        worker.send(encode(message))

    assert not beats.take(desk.machine, 0.0)

    answers = [decode_from_coordinator(worker.recv()) for _ in range(2)]
    assert answers == [Beat(7, 1, ()), Beat(300, 1, ())]
    assert [message for _, message in intake.turn()] == [Ping(5), Heartbeat(301, ())]
    assert beats.take(desk.machine, 0.0)
    assert beats.failed == []


def test_idle_workers_of_many_are_told_to_beat_less_often_and_answered_when_they_ask(intake: Intake) -> None:
    desk = Desk(heartbeat_interval=0.001, suspect_after=0.003, idle_beats_max=1)
    beats = Beats(intake.reception, intake.sender)
    worker = intake.speaker()
    worker.send(encode(Hello("w", "w", ("q",), 1, 1, ())))
    desk.turn(*intake.turn())
    worker.send(encode(About("here", 1, 0, 1, is_draining=False, trouble=None, takes_intervals=True)))
    desk.turn(*intake.turn())
    for message in (Heartbeat(0, ()), Heartbeat(7, ()), Heartbeat(0, ()), Heartbeat(300, ()), Ping(5)):
        worker.send(encode(message))

    beats.take(desk.machine, 0.0)

    answers = [decode_from_coordinator(worker.recv()) for _ in range(2)]
    assert answers == [Beat(7, 1, (), 0.002), Beat(300, 1, (), 0.002)]


def test_coordinator_with_keys_takes_a_turn_for_each_beat() -> None:
    desk = Desk()
    desk.hello(b"w", "w")
    desk.machine._guard = Guard()

    assert not desk.machine.note_beat(desk.now, b"w")
