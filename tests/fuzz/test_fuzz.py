"""A part of what `python -m tests.fuzz` plays, with seeds that stay; and every frame that once broke something."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.desk import Desk
from tests.fuzz.frames import Frames
from tests.fuzz.play import check, check_answer, decode_any, play_decoder, play_machine
from tests.fuzz.siege import besiege
from zq.wire.codec import decode_for_coordinator

CORPUS = Path(__file__).parent / "corpus"

PARTS = 8
"""Tests that the frames are dealt to, so that several may run at once."""

DECODER_FRAMES, MACHINE_FRAMES, SOCKET_FRAMES = 40_000, 40_000, 4_000


@pytest.mark.parametrize("part", range(PARTS))
def test_no_frame_brings_more_than_a_protocol_error_out_of_a_decoder(part: int) -> None:
    played = play_decoder(part, DECODER_FRAMES // PARTS)

    assert 0.3 < played.refused / played.frames < 0.95


@pytest.mark.parametrize("part", range(PARTS))
def test_no_frame_breaks_a_coordinator_or_gets_an_answer_that_nobody_can_read(part: int) -> None:
    played = play_machine(part * 1_000_000, MACHINE_FRAMES // PARTS)

    assert played.answers > played.frames / 2


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.hex")), ids=lambda file: file.stem)
def test_frame_that_once_broke_something_breaks_nothing(file: Path) -> None:
    desk = Desk()
    for line in file.read_text().split():
        frame = bytes.fromhex(line)
        if decode_any(frame):
            continue
        for _, message in desk.turn((b"peer", decode_for_coordinator(frame))):
            check_answer(message)
        check(desk)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_two_hundred_bad_peers_take_nothing_from_an_honest_one(transport: str, tmp_path: Path) -> None:
    bind = "tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/socket"

    siege = besiege(tmp_path, 7, SOCKET_FRAMES, bind)

    assert siege.known == siege.accepted
    assert siege.pieces > 200
    assert siege.memory_mib < 200


def test_same_seed_is_the_same_frames() -> None:
    one, other = Frames(5), Frames(5)

    assert [one.any() for _ in range(200)] == [other.any() for _ in range(200)]
