"""What people and programs may ask of a coordinator, and the commands that are not part of a task's own life (protocol 4)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from zq.core import endings, tables
from zq.core.batch import Batch, mask_of
from zq.core.books import Books, Step
from zq.core.endings import DEAD, PENDING, SCHEDULED, End, Place
from zq.core.holder import Lease
from zq.core.queue import Queue
from zq.wire.limits import TASK_SEPARATOR

LIST_MAX = 1000
"""Rows in an answer, and rows that are read for it when a queue is named: bounds what a question costs everyone else."""

SCAN_MAX = 10_000

REASON_CHARS = 500
"""Of the reason in a list: a thousand whole tracebacks would fit no message."""


class InvalidRequestError(Exception):
    """A question that can be read but not answered; the text goes to who asked."""


def answer(books: Books, step: Step, what: str, arguments: dict[str, Any]) -> Any:
    """Answers a query."""
    match what:
        case "status":
            return _status(books)
        case "task":
            return _task(books, step, _text(arguments, "id"))
        case "tasks":
            return _tasks(books, step, arguments)
        case "queues":
            return [_queue(books, queue) for queue in sorted(books.queues.values(), key=lambda queue: queue.name)]
        case "workers":
            return _workers(books, step)
    raise InvalidRequestError(f"expected query status, task, tasks, queues or workers, got {what!r}")


def carry_out(books: Books, step: Step, verb: str, arguments: dict[str, Any]) -> Any:
    """Carries out a command."""
    match verb:
        case "retry":
            return _retry(books, step, _text(arguments, "id"))
        case "replay":
            return _replay(books, step, arguments)
        case "set-queue":
            return _set_queue(books, step, arguments)
    raise InvalidRequestError(f"expected command retry, replay or set-queue, got {verb!r}")


# Arguments.


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"expected text for {name}, got {value!r}")
    return value


def _limit(arguments: dict[str, Any], default: int) -> int:
    value = arguments.get("limit", default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LIST_MAX:
        raise InvalidRequestError(f"expected limit from 1 to {LIST_MAX}, got {value!r}")
    return value


def _named_queue(books: Books, arguments: dict[str, Any]) -> Queue | None:
    name = arguments.get("queue")
    if name is None:
        return None
    queue = books.queues.get(_text(arguments, "queue"))
    if queue is None:
        raise InvalidRequestError(f"there is no queue {name!r}")
    return queue


# Queries.


def _status(books: Books) -> dict[str, Any]:
    queues = books.queues.values()
    return {
        "epoch": books.epoch,
        "queues": len(books.queues),
        "workers": sum(1 for worker in books.workers.values() if worker.peer is not None),
        "waiting": sum(queue.total_waiting for queue in queues),
        "scheduled": sum(queue.scheduled for queue in queues),
        "leased": sum(queue.leased for queue in queues),
        "dead": sum(queue.dead for queue in queues),
        "done": sum(queue.done for queue in queues),
        "cancelled": sum(queue.cancelled for queue in queues),
        "counters": dict(sorted(books.counters.items())),
    }


def _queue(books: Books, queue: Queue) -> dict[str, Any]:
    return {
        "name": queue.name,
        "waiting": queue.total_waiting,
        "scheduled": queue.scheduled,
        "leased": queue.leased,
        "dead": queue.dead,
        "done": queue.done,
        "cancelled": queue.cancelled,
        "rate": round(queue.rate, 3),
        "max_tasks": queue.max_tasks or books.options.queue_tasks_max,
        "assign": books.assign_policy(queue),
        "workers": sum(1 for worker in queue.workers.values() if worker.peer is not None),
    }


def _workers(books: Books, step: Step) -> list[dict[str, Any]]:
    return [
        {
            "name": worker.name,
            "state": worker.life.value,
            "queues": [queue.name for queue in worker.queues],
            "credit": worker.credit,
            "held": worker.held,
            "running": sum(len(lease.started) for lease in worker.leases.values()),
            "heard_ago": round(step.now - worker.heard_at, 3),
            "connected_for": None if worker.peer is None else round(step.now - worker.connected_at, 3),
            "done": worker.done,
        }
        for worker in sorted(books.workers.values(), key=lambda worker: worker.name)
    ]


def _task(books: Books, step: Step, id: str) -> dict[str, Any]:
    known = endings.find(step, id)
    base, separator, index = id.rpartition(TASK_SEPARATOR)
    if known is None and separator and index.isdecimal():
        known = endings.find(step, base)
        row = _in_batch(books, step, id, known, int(index))
    else:
        row = _of_record(books, step, id, known)
    start, stop = tables.history_bounds(id)
    events = [tables.unpack(value) for _, value in step.tx.scan(tables.HISTORY, start, stop)]
    row["timeline"] = [{"time": time, "event": event, "detail": detail} for time, event, detail in events]
    return row


def _in_batch(books: Books, step: Step, id: str, known: Place | End | None, index: int) -> dict[str, Any]:
    """A task that has no record of its own: its batch tells."""
    if isinstance(known, End):
        if index >= known.size or mask_of(known.split) >> index & 1:
            return {"id": id, "state": "unknown"}
        return _ended(books, id, known)
    batch = None if known is None or known.where == DEAD else endings.read_at(books, step, known)
    bit = 0 if batch is None else batch.span_mask(index, index + 1)
    if known is None or batch is None or not bit or batch.split & bit:
        return {"id": id, "state": "unknown"}
    if batch.ended & bit:
        return {**_fields(batch, id), "state": "done"}
    return _live(books, known, batch, id, bit)


def _of_record(books: Books, step: Step, id: str, known: Place | End | None) -> dict[str, Any]:
    if known is None:
        return {"id": id, "state": "unknown"}
    if isinstance(known, End):
        return _ended(books, id, known)
    if known.where == DEAD:
        dead = endings.read_dead(books, step, known.key)
        if dead is None:
            return {"id": id, "state": "unknown"}
        return _dead(id, *dead)
    batch = endings.read_at(books, step, known)
    if batch is None:
        return {"id": id, "state": "unknown"}
    return _live(books, known, batch, id, batch.full & ~batch.ended)


def _fields(batch: Batch, id: str) -> dict[str, Any]:
    options = batch.options
    return {
        "id": id,
        "queue": batch.queue.name,
        "priority": options.priority,
        "key": options.key,
        "on_lost": options.on_lost,
        "attempts": batch.attempts,
        "accepted_time": batch.accepted_time,
        "tasks": batch.count,
    }


def _ended(books: Books, id: str, end: End) -> dict[str, Any]:
    number, priority, _, _ = tables.split_task_key(end.key)
    queue = books.queues_by_number.get(number)
    return {
        "id": id,
        "queue": None if queue is None else queue.name,
        "state": end.outcome,
        "priority": priority,
        "attempts": end.attempts,
        "reason": end.reason or None,
        "finished_time": end.finished_time,
        "token": end.accepted[-1][0] if end.accepted else None,
    }


def _dead(id: str, batch: Batch, reason: str, dead_time: float) -> dict[str, Any]:
    return {**_fields(batch, id), "state": "dead", "reason": reason, "finished_time": dead_time}


def _live(books: Books, known: Place, batch: Batch, id: str, mask: int) -> dict[str, Any]:
    """A task, or the unfinished tasks of a batch, that wait or are leased."""
    row = _fields(batch, id)
    if known.where == SCHEDULED:
        return {**row, "state": "scheduled", "due_time": tables.split_due_key(known.key)[0]}
    lease = _lease_on(books, batch, mask) if batch.leased & mask else None
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


def _lease_on(books: Books, batch: Batch, mask: int) -> Lease | None:
    return next((one for one in books.leases.values() if one.batch is batch and one.mask & mask), None)


def _tasks(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    queue = _named_queue(books, arguments)
    state = arguments.get("state") or "waiting"
    limit = _limit(arguments, 100)
    match state:
        case "waiting" | "leased":
            rows = _list_pending(books, step, queue, is_leased=state == "leased")
        case "scheduled":
            rows = _list_scheduled(books, step, queue)
        case "dead":
            rows = (
                _dead(batch.own_id, batch, reason[:REASON_CHARS], dead_time)
                for _, (batch, reason, dead_time) in list_dead(books, step, queue)
            )
        case _:
            raise InvalidRequestError(f"expected state waiting, leased, scheduled or dead, got {state!r}")
    return list(islice(rows, limit))


def _bounds(queue: Queue | None) -> tuple[bytes, bytes | None]:
    return (b"", None) if queue is None else tables.queue_bounds(queue.number)


def _list_pending(books: Books, step: Step, queue: Queue | None, *, is_leased: bool) -> Iterator[dict[str, Any]]:
    if is_leased:
        for lease in books.leases.values():
            if queue is None or lease.batch.queue is queue:
                place = Place(PENDING, lease.batch.key)
                for row in _each(lease.batch, lease.mask):
                    yield _live(books, place, lease.batch, *row)
        return
    for key, value in islice(step.tx.scan(tables.PENDING, *_bounds(queue)), SCAN_MAX):
        batch = books.batches.get(key) or books.read(step.tx, key, value)
        for row in _each(batch, batch.available()):
            yield _live(books, Place(PENDING, key), batch, *row)


def _each(batch: Batch, mask: int) -> Iterator[tuple[str, int]]:
    """Yields id and mask of each task of a mask."""
    while mask:
        bit = mask & -mask
        yield batch.task_id(bit.bit_length() - 1 + batch.first), bit
        mask ^= bit


def _list_scheduled(books: Books, step: Step, queue: Queue | None) -> Iterator[dict[str, Any]]:
    for key, value in islice(step.tx.scan(tables.SCHEDULED), SCAN_MAX):
        batch = books.read(step.tx, tables.split_due_key(key)[1], value)
        if queue is None or batch.queue is queue:
            for id, bit in _each(batch, batch.full & ~batch.ended):
                yield _live(books, Place(SCHEDULED, key), batch, id, bit)


def list_dead(books: Books, step: Step, queue: Queue | None) -> Iterator[tuple[bytes, tuple[Batch, str, float]]]:
    """Yields the dead tasks of a queue, or all, with reason and time of death."""
    for key, value in step.tx.scan(tables.DEAD, *_bounds(queue)):
        record, reason, dead_time = tables.unpack(value)
        yield key, (books.read(step.tx, key, record), reason, dead_time)


# Commands.


def _retry(books: Books, step: Step, id: str) -> bool:
    known = endings.find(step, id)
    if not isinstance(known, Place) or known.where != DEAD:
        return False
    dead = endings.read_dead(books, step, known.key)
    if dead is None:
        return False
    endings.revive(books, step, dead[0])
    return True


def _replay(books: Books, step: Step, arguments: dict[str, Any]) -> int:
    queue = _named_queue(books, arguments)
    found = [dead[0] for _, dead in islice(list_dead(books, step, queue), _limit(arguments, LIST_MAX))]
    for batch in found:
        endings.revive(books, step, batch)
    return len(found)


def _set_queue(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    name = _text(arguments, "queue")
    unknown = set(arguments) - {"queue", "max_tasks", "assign"}
    if unknown:
        raise InvalidRequestError(f"expected max_tasks or assign, got {', '.join(sorted(unknown))}")
    max_tasks, assign = arguments.get("max_tasks"), arguments.get("assign")
    if max_tasks is not None and (not isinstance(max_tasks, int) or isinstance(max_tasks, bool) or max_tasks < 1):
        raise InvalidRequestError(f"expected max_tasks of 1 or more, got {max_tasks!r}")
    if assign is not None and assign not in ("least-loaded", "hash"):
        raise InvalidRequestError(f"expected assign least-loaded or hash, got {assign!r}")
    queue = books.queue(step, name)
    if "max_tasks" in arguments:
        queue.max_tasks = max_tasks
    if "assign" in arguments:
        queue.assign = assign
    books.changed[queue] = None
    return _queue(books, queue)
