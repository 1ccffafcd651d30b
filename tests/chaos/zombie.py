"""A worker that bakes behind a gate: each has a queue of its own, so that it is known who holds what."""

from __future__ import annotations

import os
import time
from pathlib import Path

import zq
from tests.chaos import notes

worker = zq.Worker()


@worker.task(os.environ["ZQ_TEST_QUEUE"])
def bake_behind_a_gate(task: zq.Task) -> int:
    """Bakes until a file appears."""
    notes.write("start", task.queue, task.id, task.token)
    gate = Path(task.payload["gate"])
    while not gate.exists():
        time.sleep(0.01)
    notes.write("end", task.queue, task.id, task.token)
    return task.token
