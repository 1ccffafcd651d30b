"""Expiry: what has not started within its time to live ends, on time, also when nobody asks for it.

Theory of operation. A batch with a ttl has a row in table `expiry`, by the time at which it expires. When that comes,
the tasks of it that wait end; those that are leased count as started. If some of them come back unstarted (released,
given back by a worker that was too busy), the batch gets its row again and they end at once. A task with an attempt
behind it never expires.

The same of leases: what their holder has not started in time, or what runs longer than it may, is taken back here.
"""

from itertools import islice
from math import inf

from zq.core import tables
from zq.core.state import places
from zq.core.state.batch import StoredBatch, bits
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Lease
from zq.core.state.step import Step
from zq.core.state.transitions import EXPIRED
from zq.core.tasks import endings, key_turns, leasing, retrying, settling

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


# Leases whose time is up.


def ring_alarms(books: Books, step: Step) -> float:
    """Takes back what has run out of time; returns when to look again."""
    left = settling.PORTION_LEASES
    for lease in books.alarms.take_due(step.now):
        left -= _ring_alarm(books, step, lease, left)
        if left <= 0:
            break
    return books.alarms.next_at()


def _ring_alarm(books: Books, step: Step, lease: Lease, most: int) -> int:
    """A lease's time is up, or one of its tasks has run longer than its timeout; returns what it cost, in tasks."""
    if lease.expires_at <= step.now:
        if lease.token in books.offers:
            settling.take_back(books, step, lease)
            return 1
        cost = settling.lose(books, step, lease, f"the lease of {lease.seconds:g} s ran out", 0, most)
        if lease.mask:
            books.alarms.set(lease.expires_at, lease)
        return cost
    if lease.start_by <= step.now:
        _take_back_unstarted(books, step, lease)
    timeout = lease.batch.options.timeout
    if timeout is None:
        return 1
    grace = books.options.suspect_after  # the worker knows the timeout too, and is the first to act on it
    cost = 0
    for index, started_at in list(lease.started.items()):
        if cost >= most:
            books.alarms.set(min(lease.started.values()) + timeout + grace, lease)
            break
        if started_at + timeout + grace <= step.now:
            cost += 1
            _time_out(books, step, lease, lease.batch.span_mask(index, index + 1))
            if lease.batch.options.ordered:
                break  # all of it has gone
    return cost + 1


def _time_out(books: Books, step: Step, lease: Lease, bit: int) -> None:
    """Fails a task that has run longer than its timeout, and tells its holder."""
    why = f"ran longer than its timeout of {lease.batch.options.timeout:g} s"
    is_ordered = lease.batch.options.ordered
    if is_ordered and not key_turns.is_next(lease, bit):
        key_turns.break_run(books, step, lease, f"a task of its key {why}")
        return
    leasing.tell_cancelled(step, lease, lease.mask if is_ordered else bit)
    single = settling.take_out(books, step, lease, bit)
    key_turns.end_run(books, step, lease)
    retrying.fail(books, step, single, why)


def _take_back_unstarted(books: Books, step: Step, lease: Lease) -> None:
    """The tasks of a lease had to be started by now. Of a worker that was away it is not known what it has started,
    until it has been heard for a while.
    """
    holder, first = lease.holder, lease.batch.first
    known_at = holder.steady_since + books.options.suspect_after
    if holder.life is not Life.LIVE or known_at > step.now:
        lease.start_by = max(known_at, step.now + books.options.heartbeat_interval)
        books.alarms.set(lease.start_by, lease)
        return
    lease.start_by = inf
    mask = lease.mask & ~sum(1 << (index - first) for index in lease.started)
    if mask:
        leasing.tell_cancelled(step, lease, mask)
        leasing.give_back_noted(books, step, lease, mask, f"worker {holder.name} has not started it within its ttl")
