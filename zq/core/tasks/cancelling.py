"""Cancelling and burying: a task, or all of a batch, ends before it is done, wherever it is; whoever holds it is
told.
"""

from collections.abc import Callable

from zq.core.state import history, places
from zq.core.state.batch import Start, StoredBatch, bits, runs
from zq.core.state.books import Books
from zq.core.state.places import Place
from zq.core.state.step import Step
from zq.core.state.transitions import CANCELLED, LEASED
from zq.core.tasks import endings, leasing
from zq.task import split_task_id, task_id
from zq.wire.messages import Cancelled, Span

REASON = "cancelled by a client"
PURGED_REASON = "its queue was purged"

Ending = Callable[[Books, Step, StoredBatch], None]
"""What ends a task that was split off."""


def cancel_task(books: Books, step: Step, id: str, reason: str = REASON) -> int:
    """Cancels a task, or every task of a batch, that has not ended; holders are told. Returns how many."""
    return _end_task(books, step, id, lambda books, step, single: endings.end(books, step, single, CANCELLED, reason))


def bury_task(books: Books, step: Step, id: str, reason: str) -> int:
    """Makes a dead letter of a task, or of every task of a batch, that has not ended; holders are told. Returns how
    many.
    """
    return _end_task(books, step, id, lambda books, step, single: endings.bury(books, step, single, reason))


def _end_task(books: Books, step: Step, id: str, ending: Ending) -> int:
    known = places.find(step, id)
    if known is None:
        part = split_task_id(id)
        return 0 if part is None else _end_in_batch(books, step, *part, ending)
    parts = bits(places.split_of(books, step, known))
    count = sum(_end_task(books, step, task_id(id, 0, index), ending) for index in parts)
    found = places.read_unfinished(books, step, known)
    return count if found is None else count + _end_tasks(books, step, *found, ~found[1].ended, ending)


def _end_in_batch(books: Books, step: Step, base: str, index: int, ending: Ending) -> int:
    found = places.read_unfinished(books, step, places.find(step, base))
    if found is None or found[1].count == 1:
        return 0
    place, batch = found
    return _end_tasks(books, step, place, batch, batch.span_mask(index, index + 1), ending)


def _end_tasks(books: Books, step: Step, place: Place, batch: StoredBatch, mask: int, ending: Ending) -> int:
    """Ends tasks of a batch, those that wait and those that are leased; returns how many."""
    mask &= batch.full & ~batch.ended
    waiting = mask & batch.available()
    if waiting:
        places.leave(step, place, batch, waiting)
        endings.end_each(books, step, batch, waiting, ending)
    if mask != waiting:
        starts = _take_from_holders(books, step, batch, mask & ~waiting)
        for index, start in starts.items():
            single = endings.split_off(books, step, batch, 1 << index, LEASED)
            single.last_start = start
            ending(books, step, single)
    return mask.bit_count()


def _take_from_holders(books: Books, step: Step, batch: StoredBatch, mask: int) -> dict[int, Start]:
    """Takes leased tasks from those who have them, and tells them; returns how each came to its holder."""
    starts: dict[int, Start] = {}
    for lease in [lease for lease in books.leases.values() if lease.batch is batch and lease.mask & mask]:
        covered = lease.mask & mask
        starts |= {index: history.start_of(step, lease, 1 << index) for index in bits(covered)}
        spans = tuple(Span(lease.token, lo + batch.first, hi + batch.first) for lo, hi in runs(covered))
        step.send(lease.holder.peer, Cancelled(spans))
        leasing.uncover(books, step, lease, covered)
        batch.queue.take_out(LEASED, covered.bit_count(), batch.options.priority)
    return starts


# Purging: what waits in a queue ends as cancelled, whole batches at once where it can be; what is leased goes on.


def purge(books: Books, step: Step, place: Place, batch: StoredBatch) -> int:
    """Ends the tasks of a batch that wait at a place; returns how many."""
    mask = batch.available()
    places.leave(step, place, batch, mask)
    if mask == batch.full and batch.count > 1:
        endings.end(books, step, batch, CANCELLED, PURGED_REASON)
    else:
        endings.end_each(
            books,
            step,
            batch,
            mask,
            lambda books, step, single: endings.end(books, step, single, CANCELLED, PURGED_REASON),
        )
    return mask.bit_count()
