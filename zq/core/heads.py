"""The heads of a queue's lanes compared by age: for the policy `ageing`, and to find the oldest task when a queue overflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zq.core import tables

if TYPE_CHECKING:
    from zq.core.batch import Batch
    from zq.core.books import Books, Step
    from zq.core.queue import Lane, Queue


def aged_head(books: Books, step: Step, queue: Queue, ageing: float) -> tuple[Lane, Batch] | None:
    """Returns the batch that is to be served next when each `ageing` seconds of waiting count as one step of priority."""
    best: tuple[Lane, Batch] | None = None
    most = 0.0
    for priority in range(len(queue.waiting) - 1, -1, -1):
        found = books.lane_head(step.tx, queue, priority)
        if found is not None:
            urgency = priority + (step.wall - ready_time(found[1])) / ageing
            if best is None or urgency > most:
                best, most = found, urgency
    return best


def ready_time(batch: Batch) -> float:
    """Returns since when a batch waits (wall): its delay is no waiting."""
    options = batch.options
    return batch.accepted_time + options.delay if options.at is None else max(batch.accepted_time, options.at)


def oldest(books: Books, step: Step, queue: Queue) -> Batch | None:
    """Returns the batch that was stored first of those at the heads of the lanes, or None when nothing waits there."""
    heads = [books.lane_head(step.tx, queue, priority) for priority in range(len(queue.waiting))]
    waiting = [found[1] for found in heads if found is not None]
    return min(waiting, key=lambda batch: tables.split_task_key(batch.key)[2:], default=None)
