"""Reads the options of a batch: one reader for each, by its name on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zq.wire import limits
from zq.wire.messages import Options
from zq.wire.values import Malformed, TooLarge, read_int, read_number, read_text, short

ON_LOST: Final = ("reassign", "cancel", "dead")


def read_options(value: Any) -> Options:
    if type(value) is not dict:
        raise Malformed(f"expected options as a map or nil, got {short(value)}")
    read: dict[str, Any] = {}
    for name, one in value.items():
        reader = _OPTION_READERS.get(name)
        if reader is None:
            raise Malformed(f"unknown option {short(name)}; expected one of {', '.join(_OPTION_READERS)}")
        read[name] = reader(one)
    return Options(**read)


def _on_lost(value: Any) -> str:
    if value not in ON_LOST:
        raise Malformed(f"expected on_lost as one of {', '.join(ON_LOST)}, got {short(value)}")
    return str(value)


def _backoff(value: Any) -> tuple[float, float, float]:
    if type(value) is not tuple or len(value) != 3:
        raise Malformed("expected backoff as [first, factor, largest]")
    return (
        read_number(value[0], "backoff first"),
        read_number(value[1], "backoff factor", limits.BACKOFF_FACTOR_MAX),
        read_number(value[2], "largest backoff"),
    )


def _headers(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        raise Malformed(f"expected headers as a map, got {short(value)}")
    if len(value) > limits.HEADERS_MAX:
        raise TooLarge(f"expected at most {limits.HEADERS_MAX} headers, got {len(value)}")
    return {
        read_text(name, "header name", limits.NAME_BYTES_MAX): read_text(text, "header", limits.HEADER_BYTES_MAX)
        for name, text in value.items()
    }


_OPTION_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "priority": lambda value: read_int(value, "priority", 0, 9),
    "delay": lambda value: read_number(value, "delay"),
    "on_lost": _on_lost,
    "key": lambda value: read_text(value, "key", limits.NAME_BYTES_MAX),
    "max_attempts": lambda value: read_int(value, "max_attempts", 1, 1000),
    "backoff": _backoff,
    "timeout": lambda value: read_number(value, "timeout", least=0.001),
    "headers": _headers,
}
