"""Whether payloads are whole: each exactly one msgpack value, none cut off and nothing behind it.

Nothing is decoded: values are skipped in C, which makes no objects, however large a payload says that it is. Text that
is not UTF-8, and what Python cannot have as a key, are not noticed here, but where the payload is read.

Of a batch of several payloads only the number of values and their end are looked at, which costs a tenth of looking at
each: whoever reads one of them notices where it was cut in a wrong place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack

from zq.wire.batch import iterate_payloads, offsets_of

KEPT_PAYLOAD_BYTES_MAX: Final = 1 << 20
"""An unpacker that has seen more than this is dropped with its buffer, which never shrinks."""

_UNREADABLE: Final = (ValueError, msgpack.UnpackException, RecursionError, OverflowError)

_idle: list[Any] = []
"""Unpackers, since making one costs more than using it; who uses one has taken it out, so that any thread may."""


def is_whole_batch(ends: bytes, blob: bytes) -> bool:
    """Whether as many values as there are payloads lie in the blob of a batch, and nothing behind them. One that is
    empty is None.
    """
    count = len(ends) >> 2
    if count == 1:
        return not blob or is_whole(blob)
    if are_whole((_array_header(count) + blob,)):
        return True
    count = len(set(offsets_of(ends)) - {0})  # without those that are empty
    return are_whole((_array_header(count) + blob,))


def are_whole_batches(batches: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether in each of some batches, as ends and blob, lie as many values as there are payloads, none of them empty:
    `is_whole_batch` of all, in one go.
    """
    pieces = [
        blob if len(ends) == 4 else b"\xdc" + (len(ends) >> 2).to_bytes(2, "big") + blob for ends, blob in batches
    ]
    return are_whole(pieces)


def are_whole_results(ends: bytes, blob: bytes) -> bool:
    """Whether each of some results is one value, or empty."""
    return are_whole([one for one in iterate_payloads(ends, blob) if one])


def is_whole(data: bytes) -> bool:
    """Whether a piece is one value: `are_whole` of one, as most messages have."""
    try:
        unpacker = _idle.pop()
    except IndexError:
        return are_whole((data,))
    end = unpacker.tell() + len(data)
    try:
        unpacker.feed(data)
        unpacker.skip()
    except _UNREADABLE:
        return False
    if unpacker.tell() != end:
        return False
    if len(data) <= KEPT_PAYLOAD_BYTES_MAX:
        _idle.append(unpacker)
    return True


def are_whole(values: Sequence[bytes]) -> bool:
    """Whether each of some pieces is one value."""
    try:
        unpacker = _idle.pop()
    except IndexError:
        unpacker = msgpack.Unpacker(max_buffer_size=0)
    feed, skip, tell = unpacker.feed, unpacker.skip, unpacker.tell
    begin = end = tell()
    try:
        for data in values:
            feed(data)
            skip()
            end += len(data)
            if tell() != end:
                return False
    except _UNREADABLE:
        return False  # and the unpacker, which has half a value, is dropped
    if end - begin <= KEPT_PAYLOAD_BYTES_MAX:
        _idle.append(unpacker)
    return True


def _array_header(count: int) -> bytes:
    return b"\xdc" + count.to_bytes(2, "big")
