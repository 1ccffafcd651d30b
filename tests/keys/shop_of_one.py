"""A worker for the command line."""

import zq

worker = zq.Worker(name="shop-of-one")


@worker.task("orders")
def bake(task: zq.Task) -> str:
    return f"baked {task.payload}"
