"""Many workers in one process, of a thread each: `python -m tests.chaos.crowd NAME COUNT` starts workers of the shop;
`python -m tests.chaos.crowd zombie FIRST COUNT` starts some that bake behind a gate, each for a queue of its own, so
that it is known who holds what.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import zq
from tests.chaos import notes
from tests.chaos.shop import worker as model


def crowd(name: str, count: int) -> Iterable[zq.Worker]:
    """Makes workers of the shop."""
    for number in range(count):
        one = zq.Worker(name=f"{name}-{number}", concurrency=1)
        one.handlers.update(model.handlers)
        yield one


def zombies(first: int, count: int) -> Iterable[zq.Worker]:
    """Makes workers that bake behind a gate."""
    for number in range(first, first + count):
        one = zq.Worker(name=f"zombie-{number}", concurrency=1)
        one.task(f"gated-{number}")(bake_behind_a_gate)
        yield one


def bake_behind_a_gate(task: zq.Task) -> int:
    """Bakes until a file appears."""
    notes.write("start", task.queue, task.id, task.token)
    gate = Path(task.payload["gate"])
    while not gate.exists():
        time.sleep(0.01)
    notes.write("end", task.queue, task.id, task.token)
    return task.token


def main(workers: Iterable[zq.Worker]) -> None:
    """Runs them until SIGTERM."""
    over = threading.Lock()
    over.acquire()
    signal.signal(signal.SIGTERM, lambda *_: over.release())
    with ExitStack() as running:
        for one in workers:
            running.enter_context(one)
        over.acquire()


if __name__ == "__main__":
    match sys.argv[1:]:
        case "zombie", first, count:
            main(zombies(int(first), int(count)))
        case name, count:
            main(crowd(name, int(count)))
