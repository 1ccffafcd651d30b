"""A worker whose tasks go from queue to queue, wait behind gates, and fail with what strangers may write."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import zq
from patterns import stage

STRANGE = "<img src=x onerror=\"document.title='owned'\">"
"""What a stranger puts wherever text may be put."""

worker = zq.Worker()


def _take_time(task: zq.Task) -> None:
    time.sleep(float(task.payload.get("seconds", 0.0)))


@worker.task("orders")
def take_order(task: zq.Task) -> None:
    """Passes an order on."""
    _take_time(task)
    task.forward("bake", task.payload)


@worker.task("bake")
def bake(task: zq.Task) -> None:
    """Bakes and passes on; some pizzas burn."""
    _take_time(task)
    if task.payload.get("burns"):
        raise RuntimeError(f"the pizza of {STRANGE} burned: 412 degrees in the oven")
    task.forward("box", task.payload)


@worker.task("box")
def box(task: zq.Task) -> None:
    """Boxes and passes on."""
    _take_time(task)
    task.forward("deliver", task.payload)


@worker.task("deliver")
def deliver(task: zq.Task) -> str:
    """Delivers; here an order ends."""
    _take_time(task)
    return "delivered"


keeper = zq.Worker()
"""Another worker, for what only one is to have."""


@keeper.task("gated")
def wait_for_the_gate(task: zq.Task) -> str:
    """Runs until a file appears."""
    gate = Path(task.payload["gate"])
    while not gate.exists():
        time.sleep(0.01)
    return "through"


@stage(workers=1)
def knead(number: int) -> int:
    """A stage of a pipeline."""
    return number + 1


@stage(workers=1)
def fry(number: int) -> int:
    """The stage after it."""
    return number * 2


line = knead | fry


@worker.task("join")
def join(task: zq.Task) -> Any:
    """Takes what a group has brought."""
    return len(task.payload) if isinstance(task.payload, list) else None
