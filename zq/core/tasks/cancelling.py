"""Cancelling and burying: a task, or all of a batch, ends before it is done, wherever it is; whoever holds it is
told.
"""

from collections.abc import Callable
from typing import NamedTuple

from zq.core.state import history, places
from zq.core.state.batch import Start, StoredBatch, bits, mask_of, runs
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

LOOKS = 4
"""Tasks that have ended already, and cost as much to look at as it costs to end one."""


class Fate(NamedTuple):
    """How tasks end that somebody ends."""

    reason: str
    is_buried: bool = False  # as dead letters; else cancelled

    def ending(self) -> Ending:
        if self.is_buried:
            return lambda books, step, single: endings.bury(books, step, single, self.reason)
        return lambda books, step, single: endings.end(books, step, single, CANCELLED, self.reason)


def cancel_task(books: Books, step: Step, id: str, reason: str = REASON) -> int:
    """Cancels a single task, or the only one of a batch, that has not ended; its holder is told. Returns how many."""
    return end_some(books, step, id, 0, 1, Fate(reason))[0]


def end_some(books: Books, step: Step, id: str, at: int, most: int, fate: Fate) -> tuple[int, int | None, int]:
    """Ends a task, or tasks of a batch, that have not ended; holders are told.

    Args:
        id: of the task or batch.
        at: what was returned the last time, 0 at first.
        most: tasks that may be ended now.
        fate: how they end.

    Returns:
        How many were ended, where to go on or None when all have ended, and what it cost, in tasks.
    """
    known = places.find(step, id)
    if known is None:
        part = split_task_id(id)
        count = 0 if part is None else _end_in_batch(books, step, *part, fate.ending())
        return count, None, 1
    count = 0
    found = places.read_unfinished(books, step, known)
    is_split = at > 0 or (_split_of(books, step, known) if found is None else found[1].split) != 0
    if found is not None:
        place, batch = found
        mask = batch.full & ~batch.ended
        if batch.count > 1 and mask == batch.full == batch.available() and not fate.is_buried:
            places.leave(step, place, batch, mask)
            endings.end(books, step, batch, CANCELLED, fate.reason)
            return batch.count, None, 2
        part_mask = _first_bits(mask, most)
        count = _end_tasks(books, step, place, batch, part_mask, fate.ending())
        if part_mask != mask:
            return count, 1, count
        known = places.find(step, id)
    if not is_split:
        return count, None, count
    return _end_parts(books, step, id, known, at, count, most, fate)


def count_cancelled(books: Books, step: Step, id: str) -> int:
    """Returns how many tasks of an id a client has cancelled."""
    known, part = places.find(step, id), split_task_id(id)
    if part is not None:  # one task, with a record of its own or in that of its batch
        return int(_is_cancelled(known if known is not None else places.find(step, part[0])))
    if _is_cancelled(known):
        assert isinstance(known, places.End)
        return known.size - _split_of(books, step, known).bit_count()
    if known is None:
        return 0
    indexes = bits(_split_of(books, step, known))
    return sum(_is_cancelled(places.find(step, task_id(id, 0, index))) for index in indexes)


def _is_cancelled(known: places.Known) -> bool:
    return isinstance(known, places.End) and (known.outcome, known.reason) == ("cancelled", REASON)


def _end_parts(
    books: Books, step: Step, id: str, known: places.Known, at: int, count: int, most: int, fate: Fate
) -> tuple[int, int | None, int]:
    """Ends tasks that were split off from a batch that has ended itself, as `end_some`; where to go on is one more than
    the index.
    """
    looks = 0
    for index in bits(_split_of(books, step, known)):
        if index + 1 < at:
            continue
        if count + looks // LOOKS >= most:
            return count, index + 1, most
        looks += 1
        own = places.read_unfinished(books, step, places.find(step, task_id(id, 0, index)))
        if own is not None:
            count += _end_tasks(books, step, *own, own[1].full, fate.ending())
    return count, None, count + looks // LOOKS


def _first_bits(mask: int, most: int) -> int:
    """Returns the lowest set bits of a mask, as many as there may be."""
    if mask.bit_count() <= most:
        return mask
    return sum(1 << index for index in bits(mask)[:most])


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
    for lease in [books.leases[token] for token in batch.tokens]:
        covered = lease.mask & mask
        if not covered:
            continue
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


def _split_of(books: Books, step: Step, known: places.Known) -> int:
    """Returns which tasks of a batch have a record of their own."""
    if isinstance(known, places.End):
        return mask_of(known.split)
    batch = places.read(books, step, known)
    return 0 if batch is None else batch.split
