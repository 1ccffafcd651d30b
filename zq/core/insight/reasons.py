"""Why a task does not run now, as the query `why` tells it: one code, one sentence, and what it rests on.

It asks what assignment asks: the line of a key, the gate of the queue, the shops, the credit of workers; nothing is
decided anew here. Of several reasons it names the first that would still hold if those behind it were gone, in the
order of `_reason_to_wait`.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Any

from zq.core import tables
from zq.core.insight.lookup import look
from zq.core.state import places
from zq.core.state.batch import Batch
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Lease
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.throttle import Limit
from zq.core.tasks import assignment, key_turns

AHEAD_ROWS_MAX = 1000
"""Batches that are read to count the tasks before one; behind more of them the answer says "at least"."""

Details = dict[str, Any]


def why(books: Books, step: Step, id: str) -> dict[str, Any]:
    """Returns code, text and details for a task, or for the first task of a batch that has not ended."""
    code, text, details = _why(books, step, id)
    return {"id": id, "code": code, "text": text, "details": details}


def _why(books: Books, step: Step, id: str) -> tuple[str, str, Details]:
    sight = look(books, step, id)
    end, place, batch, bit = sight.end, sight.place, sight.batch, sight.mask & -sight.mask
    if end is not None:
        details: Details = {"outcome": end.outcome, "reason": end.reason, "finished_time": end.finished_time}
        return "ended", f"it has ended: {end.outcome}", details
    if place is None or batch is None:
        return "unknown", "the coordinator has no such task, or no longer", {}
    if sight.dead is not None:
        details = {"outcome": "dead", "reason": sight.dead.reason, "finished_time": sight.dead.dead_time}
        return "ended", "it has ended: dead; zq tasks retry brings it back", details
    if batch.ended & bit:
        return "ended", "it has ended: done", {"outcome": "done"}
    due_time = places.due_time_of(place)
    if due_time is not None:
        return _not_due(step, due_time, batch)
    lease = next((one for one in books.leases.values() if one.batch is batch and one.mask & bit), None)
    if lease is not None:
        return _running(step, lease, bit)
    if place.where == tables.AT_PARKED:
        return _behind_its_key(books, step, batch)
    return _reason_to_wait(books, step, batch, bit)


def _not_due(step: Step, due_time: float, batch: Batch) -> tuple[str, str, Details]:
    seconds = max(0.0, due_time - step.wall)
    what = "to be tried again" if batch.attempts else "due"
    return "not-due", f"it is {what} in {seconds:.1f} s", {"due_time": due_time, "attempts": batch.attempts}


def _running(step: Step, lease: Lease, bit: int) -> tuple[str, str, Details]:
    index = bit.bit_length() - 1 + lease.batch.first
    started_at = lease.started.get(index)
    details: Details = {"worker": lease.holder.name, "token": lease.token, "progress": lease.progress.get(index)}
    if lease.holder.life is Life.ABSENT and not lease.holder.is_puller:
        return "leased", f"it is leased to {lease.holder.name}, which has not come back since a restart", details
    if started_at is None:
        return "leased", f"it is leased to {lease.holder.name}, which has not said that it started it", details
    details["running_for"] = round(step.now - started_at, 3)
    return "running", f"it runs at {lease.holder.name} for {step.now - started_at:.1f} s", details


def _behind_its_key(books: Books, step: Step, batch: Batch) -> tuple[str, str, Details]:
    """It is parked: another batch of its line has the turn."""
    key = batch.options.key
    other = None
    turn = step.tx.get(tables.LINES, key_turns.line_of(batch))
    if turn is not None:
        other = books.fetch(step.tx, turn)
    if not batch.options.ordered:
        details: Details = {"key": key, "task": None if other is None else other.own_id}
        return "key-turn", f"other tasks of key {key!r} go first, and keys take turns", details
    if other is None:  # the turn is kept by a task whose retry is scheduled
        return "key-held", f"key {key!r} is held by a task that will be tried again", {"key": key, "task": None}
    return _held_by(books, other, key)


def _held_by(books: Books, other: Batch, key: str | None) -> tuple[str, str, Details]:
    left = other.leased or (other.full & ~other.ended)
    id = other.task_id((left & -left).bit_length() - 1 + other.first)
    lease = next((one for one in books.leases.values() if one.batch is other), None)
    details: Details = {"key": key, "task": id, "worker": None if lease is None else lease.holder.name}
    where = "which waits itself" if lease is None else f"which is at {lease.holder.name}"
    return "key-held", f"key {key!r} is held by task {id}, {where}", details


def _reason_to_wait(books: Books, step: Step, batch: Batch, bit: int) -> tuple[str, str, Details]:
    """It is ready, and has the turn of its line if it has one."""
    queue, key = batch.queue, batch.options.key
    first = batch.full & ~batch.ended
    if batch.options.ordered and (batch.leased or bit != first & -first):
        return _held_by(books, batch, key)
    ahead, is_least = _ahead(books, step, batch, bit)
    details: Details = {"ahead": ahead, "ahead_is_least": is_least}
    limits = [] if queue.gate is None else list(queue.gate.limits(queue.leased, step.now))
    limits += [] if queue.gate is None else list(queue.gate.key_limits(key, step.now))
    closed = [limit for limit in limits if limit.room <= 0]
    if any(limit.code == "paused" for limit in closed):
        return "paused", f"queue {queue.name} is paused", details
    live = [worker for worker in queue.workers.values() if worker.life is Life.LIVE]
    if not live and not queue.pull_waits:
        details["suspect"] = [worker.name for worker in queue.workers.values()]
        return "no-worker", f"no worker for queue {queue.name} is there", details
    if closed:
        return _closed(step, queue, key, closed[0], details)
    owner = assignment.shop_of(queue, batch)
    if owner is not None:
        return "shop", f"it waits for {owner}, the worker of key {key!r}", {**details, "worker": owner}
    free = [worker for worker in live if worker.free > 0]
    if not free:
        details["workers"] = {worker.name: worker.held for worker in live}
        count = len(live)
        return (
            "no-credit",
            f"the {count} {'worker has' if count == 1 else 'workers have'} no room{_after(ahead)}",
            details,
        )
    if batch.is_solo and all(worker.held for worker in free):
        return "solo", "it may have killed a worker, and waits for one that holds nothing else", details
    if ahead:
        return "behind", f"it waits behind {'at least ' if is_least else ''}{ahead} tasks", details
    return "next", "it is next", details


def _closed(step: Step, queue: Queue, key: str | None, limit: Limit, details: Details) -> tuple[str, str, Details]:
    """A limit of the queue or of the key."""
    whose = f"key {key!r}" if limit.code.startswith("key") else f"queue {queue.name}"
    assert limit.most is not None
    if limit.opens_at == inf:
        text = f"{limit.most:g} of {limit.most:g} tasks of {whose} are leased, its limit"
        return limit.code, text + _after(details["ahead"]), {**details, "limit": limit.most}
    seconds = max(0.0, limit.opens_at - step.now)
    text = f"the rate of {whose}, {limit.most:g} a second, has room in {seconds:.1f} s"
    return limit.code, text + _after(details["ahead"]), {
        **details, "limit": limit.most, "until_time": step.wall + seconds,
    }  # fmt: skip


def _after(ahead: int) -> str:
    return f", and {ahead} tasks go first" if ahead else ""


def _ahead(books: Books, step: Step, batch: Batch, bit: int) -> tuple[int, bool]:
    """Returns how many waiting tasks are served before one, by priority and age, and whether there may be more."""
    queue, priority = batch.queue, batch.options.priority
    count = sum(queue.waiting[priority + 1 :]) + (batch.available() & (bit - 1)).bit_count()
    start = tables.lane_bounds(queue.number, priority)[0]
    rows = list(islice(step.tx.scan(tables.PENDING, start, batch.key), AHEAD_ROWS_MAX + 1))
    for key, value in rows[:AHEAD_ROWS_MAX]:
        other = books.batches.get(key) or books.read(step.tx, key, value)
        count += other.available().bit_count()
    return count, len(rows) > AHEAD_ROWS_MAX
