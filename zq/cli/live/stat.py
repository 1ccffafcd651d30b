"""`zq stat`: a line a refresh, as vmstat has it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zq.cli.live.trends import ShownRow, Trends
from zq.cli.output import echo, print_json
from zq.errors import TimedOutError, UnreachableError
from zq.monitor import count, size

if TYPE_CHECKING:
    from zq.client.client import Client

HEADER_EVERY = 20
"""Lines in a terminal after which the header comes again."""

RATES = ("in", "out", "failed", "commits")
"""Columns that are a second; all others are as they are at the moment."""

WIDTH = 9


def print_stat(client: Client, interval: float, lines: int | None, *, as_json: bool) -> None:
    """Prints lines until it is interrupted, or so many; what is no terminal gets plain numbers, tab-separated."""
    is_fancy = sys.stdout.isatty()
    for at, row in enumerate(_rows(client, interval, lines)):
        if as_json:
            print_json(row)
        else:
            if at % HEADER_EVERY == 0 if is_fancy else at == 0:
                titles = [f"{name}/s" if name in RATES else name for name in row if name != "time"]
                echo("".join(f"{title:>{WIDTH}}" for title in titles) if is_fancy else "\t".join(["time", *titles]))
            echo(_readable(row) if is_fancy else "\t".join("-" if one is None else f"{one}" for one in row.values()))
        sys.stdout.flush()


def _readable(row: dict[str, Any]) -> str:
    shown = {
        name: "-" if value is None else size(value) if name in ("store", "memory") else count(value)
        for name, value in row.items()
        if name != "time"
    }
    return "".join(f"{text:>{WIDTH}}" for text in shown.values())


def _rows(client: Client, interval: float, lines: int | None) -> Iterator[dict[str, Any]]:
    """Yields what there is to print; the first one after an interval, since rates need two looks."""
    trends = Trends()
    trends.feed(time.monotonic(), client.query("status"), client.query("queues"))
    due_at, yielded, is_away = time.monotonic() + interval, 0, False
    while lines is None or yielded < lines:
        time.sleep(max(0.0, due_at - time.monotonic()))
        due_at = max(due_at + interval, time.monotonic())
        try:
            status, queues = client.query("status"), client.query("queues")
        except (UnreachableError, TimedOutError) as error:
            if not is_away:
                echo(f"zq: {error}; trying on", err=True)
            is_away = True
            continue
        if is_away:
            echo(f"zq: {client.address} answers again", err=True)
            is_away = False
        yielded += 1
        yield stat_row(status, queues, trends, time.monotonic())


def stat_row(status: ShownRow, queues: list[ShownRow], trends: Trends, now: float) -> dict[str, Any]:
    """Returns the values of a line, by the names of their columns; what the coordinator does not tell is None."""
    flow, _ = trends.feed(now, status, queues)
    memory, store = status.get("memory"), status.get("store")
    return {
        "time": round(status.get("time") or time.time(), 3),
        "in": _rounded(flow.into),
        "out": _rounded(flow.out),
        "failed": _rounded(flow.failed),
        "waiting": status.get("waiting"),
        "leased": status.get("leased"),
        "dead": status.get("dead"),
        "workers": status.get("workers"),
        "commits": _rounded(flow.commits),
        "store": store.get("used_bytes") if isinstance(store, dict) else None,
        "memory": memory.get("bytes") if isinstance(memory, dict) else None,
    }


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)
