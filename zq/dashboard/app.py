"""The application: which handler answers where, behind the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from zq.dashboard.answers import acting, bulk, graphs, health, reading, sums, tasks
from zq.dashboard.answers.site import Endpoint, EndpointHandler, Site
from zq.dashboard.options import DashboardOptions
from zq.dashboard.problems import ProblemError, answer, json_response, problem_of
from zq.dashboard.security import Gatekeeper
from zq.dashboard.streams import StreamResponse

API: Final = "/api/v1"

STATIC: Final = Path(__file__).parent / "static"

ENDPOINTS: Final = [
    *(
        Endpoint(one.method, API + one.path, one.handler)
        for one in (
            *reading.READING_ENDPOINTS,
            *tasks.TASK_ENDPOINTS,
            *graphs.GRAPH_ENDPOINTS,
            *sums.SUM_ENDPOINTS,
            *acting.ACTING_ENDPOINTS,
            *bulk.BULK_ENDPOINTS,
        )
    ),
    Endpoint("GET", "/livez", health.livez),
    Endpoint("GET", "/readyz", health.readyz),
    Endpoint("GET", "/metrics", health.metrics),
]
"""Every address but those of the page."""


def make_app(options: DashboardOptions) -> ASGIApp:
    """Makes the application; it connects to its coordinator when it starts."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.site = site = Site(options)
        try:
            yield
        finally:
            await site.close()

    routes: list[BaseRoute] = [Route(one.path, _serve(one.handler), methods=[one.method]) for one in ENDPOINTS]
    routes.append(Route("/", _index, methods=["GET"]))
    routes.append(Mount("/static", StaticFiles(directory=STATIC, check_dir=False)))
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _on_http})
    app.router.redirect_slashes = False
    return Gatekeeper(app, options)


def _serve(handler: EndpointHandler) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        try:
            found: Any = await handler(request.app.state.site, request)
        except Exception as error:
            return answer(problem_of(error))
        return found if isinstance(found, Response | StreamResponse) else json_response(found)  # type: ignore[return-value]

    return serve


async def _index(request: Request) -> Response:  # noqa: ARG001 - the signature of handlers
    page = STATIC / "index.html"
    if not page.is_file():
        return answer(ProblemError(404, "unknown", f"there is no page at {page}; the interface below {API} answers"))
    return FileResponse(page, headers={"cache-control": "no-cache"})


async def _on_http(request: Request, error: Exception) -> Response:
    """What the router refuses, in the interface's own form."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code == 405:
        return answer(ProblemError(405, "method", f"{request.method} is not for {path}"))
    if error.status_code == 404:
        return answer(ProblemError(404, "unknown", f"there is nothing at {path}"))
    return answer(ProblemError(error.status_code, "refused", str(error.detail)))
