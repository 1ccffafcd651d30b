"""Answers about the coordinator as a whole, its queues, workers, schedules and what else is listed."""

from __future__ import annotations

import time

from starlette.requests import Request

import zq
from zq.dashboard.answers.site import Endpoint, Site, name_in, number_in, page_in, text_in, truth_in
from zq.dashboard.board import percentiles
from zq.dashboard.looking import rows_of
from zq.dashboard.problems import ProblemError, invalid
from zq.dashboard.streams import StreamResponse
from zq.dashboard.upstream import PAGE_ROWS_MAX, unless_missing
from zq.dashboard.values import JsonObject

NO_ROWS: JsonObject = {"rows": [], "cursor": None}

HISTORY_PAGES_MAX = 10
"""Pages of one answer: a week in steps of 300 s has 2,016 rows."""

PREFIX_PAGES_MAX = 40
"""Pages of queues that one request looks through for a prefix."""


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
    asked = {"queue": text_in(request, "queue"), "step": int(step), "since": number_in(request, "since")}
    rows: list[JsonObject] = []
    cursor = text_in(request, "cursor")
    for _ in range(HISTORY_PAGES_MAX):
        query = site.upstream.page("history", **asked, cursor=cursor, limit=PAGE_ROWS_MAX)
        page = await unless_missing(query, NO_ROWS)
        rows += page["rows"]
        cursor = page["cursor"]
        if cursor is None:
            break
    return {"rows": rows, "cursor": cursor}


async def queues(site: Site, request: Request) -> JsonObject:
    """Lists queues by name. Those with a prefix are looked for page by page, so there may be few, or none, and a
    cursor.
    """
    board, prefix, asked = site.looker.board, text_in(request, "prefix") or "", page_in(request)
    most, cursor = asked["limit"], asked["cursor"]
    rows: list[JsonObject] = []
    for _ in range(PREFIX_PAGES_MAX if prefix else 1):
        limit = PAGE_ROWS_MAX if prefix and not rows else most - len(rows)
        page = await site.upstream.page("queues", cursor=cursor, limit=limit)
        board.note_queues(time.monotonic(), page["rows"])
        rows += [board.with_rates(row) for row in page["rows"] if row["name"].startswith(prefix)]
        cursor = page["cursor"]
        if cursor is None or len(rows) >= most:
            break
    return {"rows": rows, "cursor": cursor}


async def queue(site: Site, request: Request) -> JsonObject:
    row: JsonObject = await site.upstream.query("queue", queue=name_in(request), with_times=True)
    site.looker.board.note_queues(time.monotonic(), [row])
    times = {name: percentiles([row.get(name)]) for name in ("wait", "run")}
    return {**site.looker.board.with_rates(row), **times}


async def workers(site: Site, request: Request) -> JsonObject:
    return await _shown(site, "workers", request)


async def _shown(site: Site, what: str, request: Request) -> JsonObject:
    """Returns a page of rows that have texts of strangers."""
    page = await site.upstream.page(what, **page_in(request))
    return {"rows": site.redactor.rows(page["rows"]), "cursor": page["cursor"]}


async def worker(site: Site, request: Request) -> JsonObject:
    name, cursor = name_in(request), None
    while True:
        page = await site.upstream.page("workers", cursor=cursor, limit=PAGE_ROWS_MAX)
        for row in page["rows"]:
            if row["name"] == name:
                return site.redactor.row(row)
        cursor = page["cursor"]
        if cursor is None:
            raise ProblemError(404, "unknown", f"there is no worker {name!r}, or no longer")


async def schedules(site: Site, request: Request) -> JsonObject:
    return await _shown(site, "schedules", request)


async def topics(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("bindings", queue=text_in(request, "queue"), **page_in(request))


async def namespaces(site: Site, request: Request) -> JsonObject:
    return await site.upstream.page("namespaces", **page_in(request))


async def operations(site: Site, request: Request) -> JsonObject:
    return await _shown(site, "operations", request)


async def replays(site: Site, request: Request) -> JsonObject:
    return await _shown(site, "replays", request)


async def failures(site: Site, request: Request) -> JsonObject:
    limit = page_in(request)["limit"]
    query = site.upstream.query("failures", queue=text_in(request, "queue"), limit=limit)
    found = await unless_missing(query, [])
    return {"rows": site.redactor.rows(rows_of(found)), "cursor": None}


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
    Endpoint("GET", "/schedules", schedules),
    Endpoint("GET", "/topics", topics),
    Endpoint("GET", "/namespaces", namespaces),
    Endpoint("GET", "/operations", operations),
    Endpoint("GET", "/replays", replays),
    Endpoint("GET", "/failures", failures),
    Endpoint("GET", "/events", events),
]
