"""How tasks leave the pending table: done, retried later, dead, cancelled; and the index that remembers it.

Whole ranges of a batch end at once. A single task with a fate of its own is *split off*: its bit is set in the batch,
and it goes on as a batch of one with the id, the place and the payload that it had.

    pending ── done, cancelled ──> ended ── retention ──> forgotten
       │  ^ ^
       │  │ └── turn ── parked (zq.core.state.key_turns)
       │  └── due ── scheduled <── retry ──┐
       └──────────── failed, lost ─────────┴──> dead ── retry, replay ──> pending
"""

from __future__ import annotations

from typing import Any, NamedTuple

from zq.core import tables
from zq.core.state import event_streams, history, key_turns, unique_keys
from zq.core.state.batch import Accepted, Batch, Forwarded, mask_bytes
from zq.core.state.books import Books, Step
from zq.core.state.departures import MOVED, EndedMembers, Notice
from zq.core.state.leases import Lease
from zq.core.state.queue import Queue
from zq.wire.messages import Ended

PENDING, SCHEDULED, DEAD, ENDED = tables.AT_PENDING, tables.AT_SCHEDULED, tables.AT_DEAD, tables.AT_ENDED
PARKED = tables.AT_PARKED

SPLIT = "split"
"""Kind of a row of `finished`: a batch of which tasks were split off, and which is known as long as one of them is."""

TABLE_OF = {PENDING: tables.PENDING, SCHEDULED: tables.SCHEDULED, DEAD: tables.DEAD, PARKED: tables.PARKED}


class Place(NamedTuple):
    """The index record of a task or batch that has not ended."""

    where: int
    key: bytes  # its key in that table


class End(NamedTuple):
    """The index record of a task or batch that has ended; `split` tells which of its tasks have a record of their
    own.
    """

    where: int
    outcome: str
    key: bytes  # the task key it had; its results are under it
    finished_time: float
    reason: str
    accepted: tuple[Accepted, ...]
    split: bytes
    size: int
    has_results: bool
    attempts: int
    failures: int
    accepted_time: float = 0.0  # wall
    due_time: float | None = None  # as it was submitted


def find(step: Step, id: str) -> Place | End | None:
    """Returns what the index knows of an id."""
    value = step.tx.get(tables.INDEX, id.encode())
    if value is None:
        return None
    record = tables.unpack(value)
    return End(*record) if record[0] == ENDED else Place(*record)


def read_at(books: Books, step: Step, place: Place) -> Batch | None:
    """Returns the batch at a place of the index."""
    if place.where == PENDING:
        return books.fetch(step.tx, place.key)
    if place.where == PARKED:
        return key_turns.read_parked(books, step, place.key)
    if place.where == DEAD:
        found = read_dead(books, step, place.key)
        return None if found is None else found[0]
    value = step.tx.get(tables.SCHEDULED, place.key)
    return None if value is None else books.read(step.tx, tables.split_due_key(place.key)[1], value)


def set_place(step: Step, batch: Batch, where: int, key: bytes) -> None:
    step.tx.put(tables.INDEX, batch.own_id.encode(), tables.pack((where, key)))


# Ranges of a batch.


def end_done(
    books: Books,
    step: Step,
    lease: Lease,
    mask: int,
    results: tuple[bytes, bytes],
    *,
    is_moved: bool = False,
    started_at: float | None = None,
    forwarded: Forwarded = (),
) -> None:
    """Ends tasks of one run as done; they are in no lease any more.

    Args:
        lease: that they were in.
        mask: which of its batch they are.
        results: ends and payloads over the run, or empty.
        is_moved: what they forwarded takes their places in their group.
        started_at: of a single task, when it was started (monotonic), if known.
        forwarded: what they stored, for their trace.
    """
    batch = lease.batch
    lo, hi = mask_span(mask)
    lo, hi = lo + batch.first, hi + batch.first
    queue = batch.queue
    queue.leased -= hi - lo
    queue.done += hi - lo
    queue.note_finished(hi - lo)
    books.changed[queue] = None
    batch.ended |= mask
    if books.events is not None:
        books.events.note("done", queue.name, batch.id, lo, hi, lease.holder.name, lease.token)
    started_time = None if started_at is None else step.wall - (step.now - started_at)
    batch.accept((lease.token, lo, hi, lease.holder.name, lease.granted_time, started_time, step.wall, forwarded))
    ends, blob = results
    if blob:
        batch.has_results = True
        step.tx.put(tables.RESULTS, tables.result_key(batch.key, lo), tables.pack((hi, ends, blob)))
    books.waits.note(batch.id, Ended(lo, hi, "done", "", ends, blob))
    if batch.options.group is not None:
        outcome = MOVED if is_moved else "done"
        step.ended.append(EndedMembers(batch.options.group, batch.id, lo, hi, outcome, "", ends, blob))
    if batch.ended == batch.full:
        finish(books, step, batch, "done", "")
    else:
        books.unsaved[batch.key] = batch


def mask_span(mask: int) -> tuple[int, int]:
    """Returns lo and hi of a mask that is one run."""
    return (mask & -mask).bit_length() - 1, mask.bit_length()


def finish(books: Books, step: Step, batch: Batch, outcome: str, reason: str) -> None:
    """Takes a batch whose last task has ended out of the pending table; the index keeps how it ended."""
    tx = step.tx
    if tx.delete(tables.PENDING, batch.key):
        batch.queue.bytes -= len(batch.blob)
    forget_progress(books, step, batch)
    if batch.options.ttl is not None:
        tx.delete(tables.EXPIRY, batch.expiry_key())
    if batch.options.unique is not None:
        unique_keys.free(step, batch)
    end = (  # the fields of End: a named tuple costs three times as much, and is only packed
        ENDED,
        outcome,
        batch.key,
        step.wall,
        reason,
        batch.accepted,
        mask_bytes(batch.split) if batch.split else b"",
        batch.size,
        batch.has_results,
        batch.attempts,
        batch.failures,
        batch.accepted_time,
        batch.due_time,
    )
    kind = SPLIT if batch.split else None
    note_finished(books, step, batch.own_id, end, batch.key, has_results=batch.has_results, kind=kind)
    batch.ended = batch.full
    if batch.queue.lines:
        books.turned[batch.key] = batch
    if batch.queue.gate is not None:
        books.reopen(batch)
    if not batch.is_queued:  # else its lane drops it when it comes to it
        books.drop(batch)


def note_finished(
    books: Books,
    step: Step,
    own_id: str,
    end: tuple[Any, ...],
    key: bytes,
    *,
    has_results: bool,
    kind: str | None = None,
) -> None:
    """Writes how something ended (the fields of an End) into the index, to be forgotten in time."""
    step.tx.put(tables.INDEX, own_id.encode(), tables.pack(end))
    books.kept += 1
    let_finish(books, step, own_id, key, has_results=has_results, kind=kind)


def let_finish(books: Books, step: Step, own_id: str, key: bytes, *, has_results: bool, kind: str | None) -> None:
    """Notes that something that is in the index as ended is to be forgotten in time, counted from now."""
    books.finish_sequence += 1
    books.is_changed = True
    record = tables.pack(
        (step.wall, own_id, key, has_results) if kind is None else (step.wall, own_id, key, has_results, kind)
    )
    step.tx.put(tables.FINISHED, tables.finished_key(books.finish_sequence), record)
    books.deadlines.retention.bring_forward(step.wall + books.options.keep_seconds_min)


def note_duplicate(books: Books, step: Step, queue: Queue, id: str, original: str) -> None:
    """Remembers that a batch was not stored because another task had its unique key, so that its receipt can be
    repeated.
    """
    key = tables.task_key(queue.number, 0, 0)
    end = End(ENDED, "duplicate", key, step.wall, original, (), b"", 1, False, 0, 0)
    note_finished(books, step, id, end, key, has_results=False)


def forget_progress(books: Books, step: Step, batch: Batch) -> None:
    """Takes the progress of a batch that leaves its place out of the books."""
    books.unsaved.pop(batch.key, None)
    if batch.has_progress:
        step.tx.delete(tables.PROGRESS, batch.key)
        batch.has_progress = False


# Single tasks.


def split_off(books: Books, step: Step, batch: Batch, bit: int) -> Batch:
    """Takes one task, which is in no lease, out of the pending table, and returns it as a batch of one."""
    if batch.count == 1:
        if step.tx.delete(tables.PENDING, batch.key):
            batch.queue.bytes -= len(batch.blob)
        forget_progress(books, step, batch)
        if not batch.is_queued:
            books.drop(batch)
        return batch
    index = bit.bit_length() - 1 + batch.first
    queue, priority, sequence, _ = tables.split_task_key(batch.key)
    single = Batch(tables.task_key(queue, priority, sequence, index + 1), batch.queue, batch.id, batch.size, index)
    single.options = batch.options
    single.accepted_time = batch.accepted_time
    single.set_tasks(*batch.slice(index, index + 1))
    history.inherit(books, step, batch, single)
    batch.ended |= bit
    batch.split |= bit
    if batch.ended == batch.full:
        finish(books, step, batch, "done", "")
    else:
        books.unsaved[batch.key] = batch
        if batch.queue.lines and not (batch.options.ordered or batch.available()):
            books.turned[batch.key] = batch  # what is left of it is leased: the next of its line need not wait for that
    return single


def schedule(books: Books, step: Step, batch: Batch, due_time: float) -> None:
    """Stores a batch until its time comes."""
    key = tables.due_key(due_time, batch.key)
    step.tx.put(tables.SCHEDULED, key, batch.record())
    set_place(step, batch, SCHEDULED, key)
    batch.queue.scheduled += batch.unfinished
    batch.queue.bytes += len(batch.blob)
    books.changed[batch.queue] = None
    books.deadlines.delays.bring_forward(tables.split_due_key(key)[0])


def wait_again(books: Books, step: Step, batch: Batch) -> None:
    """Stores a batch in its place in the pending table, or parks it while another of its line has the turn."""
    if (batch.options.ordered or batch.queue.lining) and key_turns.enter(books, step, batch):
        return
    step.tx.put(tables.PENDING, batch.key, batch.record())
    set_place(step, batch, PENDING, batch.key)
    batch.queue.add_waiting(batch.options.priority, batch.unfinished)
    batch.queue.bytes += len(batch.blob)
    books.changed[batch.queue] = None
    books.offer(batch)


def bury(books: Books, step: Step, single: Batch, reason: str) -> None:
    """Makes a task that was split off a dead letter."""
    key = single.key
    step.tx.put(tables.DEAD, key, tables.pack((single.record(), reason, step.wall, books.next_event())))
    set_place(step, single, DEAD, key)
    books.drop(single)  # if it was waiting; its lane finds that it is gone
    if single.options.unique is not None:
        unique_keys.free(step, single)
    single.queue.dead += 1
    if single.queue.lines:
        books.turned[key] = single
    if single.queue.gate is not None:
        books.reopen(single)
    single.queue.note_finished(1)
    books.changed[single.queue] = None
    books.count("dead")
    event_streams.note_batch(books, single, "dead", reason)
    detail = {"attempt": single.attempts, "failures": single.failures, "reason": reason[-500:]}
    history.add_start_event(step, books, single, "dead", detail)
    note_end(books, step, single, "dead", reason)


def cancel(books: Books, step: Step, single: Batch, reason: str) -> None:
    """Ends a task that was split off as cancelled."""
    single.queue.cancelled += 1
    single.queue.note_finished(1)
    books.changed[single.queue] = None
    books.count("cancelled")
    event_streams.note_batch(books, single, "cancelled", reason)
    history.add_start_event(step, books, single, "cancelled", {"reason": reason})
    finish(books, step, single, "cancelled", reason)
    note_end(books, step, single, "cancelled", reason)


def cancel_whole(books: Books, step: Step, batch: Batch, reason: str) -> None:
    """Ends a batch as cancelled of which nothing has been leased or has ended, and which no table's count has any
    more.
    """
    lo, hi = batch.first, batch.first + batch.count
    batch.queue.cancelled += batch.count
    batch.queue.note_finished(batch.count)
    books.count("cancelled", batch.count)
    event_streams.note_batch(books, batch, "cancelled", reason)
    finish(books, step, batch, "cancelled", reason)
    books.waits.note(batch.id, Ended(lo, hi, "cancelled", reason, b"", b""))
    if batch.options.group is not None:
        step.ended.append(EndedMembers(batch.options.group, batch.id, lo, hi, "cancelled", reason, b"", b""))


def note_end(books: Books, step: Step, single: Batch, outcome: str, reason: str) -> None:
    """Tells all who have to know how a task that was split off ended: those who wait, its group, the queue for its
    notice.
    """
    options = single.options
    lo = single.first
    books.waits.note(single.id, Ended(lo, lo + 1, outcome, reason, b"", b""))
    if options.group is not None:
        step.ended.append(EndedMembers(options.group, single.id, lo, lo + 1, outcome, reason, b"", b""))
    if options.on_dead is not None and outcome in ("dead", "expired"):
        own_id, queue = single.own_id, single.queue.name
        notice = Notice(options.on_dead, own_id, queue, outcome, reason, single.attempts, options.headers, single.blob)
        step.notices.append(notice)


def read_dead(books: Books, step: Step, key: bytes) -> tuple[Batch, str, float] | None:
    """Returns a dead task, the reason, and when it died (wall)."""
    value = step.tx.get(tables.DEAD, key)
    if value is None:
        return None
    record, reason, dead_time, _ = tables.unpack(value)
    return books.read(step.tx, key, record), reason, dead_time


# What has ended.
