"""What a key sees of an answer: rows of queues that it may not look at are left out, and so are their names in others.

Every query has its reader here, which a test holds against the queries that there are; the value of one without would
not be answered. An answer may have fewer rows than were asked for, and its cursor goes on behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from zq.core.measures.flows import topic_of
from zq.core.rights.check import HIDDEN
from zq.core.rights.rights import Rights
from zq.core.rights.sums import status_sums
from zq.core.rights.view import View
from zq.wire.messages import Answer, Error, Query, ToCoordinator
from zq.wire.topics import NAMESPACE_SEPARATOR

SeenRow = dict[str, Any]

STATUS_SHOWN: Final = ("version", "uptime", "time", "epoch")
"""Of the status, beside the sums over queues: what says nothing of other keys."""


def veil(view: View, message: ToCoordinator, answer: Answer | Error) -> Answer | Error:
    """Returns an answer as the key may see it; `message` is what it said."""
    if isinstance(answer, Error):
        asked = message.arguments if isinstance(message, Query) else getattr(message, "arguments", {})
        return answer._replace(text=_named(answer.text, asked))
    if isinstance(message, Query):
        reader = QUERY_VEILS.get(message.what)
        value = None if reader is None else reader(view, answer.value)
        if isinstance(value, dict) and value.get("id") == HIDDEN:
            value = {**value, "id": message.arguments.get("id")}
        return answer._replace(value=value)
    return answer


def _named(text: str, arguments: dict[str, Any]) -> str:
    """Returns a text about something hidden as it would be about what was asked for."""
    names = [value for name, value in arguments.items() if name in ("id", "name") and isinstance(value, str)]
    for name in names:
        text = text.replace(repr(HIDDEN), repr(name)).replace(HIDDEN, name)
    return text


def _rows(keep: Callable[[View, SeenRow], bool]) -> Callable[[View, Any], Any]:
    """Makes a reader of a list of rows, or of a page of them."""

    def reader(view: View, value: Any) -> Any:
        if isinstance(value, dict) and "rows" in value:
            return {**value, "rows": [row for row in value["rows"] if keep(view, row)]}
        return [row for row in value if keep(view, row)]

    return reader


def _as_it_is(view: View, value: Any) -> Any:  # noqa: ARG001 - alike in shape
    return value  # what was named could be seen, and there is nothing else in it


def _of_queue(view: View, row: SeenRow) -> bool:
    return view.rights.may_see(row["queue"])


def _of_flow(view: View, row: SeenRow) -> bool:
    topic = topic_of(row["origin"])
    rights = view.rights
    if topic is None:
        may_see_origin = rights.may_see(row["origin"])
    else:
        may_see_origin = bool(rights.namespaces) and rights.is_inside(topic)
    return may_see_origin and rights.may_see(row["target"])


def _of_queues(view: View, row: SeenRow) -> bool:
    return view.has_queues(row["queue"], row["to"])


def _named_queue(view: View, row: SeenRow) -> bool:
    return view.rights.may_see(row["name"])


def _of_worker(view: View, row: SeenRow) -> bool:
    return any(map(view.rights.may_see, row["queues"]))


def _of_group(view: View, row: SeenRow) -> bool:
    owner = view.rights.name
    if row["callback"] is None:  # its row in the answer does not say whose it is
        return view.has_group(row["id"])
    return view.has_group_row(row["id"], row["callback"], owner)


def _of_namespace(view: View, row: SeenRow) -> bool:
    return view.rights.has_every_queue and view.rights.is_inside(row["name"] + NAMESPACE_SEPARATOR)


def _workers(view: View, value: Any) -> Any:
    found = _rows(_of_worker)(view, value)
    rows = found["rows"] if isinstance(found, dict) else found
    for row in rows:
        row["queues"] = [queue for queue in row["queues"] if view.rights.may_see(queue)]
        row["tasks"] = [task for task in row["tasks"] if view.rights.may_see(task["queue"])]
    return found


def _queue_names(view: View, value: Any) -> Any:
    names = value["rows"] if isinstance(value, dict) else value
    seen = [name for name in names if view.rights.may_see(name)]
    return {**value, "rows": seen} if isinstance(value, dict) else seen


def _task(view: View, value: SeenRow) -> SeenRow:
    return {**value, "timeline": [*_events(view.rights, value["timeline"])]} if "timeline" in value else value


def _trace(view: View, value: Any) -> Any:
    if isinstance(value, dict) and "rows" in value:
        return {**value, "rows": [*_events(view.rights, value["rows"])]}
    return [*_events(view.rights, value)]


def _events(rights: Rights, events: list[SeenRow]) -> Iterator[SeenRow]:
    """Yields what has happened to a task without the names of queues that may not be seen, and of what is in them."""
    for event in events:
        detail = dict(event["detail"])
        for name in ("queue", "from", "to"):
            if isinstance(detail.get(name), str) and not rights.may_see(detail[name]):
                detail[name] = None
        batches = detail.get("batches")
        if batches:
            seen = [one for one in batches if one["queue"] is not None and rights.may_see(one["queue"])]
            detail["batches"] = seen
            detail["more"] = detail.get("more", 0) + sum(one["tasks"] for one in batches if one not in seen)
        yield {**event, "detail": detail}


def _status(view: View, value: SeenRow) -> SeenRow:
    """The sums are over the queues that may be seen: the counters are over all, and the store is everybody's."""
    shown: SeenRow = {name: value[name] for name in STATUS_SHOWN if name in value}
    return {**shown, **status_sums(view.books, view.rights), "counters": {}}


QUERY_VEILS: Final[dict[str, Callable[[View, Any], Any]]] = {
    "status": _status,
    "task": _task,
    "tasks": _rows(_of_queue),
    "payload": _as_it_is,
    "failures": _rows(_of_queue),
    "history": _as_it_is,
    "flows": _rows(_of_flow),
    "dead-reasons": _rows(_of_queue),
    "queues": _rows(_named_queue),
    "queue": _as_it_is,
    "workers": _workers,
    "replays": _rows(_of_queues),
    "schedules": _rows(_of_queue),
    "schedule": _as_it_is,
    "why": _as_it_is,
    "trace": _trace,
    "group": _as_it_is,
    "groups": _rows(_of_group),
    "bindings": _rows(_of_queue),
    "match": _queue_names,
    "operations": _rows(_of_queues),
    "namespaces": _rows(_of_namespace),
}
