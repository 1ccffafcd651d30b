"""Reads the options of a batch: one reader for each, by its name on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zq.wire import limits
from zq.wire.messages import Options
from zq.wire.retry import RetryPolicy
from zq.wire.unique import Unique
from zq.wire.values import (
    Malformed,
    TooLarge,
    read_array,
    read_bool,
    read_id,
    read_int,
    read_name,
    read_number,
    read_text,
    short,
)

ON_LOST: Final = ("reassign", "cancel", "dead")
POLICIES: Final = ("all", "any", "settled")


def read_options(value: Any) -> Options:
    if type(value) is not dict:
        raise Malformed(f"expected options as a map or nil, got {short(value)}")
    read: dict[str, Any] = {}
    for name, one in value.items():
        reader = _OPTION_READERS.get(name)
        if reader is None:
            raise Malformed(f"unknown option {short(name)}; expected one of {', '.join(_OPTION_READERS)}")
        read[name] = reader(one)
    if read.get("ordered") and read.get("key") is None:
        raise Malformed("expected a key with ordered")
    if "at" in read and read.get("delay"):
        raise Malformed("expected at or delay, got both")
    if "unique" in read and "group" in read:
        raise Malformed("expected unique or group, got both: a duplicate would be missing in its group")
    return Options(**read)


def _on_lost(value: Any) -> str:
    if value not in ON_LOST:
        raise Malformed(f"expected on_lost as one of {', '.join(ON_LOST)}, got {short(value)}")
    return str(value)


def _key(value: Any) -> str:
    text = read_text(value, "key", limits.NAME_BYTES_MAX)
    if not text.isascii() and len(text.encode()) > limits.NAME_BYTES_MAX:  # it is part of keys in the store, which end
        raise TooLarge(f"expected key of at most {limits.NAME_BYTES_MAX} bytes, got {len(text.encode())}")
    return text


def _retry(value: Any) -> RetryPolicy:
    if type(value) is not tuple:
        raise Malformed(f"expected retry as [kind, first, factor, largest], got {short(value)}")
    try:
        return RetryPolicy.read(value)
    except (TypeError, ValueError) as error:
        raise Malformed(str(error)) from None


def _unique(value: Any) -> Unique:
    if type(value) is not tuple:
        raise Malformed(f"expected unique as [key, until, policy], got {short(value)}")
    try:
        return Unique.read(value)
    except (TypeError, ValueError) as error:
        raise Malformed(str(error)) from None


def _headers(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise Malformed(f"expected headers as a map, got {short(value)}")
    if len(value) > limits.HEADERS_MAX:
        raise TooLarge(f"expected at most {limits.HEADERS_MAX} headers, got {len(value)}")
    return {
        read_text(name, "header name", limits.NAME_BYTES_MAX): read_text(text, "header", limits.HEADER_BYTES_MAX)
        for name, text in value.items()
    }


def _group(value: Any) -> tuple[str, tuple[int, ...]]:
    if type(value) is not tuple or len(value) != 2:
        raise Malformed("expected group as [id, path]")
    path = read_array(value[1], limits.PATH_MAX, "numbers in a path")
    if not path:
        raise Malformed("expected a path of at least one number")
    return (
        read_id(value[0], "group id"),
        tuple(read_int(number, "a number of a path", 0, limits.PATH_NUMBER_MAX) for number in path),
    )


_OPTION_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "priority": lambda value: read_int(value, "priority", 0, 9),
    "delay": lambda value: read_number(value, "delay"),
    "on_lost": _on_lost,
    "key": _key,
    "max_attempts": lambda value: read_int(value, "max_attempts", 1, limits.ATTEMPTS_MAX),
    "retry": _retry,
    "timeout": lambda value: read_number(value, "timeout", least=0.001),
    "headers": _headers,
    "on_dead": lambda value: read_name(value, "on_dead"),
    "group": _group,
    "ordered": lambda value: read_bool(value, "ordered"),
    "at": lambda value: read_number(value, "at", limits.TIME_MAX),
    "ttl": lambda value: read_number(value, "ttl", least=0.001),
    "unique": _unique,
}
