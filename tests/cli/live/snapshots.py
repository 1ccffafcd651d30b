"""Answers of a coordinator, as a view gets them."""

from __future__ import annotations

from typing import Any

from zq.cli.live.screen import screen
from zq.cli.live.trends import Detail, Inspected, Snapshot, Throughput
from zq.cli.live.view import Order, TopView, press

NOW = 1_795_921_445.0
ADDRESS = "tcp://127.0.0.1:7700"


def queue(name: str, **fields: Any) -> dict[str, Any]:
    counts = {"waiting": 0, "scheduled": 0, "leased": 0, "dead": 0, "done": 0, "workers": 1, "bytes": 0}
    return {"name": name, **counts, **fields}


def worker(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": "live", "queues": ["orders"], "held": 0, "running": 0, "heard_ago": 0.5, **fields}


def failure(id: str, **fields: Any) -> dict[str, Any]:
    plain = {"time": NOW - 2, "queue": "orders", "id": id, "attempt": 1, "worker": "shop-1", "error": "ValueError: no"}
    return {**plain, "next_time": None, "is_dead": False, **fields}


def snapshot(**fields: Any) -> Snapshot:
    """Returns two queues, a worker and a failure, unless others are given."""
    plain: dict[str, Any] = {
        "status": {"queues": 2, "workers": 1, "waiting": 3, "leased": 1, "scheduled": 0, "dead": 0},
        "queues": (queue("orders", waiting=3, oldest_time=NOW - 65), queue("delivery", leased=1)),
        "workers": (worker("shop-1"),),
        "failures": (failure("task-1"),),
        "flow": Throughput(12.5, 10.0, 0.5, 40.0, (5.0, 10.0)),
        "flows": {"orders": Throughput(12.5, 10.0, 0.5, None, (5.0, 10.0))},
    }
    return Snapshot(NOW, **{**plain, **fields})


def detail_of_a_task(**fields: Any) -> Detail:
    events = ({"time": NOW - 5, "event": "accepted", "detail": {}},)
    return Detail(Inspected("task", "task-1"), {"id": "task-1", "state": "dead", **fields}, events=events)


def after(*keys: str, view: TopView | None = None, of: Snapshot | None = None) -> tuple[TopView, list[Order]]:
    """Returns the view after some keys, and what they ordered."""
    found, orders = view or TopView(), []
    for key in keys:
        found, order = press(found, key, of or snapshot())
        orders += [order] if order is not None else []
    return found, orders


def text_of(
    view: TopView, of: Snapshot | None = None, width: int = 80, height: int = 24, away: str | None = None
) -> str:
    return "\n".join(line.text for line in screen(view, of or snapshot(), width, height, address=ADDRESS, away=away))
