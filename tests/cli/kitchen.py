"""Workers for the tests of the command line."""

import os

import zq

worker = zq.Worker(name="kitchen")
idle = "not a worker"


@worker.task("orders")
def bake(task: zq.Task) -> object:
    """Bakes, or fails if the order asks for it."""
    if task.payload.get("burn"):
        raise RuntimeError("burnt")
    return {"baked": task.payload["pizza"]}


@worker.task("processes")
def tell_process(task: zq.Task) -> int:
    """Returns the process that it runs in."""
    return os.getpid()
