"""Looking a task up by its id, for the answers that tell of one."""

from __future__ import annotations

from typing import NamedTuple

from zq.core.state import places
from zq.core.state.batch import StoredBatch, mask_of
from zq.core.state.books import Books
from zq.core.state.places import Dead, End, Place
from zq.core.state.step import Step


class Sight(NamedTuple):
    """A task, or all tasks of a batch, as the books have it: it has ended, or is in a batch, or is not known."""

    at: int | None = None  # in its batch, if it has no record of its own
    end: End | None = None
    place: Place | None = None  # of what has not ended
    batch: StoredBatch | None = None  # that is there
    mask: int = 0  # the task in it, or those that have not ended
    dead: Dead | None = None  # if that batch is a dead letter


NOTHING_SEEN = Sight()


def look(books: Books, step: Step, id: str) -> Sight:
    """Returns what is known of a task, by its own record or that of its batch, or of a batch."""
    known, index = places.find_task(step, id)
    if isinstance(known, End):
        is_outside = index is not None and known.size != places.SIZE_UNKNOWN and index >= known.size
        is_elsewhere = is_outside or (index is not None and mask_of(known.split) >> index & 1)
        return NOTHING_SEEN if is_elsewhere else Sight(index, end=known)
    if known is None:
        return NOTHING_SEEN
    dead = places.read_dead(books, step, known.key) if places.is_dead(known) else None
    batch = places.read(books, step, known) if dead is None else dead.batch
    if batch is None:
        return NOTHING_SEEN
    mask = batch.full & ~batch.ended if index is None else batch.span_mask(index, index + 1) & ~batch.split
    return Sight(index, None, known, batch, mask, dead) if mask else NOTHING_SEEN
