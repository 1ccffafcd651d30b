"""The payloads of a batch: joined in one blob, with the offsets at which they end (protocol 1); and what a single
payload may be.

Offsets are little-endian uint32 on the wire and on disk. Everything here works on whole batches at C speed, or costs
one function call per task.
"""

import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

import msgpack

from zq.errors import PayloadTooLargeError
from zq.wire.limits import PAYLOAD_BYTES_MAX


def count_tasks(ends: bytes) -> int:
    """Returns how many payloads there are."""
    return len(ends) >> 2


def offsets_of(ends: bytes) -> list[int]:
    """Returns where each payload ends."""
    offsets = array("I", ends)
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tolist()


def pack_offsets(offsets: Iterable[int]) -> bytes:
    """Returns offsets as they travel."""
    packed = array("I", offsets)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def pack_payloads(payloads: list[bytes]) -> tuple[bytes, bytes]:
    """Returns ends and blob of some payloads."""
    return pack_offsets(accumulate(map(len, payloads))), b"".join(payloads)


def pack_payload(payload: bytes) -> tuple[bytes, bytes]:
    """Returns ends and blob of a single payload."""
    return len(payload).to_bytes(4, "little"), payload


def iterate_payloads(ends: bytes, blob: bytes) -> Iterator[bytes]:
    """Yields the payloads of a batch in order."""
    start = 0
    for end in offsets_of(ends):
        yield blob[start:end]
        start = end


def payload_at(ends: bytes, blob: bytes, index: int) -> bytes:
    """Returns one payload of a batch."""
    start = int.from_bytes(ends[4 * index - 4 : 4 * index], "little") if index else 0
    return blob[start : int.from_bytes(ends[4 * index : 4 * index + 4], "little")]


def slice_tasks(ends: bytes, blob: bytes, lo: int, hi: int) -> tuple[bytes, bytes]:
    """Returns ends and blob of the tasks lo <= index < hi."""
    last = int.from_bytes(ends[4 * hi - 4 : 4 * hi], "little")
    if lo == 0:
        return ends[: 4 * hi], blob[:last]
    start = int.from_bytes(ends[4 * lo - 4 : 4 * lo], "little")
    if hi - lo == 1:
        return (last - start).to_bytes(4, "little"), blob[start:last]
    return pack_offsets([end - start for end in offsets_of(ends[4 * lo : 4 * hi])]), blob[start:last]


def largest_payload(ends: bytes, blob: bytes) -> int:
    """Returns the bytes of the largest payload of a batch."""
    if len(ends) == 4:
        return len(blob)
    offsets = offsets_of(ends)
    return max(map(int.__sub__, offsets, [0, *offsets]))


class PayloadPacker:
    """Encodes payloads; each thread has its own, since a msgpack packer holds a buffer."""

    __slots__ = ("_bytes_max", "_pack")

    def __init__(self, bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._bytes_max = bytes_max

    def pack(self, value: Any) -> bytes:
        """Returns a payload.

        Raises:
            TypeError: it holds something that msgpack cannot, or that raises while it is looked at.
            PayloadTooLargeError: it is over the limit.
        """
        try:
            data: bytes = self._pack(value)
        except Exception as error:
            self._pack = msgpack.Packer(use_bin_type=True).pack  # the old one may hold half a value
            raise TypeError(
                f"expected a payload of None, bool, int, float, str, bytes, list and dict, got {type(value).__name__}: {error}"
            ) from error
        if len(data) > self._bytes_max:
            raise PayloadTooLargeError(f"a payload has {len(data)} bytes, the limit is {self._bytes_max}")
        return data


def encode_payload(value: Any, bytes_max: int = PAYLOAD_BYTES_MAX) -> bytes:
    """Returns one payload; raises as `PayloadPacker.pack`."""
    return PayloadPacker(bytes_max).pack(value)


def decode_payload(data: bytes) -> Any:
    """Returns the value of a payload; an empty one is None.

    Raises:
        ValueError: the bytes are not one msgpack value.
    """
    if not data:
        return None
    try:
        try:
            return msgpack.unpackb(data, raw=False, strict_map_key=False)
        except TypeError:  # a key is an array: the packer takes tuples as keys, and no list can be one
            return msgpack.unpackb(data, raw=False, strict_map_key=False, object_pairs_hook=_map_of)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError, OverflowError) as error:
        raise ValueError(
            f"expected a payload in msgpack, got {len(data)} bytes that are not: {str(error)[:200]}"
        ) from None


def _map_of(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Returns a map whose keys that were tuples are tuples again, all through."""
    return {_key_of(key) if type(key) is list else key: value for key, value in pairs}


def _key_of(key: list[Any]) -> Any:
    # By way of its bytes, since msgpack goes as deep as it likes, and Python does not.
    return msgpack.unpackb(msgpack.packb(key), use_list=False, strict_map_key=False)
