"""Lines: tasks that share a key take turns, and those whose turn has not come are *parked*, out of the way of everybody
else.

A line is a queue, a kind and a key. There is one for the `ordered` tasks of each key, and, in queues that go by key
(policies `fair`, `assign=hash` and the limits by key), one for each key and priority. One batch of a line has the turn:
it is in pending, scheduled for its retry, or leased, and the table `lines` names it. All others are in `parked`, in the
order of submission. So the backlog of a key costs the others nothing, however long it is, and nothing has to be
searched.

    ready ── turn is free ──> pending ── turn ends ──> the next of the line leaves parked
       └──── turn is taken ──> parked

- The turn of an *ordered* batch ends when its last task has ended. It has one lease at a time, of a *run*: as many
  tasks as its holder may do one after the other. A task of it that is to be tried again takes the turn with it; what is
  left of the run goes back (`end_run`), and what is left of its batch is parked at the front (`keep_for_retry`).
- The turn of any other batch ends when nothing of it waits any more. In a fair queue the next one of the line then
  stands behind all other lines.

Invariant: a line with parked batches has a turn, and the batch that has it will end it: `finish`, `split_off` and
`bury` note it by `end_later`, grants call `pass_on`.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.leases import Lease
from zq.core.state.step import Step
from zq.core.tasks import leasing

ORDERED: Final = 10
"""Kind of the line of ordered tasks; the others are 0 to 9, by priority."""

FRONT: Final = 0
"""Position before all others: sequences begin at 1."""


def line_of(batch: StoredBatch) -> bytes:
    """Returns the line to which a batch belongs if its queue goes by key; tasks without a key count as one key."""
    options = batch.options
    return tables.line_key(batch.queue.number, ORDERED if options.ordered else options.priority, options.key or "")


def enter(books: Books, step: Step, batch: StoredBatch) -> bool:
    """Gives a batch that is ready the turn of its line, or parks it; returns whether it was parked."""
    if not (batch.options.ordered or batch.queue.takes_lines(batch.options.key)):
        return False
    line = line_of(batch)
    turn = step.tx.get(tables.LINES, line)
    if turn is None:
        _set_turn(step, line, batch)
        batch.queue.add_lines(1)
        return False
    if turn == batch.key:  # tried again, or brought back in the step in which it ended
        books.turned.pop(batch.key, None)
        return False
    _, _, sequence, sub = tables.split_task_key(batch.key)
    places.enter_parked(step, batch, tables.parked_key(line, sequence, sub))
    return True


def keep_for_retry(books: Books, step: Step, single: StoredBatch) -> None:
    """Lets an ordered task that will be tried again keep the turn of its line, before what is left of its batch."""
    line = line_of(single)
    turn = step.tx.get(tables.LINES, line)
    number, priority, sequence, _ = tables.split_task_key(single.key)
    rest_key = tables.task_key(number, priority, sequence)
    if turn == single.key or turn != rest_key:
        return
    books.turned.pop(rest_key, None)
    _set_turn(step, line, single)
    rest = books.fetch(step.tx, rest_key)
    if rest is not None and rest.unfinished:
        places.leave_pending(step, rest, rest.full & ~rest.ended)
        places.enter_parked(step, rest, tables.parked_key(line, FRONT, 0))


def pass_on(books: Books, step: Step, batch: StoredBatch) -> None:
    """Ends the turn of a batch, if it has the one of its line: the next of the line comes out of parked."""
    line = line_of(batch)
    if step.tx.get(tables.LINES, line) != batch.key:
        return
    for key, value in islice(step.tx.scan(tables.PARKED, *tables.parked_bounds(line)), 1):
        _unpark(books, step, batch, line, key, value)
        return
    step.tx.delete(tables.LINES, line)
    batch.queue.add_lines(-1)


def end_later(books: Books, batch: StoredBatch) -> None:
    """Notes that the turn of a batch is to be passed on, if it has one, when the step has done what it is at."""
    books.turned[batch.key] = batch


def end_turns(books: Books, step: Step) -> None:
    """Ends the turns of the batches that ended since this was last called."""
    while books.turned:
        _, batch = books.turned.popitem()
        pass_on(books, step, batch)


def _set_turn(step: Step, line: bytes, batch: StoredBatch) -> None:
    step.tx.put(tables.LINES, line, batch.key)


def _unpark(books: Books, step: Step, before: StoredBatch, line: bytes, key: bytes, value: bytes) -> None:
    """Moves a batch from parked to pending, and gives it the turn."""
    queue = before.queue
    batch = places.parked_batch(books, step, value)
    places.leave(step, places.Place(tables.AT_PARKED, key), batch, batch.full & ~batch.ended)
    _, priority, sequence, sub = tables.split_task_key(batch.key)
    is_swept = sequence <= queue.swept_before  # an operation knows what it looks at by its sequence
    if queue.policies.fair and not is_swept and not batch.has_progress and batch.key not in books.unsaved:
        batch.key = tables.task_key(queue.number, priority, books.next_sequence(), sub)  # behind all other lines
    _set_turn(step, line, batch)
    places.enter_pending(books, step, batch)


# Runs: several ordered tasks of one lease, which its holder does one after the other.


def is_next(lease: Lease, mask: int) -> bool:
    """Whether nothing of a lease is open that stands before these tasks of it; so for none of them."""
    return not lease.mask & ((mask & -mask) - 1) or not mask


def is_breach(lease: Lease, mask: int) -> bool:
    """Whether these tasks of a lease, which are lost, are ordered and to be tried again, and others stand before one of
    them whose ends nobody has reported.
    """
    options = lease.batch.options
    return options.ordered and mask & (lease.mask - 1) != 0 and options.on_lost == "reassign"


def behind(lease: Lease, mask: int) -> int:
    """Returns the tasks of a lease that stand behind the first of these, without these."""
    return lease.mask & ~mask & ~((mask & -mask) - 1)


def end_run(books: Books, step: Step, lease: Lease) -> None:
    """Takes back what is left of an ordered lease of which a task did not end: it is behind that one. Who holds it
    knows that, or is told by the caller.
    """
    if lease.mask and lease.batch.options.ordered:
        leasing.give_back_noted(books, step, lease, lease.mask, "a task of its key before it is to be tried again")


def break_run(books: Books, step: Step, lease: Lease, why: str) -> None:
    """Takes a run of a key back as a whole, uncharged, and lets its tasks be done one at a time from now on: something
    happened to one of them before the ends of those before it were known, which are to come first.
    """
    lease.batch.is_solo = True
    books.save_progress(lease.batch)
    leasing.tell_cancelled(step, lease, lease.mask)
    leasing.give_back_noted(books, step, lease, lease.mask, why)
