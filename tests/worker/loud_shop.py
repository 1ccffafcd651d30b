"""A worker in whose child processes a handler fails, or waits for a file; found by import."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import zq

worker = zq.Worker(processes=1)


@worker.task("plain")
def plain(task: zq.Task) -> None:
    raise ValueError(f"no oven for {task.payload}")


@worker.task("coroutine")
async def coroutine(task: zq.Task) -> None:
    raise ValueError(f"no oven for {task.payload}")


@worker.task("held")
def held(task: zq.Task) -> int:
    """Runs until a file is there; returns its process."""
    while not Path(task.payload).exists():
        time.sleep(0.005)
    return os.getpid()


@worker.task("held-coroutine")
async def held_coroutine(task: zq.Task) -> int:
    while not Path(task.payload).exists():
        await asyncio.sleep(0.005)
    return os.getpid()


@worker.task("frail")
def frail(task: zq.Task) -> int:
    """Ends its process at the first attempt of what has no payload."""
    if task.payload is None and task.attempt == 1:
        os._exit(3)
    return task.attempt
