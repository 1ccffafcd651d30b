"""Pages of what is listed: every listing goes through here, row by row.

Theory of operation. A question has a budget of work, which whoever finds rows for it spends: for what is read, looked
at and built, whether it becomes a row or not. A page ends with its limit of rows, its limit of bytes or its budget, and
has a cursor, which is the key of what was looked at last: so what comes and goes between two pages moves nothing else
in or out. A page may have fewer rows than were asked for, or none, and there are more while it has a cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgpack

from zq.core import tables
from zq.core.arguments import CURSOR_CHARS_MAX, InvalidRequestError, limit_in, optional_text_in

K = TypeVar("K", str, bytes, int)

WORK_MAX: Final = 2500
"""Units of work for one question, each of a few microseconds: reading a record is RECORD_WORK, building a row
ROW_WORK, passing something by 1.
"""

RECORD_WORK: Final = 2
ROW_WORK: Final = 5

BYTES_PER_WORK: Final = 4096
"""Of what is read."""

PAGE_BYTES_MAX: Final = 256 << 10
"""Of the rows of a page, at most one row above it: what a few milliseconds encode, and any connection takes."""

PAGE_ROWS_USUAL: Final = 500
"""Rows when nothing is said about it."""

Page = dict[str, Any]


class Budget:
    """What is left of the work that may be done for one question."""

    __slots__ = ("left",)

    def __init__(self, work: int | None = None) -> None:
        self.left = WORK_MAX if work is None else work

    def spend(self, work: int) -> None:
        self.left -= work

    def read(self, size: int) -> None:
        """Spends what reading a record of so many bytes costs."""
        self.left -= RECORD_WORK + size // BYTES_PER_WORK

    @property
    def is_spent(self) -> bool:
        return self.left <= 0


def page(
    arguments: dict[str, Any], first: K, find: Callable[[K, Budget], Iterator[tuple[K, dict[str, Any] | None]]]
) -> Page:
    """Returns the rows of a page, and the cursor to go on with, which is None when there are no more.

    Args:
        arguments: of the query: limit and cursor.
        first: a key before all others.
        find: yields, of what comes after a key, in order, the key and the row; None in the place of the row for what is
            passed by.

    Raises:
        InvalidRequestError: limit or cursor cannot be.
    """
    most = limit_in(arguments, PAGE_ROWS_USUAL)
    key = cursor_in(arguments, first)
    budget = Budget()
    rows: list[dict[str, Any]] = []
    size = 0
    is_begun = False  # something is looked at in any case, or what is large would be asked for for ever
    for found, row in find(key, budget):
        row_size = 0 if row is None else len(tables.pack(row))
        is_full = len(rows) == most or (rows and size + row_size > PAGE_BYTES_MAX)
        if is_full or (budget.is_spent and is_begun):
            return {"rows": rows, "cursor": cursor_of(key)}
        key, is_begun = found, True
        budget.spend(1)
        if row is not None:
            budget.spend(ROW_WORK)
            rows.append(row)
            size += row_size
    return {"rows": rows, "cursor": None}


def cursor_of(key: str | bytes | int) -> str:
    """Returns the cursor of a page that ends with a key."""
    return bytes(tables.pack(key)).hex()


def cursor_in(arguments: dict[str, Any], first: K) -> K:
    """Returns the key after which a page begins; `first` when none is named."""
    value = optional_text_in(arguments, "cursor")
    if value is None:
        return first
    try:
        key = tables.unpack(bytes.fromhex(value))
    except (ValueError, TypeError, msgpack.UnpackException):
        key = None
    if type(key) is not type(first) or (isinstance(key, str | bytes) and len(key) > CURSOR_CHARS_MAX // 2):
        raise InvalidRequestError("expected cursor as an earlier answer to the same question has it")
    return key
