"""Deeds on many tasks: those with some ids, all that a search finds, all dead letters of a reason.

Theory of operation. A deed works in portions, of which each is a few messages, so that no worker waits for it; it
counts as it goes. One request goes on for DEED_SECONDS at most: then it answers with what it has done and a cursor,
with which the next one goes on. A dry run counts and changes nothing; when it has looked for COUNT_SECONDS it says that
there are at least so many.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from starlette.requests import Request

from zq.dashboard.answers.site import Endpoint, EndpointHandler, Site, body_in, flag_in
from zq.dashboard.answers.tasks import FILTERS, read_search
from zq.dashboard.problems import ProblemError, invalid, problem_of
from zq.dashboard.upstream import PAGE_ROWS_MAX
from zq.dashboard.values import JsonObject, plain

IDS_MAX: Final = 1000
"""Of tasks in one request."""

AT_ONCE: Final = 500
"""Tasks that are cancelled or retried in a portion."""

DEED_SECONDS: Final = 20.0
"""For which one request goes on."""

COUNT_SECONDS: Final = 3.0
"""For which a dry run counts."""

DEAD_PORTION: Final = 1000
"""Dead letters that one command may bring back or give up."""

TaskDeed = Callable[[str], Awaitable[int]]


def _on_tasks(verb: str, usual_state: str) -> EndpointHandler:
    """Returns what cancels or retries tasks."""

    async def handle(site: Site, request: Request) -> JsonObject:
        body = await body_in(request, "ids", "search", "is_dry_run", "cursor")
        client = site.upstream.client
        deed: TaskDeed = client.cancel if verb == "cancel" else client.dead.replay
        if "ids" in body:
            ids = _read_ids(body)
            return {
                "count": len(ids) if flag_in(body, "is_dry_run") else await _do_all(site, deed, ids),
                "cursor": None,
            }
        search = _read_search(body, usual_state)
        if flag_in(body, "is_dry_run"):
            return await _count(site, search)
        return await _do_found(site, deed, search, body.get("cursor"))

    return handle


def _read_ids(body: JsonObject) -> list[str]:
    ids = body["ids"]
    if not isinstance(ids, list) or not 0 < len(ids) <= IDS_MAX or not all(isinstance(one, str) for one in ids):
        raise invalid(f"expected ids as a list of 1 to {IDS_MAX} ids")
    if "search" in body:
        raise invalid("expected ids or a search, got both")
    return ids


def _read_search(body: JsonObject, usual_state: str) -> JsonObject:
    """Returns the arguments of the search; one without any condition would be about everything there is."""
    search = body.get("search")
    if not isinstance(search, dict) or not any(search.values()):
        raise invalid(f"expected ids, or a search by one or more of {', '.join(FILTERS)}")
    unknown = [name for name in search if name not in FILTERS]
    if unknown:
        raise invalid(f"unknown filter {unknown[0][:60]!r}; expected {', '.join(FILTERS)}")
    header = search.get("header") or []
    headers = [header] if isinstance(header, str) else header
    if not isinstance(headers, list) or not all(isinstance(one, str) for one in headers):
        raise invalid("expected header as NAME:TEXT, or a list of these")
    found = read_search(search, headers, _older(search.get("older")))
    return {"state": usual_state, **found}


def _older(value: Any) -> float | None:
    if value in (None, ""):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise invalid(f"expected older as seconds, got {str(value)[:60]!r}") from None


class DeedTally:
    """Counts what a deed has done; when it fails after that, its answer says how much."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and self.count:
            problem = problem_of(error)
            text = f"it was done to {self.count} before this: {problem.message}"
            raise ProblemError(problem.status, problem.code, text, problem.retry_after) from error


async def _do_all(site: Site, deed: TaskDeed, ids: list[str]) -> int:
    with DeedTally() as tally:
        await _do_each(site, deed, ids, tally)
    return tally.count


async def _do_each(site: Site, deed: TaskDeed, ids: list[str], tally: DeedTally) -> None:
    """Does it to all of a portion, also when one of them fails; raises the first failure."""
    for first in range(0, len(ids), AT_ONCE):
        part = [site.upstream.act(deed(id)) for id in ids[first : first + AT_ONCE]]
        found = await asyncio.gather(*part, return_exceptions=True)
        tally.count += sum(one for one in found if isinstance(one, int))
        for one in found:
            if isinstance(one, BaseException):
                raise one


async def _do_found(site: Site, deed: TaskDeed, search: JsonObject, cursor: Any) -> JsonObject:
    """Does it to all that a search finds, page by page; what is no longer so when its turn comes is left alone."""
    if cursor is not None and not isinstance(cursor, str):
        raise invalid("expected cursor as an earlier answer has it")
    stop_at = time.monotonic() + DEED_SECONDS
    with DeedTally() as tally:
        while True:
            page = await site.upstream.page("tasks", **search, cursor=cursor, limit=PAGE_ROWS_MAX)
            await _do_each(site, deed, [row["id"] for row in page["rows"]], tally)
            cursor = page["cursor"]
            if cursor is None or time.monotonic() >= stop_at:
                return {"count": tally.count, "cursor": cursor}


async def _count(site: Site, search: JsonObject) -> JsonObject:
    stop_at, count, cursor = time.monotonic() + COUNT_SECONDS, 0, None
    while True:
        page = await site.upstream.page("tasks", **search, cursor=cursor, limit=PAGE_ROWS_MAX)
        count += len(page["rows"])
        cursor = page["cursor"]
        if cursor is None or time.monotonic() >= stop_at:
            return {"count": count, "is_least": cursor is not None, "cursor": None}


# Dead letters.


async def replay_dead(site: Site, request: Request) -> JsonObject:
    """Brings dead letters back: at a rate, which goes on by itself, or at once."""
    body = await body_in(request, "queue", "reason", "rate", "to")
    which = {name: body.get(name) or None for name in ("queue", "reason", "to")}
    dead, rate = site.upstream.client.dead, body.get("rate")
    if rate is not None:
        if type(rate) not in (int, float):
            raise invalid(f"expected rate as dead letters a second, got {str(rate)[:60]!r}")
        return plain(await site.upstream.call(dead.start_replay(float(rate), **which)))  # type: ignore[no-any-return]
    return await _in_portions(site, lambda: dead.replay(**which, limit=DEAD_PORTION))


async def purge_dead(site: Site, request: Request) -> JsonObject:
    """Gives dead letters up for good; a dry run only counts them."""
    body = await body_in(request, "queue", "reason", "is_dry_run")
    which = {name: body.get(name) or None for name in ("queue", "reason")}
    if flag_in(body, "is_dry_run"):
        return await _count(site, {"state": "dead", **{name: text for name, text in which.items() if text}})
    return await _in_portions(site, lambda: site.upstream.client.dead.purge(**which, limit=DEAD_PORTION))


async def _in_portions(site: Site, portion: Callable[[], Awaitable[int]]) -> JsonObject:
    """Goes on until a portion had nothing to do, or for long enough: `is_least` says that there may be more."""
    stop_at = time.monotonic() + DEED_SECONDS
    with DeedTally() as tally:
        while True:
            done = await site.upstream.act(portion())
            tally.count += done
            if done < DEAD_PORTION or time.monotonic() >= stop_at:
                return {"count": tally.count, "is_least": done >= DEAD_PORTION}


async def stop_replay(site: Site, request: Request) -> JsonObject:
    await body_in(request)
    return {"is_stopped": await site.upstream.call(site.upstream.client.dead.stop_replay(request.path_params["id"]))}


BULK_ENDPOINTS = [
    Endpoint("POST", "/tasks/cancel", _on_tasks("cancel", "unfinished")),
    Endpoint("POST", "/tasks/retry", _on_tasks("retry", "dead")),
    Endpoint("POST", "/dead/replay", replay_dead),
    Endpoint("POST", "/dead/purge", purge_dead),
    Endpoint("POST", "/replays/{id}/stop", stop_replay),
]
