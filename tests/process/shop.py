"""A worker whose handlers keep a ledger of their own: a line when a task starts and one when it ends, in a file per
process.
"""

import os
import time
from pathlib import Path

import zq

worker = zq.Worker()


def _note(event: str, task: zq.Task) -> None:
    path = Path(os.environ["ZQ_TEST_LEDGER"]) / str(os.getpid())
    with path.open("a") as file:
        file.write(f"{event} {task.id} {task.token}\n")


@worker.task("orders")
def bake(task: zq.Task) -> int:
    """Bakes for as long as the order says, in seconds; returns the token under which it did."""
    _note("start", task)
    time.sleep(task.payload.get("seconds", 0.0))
    _note("end", task)
    return task.token


@worker.task("gated")
def bake_behind_a_gate(task: zq.Task) -> int:
    """Bakes until a file appears."""
    _note("start", task)
    gate = Path(task.payload["gate"])
    while not gate.exists():
        time.sleep(0.01)
    _note("end", task)
    return task.token


@worker.task("patient")
def wait_to_be_cancelled(task: zq.Task) -> None:
    """Ends by itself when it is cancelled."""
    _note("start", task)
    while not task.cancelled:
        time.sleep(0.01)
    _note("cancelled", task)


@worker.task("crash")
def crash(task: zq.Task) -> None:
    """Takes its process with it."""
    _note("start", task)
    os._exit(7)
