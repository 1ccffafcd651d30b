"""What people and programs may ask of a coordinator (protocol 4); nothing here changes anything."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from zq.core import tables
from zq.core.admin import namespaces, operations
from zq.core.admin.workers import worker_row
from zq.core.arguments import InvalidRequestError, checked, flag_in, limit_in, optional_name_in, prefix, text_in
from zq.core.insight import browsing, dead_reasons, flowing, histories, reasons, task_rows, traces
from zq.core.insight.lookup import Sight, look
from zq.core.measures.failures import FAILURES_KEPT
from zq.core.measures.queue_rows import SHOWN_COUNTS, SHOWN_TOTALS, queue_fields, queue_row
from zq.core.pages import Budget, Page, page
from zq.core.state import history, places
from zq.core.state.books import Books, one_queue
from zq.core.state.leases import Holder
from zq.core.state.namespace_limits import Tally
from zq.core.state.queue import COUNT_NAMES
from zq.core.state.step import Step
from zq.core.tasks import groups, publishing, schedules
from zq.errors import short

LOOKED_AT_PER_WORK = 16
"""Workers of a queue, queues of a worker or leases, that are only counted or compared, in a unit of work."""

SHOWN_LIMITS = ("queues_max", "bindings_max", "schedules_max", "suspect_after", "gone_after")
"""Options of the coordinator that whoever looks at it wants to see."""

WORKER_QUEUES_LOOKED_AT = 20_000
"""Queues of workers that are looked at to count the workers of a namespace."""


def answer(books: Books, step: Step, what: str, arguments: dict[str, Any]) -> Any:
    """Answers a query.

    Raises:
        InvalidRequestError: there is no such query, or an argument cannot be.
    """
    reader = QUERIES.get(what)
    if reader is None:
        raise InvalidRequestError(f"expected a query of {', '.join(QUERIES)}, got {short(what)}")
    return reader(books, step, checked(arguments, books.queues))


def _status(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    tallies, namespace = books.tallies, arguments.get("namespace")
    tallies.count(books.changed)
    tally = tallies.over_all if namespace is None else tallies.by_namespace.get(namespace) or Tally()
    counts = dict(zip(COUNT_NAMES, tally.counts, strict=True))
    return {
        "time": step.wall,
        "epoch": books.epoch,
        "queues": tally.queues,
        "workers": _count_workers(books, prefix(arguments)),
        "waiting": counts["waiting"] + counts["parked"],
        **{name: counts[name] for name in (*SHOWN_COUNTS, *SHOWN_TOTALS)},
        "counters": dict(sorted(books.counters.items())),
        "usage": _usage(books),
        "limits": {name: getattr(books.options, name) for name in SHOWN_LIMITS},
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


def _count_workers(books: Books, inside: str) -> int:
    """Returns how many workers are connected; those of a namespace among so many thousands as are looked at."""
    connected = [worker for worker in books.workers.values() if worker.peer is not None]
    if not inside:
        return len(connected)
    count, left = 0, WORKER_QUEUES_LOOKED_AT
    for worker in connected:
        count += worker.name.startswith(inside) or (left > 0 and _takes_from(worker, inside))
        left -= len(worker.queues)
    return count


def _takes_from(worker: Holder, inside: str) -> bool:
    return bool([name for name in worker.queues if name.startswith(inside)])


def _why(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    return reasons.why(books, step, text_in(arguments, "id"))


def _queues(books: Books, step: Step, arguments: dict[str, Any]) -> Page:
    with_times = flag_in(arguments, "with_times")

    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in books.tallies.queue_names.after(after, prefix(arguments)):
            queue = books.queues[name]
            budget.spend(len(queue.workers) // LOOKED_AT_PER_WORK)
            yield name, queue_row(books, step, queue, budget, with_times=with_times)

    return page(arguments, "", find)


def _queue(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    with_times = flag_in(arguments, "with_times")
    return queue_fields(books, step, one_queue(books, arguments), with_times=with_times)


def _failures(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001
    queue, inside = optional_name_in(arguments, "queue"), prefix(arguments)
    most = limit_in(arguments, FAILURES_KEPT)
    rows = [
        row
        for row in books.measures.failures.newest()
        if queue in (None, row["queue"]) and row["queue"].startswith(inside)
    ]
    return {"rows": rows[:most], "cursor": None}


def _workers(books: Books, step: Step, arguments: dict[str, Any]) -> Page:
    inside = prefix(arguments)

    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any] | None]]:
        for name in sorted([name for name in books.workers if name > after]):
            worker = books.workers[name]
            budget.spend((len(worker.queues) + len(worker.leases)) // LOOKED_AT_PER_WORK)
            is_inside = name.startswith(inside) or _takes_from(worker, inside)
            yield name, worker_row(worker, step) if is_inside else None

    return page(arguments, "", find)


def _task(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    id = text_in(arguments, "id")
    row = _row(books, id, look(books, step, id))
    row["timeline"] = task_rows.events(history.events_of(step, id))
    return row


def _trace(books: Books, step: Step, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    return task_rows.events(traces.trace(books, step, text_in(arguments, "id")))


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


def _schedules(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001
    return page(arguments, "", partial(schedules.rows_after, step, prefix(arguments)))


def _schedule(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    return schedules.show(step, text_in(arguments, "name"))


def _replays(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001
    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any] | None]]:  # noqa: ARG001
        for id in sorted([id for id in books.replays if id > after]):
            yield id, books.replays[id].as_map() if id.startswith(prefix(arguments)) else None

    return page(arguments, "", find)


def _group(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    id = text_in(arguments, "id")
    row = groups.find(step, id)
    return {"id": id, "state": "unknown"} if row is None else group_row(row)


def _groups(books: Books, step: Step, arguments: dict[str, Any]) -> Page:  # noqa: ARG001
    state = arguments.get("state")
    if state not in (None, groups.OPEN, *groups.GROUP_OUTCOMES):
        raise InvalidRequestError(f"expected state open, done, failed or cancelled, got {short(state)}")
    inside = prefix(arguments)

    def find(after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any] | None]]:
        for key, value in step.tx.scan(tables.GROUPS, max(inside, after).encode()):
            id = key.decode()
            if not id.startswith(inside):
                return
            if id == after:
                continue
            budget.read(len(value))
            row = groups.read_row(id, value)
            yield id, group_row(row) if state in (None, row.state) else None

    return page(arguments, "", find)


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
    "failures": _failures,
    "history": histories.history,
    "flows": flowing.flows,
    "dead-reasons": dead_reasons.dead_reasons,
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
