"""Why tasks are dead, counted: dead letters by queue and by what their reasons have in common."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final

from zq.core import tables
from zq.core.arguments import prefix
from zq.core.measures.failures import LINES_LOOKED_AT, first_line
from zq.core.pages import PAGE_BYTES_MAX, Budget, Page, cursor_in, cursor_of
from zq.core.state import places
from zq.core.state.books import Books, named_queue
from zq.core.state.step import Step

REASON_CHARS: Final = 120
"""Of what reasons have in common."""

MARK: Final = "#"
"""In the place of what is about one task alone: ids, addresses and numbers."""

HEX_DIGITS: Final = frozenset("0123456789abcdef-")

_WITHOUT_DIGITS: Final = dict.fromkeys(map(ord, "0123456789"))

ID_CHARS_MIN: Final = 8
"""Of a word of hexadecimal digits that is taken for an id: a shorter one may be a word."""

LOOK_WORK: Final = 10
"""Units of work for a reason that is looked at."""


def common_reason(reason: str) -> str:
    """Returns what a reason has in common with others: its first line, without ids and numbers, cut."""
    line = first_line(reason[:LINES_LOOKED_AT])[: 2 * REASON_CHARS]
    if line.translate(_WITHOUT_DIGITS) != line:
        line = " ".join([one if one.isalpha() else _without_numbers(one) for one in line.split(" ")])
    return line[:REASON_CHARS]


def _without_numbers(text: str) -> str:
    if text.translate(_WITHOUT_DIGITS) == text:
        return text
    return "".join([_common_word("".join(word)) for _, word in groupby(text, _is_of_word)])


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "-"


def _common_word(word: str) -> str:
    """Returns a word without the numbers in it, or, of one that is an id, nothing but the mark."""
    if word.translate(_WITHOUT_DIGITS) == word:
        return word
    digits = word.lower().removeprefix("0x")
    is_id = len(word) >= ID_CHARS_MIN or len(digits) < len(word)
    if is_id and HEX_DIGITS.issuperset(digits):
        return MARK
    return "".join(MARK if is_number else "".join(part) for is_number, part in groupby(word, str.isdigit))


def dead_reasons(books: Books, step: Step, arguments: dict[str, Any]) -> Page:
    """Answers the query `dead-reasons`: a page is about the dead letters that one question may look at, so one reason
    may be in several.
    """
    queue, inside = named_queue(books, arguments), prefix(arguments)
    first, stop = (b"", None) if queue is None else tables.queue_bounds(queue.number)
    after = cursor_in(arguments, b"")
    budget, size = Budget(), 0
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key, value in _letters_after(step, max(first, after), after, stop):
        budget.read(len(value))
        letter = places.dead_letter(books, step, key, value)
        name = letter.batch.queue.name
        if name.startswith(inside):
            budget.spend(LOOK_WORK)
            size += _count(found, name, letter.reason, letter.dead_time)
        if budget.is_spent or size > PAGE_BYTES_MAX:
            return {"rows": list(found.values()), "cursor": cursor_of(key)}
    return {"rows": list(found.values()), "cursor": None}


def _letters_after(step: Step, start: bytes, after: bytes, stop: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    return ((found, value) for found, value in step.tx.scan(tables.DEAD, start, stop) if found != after)


def _count(found: dict[tuple[str, str], dict[str, Any]], queue: str, reason: str, time: float) -> int:
    """Counts a dead letter; returns the bytes of the row, if it is a new one."""
    pair = (queue, common_reason(reason))
    row = found.get(pair)
    if row is None:
        row = found[pair] = {"queue": queue, "reason": pair[1], "count": 1, "oldest_time": time, "newest_time": time}
        return len(tables.pack(row))
    row["count"] += 1
    row["oldest_time"], row["newest_time"] = min(row["oldest_time"], time), max(row["newest_time"], time)
    return 0
