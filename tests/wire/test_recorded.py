"""What earlier versions said is understood: a client and a worker of theirs are answered as they were, byte for byte of
what they rely on, and whatever a coordinator of theirs said can be read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

import zq
from tests.wire.recorded.__main__ import Frame, read
from zq.wire import messages
from zq.wire.codec import KINDS, decode_for_coordinator, decode_from_coordinator
from zq.wire.messages import Message
from zq.wire.steering import Steer

SESSIONS = sorted((Path(__file__).parent / "recorded").glob("*.session"))

ANSWER_SECONDS = 20.0
"""For which an answer is waited for."""


@pytest.fixture(params=SESSIONS, ids=lambda path: path.stem)
def session(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[Frame]]:
    return read(request.param)


def message_of(frame: Frame) -> Message:
    return (decode_for_coordinator if frame.is_up else decode_from_coordinator)(frame.data)


def test_every_kind_that_there_is_was_recorded() -> None:
    known = {name for path in SESSIONS for name in read(path)[0]["kinds"].values()}
    assert known == {kind.message.__name__ for kind in KINDS}, "record a session: python -m tests.wire.recorded"


def test_every_frame_is_read_as_what_it_was(session: tuple[dict[str, Any], list[Frame]]) -> None:
    note, frames = session
    assert {str(frame.kind) for frame in frames} == note["kinds"].keys()
    for frame in frames:
        found = message_of(frame)
        _, kind, *fields = msgpack.unpackb(frame.data, use_list=False)
        assert type(found).__name__ == note["kinds"][str(kind)]
        assert begins_with(found, tuple(fields)), found


def begins_with(found: Any, said: Any) -> bool:
    """Whether all that was said is in what was read, in its place; fields that came later stand behind."""
    if isinstance(said, tuple) and isinstance(found, tuple | list):
        return len(found) >= len(said) and all(map(begins_with, found, said))
    if isinstance(found, messages.Options):
        return begins_with(found._asdict(), said or {})
    if isinstance(said, dict):
        return isinstance(found, dict) and all(begins_with(found[name], value) for name, value in said.items())
    return bool(found == said)


def facts_of(message: Message) -> Iterator[tuple[Any, ...]]:
    """Yields what a peer relies on in something that it is told; what depends on the time of day is left out."""
    name = type(message).__name__
    match message:
        case messages.Receipt(request, accepted, refused):
            yield from ((name, request, one.id, one.position, one.duplicate_of) for one in accepted)
            yield from ((name, request, one.id, one.code) for one in refused)
        case messages.Published(request, stored, refused_whole):
            yield from ((name, request, one.queue, one.id, one.position) for one in stored)
            yield name, request, None if refused_whole is None else refused_whole.code
        case messages.Tasks(request, assignments):
            yield name, request
            yield from (("lease", *_lease(one)) for one in assignments)
        case messages.Assign(assignments):
            yield from (("lease", *_lease(one)) for one in assignments)
        case messages.Outcome(request, ended, is_last):
            yield from ((name, request, one.lo, one.hi, one.outcome, one.ends, one.blob) for one in ended)
            yield from [(name, request)] if is_last else []
        case messages.Answer(request, value):
            yield name, request, type(value).__name__, *sorted(value if isinstance(value, dict) else ())
        case messages.Welcome():
            yield name, *message[1:4]
        case messages.Settled(number, stale, next_tries):
            yield name, number, stale, tuple(one._replace(delay=None) for one in next_tries)
        case messages.Events():
            yield from ((one.kind, one.queue, one.id, one.lo, one.hi, one.token) for one in message.events)
        case messages.Error(request, code):
            yield name, request, code
        case messages.Cancelled() | Steer():
            yield name, *message
        case messages.Pong() | messages.Beat():
            yield name, *message[:2]


def _lease(one: messages.Assignment) -> tuple[Any, ...]:
    options = one.options._replace(ttl=None)  # what is left of it
    return one.token, one.id, one.size, one.queue, options, one.attempt, one.lo, one.ends, one.blob


class Peers:
    """Says again what was said, and waits for what was told."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._told: dict[str, list[tuple[Any, ...]]] = {}

    def say(self, frame: Frame) -> None:
        if frame.peer not in self._sockets:
            self._sockets[frame.peer] = self._context.socket(zmq.DEALER)
            self._sockets[frame.peer].connect(self._address)
            self._told[frame.peer] = []
        self._sockets[frame.peer].send(frame.data)

    def expect(self, frame: Frame) -> None:
        """Waits until a peer is told all that it was told then."""
        told, give_up_at = self._told[frame.peer], time.monotonic() + ANSWER_SECONDS
        for fact in facts_of(message_of(frame)):
            while (at := self._find(told, fact)) is None:
                assert time.monotonic() < give_up_at, f"{frame.peer} was not told {fact}, but {told}"
                if self._sockets[frame.peer].poll(100):
                    told += facts_of(decode_from_coordinator(self._sockets[frame.peer].recv()))
            del told[at]

    @staticmethod
    def _find(told: list[tuple[Any, ...]], fact: tuple[Any, ...]) -> int | None:
        if fact[0] == "Answer":  # rows have more columns as time goes by
            return next((at for at, one in enumerate(told) if one[:3] == fact[:3] and {*one} >= {*fact}), None)
        return next((at for at, one in enumerate(told) if one == fact), None)

    def errors(self) -> list[tuple[Any, ...]]:
        """Returns what they were refused, and were not then."""
        return [fact for told in self._told.values() for fact in told if fact[0] == "Error"]

    def close(self) -> None:
        self._context.destroy(linger=0)


def test_what_was_said_is_answered_as_it_was(session: tuple[dict[str, Any], list[Frame]], tmp_path: Path) -> None:
    note, frames = session
    with zq.Coordinator(tmp_path / "s.zq", options=zq.CoordinatorOptions(**note["options"])) as coordinator:
        peers = Peers(coordinator.address)
        try:
            for frame in frames:
                (peers.say if frame.is_up else peers.expect)(frame)
            assert peers.errors() == []
        finally:
            peers.close()


def test_a_session_of_which_a_byte_is_another_is_noticed(session: tuple[dict[str, Any], list[Frame]]) -> None:
    frame = next(frame for frame in session[1] if isinstance(message_of(frame), messages.Tasks))
    changed = frame._replace(data=frame.data[:-1] + bytes([frame.data[-1] ^ 1]))
    assert list(facts_of(message_of(frame))) != list(facts_of(message_of(changed)))
