"""The timeline of a task, or of a batch: put together, when somebody asks, from the records that there are anyway and
from table `history`.

What each part tells: the batch, or the index record of its end, when it was accepted and due; its accepted completions,
who was given which tasks, when and under which token, and what they forwarded; the leases in memory, who has them now;
the history, everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from zq.core.insight import task_rows
from zq.core.insight.lookup import look
from zq.core.state import history
from zq.core.state.batch import Acceptance, StoredBatch, runs
from zq.core.state.books import Books
from zq.core.state.history import HistoryEvent
from zq.core.state.holder import Life
from zq.core.state.leases import Lease
from zq.core.state.places import End
from zq.core.state.step import Step
from zq.wire.limits import TASK_SEPARATOR

ORDER = ("accepted", "due", "assigned", "started", "suspect", "", "forwarded", "done")
"""Events of the same time, one after the other; all that are not named come in the middle."""


def trace(books: Books, step: Step, id: str) -> list[HistoryEvent]:
    """Returns what has happened to a task, or to a batch, in the order of time; nothing when it is not known, or no
    longer.
    """
    sight = look(books, step, id)
    index, end, batch = sight.at, sight.end, sight.batch
    own_id = id if index is None else id.rpartition(TASK_SEPARATOR)[0]
    events: list[HistoryEvent] = []
    if end is not None:
        events += _of_end(books, end, index)
    elif batch is not None:
        until = inf if sight.dead is None else sight.dead.dead_time  # it has stopped to wait for its time then
        events += _of_batch(books, step, batch, index, until)
    else:
        return []
    for event in history.events_of(step, own_id, index):
        events += _unfold(event)
    if end is not None and end.outcome != "done" and all(one.event != end.outcome for one in events):
        events.append(HistoryEvent(end.finished_time, end.outcome, {"reason": end.reason}))  # a whole batch at once
    size = batch.size if batch is not None else end.size if end is not None else 0
    return _arrange(step, events, has_ranges=index is None and TASK_SEPARATOR not in id and size > 1)


def _of_end(books: Books, end: End, index: int | None) -> Iterator[HistoryEvent]:
    if end.accepted_time:
        yield HistoryEvent(end.accepted_time, "accepted", {"queue": task_rows.queue_of(books, end), "tasks": end.size})
    if end.due_time is not None and end.due_time <= end.finished_time:
        yield HistoryEvent(end.due_time, "due", {})
    yield from _of_completions(end.accepted, index)


def _of_batch(books: Books, step: Step, batch: StoredBatch, index: int | None, until: float) -> Iterator[HistoryEvent]:
    yield HistoryEvent(batch.accepted_time, "accepted", {"queue": batch.queue.name, "tasks": batch.size})
    if batch.due_time is not None and batch.due_time <= until:
        yield HistoryEvent(batch.due_time, "due", {})
    yield from _of_completions(batch.accepted, index)
    wanted = batch.full if index is None else batch.span_mask(index, index + 1)
    for lease in books.leases.values():
        if lease.batch is batch and lease.mask & wanted:
            yield from _of_lease(step, lease, lease.mask & wanted, index)


def _of_completions(accepted: tuple[Acceptance, ...] | list[Acceptance], index: int | None) -> Iterator[HistoryEvent]:
    for token, lo, hi, worker, granted_time, started_time, done_time, forwarded in accepted:
        if index is not None and not lo <= index < hi:
            continue
        who = {"worker": worker, "token": token, "lo": lo, "hi": hi}
        yield HistoryEvent(granted_time, "assigned", who)
        if started_time is not None:
            yield HistoryEvent(started_time, "started", who)
        if forwarded:
            names = [{"id": id, "queue": queue or None, "tasks": tasks} for id, queue, tasks in forwarded if id]
            more = sum(count for id, _, count in forwarded if not id)
            yield HistoryEvent(done_time, "forwarded", {**who, "batches": names, "more": more})
        yield HistoryEvent(done_time, "done", who)


def _of_lease(step: Step, lease: Lease, mask: int, index: int | None) -> Iterator[HistoryEvent]:
    """What is known of tasks that are leased now."""
    first = lease.batch.first
    who = {"worker": lease.holder.name, "token": lease.token}
    for lo, hi in runs(mask):
        yield HistoryEvent(lease.granted_time, "assigned", {**who, "lo": lo + first, "hi": hi + first})
    for one, started_at in lease.started.items():
        if index is None or one == index:
            yield HistoryEvent(step.wall - (step.now - started_at), "started", {**who, "lo": one, "hi": one + 1})
    if lease.holder.life is Life.SUSPECT:
        yield HistoryEvent(lease.holder.suspected_time, "suspect", who)


def _unfold(event: HistoryEvent) -> Iterator[HistoryEvent]:
    """Makes of an event that ended a start the events of that start, too."""
    detail = dict(event.detail)
    suspect_time = detail.pop("suspect_time", None)
    assigned_time, started_time = detail.pop("assigned_time", None), detail.pop("started_time", None)
    who: dict[str, Any] = {name: detail[name] for name in ("worker", "token", "spans") if name in detail}
    if assigned_time is not None:
        yield HistoryEvent(assigned_time, "assigned", who)
    if started_time is not None:
        yield HistoryEvent(started_time, "started", who)
    if suspect_time is not None:
        yield HistoryEvent(suspect_time, "suspect", who)
    yield HistoryEvent(event.time, event.event, detail)


def _arrange(step: Step, events: list[HistoryEvent], *, has_ranges: bool) -> list[HistoryEvent]:
    """Returns events in the order of time, each once: what one lease covered was assigned together, however it ended.

    Args:
        events: in any order; those of a lease may say several times that it was assigned.
        has_ranges: whether `lo` and `hi` mean something to who asks.
    """
    found: dict[tuple[Any, ...], HistoryEvent] = {}
    for event in sorted(events, key=lambda event: (event.time, _rank(event))):
        detail = dict(event.detail)
        if not has_ranges:
            detail.pop("lo", None)
            detail.pop("hi", None)
        key: tuple[Any, ...] = (event.time, event.event, str(detail))
        if event.event == "assigned":
            key = (detail.get("token"),)
            if key in found and "lo" in detail and "lo" in found[key].detail:
                earlier = found[key].detail
                earlier["lo"], earlier["hi"] = min(earlier["lo"], detail["lo"]), max(earlier["hi"], detail["hi"])
        if (
            event.time <= step.wall or event.event != "due"
        ):  # what has happened has, even if the clock was set back since
            found.setdefault(key, event._replace(detail=detail))
    return list(found.values())


def _rank(event: HistoryEvent) -> int:
    return ORDER.index(event.event if event.event in ORDER else "")
