"""Draws frames: valid ones of every kind, from the tables of messages, and what becomes of them by mutation.

A frame is made in one of four ways: bytes at random; a valid message; a valid message whose bytes are changed; and a
valid message whose *values* are changed, one or several anywhere in it, which gets past msgpack to the readers.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Any

import msgpack

from tests.core.any_messages import Author
from tests.core.desk import Desk
from tests.wire.test_examples import _good
from zq.wire.codec import encode
from zq.wire.limits import VERSION

EXAMPLES = [bytes(parameter.values[1]) for parameter in _good()]
"""One frame at least of every kind, of coordinators, too."""

NUMBERS = [0, 1, -1, 127, 128, 255, 1000, 1001, 20_000, 1 << 16, 1 << 31, 1 << 32, (1 << 40) + 1]
NUMBERS += [(1 << 53) + 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63)]
FLOATS = [
    0.0,
    -0.0,
    0.5,
    -1.5,
    1e300,
    -1e300,
    5e-324,
    float("inf"),
    float("-inf"),
    float("nan"),
    4e7,
    253_402_300_800.0,
]
TEXTS = [
    "",
    "a",
    "q",
    "i1",
    "i1#0",
    "i1#4294967296",
    "#",
    "a#b",
    "a b",
    " a",
    "a\n",
    "\0",
    "\x1b[31mred",
    "\u202egnp",
    "ä" * 64,
]
TEXTS += [
    "x" * 128,
    "x" * 129,
    "x" * 20_000,
    "team-a/",
    "/",
    "//",
    "../../etc/passwd",
    "any",
    "*",
    "a.*.#",
    "#.#.#",
    "[bold]",
]
OTHERS: list[Any] = [
    None,
    True,
    False,
    b"",
    b"\0",
    b"\xc1",
    b"\x01\0\0\0",
    b"\xff" * 8,
    b"x" * 3000,
    [],
    {},
    [[]],
    {"a": {}},
]
ODD: list[Any] = [*NUMBERS, *FLOATS, *TEXTS, *OTHERS]

NESTED_MAX = 1200
"""Arrays in each other: more than msgpack's own stack."""


VALUES_MAX = 100_000
"""In a list that was made longer: more than any limit of the protocol."""


class Frames:
    """A source of frames; one seed is one sequence."""

    def __init__(self, seed: int, desk: Desk | None = None) -> None:
        """Makes a source; with a desk, some of its frames are about the leases there."""
        self.random = Random(seed)
        self._author = Author(self.random, desk or Desk())

    def valid(self) -> bytes:
        """Returns the frame of a valid message of those who speak to a coordinator, or of an example of any kind."""
        if self.random.random() < 0.3:
            return self.random.choice(EXAMPLES)
        return encode(self._author.write()[1])

    def any(self) -> bytes:
        """Returns a frame of any sort."""
        (make,) = self.random.choices(
            (self._changed_values, self._changed_bytes, self.valid, self._random), (70, 15, 10, 5)
        )
        return make()

    def _random(self) -> bytes:
        random = self.random
        if random.random() < 0.5:
            return random.randbytes(random.randrange(200))
        return b"\x93\x01" + bytes([random.choice((1, 2, 7, 20, 22, 40))]) + self._bomb()

    def _bomb(self) -> bytes:
        """Returns what declares more than it holds, or is nested deep."""
        random = self.random
        count = random.choice((3, 1000, 20_000, 1 << 31, (1 << 32) - 1))
        header = random.choice((b"\xdd", b"\xdf", b"\xdb", b"\xc6")) + struct.pack(">I", count)
        times = random.choice((1, 2, 9, NESTED_MAX))
        return random.choice(
            (header * times, b"\x91" * times, b"\x81\xa1a" * times, header + b"\x80" * min(count, 30_000))
        )

    def _changed_bytes(self) -> bytes:
        random, data = self.random, bytearray(self.valid())
        for _ in range(random.randrange(1, 5)):
            place = random.randrange(len(data) + 1)
            match random.randrange(4):
                case 0 if data:
                    data[place % len(data)] = random.randrange(256)
                case 1:
                    data[place:place] = random.randbytes(random.randrange(1, 9))
                case 2:
                    del data[place : place + random.randrange(1, 9)]
                case _:
                    data += random.randbytes(random.randrange(1, 20))
        return bytes(data)

    def _changed_values(self) -> bytes:
        value = msgpack.unpackb(self.valid(), strict_map_key=False)
        for _ in range(self.random.choice((1, 1, 1, 2, 4))):
            value = self._changed(value, depth=0)
        if not isinstance(value, list) or len(value) < 2 or self.random.random() < 0.95:
            return bytes(msgpack.packb(value))
        return bytes(msgpack.packb([VERSION, self.random.randrange(64), *value[2:]]))

    def _changed(self, value: Any, depth: int) -> Any:
        """Returns a value with a change somewhere in it: deeper ones are likelier than the whole."""
        random = self.random
        if isinstance(value, list) and value and random.random() < 0.8:
            place = random.randrange(2 if depth == 0 and len(value) > 2 else 0, len(value))
            return [*value[:place], self._changed(value[place], depth + 1), *value[place + 1 :]]
        if isinstance(value, dict) and value and random.random() < 0.8:
            name = random.choice(list(value))
            return {**value, name: self._changed(value[name], depth + 1)}
        return self._instead_of(value)

    def _instead_of(self, value: Any) -> Any:
        random = self.random
        if isinstance(value, list):
            longer, times = [*value, random.choice(ODD)], random.choice((1, 100, 1500))
            times = times if len(value) * times <= VALUES_MAX else 1  # else changes of changes fill the memory
            return random.choice((value[:-1], value * 2, longer, value * times, []))
        if isinstance(value, dict):
            return {**value, random.choice(TEXTS): random.choice(ODD)}
        if isinstance(value, int) and random.random() < 0.3:
            return max(min(value + random.choice((-1, 1)), (1 << 64) - 1), -(1 << 63))
        if isinstance(value, str) and random.random() < 0.3:
            return value + random.choice(TEXTS)
        if random.random() < 0.05:
            return msgpack.ExtType(random.randrange(128), b"x")
        return random.choice(ODD)
