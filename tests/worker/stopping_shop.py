"""A worker whose handler stops it, imported by child processes."""

import time
from pathlib import Path

import zq

worker = zq.Worker("tcp://127.0.0.1:7700", processes=1)


@worker.task("stop")
def stop(task: zq.Task) -> None:
    worker.stop()


@worker.task("hangs")
def hang(task: zq.Task) -> None:
    Path(task.payload).touch()
    time.sleep(1000)


@worker.task("hangs-awaited")
async def hang_awaited(task: zq.Task) -> None:
    Path(task.payload).touch()
    time.sleep(1000)
