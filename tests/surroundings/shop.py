"""A worker, and pipelines, that do what `probes` can; imported by child processes."""

from __future__ import annotations

import os
from typing import Any

import zq
from patterns import stage
from tests.surroundings import probes

worker = zq.Worker(os.environ.get("ZQ_ADDRESS"), concurrency=1, processes=1)


@worker.task("plain")
def plain(task: zq.Task) -> Any:
    return probes.run(task.payload)


@worker.task("coroutine")
async def coroutine(task: zq.Task) -> Any:
    return probes.run(task.payload)


@stage
def staged(asked: list[Any]) -> Any:
    return probes.run(asked)


@stage(timeout=60.0)
def timed(asked: list[Any]) -> Any:
    return probes.run(asked)


@stage(timeout=5.0)
def hurried(asked: list[Any]) -> Any:
    return probes.run(asked)


@stage(flat=True)
def flat(asked: list[Any]) -> list[Any]:
    return [probes.run(asked)]


stages = {one.name: one for one in (staged, timed, hurried, flat)}
