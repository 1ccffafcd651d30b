"""Answers about the coordinator as a whole, its queues, workers, schedules and what else is listed."""

from __future__ import annotations

import time

from starlette.requests import Request

import zq
from zq.dashboard.problems import ProblemError, invalid
from zq.dashboard.site import Endpoint, Site, name_in, number_in, page_in, text_in, truth_in
from zq.dashboard.streams import StreamResponse
from zq.dashboard.upstream import unless_missing
from zq.dashboard.values import JsonObject

EMPTY: JsonObject = {"rows": [], "cursor": None}


async def session(site: Site, request: Request) -> JsonObject:  # noqa: ARG001 - all handlers have the same signature
    try:
        status: JsonObject = (await site.looker.look()).overview["status"]
        is_connected = True
    except (zq.ZqError, ProblemError):
        status, is_connected = {}, False
    return {
        "version": zq.__version__,
        "address": site.upstream.address,
        "namespace": site.options.namespace,
        "is_read_only": site.options.is_read_only,
        "is_connected": is_connected,
        "coordinator_version": status.get("version"),
        "uptime": status.get("uptime"),
        "redacts": site.options.redact is not None,
    }


async def overview(site: Site, request: Request) -> JsonObject:  # noqa: ARG001
    return (await site.looker.look()).overview


async def history(site: Site, request: Request) -> JsonObject:
    step = text_in(request, "step") or "10"
    if step not in ("10", "300"):
        raise invalid(f"expected step 10 or 300 (seconds), got {step[:60]!r}")
    query = site.upstream.page(
        "history",
        queue=text_in(request, "queue"),
        step=int(step),
        since=number_in(request, "since"),
        **page_in(request),
    )
    return await unless_missing(query, EMPTY)


async def queues(site: Site, request: Request) -> JsonObject:
    """Lists queues by name; a prefix is looked for page by page, so a page may have few rows, or none, and a cursor."""
    page = await site.upstream.page("queues", **page_in(request))
    prefix, board = text_in(request, "prefix") or "", site.looker.board
    board.note_queues(time.monotonic(), page["rows"])
    rows = [board.with_rates(row) for row in page["rows"] if prefix in row["name"]]
    return {"rows": rows, "cursor": page["cursor"]}


async def queue(site: Site, request: Request) -> JsonObject:
    row: JsonObject = await site.upstream.query("queue", queue=name_in(request), with_times=True)
    site.looker.board.note_queues(time.monotonic(), [row])
    return site.looker.board.with_rates(row)


async def workers(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("workers", **page_in(request))


async def worker(site: Site, request: Request) -> JsonObject:
    name, cursor = name_in(request), None
    while True:
        page = await site.upstream.page("workers", cursor=cursor, limit=500)
        for row in page["rows"]:
            if row["name"] == name:
                return dict(row)
        cursor = page["cursor"]
        if cursor is None:
            raise ProblemError(404, "unknown", f"there is no worker {name!r}, or no longer")


async def groups(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("groups", state=text_in(request, "state"), **page_in(request))


async def schedules(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("schedules", **page_in(request))


async def topics(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("bindings", queue=text_in(request, "queue"), **page_in(request))


async def namespaces(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("namespaces", **page_in(request))


async def operations(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("operations", **page_in(request))


async def replays(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("replays", **page_in(request))


async def failures(site: Site, request: Request) -> JsonObject:
    limit = page_in(request)["limit"]
    query = site.upstream.query("failures", queue=text_in(request, "queue"), limit=limit)
    found = await unless_missing(query, [])
    return {"rows": found["rows"] if isinstance(found, dict) else found, "cursor": None}


async def events(site: Site, request: Request) -> StreamResponse:
    return StreamResponse(site.hub, wants_events=truth_in(request, "happened", usual=True))


READING_ENDPOINTS = [
    Endpoint("GET", "/session", session),
    Endpoint("GET", "/overview", overview),
    Endpoint("GET", "/history", history),
    Endpoint("GET", "/queues", queues),
    Endpoint("GET", "/queues/{name}", queue),
    Endpoint("GET", "/workers", workers),
    Endpoint("GET", "/workers/{name}", worker),
    Endpoint("GET", "/groups", groups),
    Endpoint("GET", "/schedules", schedules),
    Endpoint("GET", "/topics", topics),
    Endpoint("GET", "/namespaces", namespaces),
    Endpoint("GET", "/operations", operations),
    Endpoint("GET", "/replays", replays),
    Endpoint("GET", "/failures", failures),
    Endpoint("GET", "/events", events),
]
