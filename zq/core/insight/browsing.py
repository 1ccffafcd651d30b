"""Looking for tasks by state, queue, key, headers, worker, reason and age, page by page; nothing is changed by it.

Theory of operation. A question reads at most READ_MAX records, or SCAN_BYTES_MAX of them, in the order of the tables,
whatever it finds among them; what it answers has a cursor with which the next question goes on. So looking through any
backlog takes many questions, and none of them holds up anybody. Between two questions tasks move: one that goes to
another state, or is served, may be seen twice or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack

from zq.core import tables
from zq.core.arguments import InvalidRequestError, headers_in, limit_in, number_in, optional_text_in, prefix, text_in
from zq.core.insight import task_rows
from zq.core.insight.lookup import look
from zq.core.insight.task_rows import LISTED_REASON_CHARS
from zq.core.state import history, places
from zq.core.state.batch import StoredBatch, bits, mask_of
from zq.core.state.books import Books, named_queue
from zq.core.state.leases import Lease
from zq.core.state.places import Dead, End, Finished, FinishedKind
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.task import task_id
from zq.wire.limits import DELAY_MAX, TASK_SEPARATOR

READ_MAX = 1000
"""Records that one question reads: a few milliseconds."""

SCAN_BYTES_MAX = 8 << 20
"""Bytes that one question reads, at most one record above it."""

TaskRow = dict[str, Any]


class Wanted(NamedTuple):
    """What is looked for; None means any."""

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
        if self.queue is not None and batch.queue is not self.queue:
            return False
        if self.key is not None and batch.options.key != self.key:
            return False
        if self.accepted_until is not None and batch.accepted_time > self.accepted_until:
            return False
        own = batch.options.headers or {}
        return all(own.get(name) == value for name, value in self.headers.items())

    def has_reason(self, reason: str) -> bool:
        return self.reason is None or self.reason in reason.casefold()

    def is_by(self, worker: str) -> bool:
        return self.worker is None or worker == self.worker or worker.startswith(f"{self.worker}/")


class Record(NamedTuple):
    """A record that was read."""

    key: bytes  # where it is in its table
    size: int
    found: Iterator[tuple[int, TaskRow]]  # index and row of each task in it that is wanted


SearchStage = Callable[["Books", "Step", Wanted, bytes], Iterator[Record]]


def tasks(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Answers the query `tasks`: the next rows, and the cursor to go on with, which is None when there are no more."""
    stages, wanted = _read_wanted(books, step, arguments)
    most = limit_in(arguments, 100)
    inside = prefix(arguments)
    stage, start, first = _read_cursor(arguments, len(stages))
    rows: list[TaskRow] = []
    read = size = 0
    for at in range(stage, len(stages)):
        for record in stages[at](books, step, wanted, start):
            if read == READ_MAX or size > SCAN_BYTES_MAX:
                return {"rows": rows, "cursor": _cursor(at, record.key, 0)}
            read += 1
            size += record.size
            for index, row in record.found:
                if (record.key == start and index < first) or not (row["queue"] or "").startswith(inside):
                    continue
                if len(rows) == most:
                    return {"rows": rows, "cursor": _cursor(at, record.key, index)}
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
    state = arguments.get("state") or "waiting"
    stages = STAGES.get(state)
    if stages is None:
        raise InvalidRequestError(f"expected state {', '.join(STAGES)}, got {state!r}")
    reason = optional_text_in(arguments, "reason")
    older_than = (
        None if arguments.get("older_than") is None else number_in(arguments, "older_than", 0.0, 100 * DELAY_MAX)
    )
    wanted = Wanted(
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
        batch = books.batches.get(key) or books.read(step.tx, key, value)
        yield Record(key, len(value), _in_batch(books, step, wanted, batch))


def _parked(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.PARKED, *wanted.bounds(start)):
        batch = places.parked_batch(books, step, value)
        yield Record(key, len(value), _in_batch(books, step, wanted, batch))


def _scheduled(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.SCHEDULED, start):
        due_time, task_key = tables.split_due_key(key)
        batch = books.read(step.tx, task_key, value)
        yield Record(key, len(value), _in_batch(books, step, wanted, batch, due_time))


def _in_batch(
    books: Books, step: Step, wanted: Wanted, batch: StoredBatch, due_time: float | None = None
) -> Iterator[tuple[int, TaskRow]]:
    """Yields the tasks of a batch that wait, for their time if there is one, if they are wanted."""
    if not wanted.has(batch) or not _has_history(step, wanted, batch):
        return
    for place in bits(batch.available()):
        index = batch.first + place
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
    details = [event.detail for event in history.events_of(step, batch.own_id)]
    return _was_at(wanted, details) and wanted.has_reason(str(details[-1].get("error", "")) if details else "")


def _was_at(wanted: Wanted, details: list[dict[str, Any]]) -> bool:
    return wanted.worker is None or any(wanted.is_by(str(detail.get("worker"))) for detail in details)


# All stages are alike in shape; this one reads memory alone.
def _leased(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:  # noqa: ARG001
    first = tables.token_of(start) if start else 0
    for token, lease in books.leases.items():  # tokens rise
        if token >= first:
            yield Record(tables.token_key(token), 0, _in_lease(books, wanted, lease))


def _in_lease(books: Books, wanted: Wanted, lease: Lease) -> Iterator[tuple[int, TaskRow]]:
    batch = lease.batch
    if not wanted.has(batch) or not wanted.is_by(lease.holder.name) or wanted.reason is not None:
        return
    for place in bits(lease.mask):
        index = batch.first + place
        yield index, task_rows.live(books, batch, batch.task_id(index), 1 << place, lease)


def _dead(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for key, value in step.tx.scan(tables.DEAD, *wanted.bounds(start)):
        yield Record(key, len(value), _if_dead(step, wanted, places.dead_letter(books, step, key, value)))


def _if_dead(step: Step, wanted: Wanted, dead: Dead) -> Iterator[tuple[int, TaskRow]]:
    batch = dead.batch
    if not wanted.has(batch) or not wanted.has_reason(dead.reason):
        return
    if wanted.worker is None or _was_at(wanted, [one.detail for one in history.events_of(step, batch.own_id)]):
        yield batch.first, task_rows.dead(batch.own_id, dead, LISTED_REASON_CHARS)


def _ended(books: Books, step: Step, wanted: Wanted, start: bytes) -> Iterator[Record]:
    for row in places.finished_rows(step, start):
        end = places.find(step, row.id) if _may_want(wanted, row) else None
        yield Record(row.key, row.size, _in_end(books, wanted, row.id, end) if isinstance(end, End) else iter(()))


def _may_want(wanted: Wanted, row: Finished) -> bool:
    """Whether a row is about tasks, and about those of the queue that is looked in."""
    is_of_tasks = row.kind in (FinishedKind.TASKS, FinishedKind.SPLIT)
    return is_of_tasks and (wanted.queue is None or tables.split_task_key(row.batch_key)[0] == wanted.queue.number)


def _in_end(books: Books, wanted: Wanted, id: str, end: End) -> Iterator[tuple[int, TaskRow]]:
    """Yields the tasks of something that has ended; those that were split off have a record of their own."""
    is_young = wanted.accepted_until is not None and end.accepted_time > wanted.accepted_until
    if end.outcome not in wanted.outcomes or is_young or wanted.key is not None or wanted.headers:
        return
    if not wanted.has_reason(end.reason):
        return
    is_single = TASK_SEPARATOR in id or end.size == 1
    split = 0 if is_single else mask_of(end.split)
    for index in range(1 if is_single else end.size):
        if split >> index & 1:
            continue
        own_id = id if is_single else task_id(id, end.size, index)
        at = int(id.rpartition(TASK_SEPARATOR)[2]) if is_single and TASK_SEPARATOR in id else index
        row = task_rows.ended(books, own_id, end, at)
        if wanted.worker is None or (row["worker"] is not None and wanted.is_by(row["worker"])):
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
