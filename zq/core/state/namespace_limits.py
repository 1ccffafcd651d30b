"""Namespaces as the coordinator sees them: what the queues of one have together, and how much that may be.

A queue is in every namespace in front of its name: `team-a/eu/orders` is in `team-a/eu` and in `team-a`. Limits are
kept in the store; what they limit is counted in memory, for namespaces that have or had limits alone: their queues note
that something of them has changed, and whoever asks has that added up first. So a submit costs as much with ten
thousand limits as with one, a queue in no such namespace notes nothing, and setting a limit again counts nothing again.

Invariant: the totals of a share are the sums over the queues in its namespace, as far as none is in `_uncounted`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import add, sub
from typing import Final

from zq.core.state.queue import COUNT_NAMES, Queue
from zq.wire.topics import NAMESPACE_SEPARATOR

NAMESPACES_MAX: Final = 10_000
"""Namespaces that may have limits: all of them are in memory, and read at a start."""


class Share:
    """The limits of one namespace, None is no limit, and what it has."""

    __slots__ = ("max_bytes", "max_tasks", "name", "queues", "totals")

    def __init__(self, name: str, max_tasks: int | None = None, max_bytes: int | None = None) -> None:
        self.name = name
        self.max_tasks = max_tasks
        self.max_bytes = max_bytes
        self.queues = 0  # in it
        self.totals = [0] * len(Queue.TOTALS)

    @property
    def is_limited(self) -> bool:
        return self.max_tasks is not None or self.max_bytes is not None

    @property
    def tasks(self) -> int:
        """Unfinished ones."""
        return sum(self.totals[:3])  # of Queue.TOTALS

    @property
    def stored_bytes(self) -> int:
        return self.totals[-1]

    def as_map(self) -> dict[str, int]:
        return dict(zip(Queue.TOTALS, self.totals, strict=True))


class UncountedQueues(dict[Queue, None]):
    """Queues in limited namespaces of which something has changed since it was counted; all that is noted here is
    noted where other queues note it, too.
    """

    def __init__(self, changed: dict[Queue, None]) -> None:
        super().__init__()
        self._changed = changed

    def __setitem__(self, queue: Queue, nothing: None) -> None:
        super().__setitem__(queue, nothing)
        self._changed[queue] = nothing

    def note_only(self, queue: Queue) -> None:
        """Notes a queue that was never counted; nothing of it need be written for that."""
        super().__setitem__(queue, None)


class Shares:
    """The namespaces that have or had limits, by name, and the queues in them."""

    def __init__(self, changed: dict[Queue, None]) -> None:
        self.by_name: dict[str, Share] = {}
        self.limits = 0  # how many of them have limits now
        self.names = Names()  # of the queues that are in any namespace
        self._changed = changed
        self._uncounted = UncountedQueues(changed)

    def get(self, name: str) -> Share | None:
        """Returns the namespace of a name if it has limits."""
        share = self.by_name.get(name)
        return share if share is not None and share.is_limited else None

    def counted(self, name: str) -> Share | None:
        """Returns a namespace whose totals are up to date, if they are kept."""
        self._count()
        return self.by_name.get(name)

    def limited(self) -> list[str]:
        """Returns the names of those that have limits; `limits` says how many they are."""
        return [name for name, share in self.by_name.items() if share.is_limited]

    def of(self, queue: str) -> list[Share]:
        """Returns those that a queue of this name is in, the outermost first: one look-up for each part of the name."""
        return [share for front in namespaces_of(queue) if (share := self.by_name.get(front)) is not None]

    def set(self, name: str, max_tasks: int | None, max_bytes: int | None, queues: dict[str, Queue]) -> Share:
        """Sets the limits of a namespace, both None is none; `queues` are all there are, by name."""
        share = self.by_name.get(name)
        if share is None:
            if len(self.by_name) >= NAMESPACES_MAX:
                self._forget_unlimited()
            share = self.by_name[name] = Share(name)
            for inside in self.names.inside(name):
                self._take_in(share, queues[inside])
        self.limits -= share.is_limited
        share.max_tasks, share.max_bytes = max_tasks, max_bytes
        self.limits += share.is_limited
        return share

    def add_queue(self, queue: Queue) -> None:
        """Notes a new queue, or one that was read."""
        if NAMESPACE_SEPARATOR in queue.name:
            self.names.add(queue.name)
            for share in self.of(queue.name) if self.by_name else ():
                self._take_in(share, queue)

    def remove_queue(self, queue: Queue) -> None:
        """Forgets a queue in which nothing is left."""
        if NAMESPACE_SEPARATOR in queue.name:
            self.names.remove(queue.name)
            for share in self.of(queue.name):
                share.queues -= 1
                share.totals = [total - had for total, had in zip(share.totals, queue.counted, strict=True)]
            self._uncounted.pop(queue, None)

    def refusal(self, queues: list[Queue], count: int, size: int) -> str | None:
        """Returns which namespace has no room for so many tasks and bytes in each of the queues, or None."""
        asked: dict[Share, int] = {}
        for queue in queues:
            for share in self.of(queue.name):
                asked[share] = asked.get(share, 0) + 1
        if asked:
            self._count()
        for share, times in asked.items():
            if share.max_tasks is not None and share.tasks + times * count > share.max_tasks:
                return f"namespace {share.name} is full: {share.tasks} of {share.max_tasks} tasks"
            if share.max_bytes is not None and share.stored_bytes + times * size > share.max_bytes:
                more = f"and the batch has {times * size}"
                return f"namespace {share.name} is full: {share.stored_bytes} of {share.max_bytes} bytes, {more}"
        return None

    # Counting.

    def _take_in(self, share: Share, queue: Queue) -> None:
        """Counts a queue into a namespace that it was not counted in."""
        if not queue.counted:
            queue.counted = (0,) * len(Queue.TOTALS)
            queue.note_changes_in(self._uncounted)
            self._uncounted.note_only(queue)
        share.queues += 1
        share.totals = [total + has for total, has in zip(share.totals, queue.counted, strict=True)]

    def _count(self) -> None:
        """Adds up what has changed since it was last done."""
        for queue in self._uncounted:
            now = queue.totals()
            more = [one - before for one, before in zip(now, queue.counted, strict=True)]
            queue.counted = now
            for share in self.of(queue.name):
                share.totals = [total + one for total, one in zip(share.totals, more, strict=True)]
        self._uncounted.clear()

    def _forget_unlimited(self) -> None:
        """Stops counting for those that have no limits any more."""
        self._count()
        for share in [share for share in self.by_name.values() if not share.is_limited]:
            del self.by_name[share.name]


class Names:
    """Names in order, so that those of a namespace lie together; put in order when they are asked for."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._gone: set[str] = set()  # of these; most of them at most
        self._is_sorted = True

    def add(self, name: str) -> None:
        if name in self._gone:
            self._gone.remove(name)
        else:
            self._names.append(name)
            self._is_sorted = False

    def remove(self, name: str) -> None:
        self._gone.add(name)
        if 2 * len(self._gone) > len(self._names):
            self._names = [one for one in self._names if one not in self._gone]
            self._gone.clear()

    def inside(self, namespace: str) -> Iterator[str]:
        """Yields the names in a namespace, in order."""
        return self.after("", namespace + NAMESPACE_SEPARATOR)

    def after(self, name: str, front: str) -> Iterator[str]:
        """Yields the names that begin so and come after one, in order."""
        if not self._is_sorted:
            self._names.sort()  # what was sorted before is found so, and costs next to nothing
            self._is_sorted = True
        start = bisect_right(self._names, name) if name >= front else bisect_left(self._names, front)
        for at in range(start, len(self._names)):
            one = self._names[at]
            if not one.startswith(front):
                return
            if one not in self._gone:
                yield one


def namespaces_of(name: str) -> list[str]:
    """Returns the namespaces that a name is in, the innermost last."""
    parts = name.split(NAMESPACE_SEPARATOR)[:-1]
    fronts = [NAMESPACE_SEPARATOR.join(parts[: count + 1]) for count in range(len(parts))]
    return [front for front in fronts if front]


class Tally:
    """What the queues of a namespace, or all queues, have together."""

    __slots__ = ("counts", "queues", "stored_bytes")

    def __init__(self) -> None:
        self.queues = 0
        self.counts = [0] * len(COUNT_NAMES)  # as a queue counts
        self.stored_bytes = 0


class Tallies:
    """What is summed up for whoever asks: over all queues, and over those of each namespace.

    Queues that have changed are noted once a step, and added up when somebody asks, or when they have become many: so a
    queue that changes in every step costs a step next to nothing, and a question a bounded part of a second.

    Invariant: once `count` has returned, the tallies are the sums over the queues.
    """

    def __init__(self) -> None:
        self.over_all = Tally()
        self.by_namespace: dict[str, Tally] = {}
        self.queue_names = Names()
        self.namespaces = Names()
        self._seen: dict[Queue, tuple[list[int], int]] = {}  # counts and bytes of each queue, as they are added up
        self._changed: dict[Queue, None] = {}
        # What queues had counted when they first changed since the history was written (`zq.core.measures.rolling`);
        # of so many of them.
        self.before: dict[Queue, list[int]] = {}

    def add_queue(self, queue: Queue) -> None:
        self.queue_names.add(queue.name)
        self._seen[queue] = NOTHING_COUNTED
        self._changed[queue] = None
        for front in namespaces_of(queue.name):
            if front not in self.by_namespace:
                self.by_namespace[front] = Tally()
                self.namespaces.add(front)
            self.by_namespace[front].queues += 1
        self.over_all.queues += 1

    def remove_queue(self, queue: Queue) -> None:
        self.queue_names.remove(queue.name)
        self._changed.pop(queue, None)
        self._add(queue, self._seen.pop(queue), NOTHING_COUNTED)
        self.over_all.queues -= 1
        for front in namespaces_of(queue.name):
            tally = self.by_namespace[front]
            tally.queues -= 1
            if not tally.queues:
                del self.by_namespace[front]
                self.namespaces.remove(front)

    def note(self, changed: dict[Queue, None]) -> None:
        """Notes the queues that a step has changed."""
        self._changed.update(changed)
        if len(self._changed) > UNTALLIED_MAX:
            self.count(changed)

    def count(self, changed: dict[Queue, None]) -> None:
        """Adds up what has changed; `changed` are the queues of this step so far."""
        for queue in {**self._changed, **changed}:
            seen = self._seen.get(queue)
            if seen is not None:
                now = (queue.counts(), queue.stored_bytes)
                self._add(queue, seen, now)
                self._seen[queue] = now
                if queue not in self.before and len(self.before) < BEFORE_MAX:
                    self.before[queue] = seen[0]
        self._changed.clear()

    def _add(self, queue: Queue, before: tuple[list[int], int], now: tuple[list[int], int]) -> None:
        if before == now:
            return
        more = list(map(sub, now[0], before[0]))
        for tally in (self.over_all, *(self.by_namespace[front] for front in namespaces_of(queue.name))):
            tally.counts = list(map(add, tally.counts, more))
            tally.stored_bytes += now[1] - before[1]


UNTALLIED_MAX: Final = 256
"""Queues that wait to be added up, and so what a question adds up at most, beside what its own step has changed."""

BEFORE_MAX: Final = 2000
"""Queues that are compared with what they were, for the history: a few milliseconds. Where more change in ten seconds,
the history of single queues leaves the others out, and that over all queues nothing.
"""

NOTHING_COUNTED: Final = ([0] * len(COUNT_NAMES), 0)
