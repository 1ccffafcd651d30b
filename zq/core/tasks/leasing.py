"""Leases are granted, shrink and end here, and nowhere else; also their rows, which a restart reads.

`grant` and `give_back` say what becomes of the tasks; `uncover` only takes them out of their lease, and the caller says
what becomes of them. Tokens are compared in `settling`.
"""

from __future__ import annotations

from zq.core import tables
from zq.core.counters import EPOCH_SHIFT
from zq.core.state import history, places, service_order, unique_keys
from zq.core.state.batch import StoredBatch, runs, span_of
from zq.core.state.books import Books
from zq.core.state.leases import Holder, Lease
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.transitions import LEASED, WAITING
from zq.core.storage import Transaction
from zq.wire.messages import Cancelled, Span


def grant(books: Books, step: Step, batch: StoredBatch, mask: int, holder: Holder) -> Lease:
    """Leases waiting tasks to a holder; `store` writes the row."""
    books.lease_number += 1
    lease = Lease(books.epoch << EPOCH_SHIFT | books.lease_number, batch, mask, holder, step.now, step.wall)
    lease.is_solo = holder.solo = batch.is_solo and not holder.is_puller
    count = mask.bit_count()
    batch.leased |= mask
    if batch.options.unique is not None:
        unique_keys.note_start(step, batch)
    queue = batch.queue
    queue.move(WAITING, LEASED, count, batch.options.priority)
    books.add_lease(lease)
    if queue.gate is not None:
        queue.gate.spend(batch.options.key, count, step.now)
    if batch.options.ttl is not None and not batch.attempts:
        watch_start(books, lease, step.now, step.wall)
    books.turn += 1
    holder.turn = books.turn
    if books.events is not None:
        lo, hi = span_of(mask)
        books.events.note(
            "assigned", queue.name, batch.id, lo + batch.first, hi + batch.first, holder.name, lease.token
        )
    return lease


def grant_alike(books: Books, step: Step, queue: Queue, batches: list[StoredBatch], holder: Holder) -> list[Lease]:
    """Leases whole batches of one queue and priority to a worker: `grant` of each, as one, where nothing of them is to
    be watched and they are counted as leased already; `store` writes the rows.
    """
    now, wall = step.now, step.wall
    token = books.epoch << EPOCH_SHIFT | books.lease_number
    known, held = books.leases, holder.leases
    leases: list[Lease] = []
    tasks = 0
    for batch in batches:
        token += 1
        lease = known[token] = held[token] = Lease(token, batch, batch.full, holder, now, wall)
        batch.tokens[token] = None
        tasks += batch.count
        leases.append(lease)
    books.lease_number += len(leases)
    holder.held += tasks
    if holder.account is not None:
        holder.account.leases += tasks
    queue.move(WAITING, LEASED, tasks, batches[0].options.priority)
    books.turn += len(leases)
    holder.turn = books.turn
    return leases


def store(step: Step, leases: list[Lease]) -> None:
    """Writes the rows of leases that were granted, or go on with what they still cover."""
    if leases:
        step.tx.put_many(tables.LEASES, [(tables.token_key(lease.token), lease.record()) for lease in leases])


def uncover(books: Books, step: Step, lease: Lease, mask: int) -> None:
    """Takes tasks out of a lease, which ends with its last; the caller says what becomes of them."""
    lease.mask &= ~mask
    lease.moved_at = step.now
    if lease.started:
        lease.forget_started(mask)
    holder, count = lease.holder, mask.bit_count()
    account = holder.account
    if account is not None and count < account.leases < account.leases_max:  # as `free_leases`, for the usual case
        holder.held -= count
        account.leases -= count
    else:
        books.free_leases(holder, count)
    batch = lease.batch
    batch.leased &= ~mask
    if batch.options.ordered and not batch.leased and batch.full & ~(batch.ended | mask):
        _serve_on(books, batch)
    if batch.queue.gate is not None:
        batch.queue.gate.give_back(batch.options.key, mask.bit_count())
        books.stirred[batch.queue] = None
    books.stir_for(lease.holder)
    if not lease.mask:
        del books.leases[lease.token], holder.leases[lease.token], batch.tokens[lease.token]
        if lease.is_solo:
            holder.solo = False
        if holder.is_puller:
            books.offers.pop(lease.token, None)
            if not holder.leases:
                books.pullers.pop(holder.key, None)
                books.forget_served(holder)
        step.tx.delete(tables.LEASES, tables.token_key(lease.token))


def give_back(books: Books, step: Step, lease: Lease, mask: int) -> None:
    """Lets leased tasks wait again, in their place; a lease that goes on is stored with what it still covers."""
    batch, queue = lease.batch, lease.batch.queue
    uncover(books, step, lease, mask)
    if lease.mask:
        store(step, [lease])
    queue.move(LEASED, WAITING, mask.bit_count(), batch.options.priority)
    queue.put(batch)
    if batch.options.ttl is not None:
        places.watch_expiry(books, step, batch)
    books.stirred[queue] = None


def give_back_noted(books: Books, step: Step, lease: Lease, mask: int, why: str) -> None:
    """Lets leased tasks wait again, and notes why in their history."""
    history.note_returned(books, step, lease, mask, why)
    give_back(books, step, lease, mask)


def tell_cancelled(step: Step, lease: Lease, mask: int) -> None:
    """Tells a holder that tasks are no longer its own."""
    first = lease.batch.first
    spans = tuple(Span(lease.token, lo + first, hi + first) for lo, hi in runs(mask))
    step.send(lease.holder.peer, Cancelled(spans))


def watch_start(books: Books, lease: Lease, now: float, wall: float) -> None:
    """Has a lease looked at when the time to live of its tasks is over, and what its worker has started by then must be
    known; what is pulled counts as started.
    """
    if not lease.holder.is_puller:
        left = min(max(0.0, lease.batch.expires_time - wall), lease.batch.options.ttl or 0.0)  # the clock may jump
        lease.start_by = now + left + books.options.suspect_after
        books.alarms.set(lease.start_by, lease)


def prolong(books: Books, step: Step, lease: Lease, seconds: float) -> None:
    """Lets the lease of a pull last for so long from now."""
    lease.seconds = seconds
    lease.expires_at = step.now + seconds
    books.alarms.set(lease.expires_at, lease)


def forget(tx: Transaction, token: int) -> None:
    """Deletes the row of a lease that has ended."""
    tx.delete(tables.LEASES, tables.token_key(token))


def forget_many(tx: Transaction, leases: list[Lease]) -> None:
    """Deletes the rows of leases that have ended together."""
    tx.delete_many(tables.LEASES, [tables.token_key(lease.token) for lease in leases])


def _serve_on(books: Books, batch: StoredBatch) -> None:
    """Lets the next tasks of an ordered batch be served, of which none is leased any more."""
    queue = batch.queue
    if queue.policies.fair and not batch.is_queued and service_order.may_move_behind(books, queue):
        books.turn += 1
        queue.put_behind(batch, books.sequence, books.turn)
    else:
        queue.put(batch)
    books.stirred[queue] = None
