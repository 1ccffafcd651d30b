"""Answers about tasks: found by what they have, one by one, and what has happened to each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request

from zq.dashboard.answers.site import Endpoint, Site, name_in, number_in, page_in
from zq.dashboard.problems import ProblemError, invalid
from zq.dashboard.upstream import CALL_TIMEOUT
from zq.dashboard.values import JsonObject, encode, plain

VALUE_BYTES_MAX: Final = 256 << 10
"""Of a payload or result as JSON; of a larger one the beginning is shown, as text."""

BEGINNING_CHARS: Final = 64 << 10

FILTERS: Final = ("state", "queue", "key", "worker", "reason", "header", "older")
"""What tasks are searched by, as `zq tasks ls` calls it."""


def read_search(texts: Mapping[str, Any], headers: Iterable[str], older: float | None) -> JsonObject:
    """Returns the arguments of the query `tasks`.

    Args:
        texts: by the names in FILTERS; the last two are not looked at.
        headers: each as NAME:TEXT.
        older: seconds since they were accepted.
    """
    listed: list[str] = []
    for one in headers:
        name, separator, value = one.partition(":")
        if not (separator and name.strip()):
            raise invalid(f"expected header as NAME:TEXT, got {one[:60]!r}")
        listed += [name.strip(), value.strip()]
    found = {
        **{name: texts.get(name) or None for name in FILTERS[:5]},
        "headers": listed or None,
        "older_than": older,
    }
    return {name: value for name, value in found.items() if value is not None}


async def list_tasks(site: Site, request: Request) -> JsonObject:
    headers = [one for one in request.query_params.getlist("header") if one]
    search = read_search(request.query_params, headers, number_in(request, "older"))
    page = await site.upstream.page("tasks", **search, **page_in(request))
    return {"rows": site.redactor.rows(page["rows"]), "cursor": page["cursor"]}


async def show_task(site: Site, request: Request) -> JsonObject:
    row: JsonObject = await site.upstream.query("task", id=name_in(request, "id"))
    if row.get("state") == "unknown":
        raise unknown_task(row["id"])
    return site.redactor.row(row)


def unknown_task(id: str) -> ProblemError:
    return ProblemError(404, "unknown", f"the coordinator does not know task {id}, or no longer")


async def show_trace(site: Site, request: Request) -> JsonObject:
    id = name_in(request, "id")
    rows = await site.upstream.query("trace", id=id)
    if not rows:
        raise unknown_task(id)
    return {"rows": site.redactor.rows(rows, {"id": id, "queue": _queue_of(rows)}), "cursor": None}


def _queue_of(rows: Iterable[JsonObject]) -> str | None:
    queues = [row["detail"]["queue"] for row in rows if "queue" in row.get("detail", {})]
    return queues[0] if queues else None


async def show_why(site: Site, request: Request) -> JsonObject:
    id = name_in(request, "id")
    row: JsonObject = await site.upstream.query("why", id=id)
    return site.redactor.row({"id": id, **row})


async def show_payload(site: Site, request: Request) -> JsonObject:
    id = name_in(request, "id")
    payload = await site.upstream.call(site.upstream.client.payload(id))
    return await _value(site, "payload", id, payload)


async def show_result(site: Site, request: Request) -> JsonObject:
    """The result of a task that is done, as long as the coordinator keeps it."""
    id = name_in(request, "id")
    row: JsonObject = await site.upstream.query("task", id=id)
    if row.get("state") == "unknown":
        raise unknown_task(id)
    if row["state"] != "done":
        raise ProblemError(409, "not-done", f"task {id} has no result: it is {row['state']}")
    return await _value(site, "result", id, await site.upstream.call(site.upstream.client.result(id, CALL_TIMEOUT)))


async def _value(site: Site, field: str, id: str, value: Any) -> JsonObject:
    """Returns a payload or result as it may be shown, and no more of it than a page can hold."""
    redactor, about = site.redactor, {"id": id, "queue": None}
    if redactor.is_active:
        about["queue"] = (await site.upstream.query("task", id=id)).get("queue")
    shown = plain(redactor.value(field, value, about))
    text = encode(shown)
    is_cut = len(text) > VALUE_BYTES_MAX
    return {
        "id": id,
        field: text[:BEGINNING_CHARS].decode("ascii") if is_cut else shown,
        "is_cut": is_cut,
        "is_redacted": redactor.is_active,
        "json_bytes": len(text),
    }


TASK_ENDPOINTS = [
    Endpoint("GET", "/tasks", list_tasks),
    Endpoint("GET", "/tasks/{id}", show_task),
    Endpoint("GET", "/tasks/{id}/trace", show_trace),
    Endpoint("GET", "/tasks/{id}/why", show_why),
    Endpoint("GET", "/tasks/{id}/payload", show_payload),
    Endpoint("GET", "/tasks/{id}/result", show_result),
]
