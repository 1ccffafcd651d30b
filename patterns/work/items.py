"""What travels between nodes: chunks of items, and where each item came from.

The number of a source item is its place in the input, from 0. An *origin* says what an item stands for:

- a number: the whole of that source item. Nearly all items are so, and their chunks carry no more than the first of
  consecutive numbers;
- `(members, inner)`: members are `(number, path)` pairs, more than one only after a batch; inner is a path for each
  scatter around the item, the innermost last.

A path is a flat tuple `(index, count, index, count ...)`: branch `index` of `count` at each fork. It stands for the
share 1/count/count... of its item; an item is complete when the shares of what became of it (results, the news that
there are none, failures) add up to 1. That is counted exactly, so the order of arrival does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from math import gcd, prod
from typing import Any, NamedTuple

import msgpack

from patterns.work.values import pack, unpack
from zq.handling.raised import summary_of

WEIGHED_MAX = 16
"""Items of a chunk that are weighed, for all: they are mostly alike."""

UNSENDABLE = (TypeError, ValueError, OverflowError)
"""What `encode` and `frames_of` raise for a value that cannot travel."""

COMPLAINT_BYTES_MAX = 500
"""Of what a value raised while it was packed."""

Path = tuple[int, ...]
Members = tuple[tuple[int, Path], ...]
Origin = int | tuple[Members, tuple[Path, ...]]


class Plain(NamedTuple):
    """Whole source items with consecutive numbers: what a chunk is as long as nothing special happens."""

    first: int
    values: list[Any]


class Loose(NamedTuple):
    """Items, each with its origin."""

    origins: Sequence[Origin]
    values: list[Any]


class WithoutResult(NamedTuple):
    """News of items that have no result: `failures` has None where there was simply none. They go to the join around
    them, or to the sink.
    """

    origins: Sequence[Origin]
    failures: list[Failure | None]


class Failure(NamedTuple):
    """How a stage failed for an item; see `patterns.StageError`."""

    stage: str
    item: Any
    error: str
    remote_traceback: str
    attempts: int


ItemChunk = Plain | Loose | WithoutResult
Sent = tuple[int, ItemChunk]
"""A chunk, and the number of the node that it goes to."""


def size_of(chunk: ItemChunk) -> int:
    """Returns the number of items in a chunk."""
    return len(chunk[1])


def origins_of(chunk: ItemChunk) -> Iterable[Origin]:
    """Returns the origins of the items of a chunk, in order."""
    return range(chunk.first, chunk.first + len(chunk.values)) if isinstance(chunk, Plain) else chunk.origins


# Origins.


def extend(origin: Origin, index: int, count: int) -> Origin:
    """Returns the origin of branch `index` of `count` of an item."""
    fork = (index, count)
    if isinstance(origin, int):
        return ((origin, fork),), ()
    members, inner = origin
    if inner:
        return members, (*inner[:-1], inner[-1] + fork)
    return tuple((number, path + fork) for number, path in members), ()


def extend_all(origin: Origin, count: int) -> list[Origin]:
    """Returns the origins of all `count` branches of an item."""
    if isinstance(origin, int):  # nearly all, and worth the second way to say it
        return [(((origin, (index, count)),), ()) for index in range(count)]
    return [extend(origin, index, count) for index in range(count)]


def push(origin: Origin, index: int, count: int) -> Origin:
    """Returns the origin of part `index` of `count` of an item that is scattered."""
    if isinstance(origin, int):
        return ((origin, ()),), ((index, count),)
    return origin[0], (*origin[1], (index, count))


def pop(origin: Origin) -> tuple[Origin, Path]:
    """Returns the origin of the item that a part belongs to, and the path of the part within it."""
    assert not isinstance(origin, int), "a join got an item that no split had made"
    members, inner = origin
    if len(inner) == 1 and len(members) == 1 and not members[0][1]:
        return members[0][0], inner[0]
    return (members, inner[:-1]), inner[-1]


def merge(origins: Iterable[Origin]) -> Origin:
    """Returns the origin of a batch of items."""
    members: list[tuple[int, Path]] = []
    for origin in origins:
        members.extend(members_of(origin))
    return (tuple(members), ()) if len(members) > 1 or members[0][1] else members[0][0]


def lists_of(origins: Sequence[Origin], values: list[Any], size: int) -> ItemChunk:
    """Returns items in lists of `size`, the last of which may be shorter: a chunk whose items are these lists."""
    starts = range(0, len(values), size)
    merged = [merge(origins[start : start + size]) for start in starts]
    return compact(merged, [values[start : start + size] for start in starts])


def members_of(origin: Origin) -> Members:
    """Returns the (number, path) pairs that an item stands for."""
    return ((origin, ()),) if isinstance(origin, int) else origin[0]


def number_of(origin: Origin) -> int:
    """Returns the number of the (first) source item that an item stands for."""
    return origin if isinstance(origin, int) else origin[0][0][0]


def share_of(path: Path) -> Fraction:
    """Returns the share of its item that a path stands for."""
    return Fraction(1, prod(path[1::2]))


class Rest:
    """What is missing of a whole, exactly: starts as 1, and shares are taken away. Whole numbers over a common
    denominator: a Fraction costs ten times as much.
    """

    __slots__ = ("_denominator", "_numerator")

    def __init__(self) -> None:
        self._numerator = self._denominator = 1

    @property
    def left(self) -> Fraction:
        """What is missing, between 0 and 1."""
        return Fraction(self._numerator, self._denominator)

    @left.setter
    def left(self, value: Fraction) -> None:
        self._numerator, self._denominator = value.numerator, value.denominator

    def take(self, path: Path) -> bool:
        """Takes the share of a path away, and returns whether nothing is missing any more."""
        product = path[1] if len(path) == 2 else prod(path[1::2])
        if self._denominator % product:
            factor = product // gcd(self._denominator, product)
            self._numerator *= factor
            self._denominator *= factor
        self._numerator -= self._denominator // product
        return self._numerator <= 0


def weight_of(chunk: ItemChunk) -> float:
    """Returns how many source items a chunk stands for: a part counts as a part, and a batch as all that are in it. For
    measuring; books are kept in exact shares.
    """
    if isinstance(chunk, Plain):
        return float(len(chunk.values))
    origins = chunk.origins
    some = origins[:: len(origins) // WEIGHED_MAX + 1]
    return sum(map(_weight, some)) * len(origins) / len(some)


def _weight(origin: Origin) -> float:
    if isinstance(origin, int):
        return 1.0
    members, inner = origin
    part = prod(prod(path[1::2]) for path in inner)
    return sum(1 / prod(path[1::2]) for _, path in members) / part


def compact(origins: list[Origin], values: list[Any]) -> ItemChunk:
    """Returns the leaner form of a chunk: plain when its items are whole and consecutive."""
    first = origins[0]
    if isinstance(first, int) and origins == list(range(first, first + len(origins))):
        return Plain(first, values)
    return Loose(origins, values)


# Bytes.


def encode(target: int, chunk: ItemChunk, cost: float) -> bytes:
    """Returns a chunk as bytes.

    Args:
        target: number of the node that it goes to.
        chunk: what goes there.
        cost: seconds of work for a source item at the slowest node it has passed.

    Raises:
        TypeError: a value is not what msgpack can hold.
        ValueError: a value is nested too deeply, or raises something of its own.
        OverflowError: a number has more than 64 bits.
    """
    try:
        match chunk:
            case Plain(first, values):
                return pack((target, cost, 0, first, values))
            case Loose(origins, values):
                return pack((target, cost, 1, msgpack.packb(origins), values))
            case WithoutResult(origins, failures):
                return pack((target, cost, 2, msgpack.packb(origins), failures))
    except (KeyboardInterrupt, *UNSENDABLE):
        raise
    except BaseException as error:  # a value's own code, as in a subclass of dict
        raise ValueError(f"it raised {summary_of(error, COMPLAINT_BYTES_MAX)}") from None


def frames_of(target: int, chunk: ItemChunk, cost: float, bytes_max: int) -> list[bytes]:
    """Returns a chunk as frames of at most `bytes_max` bytes, in several pieces if one would be too large.

    Raises:
        TypeError, OverflowError: as `encode`.
        ValueError: as `encode`, or one item alone is too large.
    """
    frame = encode(target, chunk, cost)
    if len(frame) <= bytes_max:
        return [frame]
    size = size_of(chunk)
    if size == 1:
        raise ValueError(f"an item has {len(frame)} bytes; at most {bytes_max} fit into a message")
    return [each for part in cut(chunk, -(-size // 2)) for each in frames_of(target, part, cost, bytes_max)]


def decode(frame: bytes) -> tuple[int, ItemChunk, float]:
    """Returns the target, chunk and cost that `encode` was given.

    Raises:
        ValueError: it is no such message.
    """
    try:
        target, cost, form, origins, values = unpack(frame)
        match form:
            case 0:
                return target, Plain(origins, values), cost
            case 1:
                return target, Loose(_unpack_origins(origins, values), values), cost
            case 2:
                failures = [None if one is None else Failure(*one) for one in values]
                return target, WithoutResult(_unpack_origins(origins, values), failures), cost
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"expected a chunk of items, got {frame[:32]!r} ...: {error}") from error
    raise ValueError(f"expected a chunk of form 0, 1 or 2, got {form!r}")


def _unpack_origins(packed: bytes, values: list[Any]) -> Sequence[Origin]:
    """Returns origins, which are packed apart because they are tuples all through, and values are not."""
    origins: list[Origin] = list(msgpack.unpackb(packed, use_list=False))
    if len(origins) != len(values):
        raise ValueError(f"{len(origins)} origins for {len(values)} values")
    return origins


def check_chunk(chunk: ItemChunk, numbers: int) -> None:
    """Looks at a chunk that somebody else may have made.

    Args:
        numbers: items are known by numbers below this one.

    Raises:
        ValueError: there are no items in it, or an origin is none.
    """
    if not isinstance(chunk[1], list) or not chunk[1]:
        raise ValueError("expected items in a list")
    if isinstance(chunk, Plain):
        if not _is_number(chunk.first, numbers - len(chunk.values) + 1):
            raise ValueError(f"expected the number of an item below {numbers}, got {chunk.first!r:.100}")
        return
    for origin in chunk.origins:
        if not _is_number(origin, numbers) and not _is_pair(origin, numbers):
            raise ValueError(f"expected the origin of an item, got {origin!r:.100}")


def _is_number(value: object, below: int) -> bool:
    return type(value) is int and 0 <= value < below


def _is_pair(origin: object, numbers: int) -> bool:
    match origin:
        case (tuple(members), tuple(inner)) if members:
            return all(map(_is_path, inner)) and all(
                isinstance(one, tuple) and len(one) == 2 and _is_number(one[0], numbers) and _is_path(one[1])
                for one in members
            )
    return False


def _is_path(path: object) -> bool:
    """Returns whether something is pairs of an index and a count."""
    if not isinstance(path, tuple) or len(path) % 2 or not all(type(one) is int for one in path):
        return False
    return all(0 <= index < count for index, count in zip(path[::2], path[1::2], strict=True))


def cut(chunk: ItemChunk, size: int) -> Iterator[ItemChunk]:
    """Yields a chunk in pieces of `size` items."""
    for start in range(0, size_of(chunk), size):
        match chunk:
            case Plain(first, values):
                yield Plain(first + start, values[start : start + size])
            case Loose(origins, values):
                yield Loose(origins[start : start + size], values[start : start + size])
            case WithoutResult(origins, failures):
                yield WithoutResult(origins[start : start + size], failures[start : start + size])
