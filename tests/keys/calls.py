"""What executors and workers call, also in child processes."""

import os

import zq

kitchen = zq.Worker("tcp://127.0.0.1:1", processes=2)


def double(number: int) -> int:
    return 2 * number


@kitchen.task("orders")
def bake_and_tell(task: zq.Task) -> tuple[str, int]:
    return f"baked {task.payload}", os.getpid()


async def bake_and_wait(task: zq.Task) -> tuple[str, int]:
    return bake_and_tell(task)
