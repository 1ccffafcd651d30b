"""A worker whose handlers are coroutines, imported by child processes; what they do is told by files in
ZQ_TEST_LEDGER.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import zq

worker = zq.Worker(os.environ.get("ZQ_ADDRESS"), concurrency=8, processes=1)


def note(name: str) -> None:
    (Path(os.environ["ZQ_TEST_LEDGER"]) / name).touch()


def is_noted(name: str) -> bool:
    return (Path(os.environ["ZQ_TEST_LEDGER"]) / name).exists()


async def wait_noted(name: str) -> None:
    while not is_noted(name):
        await asyncio.sleep(0.005)


@worker.task("meet")
async def meet(task: zq.Task) -> int:
    """Ends when all that were told to meet are there."""
    note(f"met-{task.id.rpartition('#')[2]}")
    for one in range(task.payload):
        await wait_noted(f"met-{one}")
    return os.getpid()


@worker.task("wait")
async def wait(task: zq.Task) -> str:
    """Waits to be cancelled or released."""
    note(f"started-{task.payload}-{task.attempt}")
    task.progress(0.5)
    try:
        await wait_noted(f"release-{task.payload}")
    except asyncio.CancelledError:
        note(f"cancelled-{task.payload}-{task.cancelled}")
        raise
    return f"attempt {task.attempt}"


@worker.task("tidy")
async def tidy(task: zq.Task) -> None:
    """Waits to be cancelled, and then has something to do that takes a while."""
    note("started")
    try:
        await wait_noted("never")
    except asyncio.CancelledError:
        note("tidying")
        await wait_noted("release-1")
        note("tidied")
        raise


@worker.task("block")
async def block(task: zq.Task) -> str:
    """Holds the loop; only the first time."""
    note(f"blocking-{task.attempt}")
    while task.attempt == 1 and not is_noted("unblock"):
        time.sleep(0.005)
    return f"attempt {task.attempt}"


@worker.task("die")
async def die(task: zq.Task) -> str:
    """Ends the process in the middle of others; only the first time."""
    if task.attempt == 1:
        os._exit(3)
    return f"attempt {task.attempt}"


@worker.task("forward")
async def forward(task: zq.Task) -> None:
    task.forward("boxes", {"box": task.payload})


@worker.task("harm")
async def harm(task: zq.Task) -> str:
    """Does to its event loop what would end it under all the others."""
    loop = asyncio.get_running_loop()
    match task.payload:
        case "stop":
            loop.stop()
        case "exit":
            await asyncio.create_task(exit_soon(), name="started by a handler")
        case "exit in a callback":
            loop.call_soon(sys.exit, 3)
            await asyncio.sleep(0.01)
        case "close":
            loop.close()
        case "cancel":
            for one in asyncio.all_tasks():
                one.cancel()
    return "done"


async def exit_soon() -> None:
    sys.exit(3)


@worker.task("plain")
def plain(task: zq.Task) -> int:
    return os.getpid()
