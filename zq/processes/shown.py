"""Text for people's eyes: what others have said reaches a terminal or a log line without what would drive it.

Control characters, those of C1 too, and the marks that turn the direction of writing are shown as Python writes them
(`\\x1b`, `\\u202e`): whoever may name a task must not be able to clear a screen, to hide a line or to make one up.
"""

from __future__ import annotations

import json

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
