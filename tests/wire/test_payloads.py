"""Payloads: what is packed can be unpacked, as the documented equal, and everything else is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.wire.anything import arrived, is_same, values
from zq.errors import PayloadTooLargeError
from zq.wire.batch import PayloadPacker, decode_payload, encode_payload

PACKER = PayloadPacker()


@settings(max_examples=2000)
@given(values)
def test_what_is_packed_arrives(value: Any) -> None:
    try:
        data = PACKER.pack(value)
    except TypeError as error:
        assert "expected a payload of None, bool, int, float, str, bytes, list and dict" in str(error)
        assert decode_payload(PACKER.pack(["the next"])) == ["the next"]
    else:
        assert is_same(decode_payload(data), arrived(value))


@pytest.mark.parametrize("levels", [500, 1000])
@pytest.mark.parametrize("kind", ["lists", "maps", "tuples in a key"])
def test_what_is_packed_arrives_however_deep(levels: int, kind: str) -> None:
    value: Any = None
    for _ in range(levels):
        value = [value] if kind == "lists" else {1: value} if kind == "maps" else (value,)
    if kind == "tuples in a key":
        value = {value: 1}

    data = encode_payload(value)

    assert encode_payload(decode_payload(data)) == data


def test_what_nests_without_end_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(TypeError, match="recursion limit"):
        encode_payload(circle)


class Odd(dict[Any, Any]):
    def items(self) -> Any:
        raise LookupError("no items today")


def test_what_raises_while_it_is_packed_is_refused_and_leaves_nothing() -> None:
    packer = PayloadPacker()
    with pytest.raises(TypeError, match="no items today"):
        packer.pack(["before", Odd(a=1)])

    assert decode_payload(packer.pack("after")) == "after"


def test_what_is_over_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLargeError):
        encode_payload(bytes(100), 99)


@pytest.mark.parametrize("data", [b"\x81\x80\x01", b"\xc1", b"\x92\x01", b"\x01\x02", b"\x81\x91\x80\x01"])
def test_bytes_that_are_no_value_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected a payload in msgpack"):
        decode_payload(data)
