"""Since when the task of a queue waits that waits for longest; nothing is changed by it, but that what has ended is
taken out of the lanes, as serving does it.

It is one at the head of a priority, or of what was set aside: tasks are served in the order in which they came, so no
other has waited longer, but for those that a fair queue put behind others, and those that are parked behind another of
their key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from zq.core import tables
from zq.core.pages import Budget
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.lane import Lane, SetAside
from zq.core.state.queue import Queue
from zq.core.state.step import Step

ASIDES_LOOKED_AT: Final = 8
"""Things that tasks were set aside for, of which the first task of each is looked at."""


def oldest_time(books: Books, step: Step, queue: Queue, budget: Budget) -> float | None:
    """Returns when the task was accepted (wall) that waits for longest, or None when none waits."""
    return min((batch.accepted_time for batch in _waiting(books, step, queue, budget)), default=None)


def waits_since(books: Books, step: Step, queue: Queue, budget: Budget) -> float | None:
    """As `oldest_time`, of when a task was due: its delay is no waiting."""
    return min((batch.ready_time for batch in _waiting(books, step, queue, budget)), default=None)


def _waiting(books: Books, step: Step, queue: Queue, budget: Budget) -> Iterator[StoredBatch]:
    if queue.total_waiting:
        yield from (batch for batch in _heads(books, step, queue, budget) if batch.available())


def _heads(books: Books, step: Step, queue: Queue, budget: Budget) -> Iterator[StoredBatch]:
    for priority, count in enumerate(queue.waiting):
        lane = queue.lanes[priority]
        if count and lane is not None:
            yield from _in_lane(books, queue, lane)
            if lane.must_read():
                yield from _on_disk(books, step, queue, priority, lane, budget)
    asides = (queue.awaiting,) if queue.gate is None else (queue.awaiting, queue.gate.held)
    for aside in asides:
        yield from _set_aside(books, step, aside, budget)


def _in_lane(books: Books, queue: Queue, lane: Lane) -> Iterator[StoredBatch]:
    """Yields the first batch in memory of which something waits; what is before it is in nobody's way any more."""
    while lane.heap:
        place = lane.heap[0]
        batch = books.batches.get(queue.places.get(place, place))
        if batch is None:  # it was cancelled or buried while it waited here
            queue.places.pop(place, None)
            queue.pass_over(lane)
        elif batch.servable():
            yield batch
            return
        else:
            queue.drop_head(lane, batch)
            if not batch.leased:
                books.drop(batch)


def _on_disk(
    books: Books, step: Step, queue: Queue, priority: int, lane: Lane, budget: Budget
) -> Iterator[StoredBatch]:
    stop = tables.lane_bounds(queue.number, priority)[1]
    for key, value in step.tx.scan(tables.PENDING, lane.cursor or b"", stop):
        budget.read(len(value))
        batch = books.batches.get(key) or books.read(step.tx, key, value)
        yield batch
        if batch.available() or budget.is_spent:  # the first ones may be leased
            return


def _set_aside(books: Books, step: Step, aside: SetAside, budget: Budget) -> Iterator[StoredBatch]:
    for key in aside.first_keys(ASIDES_LOOKED_AT):
        batch = books.fetch(step.tx, key)
        if batch is not None:
            budget.read(len(batch.blob))
            yield batch
