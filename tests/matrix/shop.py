"""Workers, an app and a pipeline whose handlers do the deeds of the matrix; imported by their processes."""

from __future__ import annotations

import zq
from patterns import stage
from tests.matrix.deeds import Order, perform

plain_worker = zq.Worker()
coroutine_worker = zq.Worker(concurrency=2)


@plain_worker.task("orders")
def handle(task: zq.Task) -> str:
    if task.payload["deed"] == "stops its worker":
        plain_worker.stop()
        return "done"
    return perform(task.payload)


@coroutine_worker.task("orders")
async def handle_awaited(task: zq.Task) -> str:
    if task.payload["deed"] == "stops its worker":
        coroutine_worker.stop()
        return "done"
    return perform(task.payload)


async def perform_awaited(order: Order) -> str:
    return perform(order)


@stage
def perform_stage(order: Order) -> str:
    return f"{order['place']}: {perform(order)}"
