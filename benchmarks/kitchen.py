"""The worker process of a measurement: `python kitchen.py ADDRESS HANDLER NAME QUEUE ...`.

A worker takes 1,000 queues at most, so more queues make more workers in this process.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import zq

QUEUES_MAX = 1000

FORWARD_TO = "next"
"""Where `forward` sends its tasks."""


def nothing(task: zq.Task) -> None:
    """What is measured is everything around it."""


def result(task: zq.Task) -> dict[str, Any]:
    return {"baked": "margherita", "number": task.index}


def forward(task: zq.Task) -> None:
    if task.queue != FORWARD_TO:
        task.forward(FORWARD_TO, task.payload)


def failing(task: zq.Task) -> None:
    """One task of a hundred fails at its first attempt."""
    if task.index % 100 == 0 and task.attempt == 1:
        raise RuntimeError("burnt")


HANDLERS: dict[str, Callable[[zq.Task], Any]] = {one.__name__: one for one in (nothing, result, forward, failing)}


def main() -> None:
    address, handler, name, *queues = sys.argv[1:]
    workers = []
    for start in range(0, len(queues), QUEUES_MAX):
        worker = zq.Worker(address, name=f"{name}-{start // QUEUES_MAX}")
        for queue in queues[start : start + QUEUES_MAX]:
            worker.task(queue)(HANDLERS[handler])
        workers.append(worker)
    for worker in workers[1:]:
        worker.start()
    assert threading.current_thread() is threading.main_thread()
    workers[0].run()
    for worker in workers[1:]:
        worker.stop()


if __name__ == "__main__":
    main()
