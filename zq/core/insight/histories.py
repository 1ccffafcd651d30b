"""What was counted in each step of time (`zq.core.measures.steps`), page by page."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any, Final

from zq.core.arguments import InvalidRequestError, number_in, prefix
from zq.core.measures.rolling import TIME_END
from zq.core.measures.steps import FINE_SECONDS, KEPT_SECONDS, OVER_ALL, StepRow, first_after, read_row, rows_in
from zq.core.pages import Budget, Page, page
from zq.core.state.books import Books, named_queue
from zq.core.state.step import Step
from zq.errors import short

SINCE_MAX: Final = float(1 << 40)
"""Seconds since 1970."""


def history(books: Books, step: Step, arguments: dict[str, Any]) -> Page:
    """Answers the query `history`: rows over all queues, over those of a namespace that have rows, or of one queue."""
    seconds = arguments.get("step", FINE_SECONDS)
    if isinstance(seconds, bool) or seconds not in KEPT_SECONDS:
        raise InvalidRequestError(
            f"expected step of {' or '.join(map(str, KEPT_SECONDS))} seconds, got {short(seconds)}"
        )
    since = 0.0 if arguments.get("since") is None else number_in(arguments, "since", 0.0, SINCE_MAX)
    queue, inside = named_queue(books, arguments), prefix(arguments)

    def find(after: int, budget: Budget) -> Iterator[tuple[int, dict[str, Any] | None]]:
        if not -1 <= after < TIME_END:
            raise InvalidRequestError("expected cursor as an earlier answer to the same question has it")
        if queue is None and inside:
            yield from _of_namespace(books, step, seconds, after, inside, budget)
        else:
            yield from _of_one(step, seconds, after, OVER_ALL if queue is None else queue.number, budget)

    return page(arguments, ceil(since) - 1, find)


def _of_one(
    step: Step, seconds: int, after: int, number: int, budget: Budget
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    at = after + 1
    while (found := first_after(step.tx, seconds, at, number, TIME_END)) is not None:
        time, other, record = found
        budget.read(len(record))
        if other < number:  # of a later time, in which the queue may have a row, too
            at = time
        else:
            yield time, read_row(record).as_map(time) if other == number else None
            at = time + 1


def _of_namespace(
    books: Books, step: Step, seconds: int, after: int, inside: str, budget: Budget
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    at = after + 1
    while (found := first_after(step.tx, seconds, at, OVER_ALL, TIME_END)) is not None:
        time, whole = found[0], None
        for _, number, row in rows_in(step.tx, seconds, time, time + 1):
            budget.read(0)
            queue = books.queues_by_number.get(number)
            if queue is not None and queue.name.startswith(inside):
                whole = row if whole is None else _together(whole, row)
        yield time, None if whole is None else whole.as_map(time)
        at = time + 1


def _together(one: StepRow, other: StepRow) -> StepRow:
    """Returns the rows of two queues in the same step as one."""
    levels = type(one.levels)(*map(int.__add__, one.levels, other.levels))
    return one.plus(other)._replace(levels=levels)
