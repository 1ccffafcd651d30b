"""Answers about tasks: found by what they have, one by one, and what has happened to each."""

from __future__ import annotations

from starlette.requests import Request

from zq.dashboard.problems import ProblemError, invalid
from zq.dashboard.site import Endpoint, Site, name_in, number_in, page_in, text_in
from zq.dashboard.values import JsonObject


def search_in(request: Request) -> JsonObject:
    """Returns the arguments of the query `tasks` that an address has: the same filters as `zq tasks ls`."""
    headers: list[str] = []
    for one in request.query_params.getlist("header"):
        name, separator, value = one.partition(":")
        if not (separator and name):
            raise invalid(f"expected header as NAME:TEXT, got {one[:60]!r}")
        headers += [name.strip(), value.strip()]
    found = {
        "state": text_in(request, "state"),
        **{name: text_in(request, name) for name in ("queue", "key", "worker", "reason")},
        "headers": headers or None,
        "older_than": number_in(request, "older"),
    }
    return {name: value for name, value in found.items() if value is not None}


async def tasks(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("tasks", **search_in(request), **page_in(request))


async def task(site: Site, request: Request) -> JsonObject:
    row: JsonObject = await site.upstream.query("task", id=name_in(request, "id"))
    if row.get("state") == "unknown":
        raise ProblemError(404, "unknown", f"the coordinator does not know task {row['id']}, or no longer")
    return row


async def trace(site: Site, request: Request) -> JsonObject:
    rows = await site.upstream.query("trace", id=name_in(request, "id"))
    return {"rows": rows, "cursor": None}


async def why(site: Site, request: Request) -> JsonObject:
    row: JsonObject = await site.upstream.query("why", id=name_in(request, "id"))
    return {"id": name_in(request, "id"), **row}


async def payload(site: Site, request: Request) -> JsonObject:
    id = name_in(request, "id")
    return {"id": id, "payload": await site.upstream.call(site.upstream.client.payload(id))}


async def group(site: Site, request: Request) -> JsonObject:
    row: JsonObject = await site.upstream.query("group", id=name_in(request, "id"))
    if row.get("state") == "unknown":
        raise ProblemError(404, "unknown", f"the coordinator does not know group {row['id']}, or no longer")
    return row


TASK_ENDPOINTS = [
    Endpoint("GET", "/tasks", tasks),
    Endpoint("GET", "/tasks/{id}/trace", trace),
    Endpoint("GET", "/tasks/{id}/why", why),
    Endpoint("GET", "/tasks/{id}/payload", payload),
    Endpoint("GET", "/tasks/{id}", task),
    Endpoint("GET", "/groups/{id}", group),
]
