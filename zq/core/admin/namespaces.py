"""The command that limits namespaces, and the query that lists them."""

from __future__ import annotations

from typing import Any

from zq.core import tables
from zq.core.arguments import InvalidRequestError, judged, limit_in, prefix
from zq.core.state.books import Books
from zq.core.state.namespace_limits import Share
from zq.core.state.step import Step
from zq.wire.namespaces import check_namespace
from zq.wire.topics import NAMESPACE_SEPARATOR

LIMIT_MAX = 1 << 60
"""Largest limit: more than any store holds, and safe in a record."""

NAMESPACES_MAX = 10_000
"""Namespaces that may have limits: each is looked at when a queue is made."""


def set_limits(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Sets the limits of a namespace; what is not named stays as it is, None takes a limit away."""
    name = judged(check_namespace, arguments.get("name"))
    unknown = set(arguments) - {"name", "namespace", "max_tasks", "max_bytes"}
    if unknown:
        raise InvalidRequestError(f"expected max_tasks and max_bytes of a namespace, got {', '.join(sorted(unknown))}")
    share = books.shares.get(name) or Share(name, None, None)
    limits = [
        _limit(arguments, "max_tasks", share.max_tasks),
        _limit(arguments, "max_bytes", share.max_bytes),
    ]
    if name not in books.shares and len(books.shares) >= NAMESPACES_MAX:
        raise InvalidRequestError(f"{NAMESPACES_MAX} namespaces have limits, which is the most there may be")
    share.max_tasks, share.max_bytes = limits
    if limits == [None, None]:
        books.shares.pop(name, None)
        step.tx.delete(tables.NAMESPACES, name.encode())
    else:
        books.add_share(share)
        step.tx.put(tables.NAMESPACES, name.encode(), tables.pack(limits))
    return _row(books, name)


def namespaces_of(name: str) -> list[str]:
    """Returns the namespaces that a name is in, the innermost last."""
    parts = name.split(NAMESPACE_SEPARATOR)[:-1]
    fronts = [NAMESPACE_SEPARATOR.join(parts[: count + 1]) for count in range(len(parts))]
    return [front for front in fronts if front]


# All queries are alike in shape; this one needs no more.
def list_namespaces(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    """Answers the query `namespaces`: those that queues are in, and those with limits."""
    names = set(books.shares)
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
    share = books.shares.get(name)
    queues = [queue for queue in books.queues.values() if queue.name.startswith(name + NAMESPACE_SEPARATOR)]
    return {
        "name": name,
        "queues": len(queues),
        "waiting": sum(queue.total_waiting + queue.parked for queue in queues),
        "scheduled": sum(queue.scheduled for queue in queues),
        "leased": sum(queue.leased for queue in queues),
        "dead": sum(queue.dead for queue in queues),
        "done": sum(queue.done for queue in queues),
        "bytes": sum(queue.stored_bytes for queue in queues),
        "max_tasks": None if share is None else share.max_tasks,
        "max_bytes": None if share is None else share.max_bytes,
    }
