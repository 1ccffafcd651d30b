"""Expiry: what has not started within its time to live ends, on time, also when nobody asks for it.

Theory of operation. A batch with a ttl has a row in table `expiry`, by the time at which it expires. When that comes,
the tasks of it that wait end; those that are leased count as started. If some of them come back unstarted (released,
given back by a worker that was too busy), the batch gets its row again and they end at once. A task with an attempt
behind it never expires.
"""

from itertools import islice
from math import inf

from zq.core import tables
from zq.core.state import event_streams, history, key_turns
from zq.core.state.batch import Batch, bits
from zq.core.state.books import Books, Step
from zq.core.state.departures import EndedMembers
from zq.core.tasks import endings
from zq.wire.messages import Ended

EXPIRE_MAX = 1000
"""Tasks, within one batch, that one step lets expire: a bounded part of its time."""


def expire_due(books: Books, step: Step) -> float:
    """Ends what has expired, in the order of the times; returns when to look again (wall)."""
    count = 0
    for key, _ in list(islice(step.tx.scan(tables.EXPIRY), EXPIRE_MAX + 1)):
        expires_time, id = tables.split_due_key(key)
        if expires_time > step.wall or count >= EXPIRE_MAX:
            return expires_time
        step.tx.delete(tables.EXPIRY, key)
        count += max(1, _expire(books, step, id.decode()))
    return inf


def is_expired(batch: Batch, wall: float) -> bool:
    """Whether the waiting tasks of a batch must not be handed out any more."""
    return batch.options.ttl is not None and batch.expires_time <= wall


def _expire(books: Books, step: Step, id: str) -> int:
    """Ends the waiting tasks of a batch as expired; returns how many."""
    known = endings.find(step, id)
    if not isinstance(known, endings.Place):
        return 0
    batch = endings.read_at(books, step, known)
    if batch is None or batch.expires_time > step.wall:
        return 0  # another of its id, or it has been started
    mask = batch.available()
    count = mask.bit_count()
    match known.where:
        case endings.PENDING:
            batch.queue.add_waiting(batch.options.priority, -count)
        case endings.SCHEDULED:
            step.tx.delete(tables.SCHEDULED, known.key)
            batch.queue.bytes -= len(batch.blob)
            batch.queue.scheduled -= count
        case endings.PARKED:
            key_turns.take_parked(books, step, known.key, batch, count)
        case _:
            return 0
    _end(books, step, batch, mask)
    return count


def _end(books: Books, step: Step, batch: Batch, mask: int) -> None:
    """Ends tasks that are in no table's count any more: all of a batch at once if it can be, else one by one."""
    options = batch.options
    if (
        mask != batch.full
        or batch.count == 1
        or options.on_dead is not None
        or batch.queue.policies.on_expired == "dead"
    ):
        for index in bits(mask):
            _expire_single(books, step, endings.split_off(books, step, batch, 1 << index))
        return
    lo, hi, reason = batch.first, batch.first + batch.count, _reason(batch)
    _count(books, batch, batch.count)
    event_streams.note_batch(books, batch, "expired", reason)
    endings.finish(books, step, batch, "expired", reason)
    books.waits.note(batch.id, Ended(lo, hi, "expired", reason, b"", b""))
    if options.group is not None:
        step.ended.append(EndedMembers(options.group, batch.id, lo, hi, "expired", reason, b"", b""))


def _expire_single(books: Books, step: Step, single: Batch) -> None:
    """Ends a task that was split off as expired, or makes it a dead letter where its queue says so."""
    reason = _reason(single)
    if single.queue.policies.on_expired == "dead":
        endings.bury(books, step, single, reason)
        return
    _count(books, single, 1)
    event_streams.note_batch(books, single, "expired", reason)
    history.add_event(step, books, single.own_id, "expired", {"reason": reason})
    endings.finish(books, step, single, "expired", reason)
    endings.note_end(books, step, single, "expired", reason)


def _reason(batch: Batch) -> str:
    return f"it was not started within its ttl of {batch.options.ttl:g} s"


def _count(books: Books, batch: Batch, count: int) -> None:
    """Counts tasks that expire."""
    batch.queue.expired += count
    batch.queue.note_finished(count)
    books.changed[batch.queue] = None
    books.count("expired", count)
