"""Moving tasks to another queue: each keeps its id, its place by age, its attempts, history and results.

A task key begins with the number of its queue; the rest of it stays. What stands behind an ordered task that is running
or waits for its retry stays with it, so that the order of the key holds, and so does a task whose unique key another
task of the other queue has.
"""

from __future__ import annotations

from collections.abc import Iterator

from zq.core import tables
from zq.core.state import history, places, unique_keys
from zq.core.state.batch import StoredBatch, bits, read_batch
from zq.core.state.books import Books
from zq.core.state.places import Dead, Place
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.tasks import endings, key_turns


def move_line(books: Books, step: Step, batch: StoredBatch, to: Queue, before: int, most: int) -> int:
    """Moves a waiting batch, and those that were parked behind it, one after the other; returns how many tasks.

    Args:
        batch: in pending.
        before: the last sequence that is moved.
        most: tasks after which it is enough.
    """
    count = 0
    for one in _line(books, step, batch, before):
        moved = _move_waiting(books, step, one, to)
        count += moved
        if moved and one.queue.lines:
            key_turns.pass_on(books, step, one)
        if not moved or count >= most:
            break
    return count


def _line(books: Books, step: Step, batch: StoredBatch, before: int) -> Iterator[StoredBatch]:
    """Yields a batch, and then whichever has got the turn of its line."""
    line = key_turns.line_of(batch)
    yield batch
    while (key := step.tx.get(tables.LINES, line)) is not None and key != batch.key:
        following = books.fetch(step.tx, key)
        if following is None or tables.split_task_key(key)[2] > before:
            return
        batch = following
        yield batch


def _move_waiting(books: Books, step: Step, batch: StoredBatch, to: Queue) -> int:
    mask = batch.available()
    if not mask or (batch.options.ordered and batch.leased) or not _may_go(step, batch, to):
        return 0
    places.leave_pending(step, batch, mask)
    if not batch.leased:
        endings.wait_again(books, step, _transplant(books, step, batch, to))
        return mask.bit_count()
    for index in bits(mask):
        fresh = _transplant(books, step, endings.split_off(books, step, batch, 1 << index, batch.origin), to)
        if fresh.options.ttl is not None:
            places.watch_expiry(books, step, fresh)
        endings.wait_again(books, step, fresh)
    return mask.bit_count()


def move_scheduled(books: Books, step: Step, batch: StoredBatch, to: Queue, key: bytes, due_time: float) -> int:
    """Moves a scheduled batch, which keeps its time; returns how many tasks."""
    if (batch.options.ordered and batch.attempts) or not _may_go(step, batch, to):
        return 0  # an ordered task that is tried again has the turn of its key
    count = batch.unfinished
    places.leave(step, Place(tables.AT_SCHEDULED, key), batch, batch.full & ~batch.ended)
    places.enter_scheduled(books, step, _transplant(books, step, batch, to), due_time)
    return count


def move_dead(books: Books, step: Step, dead: Dead, to: Queue) -> int:
    """Moves a dead letter; returns how many, which is one."""
    places.leave_dead(step, dead.batch)
    places.enter_dead(step, dead._replace(batch=_transplant(books, step, dead.batch, to)))
    return 1


def _may_go(step: Step, batch: StoredBatch, to: Queue) -> bool:
    """Whether the unique key of a batch, if it has one, is free in the other queue."""
    unique = batch.options.unique
    return unique is None or not _has_key(step, batch) or unique_keys.holder(step, to, unique) is None


def _has_key(step: Step, batch: StoredBatch) -> bool:
    assert batch.options.unique is not None
    return unique_keys.holder(step, batch.queue, batch.options.unique) == batch.own_id


def _transplant(books: Books, step: Step, batch: StoredBatch, to: Queue) -> StoredBatch:
    """Returns a batch as it is in the other queue; its row there is for the caller to write, its old self is over."""
    _, priority, sequence, sub = tables.split_task_key(batch.key)
    fresh = read_batch(tables.task_key(to.number, priority, sequence, sub), to, batch.record())
    fresh.origin = batch.origin
    fresh.ended, fresh.split, fresh.is_solo = batch.ended, batch.split, batch.is_solo
    fresh.accepted, fresh.has_results = list(batch.accepted), batch.has_results
    history.add_event(step, books, batch.own_id, "moved", {"from": batch.queue.name, "to": to.name})
    if batch.options.unique is not None and _has_key(step, batch):
        unique_keys.free(step, batch)
        unique_keys.take(step, fresh)
    places.move_results(step, batch, fresh)
    books.forget_progress(step, batch)
    if batch.queue.gate is not None:
        books.reopen(batch)
    if fresh.ended or fresh.is_solo:
        books.save_progress(fresh)
    batch.ended = batch.full
    books.drop(batch)  # also if its lane still has its key: it may come back under it, as another
    return fresh
