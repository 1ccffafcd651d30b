"""Forgetting what has ended: outcomes, results, histories and ids, by age and by count."""

from itertools import islice
from math import inf

from zq.core.state import history, places
from zq.core.state.batch import bits, mask_of
from zq.core.state.books import Books
from zq.core.state.places import End, Finished, FinishedKind
from zq.core.state.step import Step
from zq.core.tasks import groups, publishing
from zq.task import task_id

FORGET_MAX = 1000
"""Ended batches forgotten in one step: more than a step can finish in the long run, and a bounded part of its time."""

FORGET_COST_MAX = 2000
"""Rows that one step deletes or looks for, to forget them: some of what has ended has thousands."""

LOOK_SECONDS = 0.1
"""Until what had to stay is looked at again, at least, whatever `keep_seconds_min` is: no turn without end."""


def forget(books: Books, step: Step) -> float:
    """Forgets the oldest of what has ended, when it is too old or too much; returns when to look again (wall)."""
    gone, next_time = _find_due(books, step)
    forgotten = seen = cost = 0
    for row in gone:
        if cost >= FORGET_COST_MAX:
            next_time = step.wall
            break
        is_forgotten, one_cost = _forget(books, step, row)
        forgotten += is_forgotten
        seen += 1
        cost += one_cost
    if forgotten < seen:  # some will be looked at again, which must not be at once
        look_time = step.wall + LOOK_SECONDS
        books.deadlines.retention.when = max(books.deadlines.retention.when, look_time)
        next_time = max(next_time, look_time)
    if gone:
        books.kept -= forgotten
        books.is_changed = True
    return next_time


def _find_due(books: Books, step: Step) -> tuple[list[Finished], float]:
    """Returns what is to be forgotten, and when the next of it will be; whatever ends from now on says when."""
    options = books.options
    gone: list[Finished] = []
    most = books.portion(FORGET_MAX)
    for row in islice(places.finished_rows(step), most + 1):
        is_over_count = books.kept - len(gone) > options.keep_count
        keep = options.keep_seconds_min if is_over_count or step.tx.is_full else options.keep_seconds
        if row.finished_time + keep > step.wall:
            return gone, row.finished_time + keep
        if len(gone) == most:
            return gone, step.wall
        gone.append(row)
    return gone, inf


def _forget(books: Books, step: Step, row: Finished) -> tuple[bool, int]:
    """Forgets one thing that has ended, unless a part of it is still known: then it is looked at again later. Returns
    whether it is forgotten, and what that has cost, in rows.
    """
    places.leave_finished(step, row)
    cost = 1
    match row.kind:
        case FinishedKind.PUBLICATION:
            parts = len(publishing.find(step, row.id) or ())
            return publishing.forget(books, step, row.id), 1 + parts
        case FinishedKind.GROUP:
            groups.forget(books, step, row.id)
            return True, groups.SWEEP_ROWS
        case FinishedKind.SPLIT:
            has_parts, cost = _look_for_parts(step, row.id)
            if has_parts:
                places.enter_finished(
                    books, step, row.id, row.kind, row.batch_key, has_results=row.has_results, is_new=False
                )
                return False, cost
    cost += places.forget(step, row)
    history.forget(step, row.id)
    return True, cost


def _look_for_parts(step: Step, id: str) -> tuple[bool, int]:
    """Returns whether a task that was split off from a batch is still known: as long, its batch is, too; and how many
    were looked for.
    """
    end = places.find(step, id)
    indexes = bits(mask_of(end.split)) if isinstance(end, End) else []
    for looks, index in enumerate(indexes, 1):
        if isinstance(end, End) and places.find(step, task_id(id, end.size, index)) is not None:
            return True, looks
    return False, len(indexes)
