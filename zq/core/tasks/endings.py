"""How tasks end: done, dead, cancelled, expired; and how one that does not waits again.

Whole ranges of a batch end at once. A single task with a fate of its own is *split off*: its bit is set in the batch,
and it goes on as a batch of one with the id, the place and the payload that it had.
The ways between its states are a table: `zq.core.state.transitions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zq.core.state import event_streams, history, places, unique_keys
from zq.core.state.batch import Forwarded, StoredBatch, bits, mask_bytes, span_of
from zq.core.state.books import Books
from zq.core.state.leases import Holder, Lease
from zq.core.state.places import Dead
from zq.core.state.queue import DIED_AT, Queue
from zq.core.state.step import MOVED, EndedMembers, Notice, Step
from zq.core.state.transitions import DONE, LEASED, NAMES, TaskState
from zq.core.tables import AT_ENDED, split_task_key, task_key
from zq.core.tasks import key_turns, leasing
from zq.wire.messages import DEFAULT_OPTIONS, Done, Ended, Options

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
    lo, hi = span_of(mask)
    lo, hi = lo + batch.first, hi + batch.first
    queue = batch.queue
    queue.move(LEASED, DONE, hi - lo, batch.options.priority)
    batch.ended |= mask
    if books.events is not None:
        books.events.note("done", queue.name, batch.id, lo, hi, lease.holder.name, lease.token)
    if started_at is None:
        started_time, seconds = None, step.now - lease.granted_at
    else:
        seconds = step.now - started_at
        started_time = step.wall - seconds
    timed = books.measures.timed
    if seconds == timed.seconds and queue is timed.queue:
        timed.count += hi - lo
    else:
        timed.note_run(queue, seconds, hi - lo)
    batch.accept((lease.token, lo, hi, lease.holder.name, lease.granted_time, started_time, step.wall, forwarded))
    ends, blob = results
    if blob:
        places.put_results(step, batch, lo, hi, results)
    if batch.id in books.waits.entries:
        books.waits.note(batch.id, Ended(lo, hi, "done", "", ends, blob))
    if batch.options.group is not None:
        outcome = MOVED if is_moved else "done"
        step.ended.append(EndedMembers(batch.options.group, batch.id, lo, hi, outcome, "", ends, blob))
    if batch.ended == batch.full:
        finish(books, step, batch, "done", "")
    else:
        books.save_progress(batch)


def finish(books: Books, step: Step, batch: StoredBatch, outcome: str, reason: str) -> None:
    """Takes a batch whose last task has ended out of the pending table; the index keeps how it ended."""
    if batch.has_progress or books.unsaved:
        books.forget_progress(step, batch)
    if batch.options.ttl is not None:
        places.forget_expiry(step, batch.expiry_key())
    if batch.options.unique is not None:
        unique_keys.free(step, batch)
    places.enter_ended(books, step, batch, _end_of(batch, step.wall, outcome, reason))
    batch.ended = batch.full
    if batch.queue.lines:
        key_turns.end_later(books, batch)
    if batch.queue.gate is not None:
        books.reopen(batch)
    books.drop(batch)  # if it was waiting, its lane finds that it is gone; nobody may ever come to it


def _end_of(batch: StoredBatch, wall: float, outcome: str, reason: str) -> tuple[Any, ...]:
    """Returns the fields of an End: a named tuple costs three times as much, and is only packed."""
    return (
        AT_ENDED,
        outcome,
        batch.key,
        wall,
        reason,
        batch.accepted,
        mask_bytes(batch.split) if batch.split else b"",
        batch.size,
        batch.has_results,
        batch.attempts,
        batch.failures,
        batch.accepted_time,
        None if batch.options is DEFAULT_OPTIONS else batch.due_time,
    )


# Many batches.


class EndRun:
    """Batches that end as done by one message of a worker, each whole and by one lease, where nobody has to know but
    their queue and those who wait for them: they end together, which costs each of many small ones half of what it
    costs alone.
    """

    __slots__ = ("_books", "_counts", "_holder", "_leases", "_results", "_step")

    def __init__(self, books: Books, step: Step, holder: Holder) -> None:
        self._books = books
        self._step = step
        self._holder = holder
        self._leases: list[Lease] = []
        self._counts: dict[Queue, int] = {}  # of their tasks
        self._results: list[tuple[StoredBatch, bytes, bytes]] = []

    def take(self, lease: Lease, done: Done) -> bool:
        """Takes a completion of which the token was compared; False when it is not one of a whole batch, or somebody
        else has to know.
        """
        batch, books = lease.batch, self._books
        token, id, lo, hi, ends, blob, forwards, groups = done
        count = batch.count
        if lease.mask != batch.full or lo != batch.first or hi - lo != count or forwards or groups:
            return False
        options, queue = batch.options, batch.queue
        if options is not DEFAULT_OPTIONS and not _is_plain(options):
            return False
        if queue.gate is not None or queue.lines or batch.has_progress or lease.holder is not self._holder:
            return False
        if lease.started or lease.is_solo or batch.key in books.unsaved:
            return False
        if id in books.waits.entries:
            books.waits.note(id, Ended(lo, hi, "done", "", ends, blob))
        del books.leases[token], self._holder.leases[token], batch.tokens[token]
        self._leases.append(lease)
        self._counts[queue] = self._counts.get(queue, 0) + count
        if blob:
            self._results.append((batch, ends, blob))
        return True

    def store(self) -> None:
        """Ends what was taken."""
        leases = self._leases
        if not leases:
            return
        books, step, holder = self._books, self._step, self._holder
        if self._results:
            places.put_results_of(step, self._results)
        batches, ends, now, wall, name = [], [], step.now, step.wall, holder.name
        timed = books.measures.timed
        for lease in leases:
            batch = lease.batch
            lo, count = batch.first, batch.count
            lease.mask = batch.leased = 0
            batch.ended = batch.full
            batch.accepted = [(lease.token, lo, lo + count, name, lease.granted_time, None, wall, ())]
            timed.note_run(batch.queue, now - lease.granted_at, count)
            batches.append(batch)
            ends.append(_end_of(batch, wall, "done", ""))
            if not batch.is_queued:  # else its lane drops it when it comes to it
                books.drop(batch)
        for queue, tasks in self._counts.items():
            queue.move(LEASED, DONE, tasks, 0)
        leasing.forget_many(step.tx, leases)
        places.enter_done(books, step, batches, ends)
        tasks = sum(self._counts.values())
        holder.done += tasks
        books.free_leases(holder, tasks)
        books.stir_for(holder)
        self._leases, self._counts, self._results = [], {}, []


def _is_plain(options: Options) -> bool:
    """Whether nothing of what has these options is kept but its record and its leases."""
    return not (options.ordered or options.unique or options.group) and options.ttl is None


# Single tasks.


def split_off(books: Books, step: Step, batch: StoredBatch, bit: int, origin: TaskState) -> StoredBatch:
    """Takes one task out of the batch with which it came, and returns it as a batch of one, in hand.

    Args:
        batch: that it is of.
        bit: of the task; it is in no lease, and its queue has counted it out.
        origin: the state in which it was.
    """
    if batch.count == 1:
        batch.origin = origin
        places.drop_pending(step, batch)
        books.forget_progress(step, batch)
        if not batch.is_queued:
            books.drop(batch)
        return batch
    index = bit.bit_length() - 1 + batch.first
    queue, priority, sequence, _ = split_task_key(batch.key)
    key, own = task_key(queue, priority, sequence, index + 1), batch.slice(index, index + 1)
    whole = (batch.queue, batch.id, batch.size, index, batch.options, batch.accepted_time)
    single = StoredBatch(key, *whole, *own)
    single.origin = origin
    history.inherit(books, step, batch, single)
    batch.ended |= bit
    batch.split |= bit
    if batch.ended == batch.full:
        finish(books, step, batch, "done", "")
    else:
        books.save_progress(batch)
        if batch.queue.lines and not (batch.options.ordered or batch.available()):
            key_turns.end_later(books, batch)  # the rest is leased: the next of its line need not wait for that
    return single


def wait_again(books: Books, step: Step, batch: StoredBatch) -> None:
    """Lets a batch in hand wait in its place, or parks it while another of its line has the turn."""
    if (batch.options.ordered or batch.queue.lining) and key_turns.enter(books, step, batch):
        return
    places.enter_pending(books, step, batch)


def bury(books: Books, step: Step, single: StoredBatch, reason: str) -> None:
    """Makes a task in hand a dead letter."""
    places.enter_dead(step, Dead(single, reason, step.wall, books.next_event()))
    if single.options.ttl is not None:
        places.forget_expiry(step, single.expiry_key())  # if it is revived, it has no ttl
    books.drop(single)  # if it was waiting; its lane finds that it is gone
    if single.options.unique is not None:
        unique_keys.free(step, single)
    if single.queue.lines:
        key_turns.end_later(books, single)
    if single.queue.gate is not None:
        books.reopen(single)
    books.count("dead")
    single.queue.count(DIED_AT)
    event_streams.note_batch(books.events, single, "dead", reason)
    detail = {"attempt": single.attempts, "failures": single.failures, "reason": reason[-500:]}
    history.add_start_event(step, books, single, "dead", detail)
    _note_end(books, step, single, "dead", reason)


def end(books: Books, step: Step, batch: StoredBatch, state: TaskState, reason: str) -> None:
    """Ends a task in hand as cancelled or expired, or a whole batch of which nothing was ever leased."""
    outcome = NAMES[state]
    batch.queue.bring_in(batch.origin, state, batch.count, batch.options.priority)
    books.count(outcome, batch.count)
    event_streams.note_batch(books.events, batch, outcome, reason)
    if batch.count == 1:
        history.add_start_event(step, books, batch, outcome, {"reason": reason})
    finish(books, step, batch, outcome, reason)
    _note_end(books, step, batch, outcome, reason)


def end_each(
    books: Books, step: Step, batch: StoredBatch, mask: int, ending: Callable[[Books, Step, StoredBatch], None]
) -> None:
    """Ends tasks that were taken out of where they waited, one by one."""
    for index in bits(mask):
        ending(books, step, split_off(books, step, batch, 1 << index, batch.origin))


def _note_end(books: Books, step: Step, batch: StoredBatch, outcome: str, reason: str) -> None:
    """Tells all who have to know how tasks ended: those who wait, their group, the queue for a notice."""
    options = batch.options
    lo, hi = batch.first, batch.first + batch.count
    books.waits.note(batch.id, Ended(lo, hi, outcome, reason, b"", b""))
    if options.group is not None:
        step.ended.append(EndedMembers(options.group, batch.id, lo, hi, outcome, reason, b"", b""))
    if options.on_dead is not None and outcome in ("dead", "expired"):
        own_id, queue = batch.own_id, batch.queue.name
        notice = Notice(options.on_dead, own_id, queue, outcome, reason, batch.attempts, options.headers, batch.blob)
        step.notices.append(notice)
