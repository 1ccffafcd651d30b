"""The workers of the workload in which tasks turn slow; `zq worker naps.py:worker` serves one of them."""

from __future__ import annotations

import asyncio
import time

import zq

PLAIN_QUEUE = "naps"
COROUTINE_QUEUE = "coroutine-naps"

worker = zq.Worker()


@worker.task(PLAIN_QUEUE)
def nap(task: zq.Task) -> float | None:
    """Takes as long as it is told; a long one says when it began."""
    began_at = time.monotonic()
    seconds = task.payload
    if not seconds:
        return None
    time.sleep(seconds)
    return began_at


@worker.task(COROUTINE_QUEUE)
async def nap_in_a_loop(task: zq.Task) -> float | None:
    """The same as a coroutine."""
    began_at = time.monotonic()
    seconds = task.payload
    if not seconds:
        return None
    await asyncio.sleep(seconds)
    return began_at
