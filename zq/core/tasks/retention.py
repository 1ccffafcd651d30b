"""Forgetting what has ended: outcomes, results, histories and ids, by age and by count."""

from itertools import islice
from math import inf
from typing import Any

from zq.core import tables
from zq.core.state.batch import bits, mask_of
from zq.core.state.books import Books, Step
from zq.core.tasks import endings, groups, publishing
from zq.task import task_id

FORGET_MAX = 1000
"""Ended batches forgotten in one step: more than a step can finish in the long run, and a bounded part of its time."""

Row = tuple[bytes, str, bytes, bool, list[Any]]
"""Of table `finished`: its key, the id, the key of the batch, whether it has results, its kind if it is no batch."""

LOOK_SECONDS = 0.1
"""Until what had to stay is looked at again, at least, whatever `keep_seconds_min` is: no turn without end."""


def forget(books: Books, step: Step) -> float:
    """Forgets the oldest of what has ended, when it is too old or too much; returns when to look again (wall)."""
    gone, next_time = _find_due(books, step)
    forgotten = 0
    for key, id, batch_key, has_results, kind in gone:
        step.tx.delete(tables.FINISHED, key)
        if kind == [publishing.PUBLICATION]:
            forgotten += publishing.forget(books, step, id)
            continue
        if kind == [endings.SPLIT] and _has_parts(step, id):
            endings.let_finish(books, step, id, batch_key, has_results=has_results, kind=endings.SPLIT)
            continue  # it is looked at again
        forgotten += 1
        if kind and kind != [endings.SPLIT]:
            groups.forget(step, id)
            continue
        step.tx.delete(tables.INDEX, id.encode())
        if has_results:
            _delete_range(step, tables.RESULTS, batch_key, batch_key + b"\xff\xff\xff")
        _delete_range(step, tables.HISTORY, *tables.history_bounds(id))
    if forgotten < len(gone):  # some will be looked at again, which must not be at once
        look_time = step.wall + LOOK_SECONDS
        books.deadlines.retention.when = max(books.deadlines.retention.when, look_time)
        next_time = max(next_time, look_time)
    if gone:
        books.kept -= forgotten
        books.is_changed = True
    return next_time


def _find_due(books: Books, step: Step) -> tuple[list[Row], float]:
    """Returns what is to be forgotten, and when the next of it will be; whatever ends from now on says when."""
    options = books.options
    gone: list[Row] = []
    for key, value in islice(step.tx.scan(tables.FINISHED), FORGET_MAX + 1):
        finished_time, id, batch_key, has_results, *kind = tables.unpack(value)
        is_over_count = books.kept - len(gone) > options.keep_count
        keep = options.keep_seconds_min if is_over_count else options.keep_seconds
        if finished_time + keep > step.wall:
            return gone, finished_time + keep
        if len(gone) == FORGET_MAX:
            return gone, step.wall
        gone.append((key, id, batch_key, has_results, kind))
    return gone, inf


def _has_parts(step: Step, id: str) -> bool:
    """Whether a task that was split off from a batch is still known: as long, its batch is, too."""
    end = endings.find(step, id)
    return isinstance(end, endings.End) and any(
        endings.find(step, task_id(id, end.size, index)) is not None for index in bits(mask_of(end.split))
    )


def _delete_range(step: Step, table: str, start: bytes, stop: bytes) -> None:
    for key in [key for key, _ in step.tx.scan(table, start, stop)]:
        step.tx.delete(table, key)
