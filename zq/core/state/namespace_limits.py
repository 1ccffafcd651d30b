"""Namespaces as the coordinator sees them: what the queues of one have together, and how much that may be.

A queue is in every namespace in front of its name: `team-a/eu/orders` is in `team-a/eu` and in `team-a`. Limits are
kept in the store; what they limit is summed up over the queues when a submit asks, so that nothing has to be counted
for those who set none.

Invariant: `Share.queues` are the queues whose names are in the namespace.
"""

from __future__ import annotations

from collections.abc import Iterable

from zq.core.state.queue import Queue
from zq.wire.topics import NAMESPACE_SEPARATOR


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


def refusal(shares: Iterable[Share], queues: list[Queue], count: int, size: int) -> str | None:
    """Returns which namespace has no room for so many tasks and bytes in each of the queues, or None."""
    for share in shares:
        places = sum(1 for queue in queues if queue.name in share.queues)
        if not places:
            continue
        tasks = sum(queue.unfinished for queue in share.queues.values())
        if share.max_tasks is not None and tasks + places * count > share.max_tasks:
            return f"namespace {share.name} is full: {tasks} of {share.max_tasks} tasks"
        stored = sum(queue.stored_bytes for queue in share.queues.values())
        if share.max_bytes is not None and stored + places * size > share.max_bytes:
            more = f"and the batch has {places * size}"
            return f"namespace {share.name} is full: {stored} of {share.max_bytes} bytes, {more}"
    return None
