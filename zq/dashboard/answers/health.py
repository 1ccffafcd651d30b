"""What watches processes and draws figures: /livez, /readyz and /metrics."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

import zq
from zq.dashboard.answers.site import Site
from zq.dashboard.problems import ProblemError, problem_of
from zq.dashboard.upstream import PAGE_ROWS_MAX
from zq.dashboard.values import JsonObject
from zq.monitor.openmetrics import MEDIA_TYPES, MetricsFormat, render

METRICS_AGE_MAX: Final = 1.0
"""Seconds for which figures are given again."""

METRICS_PAGES_MAX: Final = 10
"""Pages of queues that are read for them, and of workers: what is beyond has no figures of its own."""


async def livez(site: Site, request: Request) -> Response:  # noqa: ARG001 - all handlers have the same signature
    """The loop turns, or this would not be answered."""
    return _text("ok")


async def readyz(site: Site, request: Request) -> Response:  # noqa: ARG001
    """The coordinator answers, and accepts what it is given."""
    try:
        status = (await site.looker.look()).overview["status"]
    except (zq.ZqError, ProblemError) as error:
        return _text(f"not ready: {problem_of(error).message}", 503)
    if status["store"]["is_full"]:
        return _text(f"not ready: the coordinator's {status['store']['full_by']} is full, it accepts nothing new", 503)
    return _text("ok")


async def metrics(site: Site, request: Request) -> Response:
    """Figures of the coordinator, of its queues and of its workers, in the format that is asked for."""
    try:
        found = await site.kept.get("metrics", METRICS_AGE_MAX, lambda: _measure(site))
    except Exception as error:
        problem = problem_of(error)
        return _text(problem.message, problem.status)
    is_open = "application/openmetrics-text" in request.headers.get("accept", "")
    kind: MetricsFormat = "openmetrics" if is_open else "prometheus"
    headers = {"cache-control": "no-store", "content-type": MEDIA_TYPES[kind]}
    return Response(render(*found, text_format=kind), 200, headers)


async def _measure(site: Site) -> tuple[JsonObject, list[JsonObject], list[JsonObject]]:
    status = (await site.looker.look()).overview["status"]
    return status, await _all(site, "queues", with_times=True), await _all(site, "workers")


async def _all(site: Site, what: str, **arguments: Any) -> list[JsonObject]:
    rows: list[JsonObject] = []
    cursor: str | None = None
    for _ in range(METRICS_PAGES_MAX):
        page = await site.upstream.page(what, cursor=cursor, limit=PAGE_ROWS_MAX, **arguments)
        rows += page["rows"]
        cursor = page["cursor"]
        if cursor is None:
            break
    return rows


def _text(text: str, status: int = 200) -> Response:
    return Response(f"{text}\n", status, {"cache-control": "no-store"}, "text/plain; charset=utf-8")
