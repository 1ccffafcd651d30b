"""Expiry: what has not started within its time to live ends, on time, also when nobody asks for it.

Theory of operation. A batch with a ttl has a row in table `expiry`, by the time at which it expires. When that comes,
the tasks of it that wait end; those that are leased count as started. If some of them come back unstarted (released,
given back by a worker that was too busy), the batch gets its row again and they end at once. A task with an attempt
behind it never expires.
"""

from itertools import islice
from math import inf

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import StoredBatch, bits
from zq.core.state.books import Books
from zq.core.state.step import Step
from zq.core.state.transitions import EXPIRED
from zq.core.tasks import endings

EXPIRE_MAX = 250
"""Tasks that one step lets expire one by one, up to twice as many: a bounded part of its time."""


def expire_due(books: Books, step: Step) -> float:
    """Ends what has expired, in the order of the times; returns when to look again (wall)."""
    count = 0
    for key, _ in list(islice(step.tx.scan(tables.EXPIRY), EXPIRE_MAX + 1)):
        expires_time, id = tables.split_due_key(key)
        if expires_time > step.wall or count >= EXPIRE_MAX:
            return expires_time
        places.forget_expiry(step, key)
        count += max(1, _expire(books, step, id.decode()))
    return inf


def is_expired(batch: StoredBatch, wall: float) -> bool:
    """Whether the waiting tasks of a batch must not be handed out any more."""
    return batch.options.ttl is not None and batch.expires_time <= wall


def _expire(books: Books, step: Step, id: str) -> int:
    """Ends the waiting tasks of a batch as expired; returns how many."""
    found = places.read_unfinished(books, step, places.find(step, id))
    if found is None or found[1].expires_time > step.wall:
        return 0  # it has ended, is another of its id, or has been started
    place, batch = found
    mask = batch.available()
    options, is_kept = batch.options, batch.queue.policies.on_expired == "dead"
    if mask == batch.full and batch.count > 1 and options.on_dead is None and not is_kept:
        places.leave(step, place, batch, mask)
        endings.end(books, step, batch, EXPIRED, _reason(batch))
        return 1
    first = sum(1 << index for index in bits(mask)[:EXPIRE_MAX])
    places.leave(step, place, batch, first)
    endings.end_each(books, step, batch, first, _expire_single)
    if first != mask:
        places.watch_expiry(books, step, batch)  # the others end in the next steps
    return first.bit_count()


def _expire_single(books: Books, step: Step, single: StoredBatch) -> None:
    """Ends a task that was split off as expired, or makes it a dead letter where its queue says so."""
    if single.queue.policies.on_expired == "dead":
        endings.bury(books, step, single, _reason(single))
    else:
        endings.end(books, step, single, EXPIRED, _reason(single))


def _reason(batch: StoredBatch) -> str:
    return f"it was not started within its ttl of {batch.options.ttl:g} s"
