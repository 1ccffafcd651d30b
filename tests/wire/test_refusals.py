"""Bad input, field by field, and by the thousand: only RemoteProtocolError comes out."""

import random
from typing import Any

import msgpack
import pytest

from tests.wire.test_examples import _good
from zq.errors import RemoteProtocolError
from zq.wire.codec import decode_for_coordinator, decode_from_coordinator, encode
from zq.wire.messages import DEFAULT_OPTIONS, Batch, Options, Submit

FUZZ_FRAMES = 20_000

BATCH = ["b", "q", None, b"\x01\0\0\0", b"x"]

UNIQUE = {"unique": ["k", "ended", "keep"]}


def frame(*parts: Any) -> bytes:
    return msgpack.packb([1, *parts])


def submit(**changes: Any) -> bytes:
    batch = dict(zip(("id", "queue", "options", "ends", "blob"), BATCH, strict=True)) | changes
    return frame(1, 7, [list(batch.values())])


def hello(**changes: Any) -> bytes:
    fields = {"name": "w", "incarnation": "i", "queues": ["q"], "credit": 1, "concurrency": 1, "held": []} | changes
    return frame(20, *fields.values())


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"", "malformed", "msgpack"),
        (b"\x01", "malformed", "array"),
        (msgpack.packb([1]), "malformed", "version and kind"),
        (msgpack.packb([True, 7, 1]), "malformed", "version and kind"),
        (msgpack.packb([9, 7, 1]), "version", "expected protocol version 1, got 9"),
        (frame(99, 1), "unknown-kind", "99"),
        (frame(7), "malformed", "expected 1 fields in ping, got 0"),
        (frame(7, -1), "malformed", "request"),
        (frame(7, 1 << 63), "malformed", "request"),
        (frame(7, "1"), "malformed", "request"),
        (frame(1, 7, []), "malformed", "at least one batch"),
        (frame(1, 7, [BATCH] * 1001), "too-large", "1000 batches"),
        (submit(id=""), "malformed", "batch id"),
        (submit(id="a b"), "malformed", "without spaces"),
        (submit(id="a#1"), "malformed", "without #"),
        (submit(id="ä" * 65), "too-large", "128 bytes, got 130"),
        (submit(queue="a\nb"), "malformed", "control"),
        (submit(queue=None), "malformed", "queue"),
        (submit(options=[]), "malformed", "options as a map"),
        (submit(options={"prio": 1}), "malformed", "unknown option 'prio'"),
        (submit(options={"priority": 10}), "malformed", "priority from 0 to 9, got 10"),
        (submit(options={"priority": True}), "malformed", "priority"),
        (submit(options={"delay": -1}), "malformed", "delay"),
        (submit(options={"delay": float("nan")}), "malformed", "delay"),
        (submit(options={"delay": 4e7}), "malformed", "delay"),
        (submit(options={"on_lost": "explode"}), "malformed", "reassign, cancel or dead"),
        (submit(options={"key": "k" * 129}), "too-large", "key"),
        (submit(options={"max_attempts": 0}), "malformed", "max_attempts"),
        (submit(options={"retry": ["never", 1, 2, 3]}), "malformed", "retry policy"),
        (submit(options={"retry": ["linear", -1, 2, 3]}), "malformed", "first"),
        (submit(options={"retry": "none"}), "malformed", "retry"),
        (submit(options={"timeout": 0}), "malformed", "timeout"),
        (submit(options={"headers": {"a": 1}}), "malformed", "header"),
        (submit(options={"headers": {str(i): "" for i in range(33)}}), "too-large", "32 headers"),
        (submit(ends=b""), "malformed", "4 bytes"),
        (submit(ends=b"\x01\0\0"), "malformed", "4 bytes"),
        (submit(ends=b"\x02\0\0\0"), "malformed", "end of the batch"),
        (submit(ends=b"\x01\0\0\0\0\0\0\0"), "malformed", "never fall"),
        (submit(ends=b"\x01\0\0\0" * 1001), "too-large", "1000 tasks"),
        (submit(blob="x"), "malformed", "as bytes"),
        (submit(ends=(9 << 20).to_bytes(4, "little"), blob=b"x" * (9 << 20)), "too-large", "8388608"),
        (submit(ends=b"\0\0\0\0" + (2 << 20).to_bytes(4, "little"), blob=b"x" * (2 << 20)), "too-large", "1048576"),
        (frame(2, 1, "c", "q", 0, 0, 30), "malformed", "max_tasks from 1 to 1000"),
        (frame(2, 1, "c", "q", 1, 61, 30), "malformed", "wait"),
        (frame(2, 1, "c", "q", 1, 0, 0), "malformed", "lease"),
        (frame(3, 1, "b", 5, 5), "malformed", "lo < hi"),
        (frame(5, 1, "status", {"a": [[1]]}), "malformed", "argument 'a'"),
        (frame(5, 1, "status", {1: 1}), "malformed", "msgpack"),
        (hello(queues=[]), "malformed", "at least one queue"),
        (hello(credit=10_001), "malformed", "credit from 0 to 10000"),
        (hello(concurrency=0), "malformed", "concurrency"),
        (hello(held=[[1]]), "malformed", "held lease"),
        (hello(held=[[1, [1000]]]), "malformed", "index"),
        (hello(held=[[i, []] for i in range(20_001)]), "malformed", "limits"),
        (frame(22, 1, 1, [[1, "b", 0, 2, b"\x01\0\0\0", b"x", []]], []), "malformed", "expected 2 results, got 1"),
        (frame(22, 1, 1, [[1, "b", 2, 1, b"", b"", []]], []), "malformed", "lo < hi"),
        (frame(22, 1, 1, [], [[1, "b", 0, "e" * 20_000, None, False]]), "too-large", "16384"),
        (frame(25, 1, 1, 1.5), "malformed", "fraction"),
        (frame(9, 1, ["g", 1, "all", False, "q", UNIQUE]), "malformed", "a callback cannot have a unique key"),
        (
            frame(22, 1, 1, [[1, "b", 0, 1, b"", b"", [["f", "q", UNIQUE, bytes(8), b""]]]], []),
            "malformed",
            "unique in a forwarded batch of one",
        ),
    ],
)
def test_bad_message_is_refused_in_words(data: bytes, code: str, text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_for_coordinator(data)

    assert caught.value.code == code
    assert text in caught.value.text


def test_refusal_names_the_request_when_it_can_be_read() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_for_coordinator(submit(id=""))

    assert caught.value.request == 7


def test_frame_over_the_limit_is_refused_without_being_read() -> None:
    with pytest.raises(RemoteProtocolError, match="too-large: expected at most 16777216 bytes"):
        decode_for_coordinator(submit()[:3] + bytes(16 << 20))


def test_nested_bomb_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_for_coordinator(b"\x91" * 60_000)


def test_array_that_claims_to_be_huge_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode_for_coordinator(b"\xdd\xff\xff\xff\xff")


@pytest.mark.parametrize("decode", [decode_for_coordinator, decode_from_coordinator])
def test_every_cut_of_every_example_is_refused_or_valid(decode: Any) -> None:
    for parameter in _good():
        data = parameter.values[1]
        for length in range(len(data)):
            with pytest.raises(RemoteProtocolError):
                decode(data[:length])


@pytest.mark.parametrize("decode", [decode_for_coordinator, decode_from_coordinator])
def test_fuzzed_frames_raise_nothing_but_protocol_errors(decode: Any) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    examples = [parameter.values[1] for parameter in _good()]
    refused = 0
    for _ in range(FUZZ_FRAMES):
        data = bytearray(rng.choice(examples))
        for _ in range(rng.randrange(1, 5)):
            kind = rng.randrange(4)
            place = rng.randrange(len(data) + 1)
            if kind == 0 and data:
                data[place % len(data)] = rng.randrange(256)
            elif kind == 1:
                data[place:place] = rng.randbytes(rng.randrange(1, 9))
            elif kind == 2:
                del data[place : place + rng.randrange(1, 9)]
            else:
                data += rng.randbytes(rng.randrange(1, 20))
        try:
            decode(bytes(data))
        except RemoteProtocolError as error:
            assert error.text
            refused += 1
    assert refused > FUZZ_FRAMES / 2


def test_options_travel_without_their_defaults() -> None:
    options = Options(priority=9, key="k")
    message = Submit(
        1, (Batch("b", "q", options, b"\x01\0\0\0", b"x"), Batch("c", "q", Options(), b"\x01\0\0\0", b"x"))
    )
    raw = msgpack.unpackb(encode(message))
    decoded = decode_for_coordinator(encode(message))

    assert [batch[2] for batch in raw[3]] == [{"priority": 9, "key": "k"}, None]
    assert decoded == message
    assert isinstance(decoded, Submit)
    assert decoded.batches[1].options is DEFAULT_OPTIONS
