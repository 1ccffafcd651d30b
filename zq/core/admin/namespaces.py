"""The command that limits namespaces, and the query that lists them."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from typing import Any

from zq.core import tables
from zq.core.arguments import InvalidRequestError, judged, prefix
from zq.core.pages import Budget, Page, page
from zq.core.state.books import Books
from zq.core.state.namespace_limits import NAMESPACES_MAX, Tally
from zq.core.state.queue import COUNT_NAMES
from zq.core.state.step import Step
from zq.errors import short
from zq.wire.namespaces import check_namespace

LIMIT_MAX = 1 << 60
"""Largest limit: more than any store holds, and safe in a record."""


def set_limits(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Sets the limits of a namespace; what is not named stays as it is, None takes a limit away."""
    name = judged(check_namespace, arguments.get("name"))
    unknown = set(arguments) - {"name", "namespace", "max_tasks", "max_bytes"}
    if unknown:
        raise InvalidRequestError(f"expected max_tasks and max_bytes of a namespace, got {short(sorted(unknown)[0])}")
    share = books.shares.get(name)
    limits = (
        _limit(arguments, "max_tasks", None if share is None else share.max_tasks),
        _limit(arguments, "max_bytes", None if share is None else share.max_bytes),
    )
    if share is None and limits != (None, None):
        books.ceilings.check_store(step)
    if share is None and books.shares.limits >= NAMESPACES_MAX:
        raise InvalidRequestError(f"{NAMESPACES_MAX} namespaces have limits, which is the most there may be")
    books.shares.set(name, *limits, books.queues)
    if limits == (None, None):
        step.tx.delete(tables.NAMESPACES, name.encode())
    else:
        step.tx.put(tables.NAMESPACES, name.encode(), tables.pack(limits))
    books.tallies.count(books.changed)
    return _row(books, name)


def list_namespaces(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001 - a query
    """Answers the query `namespaces`: those that queues are in, and those with limits, by name; or the one named."""
    wanted, inside = arguments.get("name"), prefix(arguments)
    books.tallies.count(books.changed)

    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: ARG001 - alike in shape
        limited = sorted([name for name in books.shares.limited() if name > after and name.startswith(inside)])
        last = after
        for name in merge(limited, books.tallies.namespaces.after(after, inside)):
            if name != last:
                last = name
                yield name, _row(books, name)

    if wanted is not None:
        is_there = wanted in books.tallies.by_namespace or books.shares.get(wanted) is not None
        return {"rows": [_row(books, wanted)] if is_there and wanted.startswith(inside) else [], "cursor": None}
    return page(arguments, "", find)


def _limit(arguments: dict[str, Any], name: str, present: int | None) -> int | None:
    value = arguments.get(name, present)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LIMIT_MAX):
        raise InvalidRequestError(f"expected {name} from 0 to {LIMIT_MAX}, or nil, got {short(value)}")
    return value


def _row(books: Books, name: str) -> dict[str, Any]:
    share, tally = books.shares.get(name), books.tallies.by_namespace.get(name) or Tally()
    counts = dict(zip(COUNT_NAMES, tally.counts, strict=True))
    return {
        "name": name,
        "queues": tally.queues,
        "waiting": counts["waiting"] + counts["parked"],
        **{state: counts[state] for state in ("scheduled", "leased", "dead", "done")},
        "bytes": tally.stored_bytes,
        "max_tasks": None if share is None else share.max_tasks,
        "max_bytes": None if share is None else share.max_bytes,
    }
