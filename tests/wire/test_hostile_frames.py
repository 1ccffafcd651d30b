"""What a frame may cost before anybody knows whether it is a message: bounded by its own size, whatever it says."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
import pytest

from tests.wire.test_refusals import frame
from zq.errors import RemoteProtocolError
from zq.wire import limits
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.codec import KINDS, Kind, decode_for_coordinator, decode_from_coordinator, encode, encode_answer
from zq.wire.frames import COUNTED_BYTES, LOOKED_AT_BYTES
from zq.wire.messages import Answer, Batch, Error, Options, Submit

HEADROOM_BYTES = 16 << 20
"""What a frame may take beside its own size: the values of one that is not counted, and the lists of an answer."""

DECODERS = (decode_for_coordinator, decode_from_coordinator)

KIND_NUMBERS = [*(kind.number for kind in KINDS), 99]


def fill(unit: bytes, size: int, width: int = 20_000) -> bytes:
    """Returns arrays of `width` times a unit, one beside the other, in an array that is large enough."""
    row = b"\xdd" + width.to_bytes(4, "big") + unit * width
    rows = max(1, size // len(row))
    return b"\xdd" + rows.to_bytes(4, "big") + row * rows


ATTACKS: dict[str, Callable[[int], bytes]] = {
    "empty maps": lambda size: fill(b"\x80", size),
    "maps of one": lambda size: fill(b"\x81\xa1x\xc0", size),
    "empty arrays": lambda size: fill(b"\x90", size),
    "arrays of one": lambda size: fill(b"\x91\xc0", size),
    "texts": lambda size: fill(b"\xa2xy", size),
    "numbers": lambda size: fill(b"\xcd\x10\x00", size),
    "arrays that are not filled": lambda size: b"\xdd\x00\x00\x4e\x20" * (size // 5),
    "short arrays that are not filled": lambda size: b"\xdc\x03\xe8" * (size // 3),
    "maps that are not filled": lambda size: b"\xde\x00\x64\xa1x" * (size // 5),
    "arrays in each other": lambda size: b"\x91" * size,
    "empty extensions": lambda size: fill(b"\xc7\x00\x05", size),
    "one text": lambda size: b"\xdb" + size.to_bytes(4, "big") + b"x" * size,
    "one payload": lambda size: b"\xc6" + size.to_bytes(4, "big") + b"x" * size,
    "a payload that is declared only": lambda size: b"\xc6" + (15 << 20).to_bytes(4, "big") + b"x" * size,
}

SIZES = (100, 1000, 5003, COUNTED_BYTES - 10, COUNTED_BYTES + 10, 700_000)


@pytest.mark.parametrize("kind", [1, 21, 43])
@pytest.mark.parametrize("attack", ATTACKS)
def test_frame_takes_its_own_size_and_a_little(attack: str, kind: int) -> None:
    decode = decode_from_coordinator if kind >= 40 else decode_for_coordinator
    for size in (*SIZES, *((15 << 20,) if kind == 1 else ())):
        data = bytes((0x94, 1, kind, 7)) + ATTACKS[attack](size)[:size]
        tracemalloc.start()
        with suppress(RemoteProtocolError):
            decode(data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < len(data) + min(HEADROOM_BYTES, 400 * len(data) + 250_000), size


@pytest.mark.parametrize("kind", KIND_NUMBERS)
def test_only_what_carries_payloads_may_be_large(kind: int) -> None:
    """A hundred thousand values of a byte each are too many for any kind, and a megabyte of text for most."""
    data = bytes((0x94, 1, kind, 7)) + fill(b"\xc0", limits.VALUES_MAX + limits.HELD_MAX)
    for decode in DECODERS:
        with pytest.raises(RemoteProtocolError) as caught:
            decode(data)
        assert caught.value.code == "too-large"
        assert caught.value.request == 7


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.message.__name__)
def test_frame_of_a_kind_has_at_most_so_many_bytes(kind: Kind) -> None:
    number, most = kind.number, kind.bytes_max
    head = bytes((0x93, 1, number, 0xC6))
    decode = decode_from_coordinator if number >= 40 else decode_for_coordinator
    for size, code in ((most, "malformed"), (most + 1, "too-large")):
        data = head + (size - 8).to_bytes(4, "big") + bytes(size - 8)
        with pytest.raises(RemoteProtocolError) as caught:
            decode(data)
        assert caught.value.code == code, caught.value
    assert COUNTED_BYTES < most <= limits.FRAME_BYTES_MAX


def test_limits_of_frames_are_as_documented() -> None:
    assert limits.PLAIN_BYTES_MAX == 72 << 10
    assert limits.LISTING_BYTES_MAX == 768 << 10
    assert limits.ASKING_BYTES_MAX == 1 << 20
    assert limits.ONE_BATCH_BYTES_MAX == 9 << 20
    assert limits.VALUES_MAX == 150_000


def test_largest_honest_messages_are_let_through() -> None:
    headers = {f"header-{number}": "ä" * limits.HEADER_CHARACTERS_MAX for number in range(limits.HEADERS_MAX)}
    texts = [text for pair in headers.items() for text in pair]
    held = [[(1 << 62) + number, []] for number in range(limits.HELD_MAX - 20)]
    held += [[number, list(range(1000))] for number in range(20)]
    name = "n" * limits.NAME_BYTES_MAX
    spans = [[(1 << 62) + number, 998, 1000] for number in range(limits.HELD_MAX)]
    for_coordinator = (
        frame(5, 7, "match", {"topic": name, "headers": texts}),
        frame(9, 7, ["g", 5, "all", False, name, {"headers": headers}]),
        frame(10, 7, "p", "t", {"headers": headers}, True, (8 << 20).to_bytes(4, "little"), bytes(8 << 20)),
        frame(20, name, name, [f"{number:04}{name[4:]}" for number in range(1000)], 10_000, 1, held),
        frame(21, 7, held),
        frame(24, held),
        frame(26, name, name, "ä" * limits.TEXT_CHARS_MAX),
        frame(26, name, name, "\U0001f355" * limits.TEXT_CHARS_MAX),
        frame(1, 7, [["b", name, {"headers": {str(one): "x" for one in range(32)}}, bytes(4), b""]] * 1000),
        frame(22, 7, 5, [[1 << 62, name, 0, 1, b"", b"", []]] * 1000, []),
        frame(23, 7, 5, spans[:1000]),
        frame(13, [1 << 62] * 1000),
    )
    for data in for_coordinator:
        decode_for_coordinator(data)
    stored = [[name, name[:123] + ".1000", 1 << 62, 5.0]] * 1000
    for data in (
        frame(45, 1, 1.0, 3.0, 15.0, [1 << 62] * limits.HELD_MAX),
        frame(48, 7, spans),
        frame(49, spans),
        frame(51, 7, stored, None),
        frame(50, 7, "invalid", "\U0001f355" * limits.TEXT_CHARS_MAX),
    ):
        decode_from_coordinator(data)


def test_indexes_of_what_has_started_are_counted_over_all_leases() -> None:
    held = [[number, list(range(1000))] for number in range(21)]

    with pytest.raises(RemoteProtocolError, match="at most 20000 indexes"):
        decode_for_coordinator(frame(21, 7, held))


def test_arguments_have_short_lists() -> None:
    decode_for_coordinator(frame(5, 7, "match", {"headers": ["x"] * limits.ARGUMENT_PARTS_MAX}))

    with pytest.raises(RemoteProtocolError, match="at most 100 values in argument 'headers'"):
        decode_for_coordinator(frame(5, 7, "match", {"headers": ["x"] * (limits.ARGUMENT_PARTS_MAX + 1)}))


@pytest.mark.parametrize("size", [LOOKED_AT_BYTES // 2, LOOKED_AT_BYTES * 2, COUNTED_BYTES * 2])
def test_what_follows_a_message_is_malformed_and_spoils_no_other(size: int) -> None:
    good = encode(Submit(1, (Batch("b", "q", Options(), *pack_payloads([encode_payload(bytes(size))])),)))
    for _ in range(3):
        with pytest.raises(RemoteProtocolError, match="malformed"):
            decode_for_coordinator(good + good[: len(good) // 2])
        assert encode(decode_for_coordinator(good)) == good


@pytest.mark.parametrize("number", [-1, 1 << 63, (1 << 64) - 1])
def test_error_repeats_only_a_number_that_its_receiver_can_read(number: int) -> None:
    for data in (frame(7, number, 0), frame(7, number), frame(99, number), msgpack.packb([9, 7, number])):
        with pytest.raises(RemoteProtocolError) as caught:
            decode_for_coordinator(data)
        assert caught.value.request is None


def test_number_of_what_cannot_be_decoded_is_told() -> None:
    many = frame(43, 9, {str(number): 1 for number in range(101)})
    for data in (frame(43, 9, {"a": 1}) + b"\xc0", frame(43, 9, [[1, 2]] * 5)[:-1], many):
        with pytest.raises(RemoteProtocolError) as caught:
            decode_from_coordinator(data)
        assert caught.value.request == 9


@pytest.mark.parametrize(
    "value",
    [
        {str(number): 1 for number in range(101)},
        [[[[[[[[[1]]]]]]]]],
        ["x" * 70_000],
        [b"x" * (9 << 20)] * 2,
        [1] * 20_001,
    ],
    ids=["a map of many", "too deep", "a text too long", "too large", "a list of many"],
)
def test_answer_that_its_receiver_could_not_read_is_an_error_in_words(value: object) -> None:
    answer = decode_from_coordinator(encode_answer(Answer(5, value)))

    assert isinstance(answer, Error)
    assert (answer.request, answer.code) == (5, "too-large")
    assert answer.text.startswith("the answer cannot be sent: ")


def test_answer_that_can_be_read_is_sent_as_it_is() -> None:
    values: tuple[Any, ...] = (5, None, [{"name": "q"}] * 1000, {"rows": [], "cursor": None}, b"x" * (8 << 20))
    for value in values:
        assert encode_answer(Answer(5, value)) == encode(Answer(5, value))


def test_text_of_an_error_is_cut() -> None:
    error = decode_from_coordinator(encode_answer(Error(5, "invalid", "x" * 60_000)))

    assert len(error.text) < limits.TEXT_CHARS_MAX  # type: ignore[union-attr]
