"""A queue as answers show it."""

from __future__ import annotations

from typing import Any, Final

from zq.core.measures.oldest import oldest_time
from zq.core.measures.times import NOTHING_TIMED
from zq.core.pages import Budget
from zq.core.state.books import Books
from zq.core.state.queue import COUNT_NAMES, Queue, assign_policy
from zq.core.state.step import Step

SHOWN_COUNTS: Final = ("scheduled", "leased", "dead", "done", "cancelled", "expired")
"""The counts of a queue, and of a status, that are shown as they are."""

SHOWN_TOTALS: Final = ("accepted", "failed", "retried", "died", "lost")
"""What has happened in a queue since it was made, likewise."""

_COUNTS_AT: Final = [(name, COUNT_NAMES.index(name)) for name in SHOWN_COUNTS]
_TOTALS_AT: Final = [(name, COUNT_NAMES.index(name)) for name in SHOWN_TOTALS]

TIMES_WORK: Final = 10
"""Units of work for the times of a row."""


def queue_row(books: Books, step: Step, queue: Queue, budget: Budget, *, with_times: bool = False) -> dict[str, Any]:
    """Returns a queue as the query `queues` shows it."""
    counts = queue.counts()
    row: dict[str, Any] = {
        "name": queue.name,
        "waiting": queue.total_waiting + queue.parked,
        "parked": queue.parked,
        **{name: counts[at] for name, at in _COUNTS_AT},
        "rate": round(queue.rate, 3),
        "bytes": queue.stored_bytes,
        "max_tasks": queue.policies.max_tasks or books.options.queue_tasks_max,
        "assign": assign_policy(queue, books.options),
        "workers": sum(1 for worker in queue.workers.values() if worker.peer is not None),
        **{name: counts[at] for name, at in _TOTALS_AT},
        "oldest_time": oldest_time(books, step, queue, budget),
        "alerts": list(books.measures.watched.get(queue, ())),
    }
    return {**row, **_times(books, queue, budget)} if with_times else row


def _times(books: Books, queue: Queue, budget: Budget) -> dict[str, Any]:
    budget.spend(TIMES_WORK)
    books.measures.timed.settle()
    times = queue.times
    wait, run = (NOTHING_TIMED, NOTHING_TIMED) if times is None else (times.wait, times.run)
    return {"wait": wait.as_map(), "run": run.as_map()}


def queue_fields(books: Books, step: Step, queue: Queue, *, with_times: bool = False) -> dict[str, Any]:
    """Returns a queue as the query `queue` shows it: its row, and its policies as they were set."""
    row = queue_row(books, step, queue, Budget(), with_times=with_times)
    return {**row, **_gate_fields(queue, step.now), "policies": queue.policies._asdict()}


def _gate_fields(queue: Queue, now: float) -> dict[str, Any]:
    """Returns what holds a queue back at the moment: the codes of `zq why`, and how many keys have no room."""
    gate = queue.gate
    if gate is None:
        return {"closed_by": [], "held_keys": 0}
    return {
        "closed_by": [limit.code for limit in gate.limits(queue.leased, now) if limit.room <= 0],
        "held_keys": len(gate.held),
    }
