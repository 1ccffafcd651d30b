"""Looking for tasks by state, queue, key, headers, worker, reason and age, page by page; nothing is changed by it.

Theory of operation. A question has a budget (`zq.core.pages`): it reads records in the order of the tables, whatever it
finds among them, passes their tasks by or makes rows of them, and pays for each; what it answers has a cursor with
which the next question goes on. So looking through any backlog takes many questions, and none of them holds up anybody.
What tasks of a record have in common is compared before a task of it is looked at. Between two questions tasks move:
one that goes to another state, or is served, may be seen twice or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgpack

from zq.core import tables
from zq.core.arguments import InvalidRequestError, headers_in, limit_in, number_in, optional_text_in, prefix, text_in
from zq.core.insight import task_rows
from zq.core.insight.lookup import look
from zq.core.insight.task_rows import LISTED_REASON_CHARS
from zq.core.pages import Budget, Page
from zq.core.state import history, places
from zq.core.state.batch import StoredBatch, bits, mask_of
from zq.core.state.books import Books, named_queue
from zq.core.state.leases import Lease
from zq.core.state.places import Dead, End, Finished, FinishedKind
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.errors import short
from zq.task import task_id
from zq.wire.limits import DELAY_MAX, TASK_SEPARATOR

TASK_ROW_WORK = 1
"""Of building the row of a task: of a listing's rows the smallest."""

ENDED_BYTES_PER_WORK = 256
"""Of the record of what has ended, which is made of many small values."""

TaskRow = dict[str, Any]


class Wanted(NamedTuple):
    """What is looked for; None means any."""

    budget: Budget
    inside: str  # what the name of the queue begins with
    queue: Queue | None
    key: str | None
    headers: dict[str, str]  # that a task has, among others
    worker: str | None  # that holds it, completed it, or had it when it failed; or the client of a pull
    reason: str | None  # text in the reason or last error, in lower case
    accepted_until: float | None  # wall
    outcomes: frozenset[str]  # of those that have ended

    def bounds(self, start: bytes) -> tuple[bytes, bytes | None]:
        """Returns where to read in a table whose keys begin with the queue."""
        first, stop = (b"", None) if self.queue is None else tables.queue_bounds(self.queue.number)
        return max(first, start), stop

    def has(self, batch: StoredBatch) -> bool:
        """Whether tasks of a batch may be wanted, by what they have in common."""
        if not self.is_in(batch.queue):
            return False
        if self.key is not None and batch.options.key != self.key:
            return False
        if self.accepted_until is not None and batch.accepted_time > self.accepted_until:
            return False
        own = batch.options.headers or {}
        return all(own.get(name) == value for name, value in self.headers.items())

    def is_in(self, queue: Queue | None) -> bool:
        """Whether a queue is one of those that are looked in; None is one that is there no more."""
        if self.queue is not None and queue is not self.queue:
            return False
        return not self.inside or (queue is not None and queue.name.startswith(self.inside))

    def has_reason(self, reason: str) -> bool:
        if self.reason is None:
            return True
        self.budget.spend(len(reason) // ENDED_BYTES_PER_WORK)
        return self.reason in reason.casefold()

    def is_by(self, worker: str) -> bool:
        return self.worker is None or worker == self.worker or worker.startswith(f"{self.worker}/")


class Record(NamedTuple):
    """A record that was read."""

    key: bytes  # where it is in its table
    found: Callable[[int], Iterator[tuple[int, TaskRow]]]  # index and row of each that is wanted, from an index on


SearchStage = Callable[["Books", "Step", Wanted, bytes], Iterator[Record]]


def tasks(books: Books, step: Step, arguments: dict[str, Any]) -> Page:
    """Answers the query `tasks`: the next rows, and the cursor to go on with, which is None when there are no more."""
    stages, wanted = _read_wanted(books, step, arguments)
    budget = wanted.budget
    most = limit_in(arguments, 100)
    stage, start, first = _read_cursor(arguments, len(stages))
    rows: list[TaskRow] = []
    is_begun = False  # a record is looked at in any case, or a large one would be asked for for ever
    for at in range(stage, len(stages)):
        for record in stages[at](books, step, wanted, start):
            if budget.is_spent and is_begun:
                return {"rows": rows, "cursor": _cursor(at, record.key, 0)}
            is_begun = True
            for index, row in record.found(first if record.key == start else 0):
                if len(rows) == most or (budget.is_spent and rows):
                    return {"rows": rows, "cursor": _cursor(at, record.key, index)}
                budget.spend(TASK_ROW_WORK)
                rows.append(row)
        start, first = b"", 0
    return {"rows": rows, "cursor": None}


def payload(books: Books, step: Step, arguments: dict[str, Any]) -> bytes | None:
    """Answers the query `payload`: that of a task that has not ended, or is dead; None when it is not there (any
    more).
    """
    id = text_in(arguments, "id")
    sight = look(books, step, id)
    batch = sight.batch
    if batch is None or (sight.at is None and batch.count > 1):
        return None
    at = batch.first if sight.at is None else sight.at
    return batch.slice(at, at + 1)[1]


# What is looked for.


def _read_wanted(books: Books, step: Step, arguments: dict[str, Any]) -> tuple[tuple[SearchStage, ...], Wanted]:
    state = "waiting" if arguments.get("state") is None else arguments["state"]
    stages = STAGES.get(state)
    if stages is None:
        raise InvalidRequestError(f"expected state {', '.join(STAGES)}, got {short(state)}")
    reason = optional_text_in(arguments, "reason")
    older_than = (
        None if arguments.get("older_than") is None else number_in(arguments, "older_than", 0.0, 100 * DELAY_MAX)
    )
    wanted = Wanted(
        Budget(),
        prefix(arguments),
        named_queue(books, arguments),
        optional_text_in(arguments, "key"),
        headers_in(arguments) or {},
        optional_text_in(arguments, "worker"),
        None if reason is None else reason.casefold(),
        None if older_than is None else step.wall - older_than,
        frozenset(KEPT_OUTCOMES if state == "any" else (state,)),
    )
    if state in KEPT_OUTCOMES and (wanted.key is not None or wanted.headers):
        raise InvalidRequestError(f"expected neither key nor headers with state {state}: they are not kept that long")
    return stages, wanted


def _cursor(stage: int, key: bytes, index: int) -> str:
    return bytes(tables.pack((stage, key, index))).hex()


def _read_cursor(arguments: dict[str, Any], stages: int) -> tuple[int, bytes, int]:
    value = optional_text_in(arguments, "cursor")
    if value is None:
        return 0, b"", 0
    try:
        stage, key, index = tables.unpack(bytes.fromhex(value))
    except (ValueError, TypeError, msgpack.UnpackException):
        raise InvalidRequestError("expected cursor as an earlier answer has it") from None
    if type(stage) is not int or not 0 <= stage < stages or type(key) is not bytes or type(index) is not int:
        raise InvalidRequestError("expected cursor as an earlier answer to the same question has it")
    return stage, key, index


# Where it is looked for.


def _pending(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.PENDING, *wanted.bounds(start)):
        wanted.budget.read(len(value))
        batch = books.batches.get(key) or books.read(step.tx, key, value)
        yield Record(key, partial(_in_batch, books, step, wanted, batch))


def _parked(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.PARKED, *wanted.bounds(start)):
        wanted.budget.read(len(value))
        batch = places.parked_batch(books, step, value)
        yield Record(key, partial(_in_batch, books, step, wanted, batch))


def _scheduled(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.SCHEDULED, start):
        due_time, task_key = tables.split_due_key(key)
        wanted.budget.read(len(value))
        if not wanted.is_in(books.queues_by_number.get(tables.split_task_key(task_key)[0])):
            yield Record(key, _nothing)
            continue
        batch = books.read(step.tx, task_key, value)
        yield Record(key, partial(_in_batch, books, step, wanted, batch, due_time=due_time))


def _nothing(first: int) -> Iterator[tuple[int, TaskRow]]:  # noqa: ARG001 - what a record has that is passed by
    return iter(())


def _in_batch(
    books: Books, step: Step, wanted: Wanted, batch: StoredBatch, first: int, due_time: float | None = None
) -> Iterator[tuple[int, TaskRow]]:
    """Yields the tasks of a batch that wait, for their time if there is one, if they are wanted."""
    if not wanted.has(batch) or not _has_history(step, wanted, batch):
        return
    for place in bits(batch.available()):
        index = batch.first + place
        if index < first:
            continue
        if due_time is not None:
            yield index, task_rows.scheduled(batch, batch.task_id(index), due_time)
        else:
            yield index, task_rows.live(books, batch, batch.task_id(index), 1 << place)


def _has_history(step: Step, wanted: Wanted, batch: StoredBatch) -> bool:
    """Whether worker and reason are those of an earlier start of a task that waits."""
    if wanted.worker is None and wanted.reason is None:
        return True
    if not batch.attempts:
        return False
    details = _details(step, wanted, batch)
    return _was_at(wanted, details) and wanted.has_reason(str(details[-1].get("error", "")) if details else "")


def _details(step: Step, wanted: Wanted, batch: StoredBatch) -> list[dict[str, Any]]:
    """Reads what is known of the earlier starts of a task."""
    details = [event.detail for event in history.events_of(step, batch.own_id)]
    wanted.budget.spend(
        2 * len(details) + sum([len(one.get("error") or "") for one in details]) // ENDED_BYTES_PER_WORK
    )
    return details


def _was_at(wanted: Wanted, details: list[dict[str, Any]]) -> bool:
    return wanted.worker is None or any(wanted.is_by(str(detail.get("worker"))) for detail in details)


def _leased(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.LEASES, start):
        wanted.budget.read(len(value))
        lease = books.leases.get(tables.token_of(key))
        yield Record(key, _nothing if lease is None else partial(_in_lease, books, wanted, lease))


def _in_lease(books: Books, wanted: Wanted, lease: Lease, first: int) -> Iterator[tuple[int, TaskRow]]:
    batch = lease.batch
    if not wanted.has(batch) or not wanted.is_by(lease.holder.name) or wanted.reason is not None:
        return
    for place in bits(lease.mask):
        index = batch.first + place
        if index >= first:
            yield index, task_rows.live(books, batch, batch.task_id(index), 1 << place, lease)


def _dead(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.DEAD, *wanted.bounds(start)):
        wanted.budget.read(len(value))
        yield Record(key, partial(_if_dead, step, wanted, places.dead_letter(books, step, key, value)))


def _if_dead(step: Step, wanted: Wanted, dead: Dead, first: int) -> Iterator[tuple[int, TaskRow]]:  # noqa: ARG001
    batch = dead.batch
    if not wanted.has(batch) or not wanted.has_reason(dead.reason):
        return
    if wanted.worker is None or _was_at(wanted, _details(step, wanted, batch)):
        yield batch.first, task_rows.dead(batch.own_id, dead, LISTED_REASON_CHARS)


def _ended(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for row in places.finished_rows(step, start):
        wanted.budget.read(row.size)
        end = _end_of(step, wanted, row.id) if _may_want(books, wanted, row) else None
        yield Record(row.key, _nothing if end is None else partial(_in_end, books, wanted, row.id, end))


def _may_want(books: Books, wanted: Wanted, row: Finished) -> bool:
    """Whether a row is about tasks, and about those of the queues that are looked in."""
    if row.kind not in (FinishedKind.TASKS, FinishedKind.SPLIT):
        return False
    return wanted.is_in(books.queues_by_number.get(tables.split_task_key(row.batch_key)[0]))


def _end_of(step: Step, wanted: Wanted, id: str) -> End | None:
    value = step.tx.get(tables.INDEX, id.encode())
    if value is None:
        return None
    wanted.budget.spend(len(value) // ENDED_BYTES_PER_WORK)
    record = tables.unpack(value)
    return End(*record) if record[0] == tables.AT_ENDED else None


def _in_end(books: Books, wanted: Wanted, id: str, end: End, first: int) -> Iterator[tuple[int, TaskRow]]:
    """Yields the tasks of something that has ended; those that were split off have a record of their own."""
    is_young = wanted.accepted_until is not None and end.accepted_time > wanted.accepted_until
    if end.outcome not in wanted.outcomes or is_young or wanted.key is not None or wanted.headers:
        return
    if not wanted.has_reason(end.reason):
        return
    is_single = TASK_SEPARATOR in id or end.size in (1, places.SIZE_UNKNOWN)
    split = 0 if is_single else mask_of(end.split)
    entries = task_rows.completions(end)
    for index in range(first, 1 if is_single else end.size):
        if split >> index & 1:
            continue
        own_id = id if is_single else task_id(id, end.size, index)
        at = int(id.rpartition(TASK_SEPARATOR)[2]) if is_single and TASK_SEPARATOR in id else index
        entry = entries[at] if at < len(entries) else None
        if wanted.worker is None or (entry is not None and wanted.is_by(entry[3])):
            row = task_rows.ended_by(books, own_id, end, entry)
            yield index, {**row, "reason": (row["reason"] or "")[:LISTED_REASON_CHARS] or None}


KEPT_OUTCOMES = ("done", "cancelled", "expired")
"""How those have ended that are kept for a while; the dead have a table of their own."""

STAGES: dict[str, tuple[SearchStage, ...]] = {
    "waiting": (_pending, _parked),
    "leased": (_leased,),
    "scheduled": (_scheduled,),
    "dead": (_dead,),
    "unfinished": (_leased, _pending, _parked, _scheduled),
    **dict.fromkeys(KEPT_OUTCOMES, (_ended,)),
    "any": (_leased, _pending, _parked, _scheduled, _dead, _ended),
}
