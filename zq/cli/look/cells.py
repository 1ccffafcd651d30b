"""One value as text, by the name that it has: in a terminal with units that people read, elsewhere as plain numbers of
seconds and bytes. All that others have said is escaped.
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from zq.monitor.units import duration, moment, size
from zq.processes.shown import json_text, printable

NO_VALUE = "-"

SECONDS = frozenset(
    {"uptime", "every", "eta", "ttl", "in", "timeout", "delay", "lease", "retry_in", "retry_after", "ageing"}
)
"""Names of durations that no ending tells."""

SECONDS_ENDINGS = ("_ago", "_for", "_seconds", "_interval", "_after", "_timeout", "_age")

INDENT = "    "
"""Stands before the lines of a text of several."""


def cell(name: str, value: Any, *, is_fancy: bool) -> str:
    """Returns a value as one line.

    Args:
        name: of the value; of one within another the whole path, such as `store.used_bytes`.
        is_fancy: for a terminal.
    """
    last = name.rpartition(".")[2]
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return _number(name, last, value, is_fancy=is_fancy)
    if isinstance(value, list | tuple):
        return ",".join(printable(str(one)) for one in value)
    if isinstance(value, dict):
        return printable(json_text(value))
    return printable(first_line(str(value)))


def _number(name: str, last: str, value: float, *, is_fancy: bool) -> str:
    if last.endswith("_time") or last == "time":
        return printable(moment(value))
    if is_fancy and (last in SECONDS or last.endswith(SECONDS_ENDINGS)):
        return duration(value)
    if is_fancy and (last == "bytes" or last.endswith("bytes") or last.startswith("bytes_") or name == "memory.max"):
        return size(value)
    if is_fancy and last == "max_bytes":
        return size(value)
    return plain_number(value)


def plain_number(value: float) -> str:
    """Returns a number with at most three places."""
    if isinstance(value, int) or not isfinite(value):
        return str(value)
    text = f"{value:.3f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def first_line(text: str) -> str:
    """Returns the line of a text that says most: the first, and of a traceback the last."""
    lines = text.strip().split("\n")
    return lines[-1] if lines[0].startswith("Traceback (") else lines[0]


def block(text: str) -> list[str]:
    """Returns the lines of a text of several, such as a traceback, indented and escaped line by line."""
    return [f"{INDENT}{printable(line.expandtabs(4))}" for line in text.strip("\n").split("\n")]


def block_below(text: str) -> list[str]:
    """Returns the lines of a text of several that stand below its first line, as `first_line` gives it."""
    lines = text.strip().split("\n")
    return block("\n".join(lines[1:] if first_line(text) == lines[0] else lines))


def detail(name: str, value: Any, *, is_fancy: bool) -> str:
    """Returns a value as it stands behind `name=` in a line about an event."""
    if isinstance(value, dict | list):
        return printable(json.dumps(value, default=str, ensure_ascii=False))
    return cell(name, value, is_fancy=is_fancy)
