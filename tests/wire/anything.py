"""Anything that a program may give as a payload, and what has to come of it."""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict, namedtuple
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import msgpack
from hypothesis import strategies as st


class Text(str):
    __slots__ = ()


class Number(int):
    __slots__ = ()


class Listing(list[Any]):
    pass


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


Point = namedtuple("Point", "x y")

timestamps = st.builds(msgpack.Timestamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 999_999_999))
extensions = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=40))

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(st.characters()),  # lone surrogates, too
    st.binary(max_size=40),
    st.builds(Text, st.text(max_size=5)),
    st.builds(Number, st.integers(-5, 5)),
    st.sampled_from(Size),
    st.binary(max_size=5).map(lambda data: memoryview(data)),
    timestamps,
    extensions,
)
keys = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.builds(Point, inner, inner),
        st.frozensets(inner, max_size=2),  # msgpack takes none
    ),
    max_leaves=5,
)
unsendable = st.sampled_from([datetime.now(UTC), datetime.now(), {1}, 1j, object(), range(3), memoryview(b"abcd")[::2]])
values = st.recursive(
    st.one_of(scalars, st.binary(max_size=5).map(bytearray), unsendable),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(Listing),
        st.builds(Point, inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4).map(OrderedDict),
        st.lists(keys, max_size=4).map(Counter),
    ),
    max_leaves=20,
)


def arrived(value: Any) -> Any:
    """Returns what a payload is for whoever gets it: lists for tuples, bytes for what holds bytes, and keys as they
    were.
    """
    if isinstance(value, msgpack.ExtType):
        return value
    if isinstance(value, list | tuple):
        return [arrived(one) for one in value]
    if isinstance(value, dict):
        return {_arrived_key(key): arrived(one) for key, one in value.items()}
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def _arrived_key(key: Any) -> Any:
    if isinstance(key, msgpack.ExtType):
        return key
    if isinstance(key, tuple):
        return tuple(map(_arrived_key, key))
    return bytes(key) if isinstance(key, memoryview) else key


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal, with NaN equal to itself, and 0.0 unlike -0.0."""
    if isinstance(one, float):
        return isinstance(other, float) and struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and len(one) == len(other)
            and all(is_same(a, b) and is_same(x, y) for (a, x), (b, y) in zip(one.items(), other.items(), strict=True))
        )
    if isinstance(one, list | tuple) and not isinstance(one, msgpack.ExtType):
        return (
            isinstance(other, list if isinstance(one, list) else tuple)
            and len(one) == len(other)
            and all(map(is_same, one, other))
        )
    return bool(one == other)
