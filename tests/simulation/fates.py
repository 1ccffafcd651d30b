"""What must hold of single tasks: when they may start, when they come back, and when they are given up."""

from __future__ import annotations

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.clocks import RESCHEDULED
from zq.core.state.batch import StoredBatch, read_batch
from zq.core.state.books import Books
from zq.core.state.leases import Lease
from zq.core.storage import Transaction
from zq.core.tasks.admission import OVERFLOW_REASON
from zq.core.tasks.schedules import ScheduleRow

SET_BACK_UNSEEN = 2.0
"""Seconds by which a clock may creep back between two turns, several times."""

FINAL = "for good"
"""In the text of every failure of the simulation that is final."""


def attempts_limit(books: Books, batch: StoredBatch) -> int:
    """The rule of docs/semantics.md, as it stands there."""
    own, queues = batch.options.max_attempts, batch.queue.policies.max_attempts
    return own if own is not None else queues if queues is not None else books.options.max_attempts


def check_fates(books: Books, tx: Transaction, *, has_history: bool) -> None:
    """Checks retries and dead letters: delays follow the policy, and death comes exactly with the last attempt.

    Args:
        has_history: whether all of it was written, which it is not when there is little room.
    """
    for key, value in tx.scan(tables.PENDING):
        _check_counts(books, books.read(tx, key, value))
    for key, value in tx.scan(tables.SCHEDULED):
        due_time, task_key = tables.split_due_key(key)
        batch = books.read(tx, task_key, value)
        _check_counts(books, batch)
        if has_history:
            _check_delay(tx, batch, due_time)
    for key, value in tx.scan(tables.DEAD):
        record, reason, _, _ = tables.unpack(value)
        batch = read_batch(key, books.queues_by_number[tables.split_task_key(key)[0]], record)
        _check_death(books, batch, reason)


def check_hand_out(lease: Lease, wall: float, latest_wall: float) -> None:
    """Checks that what leaves for a handler may start: it is due, or was before the clock jumped back, and it has not
    expired.
    """
    options, batch = lease.batch.options, lease.batch
    if batch.attempts:
        return
    due_time = options.at if options.at is not None else batch.accepted_time + options.delay
    if due_time > latest_wall + 0.002:
        raise Violation(f"{batch.own_id} was handed out {due_time - latest_wall:.3f} s before its time")
    if options.ttl is not None and batch.accepted_time + options.ttl < wall:
        raise Violation(
            f"{batch.own_id} was handed out {wall - batch.accepted_time - options.ttl:.3f} s after it expired"
        )


def check_expiry(books: Books, tx: Transaction, wall: float) -> None:
    """Checks that what has not started in time has ended, right after a turn."""
    for key, value in tx.scan(tables.PENDING):
        batch = books.read(tx, key, value)
        live = books.batches.get(key)
        leased = 0 if live is None else live.leased
        _check_in_time(batch, batch.full & ~batch.ended & ~leased, wall)
    for _, value in tx.scan(tables.PARKED):
        batch = books.read(tx, *tables.unpack(value))
        _check_in_time(batch, batch.full & ~batch.ended, wall)
    for key, value in tx.scan(tables.SCHEDULED):
        batch = books.read(tx, tables.split_due_key(key)[1], value)
        _check_in_time(batch, batch.full & ~batch.ended, wall)


def _check_in_time(batch: StoredBatch, mask: int, wall: float) -> None:
    ttl = batch.options.ttl
    if ttl is not None and mask and not batch.attempts and batch.accepted_time + ttl + 0.002 < wall:
        raise Violation(f"{batch.own_id} waits {wall - batch.accepted_time - ttl:.3f} s after it should have expired")


def check_schedules(books: Books, tx: Transaction, wall: float) -> None:
    """Checks right after a turn that each time fired once: as many tasks were stored as the schedule says, and its next
    time is to come, unless its queue drains.
    """
    ids = [key.decode().rpartition("@")[0] for key, _ in tx.scan(tables.INDEX) if b"-beat@" in key]
    for key, value in tx.scan(tables.SCHEDULES, *tables.schedule_bounds()):
        name, row = tables.split_schedule_key(key), ScheduleRow(*tables.unpack(value))
        queue = books.queues.get(row.queue)
        is_held = queue is not None and queue.policies.draining
        if row.next_time <= wall and row.catch_up != "all" and not is_held:
            raise Violation(f"schedule {name} should have fired {wall - row.next_time:.1f} s ago")
        if tx.get(tables.SCHEDULES, tables.schedule_time_key(row.next_time, name)) is None:
            raise Violation(f"schedule {name} has no time")
        if ids.count(name) < row.fired:
            raise Violation(f"schedule {name} fired {row.fired} times, and {ids.count(name)} tasks of it are known")


def check_clock(books: Books, tx: Transaction, wall: float) -> None:
    """Checks right after a turn that nothing waits for what the wall clock had shown before it was set back."""
    if books.deadlines.clock.phase is not None:
        return  # that is being looked at
    for key, value in tx.scan(tables.SCHEDULED):
        due_time, task_key = tables.split_due_key(key)
        batch = books.read(tx, task_key, value)
        if not batch.attempts and batch.options.at is None and due_time > wall + batch.options.delay + SET_BACK_UNSEEN:
            raise Violation(f"{batch.own_id} is due in {due_time - wall:.1f} s, and its delay is {batch.options.delay}")
    for key, value in tx.scan(tables.SCHEDULES, *tables.schedule_bounds()):
        name, row = tables.split_schedule_key(key), ScheduleRow(*tables.unpack(value))
        if row.every is not None and row.next_time > wall + row.every + SET_BACK_UNSEEN:
            raise Violation(f"schedule {name} fires in {row.next_time - wall:.1f} s, and each {row.every} s")


def check_unique(books: Books, tx: Transaction) -> None:
    """Checks that a unique key has at most one live task, and that a row names one."""
    holders = {key: value.decode() for key, value in tx.scan(tables.UNIQUE)}
    alive: dict[str, StoredBatch] = {}
    records = [(key, value) for key, value in tx.scan(tables.PENDING)]
    records += [tables.unpack(value) for _, value in tx.scan(tables.PARKED)]
    records += [(tables.split_due_key(key)[1], value) for key, value in tx.scan(tables.SCHEDULED)]
    for key, value in records:
        batch = books.read(tx, key, value)
        if batch.options.unique is not None and batch.unfinished:
            alive[batch.own_id] = batch
    for id, batch in alive.items():
        wanted, until, _ = batch.options.unique or ("", "", "")
        holder = holders.get(tables.unique_key(batch.queue.number, wanted))
        if until == "ended" and holder != id:
            raise Violation(f"{id} is alive and unique by {wanted}, which {holder} has")
    for key, id in holders.items():
        owner = alive.get(id)
        if owner is None or tables.unique_key(owner.queue.number, (owner.options.unique or ("",))[0]) != key:
            raise Violation(f"{id} has a unique key and is not alive with it")


def _check_counts(books: Books, batch: StoredBatch) -> None:
    if batch.failures > batch.attempts:
        raise Violation(f"{batch.own_id} has {batch.failures} failures in {batch.attempts} attempts")
    if batch.attempts >= attempts_limit(books, batch):
        raise Violation(f"{batch.own_id} has used up its attempts ({batch.attempts}) and lives")


def _check_delay(tx: Transaction, batch: StoredBatch, due_time: float) -> None:
    """A task that waits for a retry waits as long as its policy says; those of the simulation's tasks are constant."""
    if batch.options.retry is None or not batch.attempts:
        return
    kind, seconds, _, _ = batch.options.retry
    assert kind == "constant"
    start, stop = tables.id_bounds(batch.own_id)
    events = [tables.unpack(value) for _, value in tx.scan(tables.HISTORY, start, stop)]
    event_time = next((time for time, event, _ in reversed(events) if event in ("retry", RESCHEDULED)), 0.0)
    if abs(event_time + seconds - due_time) > 0.002:
        raise Violation(f"{batch.own_id} comes back {due_time - event_time:.3f} s after its failure, not {seconds} s")


def _check_death(books: Books, batch: StoredBatch, reason: str) -> None:
    limit = attempts_limit(books, batch)
    if batch.attempts > limit:
        raise Violation(f"{batch.own_id} died after {batch.attempts} attempts of {limit}")
    is_expired = batch.options.ttl is not None and not batch.attempts
    is_decided = FINAL in reason or reason == OVERFLOW_REASON or batch.options.on_lost == "dead" or is_expired
    if batch.attempts < limit and not is_decided:
        raise Violation(f"{batch.own_id} died after {batch.attempts} attempts of {limit}: {reason}")
