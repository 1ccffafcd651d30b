"""A pizza shop: a zq worker. `zq worker zq.demo.shop:worker --name Napoli --processes 0` opens one by hand."""

import time

import zq

worker = zq.Worker(concurrency=3)  # three ovens

SLICES = 20
"""Times that the oven looks whether the order still stands."""


@worker.task("orders")
def bake(task: zq.Task) -> dict[str, str]:
    """Bakes one order for as long as it says; stops when the order was cancelled or given to another shop."""
    order = task.payload
    for done in range(SLICES):
        if task.cancelled:
            return {"thrown away": order["pizza"]}  # refused by the coordinator: the order is no longer ours
        time.sleep(order["seconds"] / SLICES)
        task.progress((done + 1) / SLICES)
    return {"pizza": order["pizza"], "to": order["customer"]}
