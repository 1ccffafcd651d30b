"""What all answers of the interface rest on, and how they read what was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from starlette.requests import Request

from zq.dashboard.answers.kept import Kept
from zq.dashboard.looking import Looker
from zq.dashboard.options import DashboardOptions
from zq.dashboard.problems import ProblemError, invalid
from zq.dashboard.redaction import Redactor
from zq.dashboard.streams import Hub
from zq.dashboard.upstream import PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, Upstream
from zq.monitor.rates import Rates

BODY_PATIENCE: Final = 10.0
"""Seconds that a body may take to come."""

TRUTHS: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Site:
    """What there is while the dashboard runs; to be made in its event loop."""

    def __init__(self, options: DashboardOptions) -> None:
        self.options = options
        self.redactor = Redactor(options.redact)
        self.upstream = Upstream(options)
        self.kept = Kept()
        self.flow_rates = Rates()
        self.hub = Hub(options.streams_max)
        self.looker = Looker(self.upstream, self.hub, self.redactor)

    async def close(self) -> None:
        await self.looker.close()
        await self.upstream.close()


EndpointHandler = Callable[[Site, Request], Awaitable[Any]]


class Endpoint(NamedTuple):
    """One address of the interface."""

    method: str  # "GET" or "POST"
    path: str  # as Starlette has it
    handler: EndpointHandler


# What was asked.


def text_in(request: Request, name: str) -> str | None:
    """Returns a parameter of the address; None when it is missing or empty."""
    return request.query_params.get(name) or None


def number_in(request: Request, name: str) -> float | None:
    text = text_in(request, name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not abs(number) < float("inf"):
        raise invalid(f"expected {name} as a number, got {text[:60]!r}")
    return number


def count_in(request: Request, name: str, usual: int, most: int) -> int:
    """Returns a parameter as a whole number from 1 to `most`."""
    text = text_in(request, name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise invalid(f"expected {name} as a number from 1 to {most}, got {text[:60]!r}")
    return int(text)


def truth_in(request: Request, name: str, *, usual: bool) -> bool:
    text = text_in(request, name)
    if text is None:
        return usual
    if text.lower() not in TRUTHS:
        raise invalid(f"expected {name} as true or false, got {text[:60]!r}")
    return TRUTHS[text.lower()]


def page_in(request: Request) -> dict[str, Any]:
    """Returns the arguments cursor and limit of a listing."""
    return {"cursor": text_in(request, "cursor"), "limit": count_in(request, "limit", PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX)}


def name_in(request: Request, name: str = "name") -> str:
    """Returns a part of the path, in which a slash of a name is %2F."""
    try:
        return unquote(request.path_params[name], errors="strict")
    except UnicodeDecodeError:
        raise invalid(f"expected {name} in UTF-8") from None


async def body_in(request: Request, *known: str) -> dict[str, Any]:
    """Reads the body, an object with some of the known fields; no body is an empty one."""
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            data = await request.body()
    except TimeoutError:
        raise ProblemError(408, "slow", f"the body did not come within {BODY_PATIENCE:g} s") from None
    try:
        body = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        raise invalid("expected a body of JSON") from None
    if not isinstance(body, dict):
        raise invalid(f"expected a JSON object, got {type(body).__name__}")
    unknown = [name for name in body if name not in known]
    if unknown:
        raise invalid(f"unknown field {unknown[0][:60]!r}; expected {', '.join(known) or 'none'}")
    return body


def flag_in(body: dict[str, Any], name: str) -> bool:
    """Returns a field of a body that is true or false; false when it is missing."""
    value = body.get(name, False)
    if type(value) is not bool:
        raise invalid(f"expected {name} as true or false, got {str(value)[:60]!r}")
    return value
