"""What people and programs may ask of a coordinator (protocol 4); nothing here changes anything."""

from collections.abc import Callable
from itertools import islice
from typing import Any

from zq.core import tables
from zq.core.admin import operations
from zq.core.arguments import LIST_MAX, InvalidRequestError, limit, named_queue, text
from zq.core.insight import browsing, reasons, task_rows, traces
from zq.core.state import history, namespace_limits
from zq.core.state.batch import mask_of
from zq.core.state.books import Books, Step
from zq.core.state.leases import Holder
from zq.core.state.queue import Queue
from zq.core.tasks import endings, groups, publishing, schedules
from zq.core.tasks.endings import DEAD, End, Place
from zq.task import split_task_id

SCAN_MAX = 10_000
"""Rows that are read for an answer when a queue is named."""


def answer(books: Books, step: Step, what: str, arguments: dict[str, Any]) -> Any:
    """Answers a query.

    Raises:
        InvalidRequestError: there is no such query, or an argument cannot be.
    """
    reader = QUERIES.get(what)
    if reader is None:
        raise InvalidRequestError(f"expected a query of {', '.join(QUERIES)}, got {what!r}")
    return reader(books, step, arguments)


def _status(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - alike in shape
    inside = namespace_limits.prefix(arguments)
    queues = _queues_inside(books, inside)
    return {
        "epoch": books.epoch,
        "queues": len(queues),
        "workers": sum(
            1 for worker in books.workers.values() if worker.peer is not None and _is_inside(worker, inside)
        ),
        "waiting": sum(queue.total_waiting + queue.parked for queue in queues),
        "scheduled": sum(queue.scheduled for queue in queues),
        "leased": sum(queue.leased for queue in queues),
        "dead": sum(queue.dead for queue in queues),
        "done": sum(queue.done for queue in queues),
        "cancelled": sum(queue.cancelled for queue in queues),
        "expired": sum(queue.expired for queue in queues),
        "counters": dict(sorted(books.counters.items())),
    }


def _queues_inside(books: Books, inside: str) -> list[Queue]:
    return sorted((one for one in books.queues.values() if one.name.startswith(inside)), key=lambda queue: queue.name)


def _is_inside(worker: Holder, inside: str) -> bool:
    """Whether a worker works for a namespace: by its name, or by what it asks for."""
    return any(name.startswith(inside) for name in (worker.name, *(queue.name for queue in worker.queues)))


def queue_row(books: Books, queue: Queue) -> dict[str, Any]:
    """Returns a queue as the query `queues` shows it."""
    return {
        "name": queue.name,
        "waiting": queue.total_waiting + queue.parked,
        "parked": queue.parked,
        "scheduled": queue.scheduled,
        "leased": queue.leased,
        "dead": queue.dead,
        "done": queue.done,
        "cancelled": queue.cancelled,
        "expired": queue.expired,
        "rate": round(queue.rate, 3),
        "bytes": queue.bytes,
        "max_tasks": queue.policies.max_tasks or books.options.queue_tasks_max,
        "assign": books.assign_policy(queue),
        "workers": sum(1 for worker in queue.workers.values() if worker.peer is not None),
    }


def _why(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return reasons.why(books, step, text(arguments, "id"))


def _queues(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    return [queue_row(books, queue) for queue in _queues_inside(books, namespace_limits.prefix(arguments))]


def _queue(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    text(arguments, "queue")
    queue = named_queue(books, arguments)
    assert queue is not None
    return queue_fields(books, step, queue)


def queue_fields(books: Books, step: Step, queue: Queue) -> dict[str, Any]:
    """Returns a queue as the query `queue` shows it: its row, and its policies as they were set."""
    return {**queue_row(books, queue), **_gate_fields(queue, step.now), "policies": queue.policies._asdict()}


def _gate_fields(queue: Queue, now: float) -> dict[str, Any]:
    """Returns what holds a queue back at the moment: the codes of `zq why`, and how many keys have no room."""
    gate = queue.gate
    if gate is None:
        return {"closed_by": [], "held_keys": 0}
    return {
        "closed_by": [limit.code for limit in gate.limits(queue.leased, now) if limit.room <= 0],
        "held_keys": len(gate.held),
    }


def _workers(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:
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
        if _is_inside(worker, namespace_limits.prefix(arguments))
    ]


def _task(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    id = text(arguments, "id")
    known = endings.find(step, id)
    part = split_task_id(id) if known is None else None
    if part is None:
        row = _of_record(books, step, id, known)
    else:
        row = _in_batch(books, step, id, endings.find(step, part[0]), part[1])
    row["timeline"] = [event._asdict() for event in history.events_of(step, id)]
    return row


def _trace(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [event._asdict() for event in traces.trace(books, step, text(arguments, "id"))]


def _in_batch(books: Books, step: Step, id: str, known: Place | End | None, index: int) -> dict[str, Any]:
    """A task that has no record of its own: its batch tells."""
    if isinstance(known, End):
        if index >= known.size or mask_of(known.split) >> index & 1:
            return {"id": id, "state": "unknown"}
        return task_rows.ended(books, id, known, index)
    batch = None if known is None or known.where == DEAD else endings.read_at(books, step, known)
    bit = 0 if batch is None else batch.span_mask(index, index + 1)
    if known is None or batch is None or not bit or batch.split & bit:
        return {"id": id, "state": "unknown"}
    if batch.ended & bit:
        return {**task_rows.fields(batch, id), "state": "done"}
    return task_rows.live(books, known, batch, id, bit)


def _of_record(books: Books, step: Step, id: str, known: Place | End | None) -> dict[str, Any]:
    if known is None:
        return {"id": id, "state": "unknown"}
    if isinstance(known, End):
        return task_rows.ended(books, id, known)
    if known.where == DEAD:
        dead = endings.read_dead(books, step, known.key)
        if dead is None:
            return {"id": id, "state": "unknown"}
        return task_rows.dead(id, *dead)
    batch = endings.read_at(books, step, known)
    if batch is None:
        return {"id": id, "state": "unknown"}
    return task_rows.live(books, known, batch, id, batch.full & ~batch.ended)


def _schedules(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    return schedules.list_all(step, limit(arguments, LIST_MAX), namespace_limits.prefix(arguments))


def _schedule(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return schedules.show(step, text(arguments, "name"))


def _replays(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    inside = namespace_limits.prefix(arguments)
    return [replay.as_map() for replay in books.replays.values() if replay.id.startswith(inside)]


def _group(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    id = text(arguments, "id")
    row = groups.find(step, id)
    return {"id": id, "state": "unknown"} if row is None else group_row(row)


def _groups(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    state = arguments.get("state")
    if state not in (None, groups.OPEN, *groups.OUTCOMES):
        raise InvalidRequestError(f"expected state open, done, failed or cancelled, got {state!r}")
    rows = (groups.read_row(key.decode(), value) for key, value in islice(step.tx.scan(tables.GROUPS), SCAN_MAX))
    inside = namespace_limits.prefix(arguments)
    found = (group_row(row) for row in rows if state in (None, row.state) and row.id.startswith(inside))
    return list(islice(found, limit(arguments, 100)))


def group_row(row: groups.GroupRow) -> dict[str, Any]:
    """Returns a group as the query `group` shows it."""
    return {
        "id": row.id,
        "state": row.state,
        "policy": row.policy,
        "size": row.size,
        "joined": row.joined,
        "outstanding": row.outstanding,
        "callback": row.queue,
        "bytes": row.bytes,
        "reason": row.reason[: task_rows.REASON_CHARS] or None,
        "opened_time": row.opened_time,
        "finished_time": row.finished_time or None,
    }


QUERIES: dict[str, Callable[[Books, Step, dict[str, Any]], Any]] = {
    "status": _status,
    "task": _task,
    "tasks": browsing.tasks,
    "payload": browsing.payload,
    "queues": _queues,
    "queue": _queue,
    "workers": _workers,
    "replays": _replays,
    "schedules": _schedules,
    "schedule": _schedule,
    "why": _why,
    "trace": _trace,
    "group": _group,
    "groups": _groups,
    "bindings": publishing.list_bindings,
    "match": publishing.match,
    "operations": operations.list_operations,
    "namespaces": namespace_limits.list_namespaces,
}
