"""Handlers that are quick until they are told to wait, imported by child processes; what they do is told by files in
ZQ_TEST_LEDGER.
"""

import asyncio
import os
import time
from pathlib import Path

import zq

worker = zq.Worker(os.environ.get("ZQ_ADDRESS"))


def note(name: str) -> None:
    (Path(os.environ["ZQ_TEST_LEDGER"]) / name).touch()


def is_noted(name: str) -> bool:
    return (Path(os.environ["ZQ_TEST_LEDGER"]) / name).exists()


@worker.task("plain")
def plain(task: zq.Task) -> str:
    """Does nothing, or waits to be released; says which attempt it is."""
    if task.payload is not None:
        note(f"started-{task.payload}")
        while not is_noted(f"release-{task.payload}"):
            time.sleep(0.005)
    return f"attempt {task.attempt}"


@worker.task("coroutine")
async def coroutine(task: zq.Task) -> str:
    """The same as a coroutine."""
    if task.payload is not None:
        note(f"started-{task.payload}")
        while not is_noted(f"release-{task.payload}"):
            await asyncio.sleep(0.005)
    return f"attempt {task.attempt}"


@worker.task("holding")
async def hold(task: zq.Task) -> str:
    """As the others, but holds the loop while it waits."""
    if task.payload is not None:
        note(f"started-{task.payload}")
        while not is_noted(f"release-{task.payload}"):
            time.sleep(0.005)
    return f"attempt {task.attempt}"


@worker.task("ordered")
def keep_order(task: zq.Task) -> None:
    """Says that it begins and ends; every seventh task fails at its first attempt."""
    with (Path(os.environ["ZQ_TEST_LEDGER"]) / "order").open("a") as file:
        file.write(f"begin {task.id} {task.attempt} {task.token}\n")
        file.flush()
        is_failing = task.index % 7 == 3 and task.attempt == 1
        file.write(f"{'fail' if is_failing else 'end'} {task.id} {task.attempt} {task.token}\n")
    if is_failing:
        raise RuntimeError("burnt")
