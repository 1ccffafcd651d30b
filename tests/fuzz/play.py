"""Plays frames against the pure parts: the decoders, and a coordinator over a store in memory.

What must hold: nothing but RemoteProtocolError comes out of a decoder; nothing but a StoreError out of a coordinator;
every answer is one that its receiver can decode, and not larger than a message may be; the books and the store agree.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from tests.core.desk import Desk
from tests.fuzz.frames import Frames
from tests.simulation.invariants import check_books, check_grants
from zq.core.state.holder import Peer
from zq.errors import RemoteProtocolError, StoreError
from zq.wire.codec import decode_for_coordinator, decode_from_coordinator, encode
from zq.wire.limits import FRAME_BYTES_MAX
from zq.wire.messages import Error, ToCoordinator

PEERS = [bytes([0, 0, 0, 0, number]) for number in range(6)]

CHECK_EVERY = 50
"""Frames between two looks at the books."""

LIFE = 600
"""Frames that one coordinator gets; then another begins with nothing."""


class Played(NamedTuple):
    """What came of frames."""

    frames: int
    refused: int  # by the decoder, in words
    answers: int  # of the coordinator


def play_decoder(seed: int, frames: int) -> Played:
    """Feeds frames to both decoders."""
    source, refused = Frames(seed), 0
    for _ in range(frames):
        refused += decode_any(source.any())
    return Played(frames, refused, 0)


def decode_any(frame: bytes) -> bool:
    """Feeds a frame to both decoders; returns whether that of the coordinator refused it.

    Raises:
        AssertionError: an error without words, or one that could not be sent.
        Exception: whatever escaped that must not.
    """
    try:
        decode_from_coordinator(frame)
    except RemoteProtocolError as error:
        assert error.text
    try:
        decode_for_coordinator(frame)
    except RemoteProtocolError as error:
        assert error.text
        check_answer(Error(error.request, error.code, error.text))
        return True
    return False


def check_answer(message: object) -> None:
    """Raises when a message of the coordinator could not be read by who gets it."""
    frame = encode(message)  # type: ignore[arg-type]
    assert len(frame) <= FRAME_BYTES_MAX, f"an answer of {len(frame)} bytes: {str(message)[:200]}"
    decode_from_coordinator(frame)


def play_machine(seed: int, frames: int) -> Played:
    """Feeds frames from several connections to coordinators, with time passing in between."""
    refused = answers = done = 0
    while done < frames:
        part = min(LIFE, frames - done)
        one = _play_life(seed + done, part)
        refused, answers, done = refused + one.refused, answers + one.answers, done + part
    return Played(frames, refused, answers)


def _play_life(seed: int, frames: int) -> Played:
    desk, random = Desk(queue_tasks_max=100), Random(seed)
    source = Frames(seed, desk)
    refused = answers = 0
    last = b""
    try:
        for number in range(frames):
            last = source.any()
            message = _read(last)
            refused += isinstance(message, Error)
            answers += _turn(desk, [(random.choice(PEERS), message)])
            if random.random() < 0.02:
                desk.now += random.choice((0.1, 1.0, 20.0))
                answers += _turn(desk, [])
            if number % CHECK_EVERY == 0:
                check(desk)
        check(desk)
    except Exception as error:
        error.add_note(
            f"python -m tests.fuzz machine --seed {seed} --frames {frames}; the last frame: {last[:500].hex()}"
        )
        raise
    return Played(frames, refused, answers)


def _read(frame: bytes) -> ToCoordinator | Error:
    try:
        return decode_for_coordinator(frame)
    except RemoteProtocolError as error:
        return Error(error.request, error.code, error.text)


def _turn(desk: Desk, messages: list[tuple[Peer, ToCoordinator | Error]]) -> int:
    try:
        sent = desk.turn(*messages)
    except StoreError:
        desk.restart()
        return 0
    for _, message in sent:
        check_answer(message)
    return len(sent)


def check(desk: Desk) -> None:
    """Raises when the books and the store do not agree."""
    check_grants(desk.machine.books, desk.now)
    tx = desk.store.begin()
    try:
        check_books(desk.machine.books, tx)
    finally:
        tx.abort()
