"""What people and programs may ask of a coordinator (protocol 4); nothing here changes anything."""

from collections.abc import Callable
from itertools import islice
from typing import Any

from zq.core import tables
from zq.core.admin import namespaces, operations
from zq.core.arguments import LIST_MAX, InvalidRequestError, limit_in, prefix, text_in
from zq.core.insight import browsing, reasons, task_rows, traces
from zq.core.insight.lookup import Sight, look
from zq.core.state import history, places
from zq.core.state.books import Books, one_queue
from zq.core.state.holder import Life
from zq.core.state.leases import Holder
from zq.core.state.queue import SHOWN_COUNTS, Queue, queue_fields, queue_row
from zq.core.state.step import Step
from zq.core.tasks import groups, publishing, schedules

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
    inside = prefix(arguments)
    queues = _queues_inside(books, inside)
    return {
        "epoch": books.epoch,
        "queues": len(queues),
        "workers": sum(
            1 for worker in books.workers.values() if worker.peer is not None and _is_inside(worker, inside)
        ),
        "waiting": sum(queue.total_waiting + queue.parked for queue in queues),
        **{name: sum(getattr(queue, name) for queue in queues) for name in SHOWN_COUNTS},
        "counters": dict(sorted(books.counters.items())),
        "usage": _usage(books),
        "limits": {name: getattr(books.options, name) for name in ("queues_max", "bindings_max", "schedules_max")},
        "peer_limits": books.options.peer_limits.as_map(),
    }


def _usage(books: Books) -> dict[str, int]:
    """Returns how many there are, over all peers, of what is limited for each."""
    return {
        "waits": sum(len(guest.waits) for guest in books.guests.values()),
        "pulls": len(books.pulls),
        "follows": 0 if books.events is None else len(books.events.by_request),
        "workers": len(books.workers),
        "leases": sum(worker.held for worker in (*books.workers.values(), *books.pullers.values())),
        "queues": len(books.queues),
        "bindings": len(books.bindings),
        "schedules": books.schedules,
    }


def _queues_inside(books: Books, inside: str) -> list[Queue]:
    return sorted((one for one in books.queues.values() if one.name.startswith(inside)), key=lambda queue: queue.name)


def _is_inside(worker: Holder, inside: str) -> bool:
    """Whether a worker works for a namespace: by its name, or by what it asks for."""
    return any(name.startswith(inside) for name in (worker.name, *worker.queues))


def _why(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return reasons.why(books, step, text_in(arguments, "id"))


def _queues(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    return [queue_row(queue, books.options) for queue in _queues_inside(books, prefix(arguments))]


def _queue(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return queue_fields(one_queue(books, arguments), books.options, step.now)


def _workers(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": worker.name,
            "state": _state_of(worker),
            "queues": list(worker.queues),
            "credit": worker.credit,
            "held": worker.held,
            "running": sum(len(lease.started) for lease in worker.leases.values()),
            "heard_ago": round(step.now - worker.heard_at, 3),
            "connected_for": None if worker.peer is None else round(step.now - worker.connected_at, 3),
            "done": worker.done,
        }
        for worker in sorted(books.workers.values(), key=lambda worker: worker.name)
        if _is_inside(worker, prefix(arguments))
    ]


def _state_of(worker: Holder) -> str:
    is_stuck = worker.life is Life.LIVE and worker.idle_finds > 0
    return "stuck" if is_stuck else worker.life.value


def _task(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    id = text_in(arguments, "id")
    row = _row(books, id, look(books, step, id))
    row["timeline"] = [event._asdict() for event in history.events_of(step, id)]
    return row


def _trace(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return [event._asdict() for event in traces.trace(books, step, text_in(arguments, "id"))]


def _row(books: Books, id: str, sight: Sight) -> dict[str, Any]:
    if sight.end is not None:
        return task_rows.ended(books, id, sight.end, sight.at or 0)
    batch, place = sight.batch, sight.place
    if batch is None or place is None:
        return {"id": id, "state": "unknown"}
    if sight.dead is not None:
        return task_rows.dead(id, sight.dead)
    if batch.ended & sight.mask:
        return {**task_rows.fields(batch, id), "state": "done"}
    due_time = places.due_time_of(place)
    if due_time is not None:
        return task_rows.scheduled(batch, id, due_time)
    return task_rows.live(books, batch, id, sight.mask)


def _schedules(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    return schedules.list_all(step, limit_in(arguments, LIST_MAX), prefix(arguments))


def _schedule(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return schedules.show(step, text_in(arguments, "name"))


def _replays(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    inside = prefix(arguments)
    return [replay.as_map() for replay in books.replays.values() if replay.id.startswith(inside)]


def _group(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    id = text_in(arguments, "id")
    row = groups.find(step, id)
    return {"id": id, "state": "unknown"} if row is None else group_row(row)


def _groups(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    state = arguments.get("state")
    if state not in (None, groups.OPEN, *groups.GROUP_OUTCOMES):
        raise InvalidRequestError(f"expected state open, done, failed or cancelled, got {state!r}")
    rows = (groups.read_row(key.decode(), value) for key, value in islice(step.tx.scan(tables.GROUPS), SCAN_MAX))
    inside = prefix(arguments)
    found = (group_row(row) for row in rows if state in (None, row.state) and row.id.startswith(inside))
    return list(islice(found, limit_in(arguments, 100)))


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
        "bytes": row.results_bytes,
        "reason": row.reason[: task_rows.LISTED_REASON_CHARS] or None,
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
    "namespaces": namespaces.list_namespaces,
}
