"""What watches processes and draws figures: /livez, /readyz and /metrics."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

import zq
from zq.dashboard.answers.site import Site
from zq.dashboard.problems import ProblemError, problem_of


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
        return _text("not ready: the coordinator's store is full, it accepts nothing new", 503)
    return _text("ok")


def _text(text: str, status: int = 200) -> Response:
    return Response(f"{text}\n", status, {"cache-control": "no-store"}, "text/plain; charset=utf-8")
