"""Where tasks are: the index, and one way in and one way out of each table in which a task can be.

A task that has not ended is in one row of pending, scheduled, parked or dead, as part of its batch or on its own; one
that has ended is in the index alone, and in `finished` until it is forgotten. Tasks that are taken out of a row are *in
hand*: `StoredBatch.origin` says in which state they were, and whoever takes them in counts the move from there
(`zq.core.state.transitions`).

Nothing else writes the tables pending, scheduled, parked, dead, index, results, finished and expiry.

Invariants: the index names the row of every task that has not ended; a queue counts the payloads of its rows in
pending, scheduled and parked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from zq.core import tables
from zq.core.state.batch import Acceptance, StoredBatch
from zq.core.state.books import Books
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.transitions import DEAD, NEW, PARKED, SCHEDULED, WAITING, TaskState
from zq.core.tables import AT_DEAD, AT_ENDED, AT_PARKED, AT_PENDING, AT_SCHEDULED
from zq.errors import StoreCorruptError
from zq.task import split_task_id


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
    accepted: tuple[Acceptance, ...]
    split: bytes
    size: int
    has_results: bool
    attempts: int
    failures: int
    accepted_time: float = 0.0  # wall
    due_time: float | None = None  # as it was submitted


SIZE_UNKNOWN: Final = 0  # of an End of a batch whose record was damaged: all tasks that are asked for were in it
Known = Place | End | None  # what the index has of an id

STATES: dict[int, TaskState] = {AT_PENDING: WAITING, AT_SCHEDULED: SCHEDULED, AT_PARKED: PARKED}
"""The places of the unfinished, and the state of the tasks there that are in nobody's hands."""

TABLE_OF = {AT_PENDING: tables.PENDING, AT_SCHEDULED: tables.SCHEDULED, AT_PARKED: tables.PARKED, AT_DEAD: tables.DEAD}

_RECORD_AT = {AT_PARKED: 1, AT_DEAD: 0}
"""Where in its row the record of a batch is, if it is not the row."""


# Finding.


def find(step: Step, id: str) -> Known:
    """Returns what the index knows of an id."""
    value = step.tx.get(tables.INDEX, id.encode())
    if value is None:
        return None
    record = tables.unpack(value)
    return End(*record) if record[0] == AT_ENDED else Place(*record)


def find_task(step: Step, id: str) -> tuple[Known, int | None]:
    """Returns the record of a task, or that of its batch and its index in it."""
    known = find(step, id)
    part = split_task_id(id) if known is None else None
    return (known, None) if part is None else (find(step, part[0]), part[1])


def read(books: Books, step: Step, known: Known) -> StoredBatch | None:
    """Returns the batch at a place; None of what has ended or is not known."""
    reader = None if known is None else _READERS.get(known.where)
    return None if known is None or reader is None else reader(books, step, known.key)


def read_unfinished(books: Books, step: Step, known: Known) -> tuple[Place, StoredBatch] | None:
    """Returns place and batch of what is neither dead nor has ended."""
    batch = read(books, step, known) if isinstance(known, Place) and known.where in STATES else None
    return None if batch is None or not isinstance(known, Place) else (known, batch)


def due_time_of(place: Place) -> float | None:
    """Returns when what is scheduled is due (wall); None of what is elsewhere."""
    return tables.split_due_key(place.key)[0] if place.where == AT_SCHEDULED else None


def is_dead(known: Known) -> bool:
    return known is not None and known.where == AT_DEAD


def size_of(step: Step, known: Place | End) -> int:
    """Returns how many tasks the batch of an index record was submitted with."""
    if isinstance(known, End):
        return known.size
    table = TABLE_OF[known.where]
    value = step.tx.get(table, known.key)
    if value is None:
        raise StoreCorruptError(f"the index names key {known.key.hex()} of table {table}, which is not there")
    record = tables.unpack(value)
    at = _RECORD_AT.get(known.where)
    return int((record if at is None else tables.unpack(record[at]))[1])


def _read_scheduled(books: Books, step: Step, key: bytes) -> StoredBatch | None:
    value = step.tx.get(tables.SCHEDULED, key)
    return None if value is None else books.read(step.tx, tables.split_due_key(key)[1], value)


def read_parked(books: Books, step: Step, key: bytes) -> StoredBatch | None:
    """Returns the batch that is parked at a key."""
    value = step.tx.get(tables.PARKED, key)
    return None if value is None else parked_batch(books, step, value)


def parked_batch(books: Books, step: Step, value: bytes) -> StoredBatch:
    """Makes the batch of a row of `parked`, or returns the one in memory."""
    task_key, record = tables.unpack(value)
    return books.batches.get(task_key) or books.read(step.tx, task_key, record)


class Dead(NamedTuple):
    """A dead letter."""

    batch: StoredBatch
    reason: str
    dead_time: float  # wall
    death: int  # number of the event: later deaths have larger ones


def read_dead(books: Books, step: Step, key: bytes) -> Dead | None:
    """Returns the dead letter of a task key."""
    value = step.tx.get(tables.DEAD, key)
    return None if value is None else dead_letter(books, step, key, value)


def dead_letter(books: Books, step: Step, key: bytes, value: bytes) -> Dead:
    """Makes a dead letter of a row of `dead`."""
    record, reason, dead_time, death = tables.unpack(value)
    return Dead(books.read(step.tx, key, record), reason, dead_time, death)


def _read_dead_batch(books: Books, step: Step, key: bytes) -> StoredBatch | None:
    dead = read_dead(books, step, key)
    return None if dead is None else dead.batch


_READERS: dict[int, Callable[[Books, Step, bytes], StoredBatch | None]] = {
    AT_PENDING: lambda books, step, key: books.fetch(step.tx, key),
    AT_SCHEDULED: _read_scheduled,
    AT_PARKED: read_parked,
    AT_DEAD: _read_dead_batch,
}


# Ways in. The tasks are in hand, all that are unfinished of their batch.


def enter_pending(books: Books, step: Step, batch: StoredBatch) -> None:
    """Lets a batch wait in its place in the order of service."""
    key, tx, queue = batch.key, step.tx, batch.queue
    # As `_enter`, which would be a call more for every submit.
    tx.put(tables.PENDING, key, batch.record())
    tx.put(tables.INDEX, batch.own_id.encode(), tables.pending_place(key))
    queue.bring_in(batch.origin, WAITING, batch.unfinished, batch.options.priority, len(batch.blob))
    books.offer(queue, (batch,))


def enter_new(books: Books, step: Step, queue: Queue, batches: Sequence[StoredBatch]) -> None:
    """Lets new batches of one queue and priority wait, in their order: `enter_pending` of each, as one."""
    step.tx.put_many(tables.PENDING, [(batch.key, batch.record()) for batch in batches])
    step.tx.put_many(tables.INDEX, [(batch.id.encode(), tables.pending_place(batch.key)) for batch in batches])
    size = sum([len(batch.blob) for batch in batches])
    queue.bring_in(NEW, WAITING, sum([batch.count for batch in batches]), batches[0].options.priority, size)
    books.offer(queue, batches)


def enter_scheduled(books: Books, step: Step, batch: StoredBatch, due_time: float) -> None:
    """Stores a batch until its time comes."""
    key = tables.due_key(due_time, batch.key)
    _enter(step, batch, AT_SCHEDULED, key, batch.record())
    books.is_changed = True  # a time is stored, and with it the clock by which it is one
    books.deadlines.delays.bring_forward(tables.split_due_key(key)[0])


def enter_parked(step: Step, batch: StoredBatch, key: bytes) -> None:
    """Lets a batch wait behind another of its line, at a key that gives its position there."""
    batch.is_parked = True
    _enter(step, batch, AT_PARKED, key, tables.pack((batch.key, batch.record())))


def enter_dead(step: Step, dead: Dead) -> None:
    """Keeps a task as a dead letter until somebody decides."""
    _enter(step, dead.batch, AT_DEAD, dead.batch.key, tables.pack((dead.batch.record(), *dead[1:])))


def _enter(step: Step, batch: StoredBatch, where: int, key: bytes, row: bytes) -> None:
    """Writes a row and its record in the index, and counts the tasks in."""
    step.tx.put(TABLE_OF[where], key, row)
    step.tx.put(tables.INDEX, batch.own_id.encode(), tables.pack((where, key)))
    is_dead = where == AT_DEAD
    size = 0 if is_dead else len(batch.blob)
    state = DEAD if is_dead else STATES[where]
    batch.queue.bring_in(batch.origin, state, batch.unfinished, batch.options.priority, size)


# Ways out, into the hand.


def leave(step: Step, place: Place, batch: StoredBatch, mask: int) -> None:
    """Takes tasks out that wait at a place; their row goes with the last that was unfinished in it.

    Args:
        place: of an unfinished batch.
        batch: which is there.
        mask: tasks of it that are in nobody's hands.
    """
    state = STATES[place.where]
    batch.queue.take_out(state, mask.bit_count(), batch.options.priority)
    batch.origin = state
    if mask == batch.full & ~batch.ended:
        batch.is_parked = False
        if step.tx.delete(TABLE_OF[place.where], place.key):
            batch.queue.free_bytes(len(batch.blob))


def leave_pending(step: Step, batch: StoredBatch, mask: int) -> None:
    """Takes tasks out of the order of service."""
    leave(step, Place(AT_PENDING, batch.key), batch, mask)


def drop_pending(step: Step, batch: StoredBatch) -> None:
    """Deletes the row of a batch in pending whose last tasks were leased, if it is there."""
    if step.tx.delete(tables.PENDING, batch.key):
        batch.queue.free_bytes(len(batch.blob))


def leave_dead(step: Step, single: StoredBatch) -> None:
    """Takes a dead letter out."""
    step.tx.delete(tables.DEAD, single.key)
    single.queue.take_out(DEAD, 1, single.options.priority)
    single.origin = DEAD


# What has ended.


class FinishedKind(Enum):
    """What a row of `finished` is about, as it is stored."""

    TASKS = None
    SPLIT = "split"  # a batch of which tasks were split off: it is known as long as one of them is
    GROUP = True
    PUBLICATION = "publication"


TASKS, SPLIT = FinishedKind.TASKS, FinishedKind.SPLIT
"""By themselves, since finding them in their class costs a call."""


class Finished(NamedTuple):
    """A row of `finished`: something that has ended, and is to be forgotten in time."""

    key: bytes
    finished_time: float  # wall
    id: str
    batch_key: bytes  # empty but of tasks
    has_results: bool
    kind: FinishedKind
    size: int  # bytes of the row


def enter_ended(books: Books, step: Step, batch: StoredBatch, end: tuple[Any, ...]) -> None:
    """Takes a batch out of pending, if it is there, whose last task has ended; the index keeps how it ended (the fields
    of an End), to be forgotten in time.
    """
    if step.tx.delete(tables.PENDING, batch.key):
        batch.queue.free_bytes(len(batch.blob))
    id = batch.own_id
    if end[1] != "done" and step.tx.is_spent:  # what is purged to make room must not take any
        _forget_at_once(step, batch)
        return
    step.tx.put(tables.INDEX, id.encode(), tables.pack(end))
    kind = SPLIT if batch.split else TASKS
    enter_finished(books, step, id, kind, batch.key, has_results=batch.has_results)


def enter_done(books: Books, step: Step, batches: Sequence[StoredBatch], ends: Sequence[tuple[Any, ...]]) -> None:
    """Takes whole batches that have ended as done out of pending: `enter_ended` of each, as one."""
    tx = step.tx
    found = tx.delete_many(tables.PENDING, [batch.key for batch in batches])
    queue, size = batches[0].queue, 0
    for batch, was_there in zip(batches, found, strict=True):
        if batch.queue is not queue:
            queue.free_bytes(size)
            queue, size = batch.queue, 0
        if was_there:
            size += len(batch.blob)
    queue.free_bytes(size)
    ids = [batch.own_id for batch in batches]
    tx.put_many(tables.INDEX, [(id.encode(), tables.pack(end)) for id, end in zip(ids, ends, strict=True)])
    wall, first = step.wall, books.finish_sequence + 1
    rows = [
        (tables.finished_key(sequence), tables.pack((wall, id, batch.key, batch.has_results)))
        for sequence, (id, batch) in enumerate(zip(ids, batches, strict=True), first)
    ]
    tx.put_many(tables.FINISHED, rows)
    _note_finished(books, step, len(rows), len(rows))


def _forget_at_once(step: Step, batch: StoredBatch) -> None:
    """Forgets what has ended as if the time for which it is kept were over."""
    step.tx.delete(tables.INDEX, batch.own_id.encode())
    if batch.has_results:
        _delete_results(step, batch.key)


def enter_finished(
    books: Books,
    step: Step,
    id: str,
    kind: FinishedKind,
    key: bytes = b"",
    *,
    has_results: bool = False,
    is_new: bool = True,
) -> None:
    """Notes that something that has ended is to be forgotten in time, counted from now; one that was noted before is
    not new.
    """
    fields = (step.wall, id, key, has_results)
    record = tables.pack(fields if kind is TASKS else (*fields, kind.value))
    step.tx.put(tables.FINISHED, tables.finished_key(books.finish_sequence + 1), record)
    _note_finished(books, step, 1, int(is_new))


def _note_finished(books: Books, step: Step, count: int, new: int) -> None:
    """Counts rows of `finished`, and notes when they are to be looked at."""
    books.finish_sequence += count
    books.kept += new
    books.is_changed = True
    if (forgotten_at := step.wall + books.options.keep_seconds_min) < books.deadlines.retention.when:
        books.deadlines.retention.bring_forward(forgotten_at)


def finished_rows(step: Step, start: bytes = b"") -> Iterator[Finished]:
    """Yields what has ended, from a key on, the oldest first; the table must not be written meanwhile."""
    for key, value in step.tx.scan(tables.FINISHED, start):
        finished_time, id, batch_key, has_results, *kind = tables.unpack(value)
        yield Finished(
            key, finished_time, id, batch_key, has_results, FinishedKind(kind[0] if kind else None), len(value)
        )


def leave_finished(step: Step, row: Finished) -> None:
    """Deletes a row of `finished`: what it is about is forgotten, or noted anew."""
    step.tx.delete(tables.FINISHED, row.key)


def note_duplicate(books: Books, step: Step, queue: Queue, id: str, original: str) -> None:
    """Remembers that a batch was not stored because another task had its unique key, so that its receipt can be
    repeated.
    """
    key = tables.task_key(queue.number, 0, 0)
    end = End(AT_ENDED, "duplicate", key, step.wall, original, (), b"", 1, False, 0, 0)
    step.tx.put(tables.INDEX, id.encode(), tables.pack(end))
    enter_finished(books, step, id, TASKS, key)


def forget(step: Step, row: Finished) -> int:
    """Forgets how tasks ended, and their results; returns how many rows these had."""
    step.tx.delete(tables.INDEX, row.id.encode())
    return _delete_results(step, row.batch_key) if row.has_results else 0


def _delete_results(step: Step, batch_key: bytes) -> int:
    keys = [key for key, _ in step.tx.scan(tables.RESULTS, *tables.result_bounds(batch_key))]
    for key in keys:
        step.tx.delete(tables.RESULTS, key)
    return len(keys)


# Results of tasks, under the task key of their batch.


def put_results_of(step: Step, results: Sequence[tuple[StoredBatch, bytes, bytes]]) -> None:
    """Stores the results, ends and payloads, of whole batches."""
    rows = []
    for batch, ends, blob in results:
        batch.has_results = True
        lo = batch.first
        rows.append((tables.result_key(batch.key, lo), tables.pack((lo + batch.count, ends, blob))))
    step.tx.put_many(tables.RESULTS, rows)


def put_results(step: Step, batch: StoredBatch, lo: int, hi: int, results: tuple[bytes, bytes]) -> None:
    """Stores the results, ends and payloads, of a run of tasks."""
    batch.has_results = True
    step.tx.put(tables.RESULTS, tables.result_key(batch.key, lo), tables.pack((hi, *results)))


def move_results(step: Step, batch: StoredBatch, fresh: StoredBatch) -> None:
    """Gives the results of a batch to what it has become under another key."""
    if batch.has_results:
        for key, value in list(step.tx.scan(tables.RESULTS, *tables.result_bounds(batch.key))):
            step.tx.delete(tables.RESULTS, key)
            step.tx.put(tables.RESULTS, fresh.key + key[len(batch.key) :], value)


# When batches expire.


def watch_expiry(books: Books, step: Step, batch: StoredBatch) -> None:
    """Notes when waiting tasks expire."""
    step.tx.put(tables.EXPIRY, batch.expiry_key(), b"")
    books.deadlines.expiry.bring_forward(batch.expires_time)


def forget_expiry(step: Step, key: bytes) -> None:
    """Deletes a row of `expiry`."""
    step.tx.delete(tables.EXPIRY, key)


def queue_of(books: Books, known: Known) -> str | None:
    """Returns the name of the queue that something is in; None when it is not there any more."""
    if known is None:
        return None
    key = known.key
    if isinstance(known, Place) and known.where == tables.AT_SCHEDULED:
        key = tables.split_due_key(key)[1]
    queue = books.queues_by_number.get(tables.split_task_key(key)[0])
    return None if queue is None else queue.name
