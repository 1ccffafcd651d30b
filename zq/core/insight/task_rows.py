"""A task as answers show it: one map for each of its states."""

from __future__ import annotations

from typing import Any

from zq.core import tables
from zq.core.state.batch import Acceptance, StoredBatch
from zq.core.state.books import Books
from zq.core.state.history import HistoryEvent
from zq.core.state.leases import Lease
from zq.core.state.places import Dead, End
from zq.wire.limits import BATCH_TASKS_MAX

LISTED_REASON_CHARS = 500
"""Of the reason in a list: a thousand whole tracebacks would fit no message."""

TOLD_CHARS = 100_000
"""Of the errors and reasons in the history of a task, the last ones first; of those before them LISTED_REASON_CHARS."""


def fields(batch: StoredBatch, id: str) -> dict[str, Any]:
    """What is known of a task, or of all of a batch, wherever it is."""
    options = batch.options
    return {
        "id": id,
        "queue": batch.queue.name,
        "priority": options.priority,
        "key": options.key,
        "on_lost": options.on_lost,
        "attempts": batch.attempts,
        "failures": batch.failures,
        "accepted_time": batch.accepted_time,
        "tasks": batch.count,
    }


def ended(books: Books, id: str, end: End, index: int = 0) -> dict[str, Any]:
    """A task that has ended, or all of a batch; `index` is its own in the batch."""
    entries = completions(end)
    return ended_by(books, id, end, entries[index] if index < len(entries) else None)


def ended_by(books: Books, id: str, end: End, entry: Acceptance | None) -> dict[str, Any]:
    """A task that has ended, by a completion if it was one."""
    return {
        "id": id,
        "queue": queue_of(books, end),
        "state": end.outcome,
        "priority": tables.split_task_key(end.key)[1],
        "attempts": end.attempts,
        "failures": end.failures,
        "reason": end.reason or None,
        "accepted_time": end.accepted_time or None,
        "finished_time": end.finished_time,
        "worker": None if entry is None else entry[3],
        "token": None if entry is None else entry[0],
    }


def completions(end: End) -> list[Acceptance | None]:
    """Returns, by index, the completion that ended a task; of a task that was split off there is one at most."""
    found: list[Acceptance | None] = [None] * BATCH_TASKS_MAX
    if end.size == 1 and end.accepted:
        found = [end.accepted[-1]] * BATCH_TASKS_MAX
    for entry in reversed(end.accepted):
        found[entry[1] : entry[2]] = [entry] * (entry[2] - entry[1])
    return found


def events(found: list[HistoryEvent]) -> list[dict[str, Any]]:
    """What has happened to a task; of the texts in it the last ones whole."""
    left = TOLD_CHARS
    rows = [event._asdict() for event in found]
    for row in reversed(rows):
        for name in ("error", "reason"):
            text = row["detail"].get(name)
            if isinstance(text, str):
                kept = text if len(text) <= left else text[:LISTED_REASON_CHARS]
                left -= len(kept)
                if kept is not text:
                    row["detail"] = {**row["detail"], name: kept}
    return rows


def dead(id: str, letter: Dead, chars: int | None = None) -> dict[str, Any]:
    """A dead letter; of its reason at most so many characters."""
    reason = letter.reason[:chars]
    return {**fields(letter.batch, id), "state": "dead", "reason": reason, "finished_time": letter.dead_time}


def scheduled(batch: StoredBatch, id: str, due_time: float) -> dict[str, Any]:
    """A task, or those of a batch, whose time has not come."""
    return {**fields(batch, id), "state": "scheduled", "due_time": due_time}


def live(books: Books, batch: StoredBatch, id: str, mask: int, lease: Lease | None = None) -> dict[str, Any]:
    """A task, or the unfinished tasks of a batch, that wait or are leased; `lease` need not be looked for if it is
    given.
    """
    row = fields(batch, id)
    if lease is None and batch.leased & mask:
        lease = _lease_on(books, batch, mask)
    if lease is None:
        return {**row, "state": "waiting"}
    index = (mask & -mask).bit_length() - 1 + batch.first
    return {
        **row,
        "state": "leased",
        "worker": lease.holder.name,
        "token": lease.token,
        "started": index in lease.started,
        "progress": lease.progress.get(index),
    }


def _lease_on(books: Books, batch: StoredBatch, mask: int) -> Lease | None:
    return next((one for one in books.leases.values() if one.batch is batch and one.mask & mask), None)


def queue_of(books: Books, end: End) -> str | None:
    """Returns the name of the queue in which something ended; None when there is no such queue any more."""
    queue = books.queues_by_number.get(tables.split_task_key(end.key)[0])
    return None if queue is None else queue.name
