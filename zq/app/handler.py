"""What a worker calls for a task function: hooks, arguments out of the payload, the function, and its result."""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import Any, Protocol

from zq.app.middleware import Middleware
from zq.app.task_function import TaskFunction
from zq.handling.hooks import Handling
from zq.processes.references import label_of, module_name_of
from zq.task import Task
from zq.worker.loop_runner import is_coroutine_handler
from zq.worker.runner import Handler, run_coroutine


class Hooked(Protocol):
    """What has hooks: an app."""

    middleware: list[Middleware]


def make_handler(app: Hooked, made: TaskFunction[..., Any, ..., Any]) -> Handler:
    """Returns what a worker calls for a task function."""
    parameters, function = made.parameters, made.function

    def handle(task: Task) -> Any:
        with Handling(app.middleware, task):
            bound = parameters.load(task.payload, task)
            value = function(*bound.args, **bound.kwargs)
            if type(value) is CoroutineType:  # of a decorator that knows nothing of coroutines
                value = run_coroutine(value)
            return parameters.dump_result(value)

    async def handle_coroutine(task: Task) -> Any:
        with Handling(app.middleware, task, (asyncio.CancelledError,)):
            bound = parameters.load(task.payload, task)
            return parameters.dump_result(await function(*bound.args, **bound.kwargs))

    chosen = handle_coroutine if is_coroutine_handler(function) else handle
    chosen.__name__ = made.queue
    chosen.__qualname__ = label_of(function)
    chosen.__module__ = module_name_of(function) or __name__
    return chosen
