"""What has happened to tasks beside their plain way: rows of table `history`, which are kept as long as the task, and
deleted with it.

A task that is done at its first start has no row; the times of its lease and its end stand in the records that there
are anyway (`StoredBatch.accepted`). What happens to several tasks of a batch at once is one row of it, with `spans`.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from zq.core import tables
from zq.core.state.batch import Start, StoredBatch, runs
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Holder, Lease
from zq.core.state.step import Step

HISTORY_MAX = 100
"""Events kept for one task: every attempt of a task with the default limit, several times over."""

HISTORY_MINOR_MAX = 50
"""Of these, events that cost nothing and may come often: given back, stale."""


def add_event(step: Step, books: Books, id: str, event: str, detail: dict[str, Any]) -> None:
    """Adds to the history of a task, or a batch: only rare events, a task that is done at its first start has none.

    A store that is short of room has more use for it: purging must not take more than it frees.
    """
    if step.tx.is_short:
        return
    start, stop = tables.id_bounds(id)
    most = HISTORY_MINOR_MAX if event in ("returned", "stale") else HISTORY_MAX
    if sum(1 for _ in islice(step.tx.scan(tables.HISTORY, start, stop), most)) < most:
        key = tables.history_key(id, books.next_event())
        step.tx.put(tables.HISTORY, key, tables.pack((step.wall, event, detail)))


def add_start_event(step: Step, books: Books, single: StoredBatch, event: str, detail: dict[str, Any]) -> None:
    """Adds to the history of a task that was split off, with the start that this was the end of, if there was one."""
    if single.last_start is not None:
        detail = {**detail, "start": single.last_start}
    add_event(step, books, single.own_id, event, detail)


def note_returned(books: Books, step: Step, lease: Lease, mask: int, why: str) -> None:
    """Adds to the history of a batch that tasks of it come back unstarted: one event, however many they are."""
    batch = lease.batch
    start = (lease.holder.name, lease.token, lease.granted_time, None)
    detail = {"reason": why, "start": start, **suspicion(lease.holder)}
    if batch.count > 1:
        detail["spans"] = [(lo + batch.first, hi + batch.first) for lo, hi in runs(mask)]
    add_event(step, books, batch.own_id, "returned", detail)


def start_of(step: Step, lease: Lease, bit: int) -> Start:
    """Returns how a leased task came to its holder."""
    started_at = lease.started.get(bit.bit_length() - 1 + lease.batch.first)
    started_time = None if started_at is None else step.wall - (step.now - started_at)
    return lease.holder.name, lease.token, lease.granted_time, started_time


def suspicion(holder: Holder) -> dict[str, float]:
    """Returns since when a holder has been suspect, if it is."""
    return {"suspect_time": holder.suspected_time} if holder.life is Life.SUSPECT else {}


def inherit(books: Books, step: Step, batch: StoredBatch, single: StoredBatch) -> None:
    """Gives a task that is split off what has happened to it as part of its batch, which it may outlive."""
    for _, value in list(step.tx.scan(tables.HISTORY, *tables.id_bounds(batch.own_id))):
        time, event, detail = tables.unpack(value)
        if covers(detail, single.first):
            detail.pop("spans", None)
            key = tables.history_key(single.own_id, books.next_event())
            step.tx.put(tables.HISTORY, key, tables.pack((time, event, detail)))


def forget(step: Step, id: str) -> None:
    """Deletes the history of a task or batch."""
    for key in [key for key, _ in step.tx.scan(tables.HISTORY, *tables.id_bounds(id))]:
        step.tx.delete(tables.HISTORY, key)


def covers(detail: dict[str, Any], index: int) -> bool:
    """Whether an event of a batch is one of a task of it."""
    return "spans" not in detail or any(lo <= index < hi for lo, hi in detail["spans"])


class HistoryEvent(NamedTuple):
    """Something that happened to a task, or to some of a batch."""

    time: float  # wall
    event: str
    detail: dict[str, Any]


def events_of(step: Step, id: str, index: int | None = None) -> list[HistoryEvent]:
    """Returns the rows of a task or batch, in the order in which they were written; with the start that an event ended
    as its worker and token.

    Args:
        id: of the task or batch.
        index: only what happened to this task of the batch; None: everything.
    """
    found = [HistoryEvent(*tables.unpack(value)) for _, value in step.tx.scan(tables.HISTORY, *tables.id_bounds(id))]
    return [one._replace(detail=_readable(one.detail)) for one in found if index is None or covers(one.detail, index)]


def _readable(detail: dict[str, Any]) -> dict[str, Any]:
    start = detail.pop("start", None)
    if start is None:
        return detail
    worker, token, assigned_time, started_time = start
    found = {**detail, "worker": worker, "token": token, "assigned_time": assigned_time}
    return found if started_time is None else {**found, "started_time": started_time}
