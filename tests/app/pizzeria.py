"""An app for worker processes: found as `tests.app.pizzeria:app`."""

import asyncio
import os
from dataclasses import dataclass

import zq

app = zq.App(concurrency=2)


@dataclass
class Pizza:
    name: str
    slices: int = 8


@app.task(queue="bake", max_attempts=2)
def bake(pizza: Pizza, *, hot: bool = True) -> Pizza:
    return Pizza(f"{'hot' if hot else 'cold'} {pizza.name}", pizza.slices)


@app.task(queue="cut")
async def cut(task: zq.Task, pizza: Pizza) -> tuple[str, int]:
    await asyncio.sleep(0)
    return task.id, pizza.slices


@app.task(queue="resubmit")
def resubmit(name: str) -> str:
    """Submits from a handler, and tells the id and the process."""
    return f"{bake.submit(Pizza(name)).id} {os.getpid()}"
