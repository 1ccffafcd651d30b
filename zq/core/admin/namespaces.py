"""The command that limits namespaces, and the query that lists them."""

from __future__ import annotations

from operator import add
from typing import Any

from zq.core import tables
from zq.core.arguments import InvalidRequestError, judged, limit_in, prefix
from zq.core.state.books import Books
from zq.core.state.namespace_limits import NAMESPACES_MAX, Share, namespaces_of
from zq.core.state.step import Step
from zq.wire.namespaces import check_namespace

LIMIT_MAX = 1 << 60
"""Largest limit: more than any store holds, and safe in a record."""


def set_limits(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Sets the limits of a namespace; what is not named stays as it is, None takes a limit away."""
    name = judged(check_namespace, arguments.get("name"))
    unknown = set(arguments) - {"name", "namespace", "max_tasks", "max_bytes"}
    if unknown:
        raise InvalidRequestError(f"expected max_tasks and max_bytes of a namespace, got {', '.join(sorted(unknown))}")
    share = books.shares.get(name)
    limits = (
        _limit(arguments, "max_tasks", None if share is None else share.max_tasks),
        _limit(arguments, "max_bytes", None if share is None else share.max_bytes),
    )
    if share is None and books.shares.limits >= NAMESPACES_MAX:
        raise InvalidRequestError(f"{NAMESPACES_MAX} namespaces have limits, which is the most there may be")
    books.shares.set(name, *limits, books.queues)
    if limits == (None, None):
        step.tx.delete(tables.NAMESPACES, name.encode())
    else:
        step.tx.put(tables.NAMESPACES, name.encode(), tables.pack(limits))
    return _row(books, name)


# All queries are alike in shape; this one needs no more.
def list_namespaces(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    """Answers the query `namespaces`: those that queues are in, and those with limits."""
    names = set(books.shares.limited())
    for queue in books.queues:
        names.update(namespaces_of(queue))
    wanted = arguments.get("name")
    inside = prefix(arguments)
    found = [name for name in sorted(names) if name.startswith(inside) and wanted in (None, name)]
    return [_row(books, name) for name in found[: limit_in(arguments, 1000)]]


def _limit(arguments: dict[str, Any], name: str, present: int | None) -> int | None:
    value = arguments.get(name, present)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LIMIT_MAX):
        raise InvalidRequestError(f"expected {name} from 0 to {LIMIT_MAX}, or nil, got {value!r}")
    return value


def _row(books: Books, name: str) -> dict[str, Any]:
    share = books.shares.counted(name) or _share_of(books, name)
    return {
        "name": name,
        "queues": share.queues,
        **share.as_map(),
        "max_tasks": share.max_tasks,
        "max_bytes": share.max_bytes,
    }


def _share_of(books: Books, name: str) -> Share:
    """Sums up a namespace that has no limits."""
    share = Share(name)
    for inside in books.shares.names.inside(name):
        share.queues += 1
        share.totals = list(map(add, share.totals, books.queues[inside].totals()))
    return share
