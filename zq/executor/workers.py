"""Workers that run the calls of `zq.Executor`.

Whoever can submit to the queue can have called what the worker allows, so a worker that others can reach allows nothing
unless it is told what.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zq.executor.belonging import is_allowed
from zq.executor.chunks import run_chunk
from zq.executor.remote_call import Callee, find, run_call
from zq.keys.own import KeySource
from zq.task import Bury, Task
from zq.worker.runner import Handler
from zq.worker.worker import Worker

QUEUE = "zq.executor"
"""Where calls go, unless an executor says otherwise."""

ALLOW = "ZQ_EXECUTOR_ALLOW"
"""The environment variable that names the modules of which a worker calls functions: `shop,lib.maths`, with all that is
below them; `*` allows all.
"""

PATH_SHOWN_MAX = 200
"""Characters of a path in the reason why it is not called."""


class _Handlers(dict[str, Handler]):
    """One handler, whatever the queue is called."""

    def __init__(self, queue: str, handler: Handler) -> None:
        super().__init__({queue: handler})
        self._handler = handler

    def __missing__(self, queue: str) -> Handler:
        return self._handler


def make_worker(
    address: str | None = None,
    *,
    allow: Iterable[str],
    queue: str = QUEUE,
    name: str | None = None,
    concurrency: int = 1,
    processes: int = 0,
    namespace: str | None = None,
    key: KeySource | None = None,
) -> Worker:
    """Returns a worker that runs calls, not started.

    Args:
        address: of the coordinator; as of `zq.Worker`.
        allow: modules whose functions may be called, with all that is below them; `*` allows all. Whoever can submit
            can call what is allowed.
        name: as of `zq.Worker`.
        concurrency: as of `zq.Worker`.
        processes: as of `zq.Worker`.
        namespace: as of `zq.Worker`.
        key: as of `zq.Worker`.
    """
    made = Worker(address, name=name, concurrency=concurrency, processes=processes, namespace=namespace, key=key)
    made.handlers = _Handlers(queue, _make_handler(tuple(allow)))
    return made


def _make_handler(allow: tuple[str, ...]) -> Handler:
    callees: dict[str, Callee] = {}

    def call(task: Task) -> Any:
        payload = task.payload
        path = payload.get("function") if isinstance(payload, dict) else None
        if not isinstance(path, str):
            raise Bury("expected the payload of a call by zq.Executor")
        if not is_allowed(path.rpartition(":")[0], allow):
            raise Bury(
                f"{_shown(path)} may not be called here: {ALLOW} in the environment of the worker names the modules that may, not {','.join(allow)!r}"
            )
        if path not in callees:
            try:
                callees[path] = find(path, allow)
            except ValueError as error:
                raise Bury(str(error)) from error
        if "calls" in payload or "columns" in payload:
            return run_chunk(callees[path], payload, task)
        return run_call(callees[path], payload, task)

    return call


def _shown(path: str) -> str:
    """Returns what somebody gave as a path, for a message: in one line, and cut."""
    return path if path.isprintable() and len(path) <= PATH_SHOWN_MAX else f"{path[:PATH_SHOWN_MAX]!r}"
