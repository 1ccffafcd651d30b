"""What is added up of many rows: which queue feeds which, and why dead letters are dead."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from starlette.requests import Request

from zq.dashboard.answers.site import Endpoint, Site, text_in
from zq.dashboard.upstream import PAGE_ROWS_MAX, unless_missing
from zq.dashboard.values import JsonObject

FLOWS_AGE_MAX: Final = 1.0
REASONS_AGE_MAX: Final = 5.0
"""Seconds for which an answer is given again: browsers ask for it again and again, and it costs pages of records."""

FLOWS_DRAWN_MAX: Final = 1000
"""Pairs of queues that are drawn."""

FLOW_QUEUES_MAX: Final = 100
"""Queues of which is asked what waits there."""

REASON_PAGES_MAX: Final = 20
"""Pages of dead letters that one request looks through; the cursor goes on behind them."""


async def show_flows(site: Site, request: Request) -> JsonObject:  # noqa: ARG001 - all handlers are alike
    """Queues and what goes from one to the next."""
    found: JsonObject = await site.kept.get("flows", FLOWS_AGE_MAX, lambda: _flows(site))
    return found


async def _flows(site: Site) -> JsonObject:
    rows: list[JsonObject] = []
    cursor: str | None = None
    while len(rows) < FLOWS_DRAWN_MAX:
        page: JsonObject = await unless_missing(
            site.upstream.page("flows", cursor=cursor, limit=PAGE_ROWS_MAX), {"rows": [], "cursor": None}
        )
        rows += page["rows"]
        cursor = page["cursor"]
        if cursor is None:
            break
    pairs = {f"{row['origin']}\n{row['target']}": row for row in rows[:FLOWS_DRAWN_MAX]}
    rates = site.flow_rates.feed(time.monotonic(), {name: row["tasks"] for name, row in pairs.items()})
    edges = [{**row, "rate": _rounded(rates.get(name))} for name, row in pairs.items()]
    names = dict.fromkeys(name for row in rows for name in (row["origin"], row["target"]))
    queues = [name for name in names if not name.startswith("topic:")]
    nodes = [_node(row) for row in await _queue_rows(site, queues[:FLOW_QUEUES_MAX])]
    return {"nodes": nodes, "edges": edges, "is_cut": cursor is not None or len(queues) > FLOW_QUEUES_MAX}


async def _queue_rows(site: Site, names: list[str]) -> list[JsonObject]:
    """Returns the rows of queues that are there; those that the last look has seen are not asked for again."""
    found = await asyncio.gather(*[_queue_row(site, name) for name in names])
    return [row for row in found if row is not None]


async def _queue_row(site: Site, name: str) -> JsonObject | None:
    board = site.looker.board
    row = board.recent(name, time.monotonic())
    if row is None:
        row = await unless_missing(site.upstream.query("queue", queue=name), None)
        if row is not None:
            board.note_queues(time.monotonic(), [row])
    return None if row is None else board.with_rates(row)


def _node(row: JsonObject) -> JsonObject:
    rates = row["rates"]
    return {
        "queue": row["name"],
        **{name: row[name] for name in ("waiting", "leased", "workers")},
        "rate_in": rates["in"],
        "rate_out": rates["out"],
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


# Why dead letters are dead.


async def list_dead_reasons(site: Site, request: Request) -> JsonObject:
    """Reasons with their counts, the most frequent first, of as many dead letters as one request looks through."""
    queue, cursor = text_in(request, "queue"), text_in(request, "cursor")
    key = ("reasons", queue, cursor)
    found: JsonObject = await site.kept.get(key, REASONS_AGE_MAX, lambda: _reasons(site, queue, cursor))
    return found


async def _reasons(site: Site, queue: str | None, cursor: str | None) -> JsonObject:
    sums: dict[tuple[str, str], JsonObject] = {}
    for _ in range(REASON_PAGES_MAX):
        page = await site.upstream.page("dead-reasons", queue=queue, cursor=cursor, limit=PAGE_ROWS_MAX)
        for row in page["rows"]:
            key = (row["queue"], row["reason"])
            sums[key] = _added(sums[key], row) if key in sums else row
        cursor = page["cursor"]
        if cursor is None:
            break
    rows = sorted(sums.values(), key=lambda row: (-row["count"], row["queue"], row["reason"]))
    return {"rows": site.redactor.rows(rows), "cursor": cursor}


def _added(one: JsonObject, other: JsonObject) -> JsonObject:
    return {
        **one,
        "count": one["count"] + other["count"],
        "oldest_time": min(one["oldest_time"], other["oldest_time"]),
        "newest_time": max(one["newest_time"], other["newest_time"]),
    }


SUM_ENDPOINTS = [
    Endpoint("GET", "/flows", show_flows),
    Endpoint("GET", "/dead/reasons", list_dead_reasons),
]
