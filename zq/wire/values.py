"""Reads single values out of what msgpack decoded, and raises for what is not one: the parts of which the messages'
readers are made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, cast

from zq.errors import short
from zq.wire import limits
from zq.wire.batch import count_tasks, offsets_of
from zq.wire.messages import Span

T = TypeVar("T")

INT_MAX: Final = (1 << 63) - 1


class Malformed(Exception):
    """The fields are not those of their kind."""


class WrongType(Malformed):
    """A field is of another type than its kind has; what a program says, too, is judged by these readers, and wants to
    know it as a TypeError.
    """


class TooLarge(Exception):
    """A field is over a limit."""


def expect_fields(fields: Sequence[Any], count: int, what: str) -> None:
    if len(fields) != count:
        raise Malformed(f"expected {count} fields in {what}, got {len(fields)}")


def read_array(value: Any, most: int, what: str) -> tuple[Any, ...]:
    if type(value) is not tuple:
        raise WrongType(f"expected an array of {what}, got {type(value).__name__}")
    if len(value) > most:
        raise TooLarge(f"expected at most {most} {what}, got {len(value)}")
    return value


def read_int(value: Any, what: str, least: int = 0, most: int = INT_MAX) -> int:
    if type(value) is not int or not least <= value <= most:
        error = Malformed if type(value) is int else WrongType
        raise error(f"expected {what} from {least} to {most}, got {short(value)}")
    return value


def read_seconds(value: Any, what: str, least: float = 0.0) -> float:
    if type(value) not in (int, float):
        raise WrongType(f"expected {what} in seconds, got {short(value)}")
    if 0 <= value < least:
        raise Malformed(f"expected {what} of at least {least:g} seconds, got {short(value)}")
    if not least <= value <= limits.DELAY_MAX:
        raise Malformed(f"expected {what} from {least:g} to {limits.DELAY_MAX:.0f} seconds, got {short(value)}")
    return float(value)


def read_number(value: Any, what: str, most: float = limits.DELAY_MAX, least: float = 0.0) -> float:
    if type(value) not in (int, float) or not least <= value <= most:  # NaN is nowhere between
        error = Malformed if type(value) in (int, float) else WrongType
        raise error(f"expected {what} as a number from {least:g} to {most:.15g}, got {short(value)}")
    return float(value)


def read_bool(value: Any, what: str) -> bool:
    if type(value) is not bool:
        raise WrongType(f"expected {what} as true or false, got {short(value)}")
    return value


def read_text(value: Any, what: str, most: int = limits.TEXT_CHARS_MAX) -> str:
    if type(value) is not str:
        raise WrongType(f"expected {what} as text, got {short(value)}")
    if len(value) > most:
        raise TooLarge(f"expected {what} of at most {most} characters, got {len(value)}")
    if not value.isascii():
        bytes_of(value, what)
    return value


def bytes_of(text: str, what: str) -> int:
    """Returns the size of a text in UTF-8, which cannot hold what a program may have in a text."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise Malformed(f"expected {what} as text that UTF-8 can hold, got {short(text)}") from None


def read_name(value: Any, what: str, most: int = limits.NAME_BYTES_MAX) -> str:
    """A name or id: not empty, no space, nothing invisible."""
    if type(value) is not str:
        raise WrongType(f"expected {what} as text, got {short(value)}")
    if not value or not value.isprintable() or " " in value:
        raise Malformed(
            f"expected {what} of 1 to {most} bytes without spaces and control characters, got {short(value)}"
        )
    if len(value) > most or (not value.isascii() and len(value.encode()) > most):
        raise TooLarge(f"expected {what} of at most {most} bytes, got {len(value.encode())}")
    return value


def read_queue(value: Any, what: str) -> str:
    """The name of a queue: no part of it is empty, so that none is called like a namespace; a slash before it is what
    a program says that reaches out of its namespace.
    """
    if type(value) is str and "/" in value and "" in value.removeprefix("/").split("/"):
        raise Malformed(f"expected {what} with something on both sides of each /, got {short(value)}")
    return read_name(value, what)


def read_id(value: Any, what: str) -> str:
    """The id of a batch."""
    id = read_name(value, what, limits.ID_BYTES_MAX)
    if limits.TASK_SEPARATOR in id:
        raise Malformed(f"expected {what} without {limits.TASK_SEPARATOR}, got {short(value)}")
    return id


is_usual_name: Final = re.compile(f"[!-.0-~]{{1,{limits.NAME_BYTES_MAX}}}").fullmatch
is_usual_id: Final = re.compile(f'[!"$-~]{{1,{limits.ID_BYTES_MAX}}}').fullmatch
"""What `read_queue` and `read_id` let through, of ASCII, and of names those that are in no namespace: one call in C for
each of many batches. Whatever else there is, they look at.
"""


def read_many(reader: Callable[[Any], T], value: Any, what: str) -> tuple[T, ...]:
    return tuple(map(reader, read_array(value, limits.MESSAGE_BATCHES_MAX, what)))


# Readers, made of readers. What is read so costs a call more for each field.


def field(reader: Callable[..., T], *arguments: Any) -> Callable[[Any], T]:
    """Returns the reader of a value of one name, within the limits that the arguments give."""
    return lambda value: reader(value, *arguments)


def optional(reader: Callable[[Any], T]) -> Callable[[Any], T | None]:
    """Returns the reader of a value, or None."""
    return lambda value: None if value is None else reader(value)


def many(
    reader: Callable[[Any], T], what: str, most: int = limits.MESSAGE_BATCHES_MAX
) -> Callable[[Any], tuple[T, ...]]:
    """Returns the reader of an array."""
    return lambda value: tuple(map(reader, read_array(value, most, what)))


def message(kind: type[T], *readers: Callable[[Any], Any]) -> Callable[[Sequence[Any]], T]:
    """Returns the reader of a kind of message: of each of its fields, in order."""
    name = kind.__name__.lower()

    def read(fields: Sequence[Any]) -> T:
        expect_fields(fields, len(readers), name)
        return kind(*[reader(value) for reader, value in zip(readers, fields, strict=True)])

    return read


def part(kind: type[T], what: str, *readers: Callable[[Any], Any]) -> Callable[[Any], T]:
    """Returns the reader of a part of messages."""
    names = ", ".join(cast(Any, kind)._fields)

    def read(value: Any) -> T:
        if type(value) is not tuple or len(value) != len(readers):
            raise Malformed(f"expected {what} as [{names}]")
        return kind(*[reader(one) for reader, one in zip(readers, value, strict=True)])

    return read


# Ranges and offsets.


def read_index(value: Any) -> int:
    return read_int(value, "an index", 0, limits.BATCH_TASKS_MAX - 1)


def check_range(lo: Any, hi: Any, what: str) -> None:
    if type(lo) is not int or type(hi) is not int or not 0 <= lo < hi <= limits.BATCH_TASKS_MAX:
        raise Malformed(f"expected {what} with 0 <= lo < hi <= {limits.BATCH_TASKS_MAX}, got {short(lo)}, {short(hi)}")


REQUEST: Final = field(read_int, "request")
NUMBER: Final = field(read_int, "number")
TOKEN: Final = field(read_int, "token")
QUEUE_NAME: Final = field(read_queue, "queue")
BATCH_ID: Final = field(read_id, "batch id")
FRACTION: Final = field(read_number, "fraction", 1.0)
"""Readers of fields that several kinds have."""


def read_span(value: Any) -> Span:
    if type(value) is not tuple or len(value) != 3:
        raise Malformed("expected a span as [token, lo, hi]")
    check_range(value[1], value[2], "a span")
    return Span(read_int(value[0], "token"), value[1], value[2])


def check_ends(ends: Any, blob: Any, what: str) -> int:
    """Checks offsets against payloads and returns the number of tasks; no step of it is a loop in Python."""
    if type(ends) is not bytes or type(blob) is not bytes:
        raise Malformed(f"expected ends and blob of {what} as bytes")
    count, rest = divmod(len(ends), 4)
    if rest or not count:
        raise Malformed(f"expected 4 bytes in ends for each task of {what}, got {len(ends)} bytes")
    if count == 1:
        if int.from_bytes(ends, "little") != len(blob):
            raise Malformed(f"expected the end of {what} at {len(blob)}, got {int.from_bytes(ends, 'little')}")
    elif count > limits.BATCH_TASKS_MAX:
        raise TooLarge(f"expected at most {limits.BATCH_TASKS_MAX} tasks in {what}, got {count}")
    else:
        offsets = offsets_of(ends)
        if offsets[-1] != len(blob) or sorted(offsets) != offsets:
            raise Malformed(f"expected ends of {what} that never fall and close with {len(blob)}")
    return count


def check_results(ends: Any, blob: Any, count: int) -> None:
    if ends == b"" and blob == b"":
        return
    if check_ends(ends, blob, "the results") != count:
        raise Malformed(f"expected {count} results, got {count_tasks(ends)}")
