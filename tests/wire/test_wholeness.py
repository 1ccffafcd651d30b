"""What is stored as payload or result is whole msgpack, as far as the coordinator's door can tell in no time."""

from __future__ import annotations

import threading
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as some

from zq.errors import RemoteProtocolError
from zq.wire import wholeness
from zq.wire.batch import decode_payload, encode_payload, iterate_payloads, pack_offsets, pack_payloads
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.limits import WHOLE_BYTES_MAX
from zq.wire.messages import Batch, Done, Message, Options, Publish, Schedule, Settle, Submit
from zq.wire.wholeness import KEPT_PAYLOAD_BYTES_MAX, are_whole_results, is_whole_batch

BROKEN: dict[str, bytes] = {
    "two values": b"\x01\x02",
    "something behind": encode_payload({"a": 1}) + b"\xc0",
    "cut off": encode_payload({"a": "pizza"})[:-1],
    "a declared length that is not there": b"\xdd\xff\xff\xff\xff",
    "a byte that is none": b"\xc1",
    "deeper than anybody reads": b"\x91" * 5000 + b"\xc0",
}

VALUES = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(1 << 63), (1 << 64) - 1)
    | some.floats()
    | some.text()
    | some.binary(),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(), inner, max_size=4),
    max_leaves=10,
)


def doors(ends: bytes, blob: bytes) -> list[Message]:
    """Returns a message for every door by which payloads and results come in."""
    batch = Batch("b", "q", Options(), ends, blob)
    count = len(ends) >> 2
    return [
        Submit(1, (batch,)),
        Publish(1, "p", "topic", Options(), True, ends, blob),
        Schedule(1, batch, 5.0, None, "UTC", "skip"),
        Settle(1, 1, (Done(1, "x", 0, count, ends, blob, ()),), ()),
        Settle(1, 1, (Done(1, "x", 0, 1, b"", b"", (batch,)),), ()),
    ]


@pytest.mark.parametrize("payload", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("door", range(5))
@pytest.mark.parametrize("neighbours", [0, 2])
def test_payload_that_is_not_one_value_comes_in_by_no_door(payload: bytes, door: int, neighbours: int) -> None:
    payloads = [encode_payload("one")] * neighbours
    message = doors(*pack_payloads([*payloads, payload]))[door]

    with pytest.raises(RemoteProtocolError, match="as one whole msgpack value"):
        decode_for_coordinator(encode(message))


@given(some.lists(VALUES, min_size=1, max_size=6))
def test_whatever_is_packed_comes_in_by_every_door(values: list[Any]) -> None:
    for message in doors(*pack_payloads([encode_payload(value) for value in values])):
        assert decode_for_coordinator(encode(message))


def test_an_empty_payload_is_none() -> None:
    for payloads in ([b""], [b"", b""], [b"", b"\x01", b""], [b"\x01", b""]):
        ends, blob = pack_payloads(payloads)
        assert is_whole_batch(ends, blob)
        assert are_whole_results(ends, blob)


@given(some.lists(some.binary(max_size=12), min_size=1, max_size=5))
def test_results_are_whole_when_each_of_them_is_and_a_batch_no_stricter(payloads: list[bytes]) -> None:
    ends, blob = pack_payloads(payloads)
    each = [not one or is_readable(one) for one in payloads]

    assert are_whole_results(ends, blob) == all(each)
    assert is_whole_batch(ends, blob) or not all(each)


def is_readable(payload: bytes) -> bool:
    unpacker = msgpack.Unpacker()
    unpacker.feed(payload)
    try:
        unpacker.skip()
    except (msgpack.UnpackException, ValueError):
        return False
    return bool(unpacker.tell() == len(payload))


def test_payloads_that_are_cut_in_a_wrong_place_are_noticed_by_whoever_reads_one() -> None:
    ends, blob = pack_offsets([1, 4]), b"\x92\x01\x02\x03"
    assert is_whole_batch(ends, blob)  # the values are counted, and not where each ends

    for payload in iterate_payloads(ends, blob):
        with pytest.raises(ValueError, match="expected a payload in msgpack"):
            decode_payload(payload)


def test_what_was_broken_spoils_nothing_that_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholeness, "_idle", [])
    for payload in BROKEN.values():
        assert not is_whole_batch(*pack_payloads([payload]))
        assert is_whole_batch(*pack_payloads([encode_payload({"a": 1})]))
    assert len(wholeness._idle) == 1


def test_a_large_payload_leaves_no_large_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wholeness, "_idle", [])
    assert is_whole_batch(
        *pack_payloads([encode_payload(bytes(KEPT_PAYLOAD_BYTES_MAX + 1), 2 * KEPT_PAYLOAD_BYTES_MAX)])
    )

    assert wholeness._idle == []


def test_threads_do_not_disturb_each_other() -> None:
    found: list[bool] = []
    good, bad = ([encode_payload(list(range(number)))] * 50 for number in (3, 5))
    bad[-1] = bad[-1][:-1]

    def look(payloads: list[bytes], *, is_whole: bool) -> None:
        found.extend(is_whole_batch(*pack_payloads(payloads)) == is_whole for _ in range(500))

    threads = [threading.Thread(target=look, args=(one,), kwargs={"is_whole": one is good}) for one in (good, bad) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [True] * 2000


@pytest.mark.parametrize(("more", "is_looked_at"), [(0, True), (1, False)])
def test_what_would_take_long_to_look_at_is_left_to_its_readers(more: int, is_looked_at: bool) -> None:
    size = WHOLE_BYTES_MAX + more
    frame = encode(Submit(1, (Batch("b", "q", Options(), pack_offsets([size]), b"\x01" * size),)))
    if is_looked_at:
        with pytest.raises(RemoteProtocolError, match="as one whole msgpack value"):
            decode_for_coordinator(frame)
    else:
        assert decode_for_coordinator(frame)
