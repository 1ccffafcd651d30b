"""Cancelling and burying: a task, or all of a batch, ends before it is done, wherever it is; whoever holds it is
told.
"""

from collections.abc import Callable

from zq.core import tables
from zq.core.state import history, key_turns
from zq.core.state.batch import Batch, Start, bits, mask_of, runs
from zq.core.state.books import Books, Step
from zq.core.tasks import endings
from zq.task import split_task_id, task_id
from zq.wire.messages import Cancelled, Span

REASON = "cancelled by a client"
PURGED = "its queue was purged"

Ending = Callable[[Books, Step, Batch], None]
"""What ends a task that was split off."""


def cancel_task(books: Books, step: Step, id: str, reason: str = REASON) -> int:
    """Cancels a task, or every task of a batch, that has not ended; holders are told. Returns how many."""
    return _end_task(books, step, id, lambda books, step, single: endings.cancel(books, step, single, reason))


def bury_task(books: Books, step: Step, id: str, reason: str) -> int:
    """Makes a dead letter of a task, or of every task of a batch, that has not ended; holders are told. Returns how
    many.
    """
    return _end_task(books, step, id, lambda books, step, single: endings.bury(books, step, single, reason))


def _end_task(books: Books, step: Step, id: str, end: Ending) -> int:
    known = endings.find(step, id)
    if known is None:
        part = split_task_id(id)
        return 0 if part is None else _end_in_batch(books, step, *part, end)
    if isinstance(known, endings.End) and not known.split:
        return 0
    if isinstance(known, endings.End):
        return sum(_end_task(books, step, task_id(id, 0, index), end) for index in bits(mask_of(known.split)))
    batch = endings.read_at(books, step, known)
    if batch is None:
        return 0
    match known.where:
        case endings.DEAD:
            return 0
        case endings.SCHEDULED:
            return _end_scheduled(books, step, known.key, batch, batch.full & ~batch.ended, end)
        case endings.PARKED:
            count = sum(_end_task(books, step, task_id(id, 0, index), end) for index in bits(batch.split))
            return count + _end_parked(books, step, known.key, batch, batch.full & ~batch.ended, end)
    count = sum(_end_task(books, step, task_id(id, 0, index), end) for index in bits(batch.split))
    return count + _end_pending(books, step, batch, batch.full & ~batch.ended, end)


def _end_in_batch(books: Books, step: Step, base: str, index: int, end: Ending) -> int:
    known = endings.find(step, base)
    if known is None or isinstance(known, endings.End) or known.where == endings.DEAD:
        return 0
    batch = endings.read_at(books, step, known)
    if batch is None or batch.count == 1:
        return 0
    bit = batch.span_mask(index, index + 1) & ~batch.ended
    if known.where == endings.SCHEDULED:
        return _end_scheduled(books, step, known.key, batch, bit, end)
    if known.where == endings.PARKED:
        return _end_parked(books, step, known.key, batch, bit, end)
    return _end_pending(books, step, batch, bit, end)


def _end_pending(books: Books, step: Step, batch: Batch, mask: int, end: Ending) -> int:
    waiting = mask & batch.available()
    queue = batch.queue
    queue.add_waiting(batch.options.priority, -waiting.bit_count())
    books.changed[queue] = None
    holders = {lease.token: lease for lease in books.leases.values() if lease.batch is batch} if mask != waiting else {}
    starts: dict[int, Start] = {}
    for lease in holders.values():
        covered = lease.mask & mask
        starts |= {index: history.start_of(step, lease, 1 << index) for index in bits(covered)}
        spans = tuple(Span(lease.token, lo + batch.first, hi + batch.first) for lo, hi in runs(covered))
        if spans:
            step.send(lease.holder.peer, Cancelled(spans))
            books.uncover(step, lease, covered)
            queue.leased -= covered.bit_count()
    for index in bits(mask):
        single = endings.split_off(books, step, batch, 1 << index)
        single.last_start = starts.get(index)
        end(books, step, single)
    return mask.bit_count()


def _end_parked(books: Books, step: Step, key: bytes, batch: Batch, mask: int, end: Ending) -> int:
    key_turns.take_parked(books, step, key, batch, mask.bit_count())
    for index in bits(mask):
        end(books, step, endings.split_off(books, step, batch, 1 << index))
    return mask.bit_count()


def _end_scheduled(books: Books, step: Step, key: bytes, batch: Batch, mask: int, end: Ending) -> int:
    """Ends tasks of a delayed batch; the rest keeps its due time."""
    batch.queue.scheduled -= mask.bit_count()
    books.changed[batch.queue] = None
    if batch.unfinished == mask.bit_count():
        step.tx.delete(tables.SCHEDULED, key)
        batch.queue.bytes -= len(batch.blob)
    for index in bits(mask):
        end(books, step, endings.split_off(books, step, batch, 1 << index))
    return mask.bit_count()


# Purging: what waits in a queue ends as cancelled, whole batches at once where it can be; what is leased goes on.


def purge_waiting(books: Books, step: Step, batch: Batch) -> int:
    """Ends the waiting tasks of a pending batch; returns how many."""
    mask = batch.available()
    batch.queue.add_waiting(batch.options.priority, -mask.bit_count())
    return _purge(books, step, batch, mask)


def purge_parked(books: Books, step: Step, key: bytes, batch: Batch) -> int:
    """Ends the tasks of a parked batch; returns how many."""
    mask = batch.available()
    key_turns.take_parked(books, step, key, batch, mask.bit_count())
    return _purge(books, step, batch, mask)


def purge_scheduled(books: Books, step: Step, key: bytes, batch: Batch) -> int:
    """Ends the tasks of a scheduled batch; returns how many."""
    mask = batch.available()
    step.tx.delete(tables.SCHEDULED, key)
    batch.queue.bytes -= len(batch.blob)
    batch.queue.scheduled -= mask.bit_count()
    return _purge(books, step, batch, mask)


def _purge(books: Books, step: Step, batch: Batch, mask: int) -> int:
    count = mask.bit_count()
    books.changed[batch.queue] = None
    if mask == batch.full and batch.count > 1:
        endings.cancel_whole(books, step, batch, PURGED)
        return count
    for index in bits(mask):
        endings.cancel(books, step, endings.split_off(books, step, batch, 1 << index), PURGED)
    return count
