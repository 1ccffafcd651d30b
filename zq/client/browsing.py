"""Looking for tasks, and at what was counted, as a program does it: `client.tasks(...)`, which asks for one page after
the other as they are wanted, `client.history(...)` and their like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from zq.client.calls import Calls
from zq.client.driving import Call, understood
from zq.errors import TaskUnknownError
from zq.submit_options import check_count, check_name, check_patience, make_header_list
from zq.wire.batch import decode_payload
from zq.wire.questions import LISTINGS
from zq.wire.values import INT_MAX

if TYPE_CHECKING:  # loaded when they are asked for
    from zq.client.insight import (
        DeadReason,
        FailureRow,
        FlowRow,
        HistoryRow,
        HistoryStep,
        Reason,
        TaskEvent,
        TaskStatus,
    )

StateFilter = Literal["waiting", "leased", "scheduled", "dead", "done", "cancelled", "expired", "unfinished", "any"]
"""Which tasks; `unfinished` are those that wait, are leased or scheduled. Of `any`, the dead and what has ended and is
still known come last.
"""


class TaskFilters(TypedDict, total=False):
    """What `Client.tasks` may look for: tasks that have all of it. None is no condition.

    Keys:
        queue: in which they are, or were.
        key: of the tasks.
        headers: all of these, whatever others they have.
        worker: that has them, has completed them, or had them when they failed.
        reason: text in the reason, or in the last error, in whatever case.
        older_than: seconds since they were accepted.
    """

    queue: str | None
    key: str | None
    headers: Mapping[str, str] | None
    worker: str | None
    reason: str | None
    older_than: float | None


PAGE_ROWS = 500
"""Rows that are asked for at once; the coordinator answers with fewer when it has read enough."""


def query(calls: Calls, what: str, arguments: dict[str, Any]) -> Call[Any]:
    """Asks what the caller asks: of a listing all pages, unless a cursor is named."""
    is_listing = isinstance(what, str) and what in LISTINGS
    return calls.query(what, arguments) if not is_listing or "cursor" in arguments else rows(calls, what, arguments)


def rows(calls: Calls, what: str, arguments: dict[str, Any]) -> Call[list[dict[str, Any]]]:
    """Returns the rows of all pages of a listing, or as many as the argument `limit` says."""
    limit = arguments.get("limit")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ValueError(f"expected limit from 1, got {limit!r}")
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        most = PAGE_ROWS if limit is None else min(limit - len(found), PAGE_ROWS)
        page = yield from calls.query(what, {**arguments, "limit": most, "cursor": cursor})
        if isinstance(page, list):  # a coordinator of before, which knows no pages
            return page if limit is None else page[:limit]
        found += page["rows"]
        cursor = page["cursor"]
        if cursor is None or len(found) == limit:
            return found


class Search:
    """The pages of one search.

    Args:
        arguments: of the query `tasks`, without limit and cursor.
        limit: rows in all; None for all there are.

    Attributes:
        is_over: whether there are no more pages.
    """

    def __init__(self, arguments: dict[str, Any], limit: int | None) -> None:
        if limit is not None:
            check_count("limit", limit, 1, INT_MAX)
        self.is_over = False
        self._arguments = arguments
        self._left = limit
        self._cursor: str | None = None

    def pages(self, calls: Calls) -> Iterator[Call[list[TaskStatus]]]:
        """Yields a call for each page, which may have no tasks although there are more pages; one is carried out before
        the next is asked for.
        """
        while not self.is_over:
            yield self._page(calls)

    @understood
    def _page(self, calls: Calls) -> Call[list[TaskStatus]]:
        from zq.client.insight import status_of

        return [status_of(row) for row in self._take((yield from calls.query("tasks", self._ask())))]

    @understood
    def all(self, calls: Calls) -> Call[list[dict[str, Any]]]:
        """Returns the rows of all pages."""
        rows: list[dict[str, Any]] = []
        while not self.is_over:
            rows += self._take((yield from calls.query("tasks", self._ask())))
        return rows

    def rows(self, query: Callable[..., Any]) -> Iterator[dict[str, Any]]:
        """Yields all rows, as the coordinator shows them; `query` is that of a client."""
        while not self.is_over:
            yield from self._take(query("tasks", **self._ask()))

    def _ask(self) -> dict[str, Any]:
        most = PAGE_ROWS if self._left is None else min(self._left, PAGE_ROWS)
        return {**self._arguments, "limit": most, "cursor": self._cursor}

    def _take(self, found: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = found["rows"]
        self._cursor = found["cursor"]
        if self._left is not None:
            self._left -= len(rows)
        self.is_over = self._cursor is None or self._left == 0
        return rows


def search(state: StateFilter, *, limit: int | None = None, **filters: Unpack[TaskFilters]) -> Search:
    """Makes a search; raises ValueError and TypeError for what cannot be."""
    known = TaskFilters.__annotations__
    unknown = [name for name in filters if name not in known]
    if unknown:
        raise TypeError(f"unknown filter {unknown[0]}; expected one of {', '.join(known)}")
    queue, headers, older_than = filters.get("queue"), filters.get("headers"), filters.get("older_than")
    if older_than is not None and not check_patience("older_than", older_than) >= 0:
        raise ValueError(f"expected older_than as seconds from 0, got {older_than}")
    arguments: dict[str, Any] = {
        **filters,
        "state": state,
        "queue": None if queue is None else check_name("queue", queue),
        "headers": make_header_list(headers or {}),
    }
    return Search({name: value for name, value in arguments.items() if value not in (None, [])}, limit)


def status(calls: Calls, id: str) -> Call[TaskStatus]:
    """Asks what is known of a task."""
    from zq.client import insight

    return insight.status(calls, id)


def why(calls: Calls, id: str) -> Call[Reason]:
    """Asks why a task does not run."""
    from zq.client import insight

    return insight.why(calls, id)


def trace(calls: Calls, id: str) -> Call[tuple[TaskEvent, ...]]:
    """Asks for everything that has happened to a task."""
    from zq.client import insight

    return insight.trace(calls, id)


@understood
def payload(calls: Calls, id: str) -> Call[Any]:
    """Returns the payload of a task."""
    found = yield from calls.query("payload", {"id": id})
    if found is None:
        raise TaskUnknownError(
            id, "its payload is not there, or no longer: it is kept until a task has ended, or with the dead"
        )
    return decode_payload(found)


@understood
def history(calls: Calls, queue: str | None, step: HistoryStep, since: float | None) -> Call[list[HistoryRow]]:
    """Asks for the history of a queue, or of all."""
    from zq.client.insight import history_row

    if step not in (10, 300):
        raise ValueError(f"expected step as 10 or 300 seconds, got {step!r}")
    asked = {"queue": None if queue is None else check_name("queue", queue), "step": step, "since": since}
    return [history_row(row) for row in (yield from rows(calls, "history", asked))]


@understood
def failures(calls: Calls, queue: str | None, limit: int) -> Call[list[FailureRow]]:
    """Asks for the last failures."""
    from zq.client.insight import FailureRow, values_of

    asked = {"queue": None if queue is None else check_name("queue", queue), "limit": limit}
    return values_of(FailureRow, (yield from calls.query("failures", asked))["rows"])


@understood
def flows(calls: Calls) -> Call[list[FlowRow]]:
    """Asks which ways tasks took."""
    from zq.client.insight import FlowRow, values_of

    return values_of(FlowRow, (yield from rows(calls, "flows", {})))


@understood
def dead_reasons(calls: Calls, queue: str | None) -> Call[list[DeadReason]]:
    """Asks why tasks are dead, and puts together what several pages say; the most frequent reason first."""
    from dataclasses import replace

    from zq.client.insight import DeadReason, values_of

    asked = {"queue": None if queue is None else check_name("queue", queue)}
    sums: dict[tuple[str, str], DeadReason] = {}
    for one in values_of(DeadReason, (yield from rows(calls, "dead-reasons", asked))):
        known = sums.get((one.queue, one.reason), replace(one, count=0))
        oldest, newest = min(known.oldest_time, one.oldest_time), max(known.newest_time, one.newest_time)
        sums[one.queue, one.reason] = replace(
            one, count=known.count + one.count, oldest_time=oldest, newest_time=newest
        )
    return sorted(sums.values(), key=lambda one: -one.count)
