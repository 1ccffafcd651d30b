"""What a frame may make a process allocate, looked at before anything of it is built.

Theory of operation. What a frame becomes may take seventy times its size: a byte is an empty map, and three bytes
declare an array of thousands. So there are three bounds, each asked before msgpack builds a thing:

- *Size by kind.* The first bytes tell the kind, and but for those that carry payloads all need little.
- *Declared counts.* Above a few hundred bytes a frame is passed over once, at msgpack's own speed and without building
  anything: arrays that are not filled are found there, so what is declared is never more than what is there.
- *Values.* Above COUNTED_BYTES the values are counted, too. Large frames that are honest are payloads, and have few.

Together: a frame takes its own size, as payloads, and a few megabytes at most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgpack

from zq.errors import RemoteProtocolError
from zq.wire.limits import PLAIN_BYTES_MAX, VALUES_MAX

LOOKED_AT_BYTES: Final = 256
"""Frames up to this are decoded as they are: arrays of at most so many, in each other as often, are nothing."""

COUNTED_BYTES: Final = 64 << 10
"""Frames up to this are not counted: so many values are 5 MB, and gone in a few milliseconds."""

SPARE: Final[list[Any]] = []
"""Unpackers between two uses, as many as threads have decoded at once; each takes one and gives it back."""


def check_frame(frame: bytes, bytes_max: Mapping[int, int]) -> None:
    """Looks at a frame of more than COUNTED_BYTES before it is decoded.

    Args:
        frame: as it came.
        bytes_max: largest size of a frame of each kind; all are above COUNTED_BYTES.

    Raises:
        RemoteProtocolError: it is too large for its kind, or declares or has more than it may.
    """
    size = len(frame)
    most = bytes_max.get(_kind_of(frame), PLAIN_BYTES_MAX)
    if size > most:
        text = f"expected at most {most} bytes in a message of this kind, got {size}"
        raise RemoteProtocolError("too-large", text, request_of(frame))
    _count_values(frame)


def pass_over(frame: bytes) -> Any:
    """Reads a frame of at most COUNTED_BYTES once without building anything, to see that all that it declares is there.

    Returns:
        What is to be given back to `SPARE` once the frame is known to have nothing behind its message.

    Raises:
        RemoteProtocolError: it declares more than it has.
    """
    try:
        unpacker = SPARE.pop()
    except IndexError:
        unpacker = msgpack.Unpacker(read_size=COUNTED_BYTES, max_buffer_size=4 * COUNTED_BYTES)
    try:
        unpacker.feed(frame)
        unpacker.skip()
    except (ValueError, msgpack.UnpackException) as error:
        raise _incomplete(frame, str(error)) from None
    return unpacker


def _kind_of(frame: bytes) -> int:
    """Returns the kind, if it stands where everybody writes it: behind an array's head and a version of one byte."""
    return frame[2] if 0x92 <= frame[0] <= 0x9F and frame[1] < 0x80 and frame[2] < 0x80 else -1


def request_of(frame: bytes) -> int | None:
    """Returns the number in the third place of a frame that cannot be decoded, if one can be read."""
    unpacker = msgpack.Unpacker(max_buffer_size=64)
    try:
        unpacker.feed(frame[:32])
        if unpacker.read_array_header() < 3:
            return None
        for _ in range(2):
            unpacker.skip()
        number = unpacker.unpack()
    except (ValueError, msgpack.UnpackException):
        return None
    return number if type(number) is int and 0 <= number < 1 << 63 else None


def _count_values(frame: bytes) -> None:
    """Counts the values that a frame declares, and sees that they are there."""
    at = 0
    left = total = 1
    sizes, widths = _SIZES, _WIDTHS
    try:
        while left:
            left -= 1
            head = frame[at]
            size = sizes[head]
            if size:
                at += size
                continue
            width = widths[head]
            if width == 1:  # mostly the offsets of a batch; a slice takes longer
                at += 2 + frame[at + 1]
                continue
            if width:
                at += 1 + width + int.from_bytes(frame[at + 1 : at + 1 + width], "big")
                continue
            count, width, each = _HEADS[head]
            if width:
                count = int.from_bytes(frame[at + 1 : at + 1 + width], "big")
            at += 1 + width
            left += each * count
            total += each * count
            if total > VALUES_MAX:
                raise RemoteProtocolError(
                    "too-large", f"expected at most {VALUES_MAX} values in a message, got more", request_of(frame)
                )
    except (IndexError, KeyError):
        raise _incomplete(frame, "incomplete") from None
    if at > len(frame):
        raise _incomplete(frame, "incomplete")


def _incomplete(frame: bytes, why: str) -> RemoteProtocolError:
    text = f"expected a msgpack array within limits: {why[:200]}"
    return RemoteProtocolError("malformed", text, request_of(frame))


# What the first byte of a value says (the specification of msgpack, "Formats"). Whatever is longer than its head says
# how long it is, or how many values are in it.


def _size_of(head: int) -> int:
    """Returns the bytes of a value that are known by its first; 0 for those that say more."""
    if head < 0x80 or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return 1
    if 0xA0 <= head < 0xC0:
        return 1 + (head & 0x1F)
    return _NUMBERS.get(head, 0)


_NUMBERS: Final = {0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}


_SIZES: Final = tuple(map(_size_of, range(256)))

_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_WIDTHS: Final = tuple(_LENGTHS.get(head, 0) for head in range(256))
"""Of bytes and text: in how many bytes behind the head it is said how many there are; 0 for all others."""

_HEADS: Final[dict[int, tuple[int, int, int]]] = {
    # count in the head, bytes of the count behind it, values for each that is counted
    **{0x80 + count: (count, 0, 2) for count in range(16)},
    **{0x90 + count: (count, 0, 1) for count in range(16)},
    0xDC: (0, 2, 1), 0xDD: (0, 4, 1), 0xDE: (0, 2, 2), 0xDF: (0, 4, 2),
}  # fmt: skip
"""Extensions are missing, as in the sizes: no message has one."""


# Writing.


KEPT_BYTES_MAX: Final = 1 << 20
"""A packer that has encoded more than this is dropped with its buffer, which never shrinks."""


def _make() -> Any:
    return msgpack.Packer(use_bin_type=True).pack


_pack = _make()


def pack(value: Any) -> bytes:
    """Encodes a value of msgpack's own types, with one packer that is kept: making one costs more than using it, since
    it allocates 256 KiB.

    Any thread may call this. The packer is a C object that runs no Python code while it packs what messages and records
    are made of (tuples, lists, dicts, text, bytes, numbers, None), so that the interpreter's lock makes each call
    whole; without that lock msgpack takes one of its own.

    Raises:
        TypeError, ValueError, OverflowError: it is of another type, or too large.
    """
    global _pack  # noqa: PLW0603 - the packer is this module's only state
    data: bytes = _pack(value)
    if len(data) > KEPT_BYTES_MAX:
        _pack = _make()
    return data
