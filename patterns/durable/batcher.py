"""Batches of a durable pipeline: the caller makes them, of items that wait in the queue of its run; a pure machine.

Items stay leased until their batch is forwarded, in the same move that acknowledges them: what a caller that dies had
gathered is gathered again by the next one.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from patterns.work.items import ItemChunk, Origin, compact, lists_of, members_of, origins_of, share_of
from patterns.work.plan import Node


class _Identified(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=_Identified)


class Cut(NamedTuple, Generic[T]):
    """What is to be forwarded and acknowledged."""

    full: ItemChunk  # lists, for the node that follows
    rest: ItemChunk | None  # items of the last task that are in no list yet: they go back into the queue, to its head
    done: list[T]  # tasks of which all items are in `full` or `rest`


class Batcher(Generic[T]):
    """Gathers the items of one `batch` node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._tasks: deque[tuple[T, int]] = deque()  # each with how many items it has
        self._origins: list[Origin] = []
        self._values: list[Any] = []
        self._full_at = float("inf")

    def add(self, now: float, task: T, chunk: ItemChunk) -> None:
        """Adds the items of a task."""
        if not self._values and self.node.within is not None:
            self._full_at = now + self.node.within
        self._tasks.append((task, len(chunk[1])))
        self._origins += origins_of(chunk)
        self._values += chunk[1]

    def renew(self, task: T) -> bool:
        """Takes a task in the place of one of the same id, whose lease has run out; False when it has none."""
        for at, (held, items) in enumerate(self._tasks):
            if held.id == task.id:
                self._tasks[at] = (task, items)
                return True
        return False

    @property
    def held(self) -> list[T]:
        return [task for task, _ in self._tasks]

    @property
    def outstanding(self) -> Fraction:
        """What its items stand for, in source items and parts of them."""
        members = (member for origin in self._origins for member in members_of(origin))
        return sum((share_of(path) for _, path in members), Fraction(0))

    def next_at(self) -> float:
        """Returns when a list goes on though it is not full (monotonic), or infinity."""
        return self._full_at

    def cut(self, now: float, *, is_last: bool) -> Cut[T] | None:
        """Returns lists that are full, or have waited long enough; None when there is none.

        Args:
            now: monotonic seconds.
            is_last: whether nothing more can come.
        """
        size = self.node.size
        count = len(self._values) // size * size
        if is_last or now >= self._full_at:
            count = len(self._values)
        if not count:
            return None
        full = lists_of(self._origins[:count], self._values[:count], size)
        done: list[T] = []
        taken = 0
        while taken < count:
            task, items = self._tasks.popleft()
            done.append(task)
            taken += items
        rest = compact(self._origins[count:taken], self._values[count:taken]) if taken > count else None
        del self._origins[:taken], self._values[:taken]
        self._full_at = now + self.node.within if self._values and self.node.within is not None else float("inf")
        return Cut(full, rest, done)
