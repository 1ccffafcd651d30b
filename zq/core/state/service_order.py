"""What of a queue is served next: the heads of its lanes, by priority, or by age as well; and how lanes are read.

A lane's heap holds what is next of a priority; from its cursor on the table has to be read (`zq.core.state.lane`).
"""

from __future__ import annotations

from itertools import islice

from zq.core import tables
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.lane import Lane, SetAside
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.storage import Transaction
from zq.wire.messages import DEFAULT_OPTIONS

READ_BATCHES = 64
"""Batches that a lane reads at once when it has run dry."""

PLACES_MAX = 1024
"""Partly served batches of a fair queue that may wait for their next turn: they are in memory. Beyond, a turn is a
whole batch.
"""


def head(books: Books, step: Step, queue: Queue) -> tuple[Lane, StoredBatch] | None:
    """Returns the batch that is to be served next, at the head of its lane, or None."""
    if queue.policies.ageing is not None:
        return aged_head(books, step, queue, queue.policies.ageing)
    for priority in range(len(queue.waiting) - 1, -1, -1):
        if queue.waiting[priority]:
            found = lane_head(books, step.tx, queue, priority)
            if found is not None:
                return found
    return None


def lane_head(books: Books, tx: Transaction, queue: Queue, priority: int) -> tuple[Lane, StoredBatch] | None:
    """Returns the batch that is to be served next of one priority, or None."""
    while queue.waiting[priority]:
        lane = queue.lane(priority)
        while lane.must_read():  # all that is read may be leased: after a restart, by workers not yet back
            read_lane(books, tx, queue, priority, lane)
        if not lane.heap:
            break
        place = lane.heap[0]
        batch = books.batches.get(place)
        if batch is None:
            batch = books.batches.get(queue.places.get(place, place))
            if batch is None:  # it was buried while it waited here
                queue.places.pop(place, None)
                queue.pass_over(lane)
                continue
        if batch.servable():
            return lane, batch
        queue.drop_head(lane, batch)
        if not batch.leased:
            books.drop(batch)
    return None


def take_alike(
    books: Books, tx: Transaction, queue: Queue, priority: int, tasks_max: int, bytes_max: int
) -> list[StoredBatch]:
    """Takes the whole batches that are next of one priority out of their lane, to be leased together, up to the first
    that needs a closer look.

    Args:
        books: those of the queue, which has no policy that looks at each batch.
        tx: as ever.
        queue: in which they wait.
        priority: the highest of which anything waits.
        tasks_max: how many tasks they may have in all.
        bytes_max: bytes of payloads and headers from which on no more are taken.
    """
    lane, known = queue.lane(priority), books.batches
    heap = lane.heap
    batches: list[StoredBatch] = []
    while bytes_max > 0:
        if lane.must_read() and lane_head(books, tx, queue, priority) is None:
            break
        batch = known.get(heap[0]) if heap else None
        if batch is None or batch.leased or batch.ended or batch.count > tasks_max or batch.is_solo:
            break
        options = batch.options
        if options is not DEFAULT_OPTIONS and (
            options.ordered or options.unique or options.key is not None or options.ttl is not None
        ):
            break
        batch.leased = batch.full
        queue.drop_head(lane, batch)
        batches.append(batch)
        tasks_max -= batch.count
        bytes_max -= batch.sent_bytes
    return batches


def aged_head(books: Books, step: Step, queue: Queue, ageing: float) -> tuple[Lane, StoredBatch] | None:
    """Returns the batch that is to be served next when each `ageing` seconds of waiting count as one step of
    priority.
    """
    best: tuple[Lane, StoredBatch] | None = None
    most = 0.0
    for priority in range(len(queue.waiting) - 1, -1, -1):
        found = lane_head(books, step.tx, queue, priority)
        if found is not None:
            urgency = priority + (step.wall - found[1].ready_time) / ageing
            if best is None or urgency > most:
                best, most = found, urgency
    return best


def oldest(books: Books, step: Step, queue: Queue) -> StoredBatch | None:
    """Returns the batch that was stored first of those at the heads of the lanes, or None when nothing waits there."""
    heads = [lane_head(books, step.tx, queue, priority) for priority in range(len(queue.waiting))]
    waiting = [found[1] for found in heads if found is not None]
    return min(waiting, key=lambda batch: tables.split_task_key(batch.key)[2:], default=None)


def set_aside(books: Books, lane: Lane, batch: StoredBatch, aside: SetAside, reason: str) -> None:
    """Takes the head of a lane out of it, to wait for something without being in the way of anybody."""
    aside.put(reason, lane.heap[0], batch.key)
    batch.queue.drop_head(lane, batch)
    if not batch.leased:
        books.drop(batch)


def bring_back(books: Books, tx: Transaction, aside: SetAside, reason: str, room: int) -> None:
    """Puts batches that were set aside for a reason back into their lanes, the first ones and at most `room`."""
    while room > 0 and (first := aside.take(reason)) is not None:
        room -= line_up(books, tx, *first)


def line_up(books: Books, tx: Transaction, place: bytes, key: bytes) -> bool:
    """Puts a batch that was set aside back to its place in its lane; False when nothing of it waits any
    more.
    """
    batch = books.fetch(tx, key)
    if batch is None or not batch.servable():
        return False
    books.keep(batch)
    batch.queue.put_at(batch, place)
    return True


def may_move_behind(books: Books, queue: Queue) -> bool:
    """Whether another batch may stay in memory while it waits for its next turn in a fair queue."""
    return len(queue.places) < PLACES_MAX and books.has_room()


def read_lane(books: Books, tx: Transaction, queue: Queue, priority: int, lane: Lane) -> None:
    """Reads the next batches of a lane from the pending table."""
    stop = tables.lane_bounds(queue.number, priority)[1]
    assert lane.cursor is not None
    rows = list(islice(tx.scan(tables.PENDING, lane.cursor, stop), READ_BATCHES))
    lane.cursor = rows[-1][0] + b"\0" if len(rows) == READ_BATCHES else None
    for key, value in rows:
        batch = books.batches.get(key)
        if batch is None:
            batch = books.read(tx, key, value)
            books.keep(batch)
        if batch.servable():
            queue.put(batch)
        elif not batch.leased and not batch.is_queued:
            books.drop(batch)
