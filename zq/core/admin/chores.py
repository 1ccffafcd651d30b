"""Chores: what one message, or the end of a group, leaves to do, a portion in each step.

Theory of operation. A message may be about more tasks than one step should touch: a batch of a thousand of which each
has another fate, a group of a hundred thousand with groups inside. Then a portion is done at once, and the rest is
stored as a *chore* and goes on in the next steps, between which everybody else is served; also in the next life of the
coordinator. Whoever asked is answered when it is over, with the number of all: until then tasks may still be handed
out, and are taken back when their turn comes; from the answer on none is. Asked for again meanwhile, it is the same
chore, whose end is told to both.

- *cancel* ends a group, whose callback is not made from then on, and then its members, one row of its roster after the
  other; a group inside it is a chore of its own, for which this one waits.
- *end* and *bury* end what is left of a batch: first what waits or runs, so that nothing is split off any more, then
  each task that has been split off.
- *join* reads the results of a large group whose members have all ended; *sweep* and *forget* delete what is not needed
  any more of one that has.

Invariant: a group with chore *cancel* or *sweep* has ended, one with *join* is open and has no member out.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Final

from zq.core.admin import answers, dead_searches
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.operation import Chore
from zq.core.state.step import Step
from zq.core.tasks import cancelling, follow_up, groups
from zq.core.tasks.groups import FORGET, IS_GROUP, IS_TASK, OPEN, SWEEP
from zq.wire.messages import Answer

CANCEL_GROUP, END_TASKS, BURY_TASKS = "cancel", "end", "bury"

PORTION: Final = 250
"""Tasks that one step ends: a few milliseconds."""

SWEPT: Final = 4
"""Rows that are deleted for what it costs to end a task."""

JOIN_PORTION: Final = 2000
"""Results that one step joins, which cost less."""

MARKS_OF_CHORE_MAX: Final = 100
"""Commands for the same that are told later what it has done, should they ask again."""

LOOKED_AT_MAX: Final = 1000
"""Chores that one step looks at: those that wait for others are passed by."""


# What is asked for.


def cancel(books: Books, step: Step, asker: tuple[Peer, int], id: str, *, is_again: bool = False) -> None:
    """Cancels a task, a batch, or an open group with all of its members; answered with how many had not ended, a group
    counting as one more. Asked again, it counts what was cancelled before, by whoever asked for the same.
    """
    row = groups.find(step, id)
    is_going = books.chores.is_about(CANCEL_GROUP, id)
    if is_going or (row is not None and row.state == OPEN):
        _begin(books, step, asker, Chore(CANCEL_GROUP, id, cancelling.REASON))
        return
    done = 0
    if is_again and not books.chores.is_about(END_TASKS, id):  # a chore has counted what it has done
        done = cancelling.count_cancelled(books, step, id) + (0 if row is None else row.cancelled)
    _begin(books, step, asker, Chore(END_TASKS, id, cancelling.REASON), done)


def bury(books: Books, step: Step, asker: tuple[Peer, int], id: str, reason: str, mark: str = "") -> None:
    """Makes a dead letter of a task, or of every task of a batch, that has not ended; answered with how many, also who
    asks again with the same mark.
    """
    chore = books.chores.going.get(Chore(BURY_TASKS, id).key) or Chore(BURY_TASKS, id, reason)
    if mark and mark not in chore.marks and len(chore.marks) < MARKS_OF_CHORE_MAX:
        chore.marks = (*chore.marks, mark)
        if chore.key in books.chores.going:
            books.chores.save(step, chore)
    _begin(books, step, asker, chore)


def _begin(books: Books, step: Step, asker: tuple[Peer, int], chore: Chore, done: int = 0) -> None:
    """Does a portion of what is asked for, or joins in waiting for it; `done` of it was done before."""
    books.chores.askers.setdefault(chore.key, {})[asker] = done
    if chore.key not in books.chores.going:
        if chore.verb == CANCEL_GROUP:
            _end_group(books, step, chore)
        _go_on(books, step, chore, PORTION)
        books.deadlines.chores.bring_forward(step.now)


def _end_group(books: Books, step: Step, chore: Chore) -> None:
    row = groups.find(step, chore.id)
    if row is not None and row.state == OPEN:
        groups.end(books, step, row, groups.CANCELLED, chore.reason)
        chore.count += 1


# Going on.


def carry_on(books: Books, step: Step) -> float:
    """Does a portion of the chores; returns when the next one is to be done: at once, or never."""
    going = books.chores.going
    left = PORTION
    for key in list(islice(going, LOOKED_AT_MAX)):
        if left <= 0:
            break
        chore = going.get(key)
        if chore is not None:
            going[key] = going.pop(key)  # the others come first the next time
            if not chore.below:
                left = _go_on(books, step, chore, left)
    searches_at = dead_searches.carry_on(books, step) if books.searches else inf
    return step.now if going else searches_at


def _go_on(books: Books, step: Step, chore: Chore, left: int) -> int:
    """Goes on with a chore, those that it waits for and the one that waits for it; returns what is left of a
    portion.
    """
    while left > 0:
        before = chore.below
        spent, is_over = _PORTIONS[chore.verb](books, step, chore, left)
        left -= spent
        if is_over:
            _end(books, step, chore)
            parent = books.chores.going.get(chore.parent)
            if parent is None or parent.below:
                return left
            chore = parent
        else:
            books.chores.save(step, chore)
            if chore.below == before:
                return left if spent else 0
            chore = _child_of(books, chore)
    return left


def _child_of(books: Books, chore: Chore) -> Chore:
    """Returns the chore for which one waits, which has just begun."""
    return next(one for one in reversed(books.chores.going.values()) if one.parent == chore.key)


def _end(books: Books, step: Step, chore: Chore) -> None:
    books.chores.end(step, chore)
    row = groups.find(step, chore.id) if chore.verb == CANCEL_GROUP else None
    if row is not None:
        row.cancelled = chore.count
        groups.save(step, row)
    for mark in chore.marks:
        answers.note(step, mark, chore.count)
    for (peer, request), done in books.chores.askers.pop(chore.key, {}).items():
        step.send(peer, Answer(request, chore.count + done))


# The portions: each returns what it has cost, and whether the chore is over.

Spent = tuple[int, bool]


def _cancel(books: Books, step: Step, chore: Chore, most: int) -> Spent:
    """Cancels members of a group that was cancelled."""
    spent = 0
    for member, kind in list(islice(groups.roster(step, chore.id), most)):
        if kind != IS_TASK and _begin_below(books, step, chore, member):
            return spent + 1, False
        if kind != IS_GROUP:
            cost, is_over = _end_batch(books, step, chore, most - spent, member)
            spent += cost
            if not is_over:
                return spent, False
        groups.strike(step, chore.id, member)
        spent += 1
        if spent >= most:
            return spent, False
    return _sweep(books, step, chore, most - spent)


def _begin_below(books: Books, step: Step, chore: Chore, member: str) -> bool:
    """Begins to cancel a group inside; False when it is not open, or being cancelled already."""
    row = groups.find(step, member)
    if row is None or row.state != OPEN:
        return False
    child = Chore(CANCEL_GROUP, member, chore.reason, parent=chore.key)
    _end_group(books, step, child)
    chore.below += 1
    books.chores.save(step, chore)
    books.chores.save(step, child)
    return True


def _end_tasks(books: Books, step: Step, chore: Chore, most: int) -> Spent:
    return _end_batch(books, step, chore, most, chore.id)


def _end_batch(books: Books, step: Step, chore: Chore, most: int, id: str) -> Spent:
    count, at, spent = cancelling.end_some(books, step, id, chore.at, most, _ending_of(chore))
    chore.count += count
    chore.at = at or 0
    return max(1, spent), at is None


def _ending_of(chore: Chore) -> cancelling.Fate:
    return cancelling.Fate(chore.reason, is_buried=chore.verb == BURY_TASKS)


def _sweep(books: Books, step: Step, chore: Chore, most: int) -> Spent:  # noqa: ARG001 - alike in shape
    row = groups.find(step, chore.id)
    if row is None or row.state == OPEN:
        return 0, True
    count = groups.sweep(step, row, SWEPT * most)
    return count // SWEPT, count < SWEPT * most


def _forget(books: Books, step: Step, chore: Chore, most: int) -> Spent:  # noqa: ARG001 - alike in shape
    is_over = groups.forget_some(step, chore.id, SWEPT * most)
    return most, is_over


def _join(books: Books, step: Step, chore: Chore, most: int) -> Spent:
    row = groups.find(step, chore.id)
    if row is None or row.state != OPEN:
        books.joints.pop(chore.id, None)
        return 0, True
    return most, follow_up.join_some(books, step, row, JOIN_PORTION)


_PORTIONS: Final = {
    CANCEL_GROUP: _cancel,
    END_TASKS: _end_tasks,
    BURY_TASKS: _end_tasks,
    SWEEP: _sweep,
    FORGET: _forget,
    follow_up.JOIN_GROUP: _join,
}
