"""Has what a handler logs say about which task it is, as a hook around handlers."""

from __future__ import annotations

from contextvars import Token
from typing import Any

from zq.processes.logs import about_task, log_settings


class TaskLog:
    """Sets `zq.processes.logs.about_task` while a handler runs; the other hooks do nothing."""

    def __init__(self, worker: str | None) -> None:
        self._worker = worker
        self._tokens: dict[int, Token[Any]] = {}  # by the task's identity

    def before_task(self, task: Any) -> None:
        """Notes which task it is."""
        about = {"task": task.id, "queue": task.queue, "worker": self._worker, "attempt": task.attempt}
        parts = task.headers.get("traceparent", "").split("-")
        if len(parts) == 4:
            about["trace_id"] = parts[1]
        self._tokens[id(task)] = about_task.set(about)

    def after_task(self, task: Any, outcome: Any, error: BaseException | None) -> None:  # noqa: ARG002 - a hook
        """Forgets it."""
        token = self._tokens.pop(id(task), None)
        if token is not None:
            about_task.reset(token)

    def before_submit(self, submission: Any) -> None: ...

    def after_submit(self, submission: Any, receipt: Any, error: BaseException | None) -> None: ...

    def after_receive(self, queue: str, tasks: int, seconds: float) -> None: ...

    def after_settle(self, queue: str, tasks: int, seconds: float, error: BaseException | None) -> None: ...


def task_log() -> tuple[TaskLog, ...]:
    """Returns the hook, if this process logs in a form that shows what it notes."""
    settings = log_settings()
    return (TaskLog(settings["worker"]),) if settings is not None and settings["form"] == "json" else ()
