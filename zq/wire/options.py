"""Reads the options of a batch: one reader for each, by its name on the wire; and what options may not be where.

Everything that takes options judges them here: a coordinator what a peer has sent, a program what its caller says
before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from zq.errors import short
from zq.wire import limits
from zq.wire.messages import DEFAULT_OPTIONS, Options
from zq.wire.retry import RetryPolicy
from zq.wire.unique import Unique
from zq.wire.values import (
    Malformed,
    T,
    TooLarge,
    WrongType,
    bytes_of,
    field,
    read_array,
    read_bool,
    read_id,
    read_int,
    read_queue,
    read_seconds,
    read_text,
)

ON_LOST: Final = ("reassign", "cancel", "dead")
GROUP_POLICIES: Final = ("all", "any", "settled")


def header_bytes(options: Options) -> int:
    """Returns about how many bytes the headers take in a message, at least as many as they do: a character that is not
    ASCII takes up to four. Whoever cuts messages counts them beside payloads, for each batch has a copy of its own.
    """
    headers = options.headers
    if not headers:
        return 0
    size = 0
    for name, text in headers.items():
        size += 6 + (len(name) + len(text) if name.isascii() and text.isascii() else 4 * (len(name) + len(text)))
    return size


def read_options(value: Any) -> Options:
    if type(value) is not dict:
        raise Malformed(f"expected options as a map or nil, got {short(value)}")
    fields = list(DEFAULT_OPTIONS)
    for name, one in value.items():
        try:
            place, reader = _OPTIONS[name]
        except KeyError:
            raise WrongType(f"unknown option {short(name)}; expected one of {', '.join(_OPTIONS)}") from None
        fields[place] = reader(one)
    options = Options._make(fields)
    if options.ordered and options.key is None:
        raise Malformed("expected a key with ordered: it says which tasks are in order")
    if options.at is not None and options.delay:
        raise Malformed("expected delay or at, got both")
    if options.unique is not None and options.group is not None:
        raise Malformed("expected unique or group, got both: a duplicate would be missing in its group")
    return options


def read_asked_options(value: Any) -> Options:
    """As `read_options`, of what somebody asks for: headers that the coordinator sets are not among them."""
    options = read_options(value)
    if options.headers:
        for name in options.headers:
            if name.startswith(limits.RESERVED_HEADER_PREFIX):
                raise Malformed(
                    f"header {short(name)} cannot be given: names that begin with {limits.RESERVED_HEADER_PREFIX} are set by "
                    "the coordinator; leave it out, or take another name"
                )
    return options


# What options may not be where; both return the reason, or None when nothing is wrong.


def schedule_fault(options: Options) -> str | None:
    if options.delay or options.at is not None or options.group is not None:
        return "a schedule says when its tasks start, and they are members of no group: leave out delay, at and group"
    return None


def publication_fault(options: Options) -> str | None:
    if options.group is not None:
        return "a published task cannot be a member of a group: it is not known how many there will be"
    if options.unique is not None:
        return "a published task cannot have a unique key: a queue may have one of it already"
    return None


# Headers where only lists may stand, since arguments of queries and commands have no maps: names and texts in turn.


def header_list(headers: Mapping[str, str]) -> list[str]:
    return [text for pair in headers.items() for text in pair]


def read_header_list(value: Any) -> dict[str, str]:
    if not isinstance(value, tuple | list) or len(value) % 2 or not all(isinstance(one, str) for one in value):
        raise Malformed(f"expected headers as a list of names and texts in turn, got {short(value)}")
    return read_headers(dict(zip(value[::2], value[1::2], strict=True)))


# One reader for each option.


def _on_lost(value: Any) -> str:
    if value not in ON_LOST:
        raise Malformed(f"expected on_lost as reassign, cancel or dead, got {short(value)}")
    return str(value)


def _key(value: Any) -> str:
    if type(value) is not str:
        raise WrongType(f"expected key as text, got {short(value)}")
    size = len(value) if value.isascii() else bytes_of(value, "key")
    if size > limits.NAME_BYTES_MAX:  # it is part of keys in the store, which end
        raise TooLarge(f"expected key of at most {limits.NAME_BYTES_MAX} bytes, got {size}")
    return value


def _at(value: Any) -> float:
    if type(value) not in (int, float):
        raise WrongType(f"expected at as seconds since 1970, got {short(value)}")
    if not 0 <= value <= limits.TIME_MAX:
        raise Malformed(f"expected at from the year 1970 to 9999, in seconds since 1970, got {short(value)}")
    return float(value)


def _fields(value: Any, read: Callable[[Any], T], what: str) -> T:
    if not isinstance(value, tuple):
        raise WrongType(f"expected {what}, got {short(value)}")
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise Malformed(str(error)) from None


def read_headers(value: Any) -> dict[str, str]:
    """Headers by themselves."""
    if type(value) is not dict:
        raise WrongType(f"expected headers as a mapping of text to text, got {short(value)}")
    if len(value) > limits.HEADERS_MAX:
        raise TooLarge(f"expected at most {limits.HEADERS_MAX} headers, got {len(value)}")
    for name, text in value.items():
        if type(name) is not str or type(text) is not str:
            raise WrongType(f"expected headers as a mapping of text to text, got {short(name)}: {short(text)}")
        read_text(name, "the name of a header", limits.NAME_BYTES_MAX)
        read_text(text, f"header {name}", limits.HEADER_CHARACTERS_MAX)
    return dict(value)


def _group(value: Any) -> tuple[str, tuple[int, ...]]:
    if type(value) is not tuple or len(value) != 2:
        raise WrongType(f"expected group as [id, path], got {short(value)}")
    path = read_array(value[1], limits.PATH_MAX, "numbers in a path")
    if not path:
        raise Malformed("expected a path of at least one number")
    return (
        read_id(value[0], "group id"),
        tuple(read_int(number, "a number of a path", 0, limits.PATH_NUMBER_MAX) for number in path),
    )


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "priority": field(read_int, "priority", 0, 9),
    "delay": field(read_seconds, "delay"),
    "on_lost": _on_lost,
    "key": _key,
    "max_attempts": field(read_int, "max_attempts", 1, limits.ATTEMPTS_MAX),
    "retry": field(_fields, RetryPolicy.read, "retry as [kind, first, factor, largest]"),
    "timeout": field(read_seconds, "timeout", 0.001),
    "headers": read_headers,
    "on_dead": field(read_queue, "on_dead"),
    "group": _group,
    "ordered": field(read_bool, "ordered"),
    "at": _at,
    "ttl": field(read_seconds, "ttl", 0.001),
    "unique": field(_fields, Unique.read, "unique as [key, until, policy]"),
}

_OPTIONS: Final = {name: (Options._fields.index(name), reader) for name, reader in _READERS.items()}
"""Place and reader of each option: a list in the order of the fields is filled faster than keywords are passed."""
