"""Tables that fit a terminal: what does not fit is left out by columns, the least important first, and never cut.

When a table is too wide, long texts and names are wrapped; then columns go, in the order that the listing gives, and
ids are wrapped only when nothing more can go. Headings are whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

COLUMN_GAP = 2
"""Columns of a terminal between two of a table."""

TEXT_WIDTH_MIN = 24
"""A text is not made narrower than that while other columns can go."""

NAME_WIDTH_MIN = 8

WRAPPED = frozenset(
    {
        *("reason", "fault", "help", "text", "error", "queues", "pattern", "headers", "states", "trouble", "file"),
        *("name", "queue", "worker", "key", "callback", "to", "namespaces"),
    }
)
"""Columns that are wrapped first: texts, and names that somebody chose to be long. Ids are not among them."""


class Table(NamedTuple):
    """A table as lines, the heading first; and the names of the columns that were left out."""

    lines: list[str]
    left_out: list[str]


def lay_out(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, drops: Iterable[str]) -> Table:
    """Lays a table out.

    Args:
        rows: texts of one line each.
        width: columns of the terminal.
        drops: names of columns that may be left out, the least important first.
    """
    natural = [max(map(columns_of, cells)) for cells in zip(names, *rows, strict=True)]
    floors = [min(wide, max(TEXT_WIDTH_MIN, len(name))) if name in WRAPPED else wide for name, wide in zip(names, natural, strict=True)]  # fmt: skip
    kept = list(range(len(names)))
    left_out = []
    for name in drops:
        if _sum(floors, kept) <= width or len(kept) == 1:
            break
        if name in names and (at := names.index(name)) in kept:
            kept.remove(at)
            left_out.append(name)
    widths = _widths(names, natural, floors, kept, width)
    are_numbers = [all(_is_number(row[at]) for row in rows) and bool(rows) for at in kept]
    lines = []
    for row in (names, *rows):
        lines += _lines_of([row[at] for at in kept], [widths[at] for at in kept], are_numbers)
    return Table(lines, left_out)


def _sum(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[at] for at in kept) + COLUMN_GAP * (len(kept) - 1)


def _widths(names: Sequence[str], natural: list[int], floors: list[int], kept: list[int], width: int) -> list[int]:
    """Returns how wide each column becomes: texts share what is left over, and names are narrowed when they must."""
    widths = list(floors)
    for at in kept:
        spare = width - _sum(widths, kept)
        if spare > 0:
            widths[at] = min(natural[at], widths[at] + spare)
    while (excess := _sum(widths, kept) - width) > 0:
        least = {at: max(NAME_WIDTH_MIN, len(names[at])) for at in kept}
        widest = max(kept, key=lambda at: widths[at] - least[at])
        if widths[widest] <= least[widest]:
            break  # the terminal is too narrow for the headings: its lines break by themselves
        widths[widest] = max(least[widest], widths[widest] - excess)
    return widths


def _lines_of(cells: list[str], widths: list[int], are_numbers: list[bool]) -> list[str]:
    parts = [wrapped(text, wide) for text, wide in zip(cells, widths, strict=True)]
    lines = []
    for at in range(max(map(len, parts))):
        line = [
            _padded(part[at] if at < len(part) else "", wide, is_right=is_number)
            for part, wide, is_number in zip(parts, widths, are_numbers, strict=True)
        ]
        lines.append((" " * COLUMN_GAP).join(line).rstrip())
    return lines


def _padded(text: str, width: int, *, is_right: bool) -> str:
    blank = " " * (width - columns_of(text))
    return blank + text if is_right else text + blank


def _is_number(text: str) -> bool:
    return text in ("-", "∞") or text.replace(".", "", 1).replace(",", "").lstrip("-").isdecimal()


def columns_of(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_one(one) for one in text)


def _columns_of_one(one: str) -> int:
    if unicodedata.combining(one):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


def wrapped(text: str, width: int) -> list[str]:
    """Returns a text as lines of at most so many columns: broken at blanks where there are some, else anywhere."""
    lines = []
    while columns_of(text) > width:
        end = _fitting(text, width)
        blank = text.rfind(" ", 0, end + 1)
        at = blank if blank > width // 3 else end
        lines.append(text[:at].rstrip())
        text = text[at:].lstrip() if at == blank else text[at:]
    return [*lines, text]


def _fitting(text: str, width: int) -> int:
    """Returns how many characters fit, at least one."""
    taken = 0
    for at, one in enumerate(text):
        taken += _columns_of_one(one)
        if taken > width:
            return max(1, at)
    return len(text)
