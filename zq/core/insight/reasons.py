"""Why a task does not run now, as the query `why` tells it: one code, one sentence, and what it rests on.

It asks what assignment asks: the turn of a key, the gate of the queue, what is set aside, the credit of workers;
nothing is decided anew here. `zq.core.insight.waiting` lists all reasons, with their sentences. Of several it names the
first that would still hold if those behind it were gone, in the order of that page.
"""

from __future__ import annotations

from math import inf
from typing import Any

from zq.core import tables
from zq.core.insight.lookup import look
from zq.core.insight.waiting import REASONS
from zq.core.pages import Budget
from zq.core.state import places
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Holder, Lease
from zq.core.state.step import Step
from zq.core.state.throttle import Limit
from zq.core.tasks import key_turns

AHEAD_ROWS_MAX = 1000
"""Batches that are read to count the tasks before one, as far as the work for one question goes; behind more of them
the answer says "at least".
"""

NAMED_WORKERS_MAX = 50
"""Workers that an answer names."""

Details = dict[str, Any]


ReasonAnswer = tuple[str, str, Details]
"""Code, sentence and details."""


def why(books: Books, step: Step, id: str) -> dict[str, Any]:
    """Returns code, text and details for a task, or for the first task of a batch that has not ended."""
    code, text, details = _why(books, step, id)
    return {"id": id, "code": code, "text": text, "details": details}


def _because(code: str, details: Details, **words: Any) -> ReasonAnswer:
    """Makes the answer of a code; the words are those that its sentence names."""
    return code, REASONS[code].says.format(**words), details


def _why(books: Books, step: Step, id: str) -> ReasonAnswer:
    sight = look(books, step, id)
    end, place, batch, bit = sight.end, sight.place, sight.batch, sight.mask & -sight.mask
    if end is not None:
        details: Details = {"outcome": end.outcome, "reason": end.reason, "finished_time": end.finished_time}
        return _because("ended", details, outcome=end.outcome)
    if place is None or batch is None:
        return _because("unknown", {})
    if sight.dead is not None:
        details = {"outcome": "dead", "reason": sight.dead.reason, "finished_time": sight.dead.dead_time}
        return _because("ended", details, outcome="dead; zq tasks retry brings it back")
    if batch.ended & bit:
        return _because("ended", {"outcome": "done"}, outcome="done")
    due_time = places.due_time_of(place)
    if due_time is not None:
        return _not_due(step, due_time, batch)
    lease = next((one for one in books.leases.values() if one.batch is batch and one.mask & bit), None)
    if lease is not None:
        return _running(step, lease, bit)
    if place.where == tables.AT_PARKED:
        return _behind_its_key(books, step, batch)
    return _reason_to_wait(books, step, batch, bit)


def _not_due(step: Step, due_time: float, batch: StoredBatch) -> ReasonAnswer:
    what = "to be tried again" if batch.attempts else "due"
    details = {"due_time": due_time, "attempts": batch.attempts}
    return _because("not-due", details, what=what, seconds=max(0.0, due_time - step.wall))


def _running(step: Step, lease: Lease, bit: int) -> ReasonAnswer:
    index = bit.bit_length() - 1 + lease.batch.first
    holder, started_at = lease.holder, lease.started.get(index)
    details: Details = {"worker": holder.name, "token": lease.token, "progress": lease.progress.get(index)}
    if holder.life is Life.ABSENT and not holder.is_puller:
        return _because("leased", details, holder=holder.name, what="has not come back since a restart")
    if started_at is None:
        return _because("leased", details, holder=holder.name, what="has not said that it started it")
    details["running_for"] = round(step.now - started_at, 3)
    return _because("running", details, holder=holder.name, seconds=step.now - started_at)


def _behind_its_key(books: Books, step: Step, batch: StoredBatch) -> ReasonAnswer:
    """It is parked: another batch of its line has the turn."""
    key = batch.options.key
    other = None
    turn = step.tx.get(tables.LINES, key_turns.line_of(batch))
    if turn is not None:
        other = books.fetch(step.tx, turn)
    if not batch.options.ordered:
        details: Details = {"key": key, "task": None if other is None else other.own_id}
        return _because("key-turn", details, key=key)
    if other is None:  # the turn is kept by a task whose retry is scheduled
        return _because("key-held", {"key": key, "task": None}, key=key, task="a task that will be tried again")
    return _held_by(books, other, key)


def _held_by(books: Books, other: StoredBatch, key: str | None) -> ReasonAnswer:
    left = other.leased or (other.full & ~other.ended)
    id = other.task_id((left & -left).bit_length() - 1 + other.first)
    lease = next((one for one in books.leases.values() if one.batch is other), None)
    details: Details = {"key": key, "task": id, "worker": None if lease is None else lease.holder.name}
    where = "waits itself" if lease is None else f"is at {lease.holder.name}"
    return _because("key-held", details, key=key, task=f"task {id}, which {where}")


def _reason_to_wait(books: Books, step: Step, batch: StoredBatch, bit: int) -> ReasonAnswer:
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
        return _because("paused", details, queue=queue.name)
    live = [worker for worker in queue.workers.values() if worker.life is Life.LIVE]
    if not live and not queue.pull_waits:
        details["suspect"] = [worker.name for worker in queue.workers.values()][:NAMED_WORKERS_MAX]
        return _because("no-worker", details, queue=queue.name)
    if closed:
        return _closed(step, batch, closed[0], details)
    return _not_assigned(batch, live, details)


def _not_assigned(batch: StoredBatch, live: list[Holder], details: Details) -> ReasonAnswer:
    """Nothing holds it back but that there is nobody for it, or others go first."""
    queue, ahead = batch.queue, details["ahead"]
    owner = queue.awaiting.reason_of(batch.key)
    if owner is not None:
        return _because("shop", {**details, "worker": owner}, worker=owner, key=batch.options.key)
    free = [worker for worker in live if worker.free > 0]
    if not free:
        details["workers"] = {worker.name: worker.held for worker in live[:NAMED_WORKERS_MAX]}
        workers = "1 worker has" if len(live) == 1 else f"{len(live)} workers have"
        return _because("no-credit", details, workers=workers, after=_after(ahead))
    if batch.is_solo and all(worker.held for worker in free):
        return _because("solo", details)
    if ahead:
        return _because("behind", details, ahead=f"at least {ahead}" if details["ahead_is_least"] else ahead)
    return _because("next", details)


def _closed(step: Step, batch: StoredBatch, limit: Limit, details: Details) -> ReasonAnswer:
    """A limit of the queue or of the key."""
    assert limit.most is not None
    words = {
        "queue": batch.queue.name, "key": batch.options.key, "limit": limit.most, "after": _after(details["ahead"]),
    }  # fmt: skip
    if limit.opens_at == inf:
        return _because(limit.code, {**details, "limit": limit.most}, **words)
    seconds = max(0.0, limit.opens_at - step.now)
    known = {**details, "limit": limit.most, "until_time": step.wall + seconds}
    return _because(limit.code, known, **words, seconds=seconds)


def _after(ahead: int) -> str:
    return f", and {ahead} tasks go first" if ahead else ""


def _ahead(books: Books, step: Step, batch: StoredBatch, bit: int) -> tuple[int, bool]:
    """Returns how many waiting tasks are served before one, by priority and age, and whether there may be more."""
    queue, priority = batch.queue, batch.options.priority
    count = sum(queue.waiting[priority + 1 :]) + (batch.available() & (bit - 1)).bit_count()
    start = tables.lane_bounds(queue.number, priority)[0]
    budget = Budget()
    for read, (key, value) in enumerate(step.tx.scan(tables.PENDING, start, batch.key)):
        if read == AHEAD_ROWS_MAX or budget.is_spent:
            return count, True
        budget.read(len(value))
        other = books.batches.get(key) or books.read(step.tx, key, value)
        count += other.available().bit_count()
    return count, False
