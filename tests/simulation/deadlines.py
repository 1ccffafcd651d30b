"""When the coordinator must be awake: each deadline against what is really due, found afresh in books and tables."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.operation import RUNNING
from zq.core.state.queue import Queue
from zq.core.state.throttle import WAKE_SECONDS
from zq.core.storage import Transaction
from zq.core.tasks.schedules import RETRY_AFTER, ScheduleRow

ROUNDING = 0.002
"""Seconds: times in keys are whole milliseconds."""


class Clocks(NamedTuple):
    """Both clocks after a turn."""

    monotonic: float
    wall: float
    latest_wall: float  # it may have jumped back since


def check_deadlines(books: Books, tx: Transaction, now: Clocks, next_at: float) -> None:
    """Checks right after a turn that nothing is due before the deadline of its part, nor before the shell wakes."""
    for name, find in _WALL.items():
        real = find(books, tx, now)
        _check(name, getattr(books.deadlines, name).when, real)
        _check(f"next_at, for {name}", next_at, now.monotonic + max(0.0, real - now.wall))
    for name, find in _MONOTONIC.items():
        real = find(books, tx, now)
        _check(name, getattr(books.deadlines, name).when, real)
        _check(f"next_at, for {name}", next_at, max(now.monotonic, real))


def _check(name: str, when: float, real: float) -> None:
    if when > real + ROUNDING:
        raise Violation(f"{name} is {when - real:.3f} s late: {when}, and something is due at {real}")


# By the wall clock.


def _expiry(books: Books, tx: Transaction, now: Clocks) -> float:
    return min(
        (batch.accepted_time + batch.options.ttl for batch in _waiting(books, tx) if batch.options.ttl is not None),
        default=inf,
    )


def _waiting(books: Books, tx: Transaction) -> Iterator[StoredBatch]:
    """Yields the batches of which something waits that was never started."""
    for key, value in tx.scan(tables.PENDING):
        batch = books.batches.get(key) or books.read(tx, key, value)
        if batch.available() and not batch.attempts:
            yield batch
    for _, value in tx.scan(tables.PARKED):
        batch = books.read(tx, *tables.unpack(value))
        if not batch.attempts:
            yield batch
    for key, value in tx.scan(tables.SCHEDULED):
        batch = books.read(tx, tables.split_due_key(key)[1], value)
        if not batch.attempts:
            yield batch


def _delays(books: Books, tx: Transaction, now: Clocks) -> float:
    return min((tables.split_due_key(key)[0] for key, _ in tx.scan(tables.SCHEDULED)), default=inf)


def _schedules(books: Books, tx: Transaction, now: Clocks) -> float:
    """One whose queue drains is looked at now and then."""
    found = inf
    for _, value in tx.scan(tables.SCHEDULES, *tables.schedule_bounds()):
        row = ScheduleRow(*tables.unpack(value))
        queue = books.queues.get(row.queue)
        is_held = queue is not None and queue.policies.draining and row.next_time <= now.latest_wall
        if not row.is_paused:
            found = min(found, now.latest_wall + RETRY_AFTER if is_held else row.next_time)
    return found


def _retention(books: Books, tx: Transaction, now: Clocks) -> float:
    """What ended first is forgotten first, whatever the wall clock did since: others may be over by then, which ended
    when it had been set back.
    """
    last = max((tables.unpack(value)[0] for _, value in tx.scan(tables.FINISHED)), default=inf)
    return last + books.options.keep_seconds


# By the monotonic clock.


def _silence(books: Books, tx: Transaction, now: Clocks) -> float:
    options = books.options
    if books.departed:
        return now.monotonic
    return min(
        (
            worker.heard_at + (options.suspect_after if worker.life is Life.LIVE else options.gone_after)
            for worker in books.workers.values()
        ),
        default=inf,
    )


def _alarms(books: Books, tx: Transaction, now: Clocks) -> float:
    """A lease ends, its tasks should have been started, or one has run too long at a worker that does not end it."""
    found = inf
    for lease in books.leases.values():
        timeout = lease.batch.options.timeout
        found = min(found, lease.expires_at, lease.start_by)
        if timeout is not None:
            found = min([found, *(at + timeout + books.options.suspect_after for at in lease.started.values())])
    return found


def _replays(books: Books, tx: Transaction, now: Clocks) -> float:
    return min((replay.next_at() for replay in books.replays.values()), default=inf)


def _operations(books: Books, tx: Transaction, now: Clocks) -> float:
    return now.monotonic if any(one.state == RUNNING for one in books.operations.values()) else inf


def _chores(books: Books, tx: Transaction, now: Clocks) -> float:
    return now.monotonic if books.chores.going or books.searches else inf


def _gates(books: Books, tx: Transaction, now: Clocks) -> float:
    return min((_opening(books, tx, queue, now.monotonic) for queue in books.queues.values()), default=inf)


def _opening(books: Books, tx: Transaction, queue: Queue, now: float) -> float:
    """Returns when a rate lets something through for which somebody has room, or that was set aside because of it."""
    gate, found = queue.gate, inf
    if gate is None:
        return inf
    for task_key, _ in list(tx.scan(tables.PENDING, *tables.queue_bounds(queue.number))) if gate.held else ():
        key = gate.held.reason_of(task_key)
        batch = books.fetch(tx, task_key)
        if key is not None and batch is not None and batch.servable():
            found = min([found, *(limit.opens_at for limit in gate.key_limits(key, now) if limit.opens_at > now)])
    if queue.total_waiting and any(worker.free > 0 and not worker.held for worker in queue.workers.values()):
        opening = [limit.opens_at for limit in gate.limits(queue.leased, now) if limit.room <= 0]
        found = min([found, *(at + WAKE_SECONDS for at in opening)])
    return found


def _pulls(books: Books, tx: Transaction, now: Clocks) -> float:
    return min((wait.until for queue in books.queues.values() for wait in queue.pull_waits.values()), default=inf)


def _offers(books: Books, tx: Transaction, now: Clocks) -> float:
    return min(books.offers.values(), default=inf)


def _guests(books: Books, tx: Transaction, now: Clocks) -> float:
    """Somebody is silent; who was called on in this step is so again after as long."""
    silence = books.options.suspect_after
    return min((max(guest.heard_at, now.monotonic) + silence for guest in books.guests.values()), default=inf)


_WALL = {"expiry": _expiry, "delays": _delays, "schedules": _schedules, "retention": _retention}

_MONOTONIC = {
    "silence": _silence, "alarms": _alarms, "replays": _replays, "operations": _operations, "chores": _chores, "gates": _gates,
    "pulls": _pulls, "offers": _offers, "guests": _guests,
}  # fmt: skip

KINDS = (*_WALL, *_MONOTONIC)

KINDS_TOLD = tuple(kind for kind in KINDS if kind != "operations")
"""Those for which something is entered between two looks; operations are looked at in each step."""
