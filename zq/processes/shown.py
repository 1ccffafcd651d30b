"""Text for people's eyes: what others have said reaches a terminal or a log line without what would drive it.

Control characters, those of C1 too, and the marks that turn the direction of writing are shown as Python writes them
(`\\x1b`, `\\u202e`): whoever may name a task must not be able to clear a screen, to hide a line or to make one up.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from math import isfinite
from typing import Any

KEPT = "\n\t"
"""What sets lines and columns apart, in what was put together here."""

CONTINUED = "    "
"""Stands before the further lines of a log record: no text can look like the beginning of another one."""


def printable(text: str) -> str:
    """Returns a text of others with all that cannot be printed escaped, line ends too."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def shown(text: str) -> str:
    """Returns a text that was put together here, of several lines or columns perhaps, with all else escaped."""
    if text.isprintable():
        return text
    return "".join(one if one in KEPT else printable(one) for one in text)


def shown_json(document: str) -> str:
    """Returns a JSON document on one line with what cannot be printed escaped as JSON does it: it says the same."""
    if document.isprintable():
        return document
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in document)


def in_a_record(text: str) -> str:
    """Returns the text of a log record: its further lines are indented."""
    if text.isprintable():
        return text
    return shown(text).replace("\n", f"\n{CONTINUED}")


# JSON of what it has no word for.


def json_text(value: Any) -> str:
    """Returns a value as one JSON document on one line, with what cannot be printed escaped.

    Bytes are `{"base64": "..."}`, and numbers that are none `{"float": "nan"}`, `"inf"` or `"-inf"`. Keys are text: of
    bytes `base64:...`, of all else as Python writes it. What else there is becomes text.
    """
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):  # msgpack allows keys and numbers that JSON does not
        text = json.dumps(_of_json(value), default=_plain, ensure_ascii=False, allow_nan=False)
    return shown_json(text)


def _plain(value: Any) -> Any:
    return {"base64": _base64(value)} if isinstance(value, bytes) else str(value)


def _base64(value: bytes) -> str:
    from binascii import b2a_base64

    return b2a_base64(value, newline=False).decode("ascii")


def _of_json(value: Any) -> Any:
    """Returns a value with keys and numbers that JSON has."""
    if isinstance(value, dict):
        return {_key(key): _of_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_of_json(one) for one in value]
    if isinstance(value, float) and not isfinite(value):
        return {"float": str(value)}
    return value


def _key(key: Any) -> str:
    if isinstance(key, bytes):
        return f"base64:{_base64(key)}"
    if key is None or isinstance(key, bool | int):
        return json.dumps(key)
    return str(key)


def say(text: str) -> None:
    """Writes a line on standard error. What cannot be said there is lost: it may be closed, or its reader gone."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{text}\n")
