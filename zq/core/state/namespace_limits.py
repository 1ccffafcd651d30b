"""Namespaces as the coordinator sees them: what the queues of one have together, and how much that may be.

A queue is in every namespace in front of its name: `team-a/eu/orders` is in `team-a/eu` and in `team-a`. Limits are
kept in the store; what they limit is summed up over the queues when a submit asks, so that nothing has to be counted
for those who set none.

Invariant: `Share.queues` are the queues whose names are in the namespace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zq.core import tables
from zq.core.arguments import InvalidRequestError, limit
from zq.core.state.queue import Queue
from zq.wire.namespaces import check_namespace
from zq.wire.topics import NAMESPACE_SEPARATOR

if TYPE_CHECKING:
    from zq.core.state.books import Books, Step

LIMIT_MAX = 1 << 60
"""Largest limit: more than any store holds, and safe in a record."""

NAMESPACES_MAX = 10_000
"""Namespaces that may have limits: each is looked at when a queue is made."""


class Share:
    """The limits of one namespace; None is no limit."""

    __slots__ = ("max_bytes", "max_tasks", "name", "queues")

    def __init__(self, name: str, max_tasks: int | None, max_bytes: int | None) -> None:
        self.name = name
        self.max_tasks = max_tasks
        self.max_bytes = max_bytes
        self.queues: dict[str, Queue] = {}

    def takes(self, queue: str) -> bool:
        """Whether a queue of this name is in the namespace."""
        return queue.startswith(self.name + NAMESPACE_SEPARATOR)


def namespaces_of(name: str) -> list[str]:
    """Returns the namespaces that a name is in, the innermost last."""
    parts = name.split(NAMESPACE_SEPARATOR)[:-1]
    fronts = [NAMESPACE_SEPARATOR.join(parts[: count + 1]) for count in range(len(parts))]
    return [front for front in fronts if front]


def refusal(books: Books, queues: list[Queue], count: int, size: int) -> str | None:
    """Returns which namespace has no room for so many tasks and bytes in each of the queues, or None."""
    for share in books.shares.values():
        places = sum(1 for queue in queues if queue.name in share.queues)
        if not places:
            continue
        tasks = sum(queue.unfinished for queue in share.queues.values())
        if share.max_tasks is not None and tasks + places * count > share.max_tasks:
            return f"namespace {share.name} is full: {tasks} of {share.max_tasks} tasks"
        stored = sum(queue.bytes for queue in share.queues.values())
        if share.max_bytes is not None and stored + places * size > share.max_bytes:
            more = f"and the batch has {places * size}"
            return f"namespace {share.name} is full: {stored} of {share.max_bytes} bytes, {more}"
    return None


def set_limits(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Sets the limits of a namespace; what is not named stays as it is, None takes a limit away."""
    try:
        name = check_namespace(arguments.get("name"))
    except ValueError as error:
        raise InvalidRequestError(str(error)) from None
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
        add(books, share)
        step.tx.put(tables.NAMESPACES, name.encode(), tables.pack(limits))
    return _row(books, name)


def add(books: Books, share: Share) -> None:
    """Takes the limits of a namespace into the books."""
    books.shares[share.name] = share
    share.queues = {name: queue for name, queue in books.queues.items() if share.takes(name)}


def list_namespaces(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001 - a query
    """Answers the query `namespaces`: those that queues are in, and those with limits."""
    names = set(books.shares)
    for queue in books.queues:
        names.update(namespaces_of(queue))
    wanted = arguments.get("name")
    inside = prefix(arguments)
    found = [name for name in sorted(names) if name.startswith(inside) and wanted in (None, name)]
    return [_row(books, name) for name in found[: limit(arguments, 1000)]]


def prefix(arguments: dict[str, Any]) -> str:
    """Returns what the names must begin with that a question is about: those of its namespace, or all."""
    namespace = arguments.get("namespace")
    return "" if namespace is None else f"{namespace}{NAMESPACE_SEPARATOR}"


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
        "bytes": sum(queue.bytes for queue in queues),
        "max_tasks": None if share is None else share.max_tasks,
        "max_bytes": None if share is None else share.max_bytes,
    }
