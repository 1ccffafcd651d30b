"""The log of a process of the command line, and of the children that run the user's functions for it.

A program that configures its log itself has children whose modules configure theirs, as with multiprocessing.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any

from zq.processes.shown import in_a_record, shown_json

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class LineFormatter(logging.Formatter):
    """Writes records whose text others may have made: escaped, and no line of it looks like another record."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns a record as text."""
        return in_a_record(super().format(record))


about_task: ContextVar[Mapping[str, Any] | None] = ContextVar("about_task", default=None)
"""What a record is about that is logged while a handler runs: task, queue, worker, attempt and trace_id."""

FIELDS = ("task", "queue", "worker", "attempt", "trace_id")
"""Of a record in JSON, in this order; by the record itself (`extra=`), else by `about_task`."""


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object on a line: time (UTC), level, logger, message, error, stack and FIELDS.

    It raises nothing, whatever the record is: what cannot be shown is told in its place.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns a record as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        message, fault = _message_of(record)
        about = {**(about_task.get() or {}), **_current_span()}
        own = {name: getattr(record, name, None) for name in FIELDS}
        document = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message,
            **{name: _plain(about.get(name) if own[name] is None else own[name]) for name in FIELDS},
            "error": (self.formatException(record.exc_info) if record.exc_info else None) or fault,
            "stack": record.stack_info,
        }
        return shown_json(json.dumps({name: value for name, value in document.items() if value is not None}))


def _message_of(record: logging.LogRecord) -> tuple[str, str | None]:
    """Returns the message, and why it is not what it should be, if its arguments do not fit into it."""
    try:
        return str(record.getMessage()), None
    except Exception as error:
        template = record.msg if isinstance(record.msg, str) else f"a message of type {type(record.msg).__name__}"
        return template, f"its arguments cannot be put in: {type(error).__name__} at {record.pathname}:{record.lineno}"


def _plain(value: Any) -> str | int | None:
    """Returns a field as JSON has it."""
    try:
        return value if value is None or type(value) is int else str(value)
    except Exception:
        return f"a value of type {type(value).__name__}"


def in_form_of_log(text: str, level: int = logging.INFO) -> str:
    """Returns what is said on stderr beside the log, in the form of the log: in JSON it is a record, too."""
    if _settings is None or _settings["form"] != "json":
        return text
    return JsonFormatter().format(logging.LogRecord("zq", level, __file__, 0, text, None, None))


def _current_span() -> dict[str, str]:
    """Returns the trace of the current span of OpenTelemetry, if the program uses that."""
    trace = sys.modules.get("opentelemetry.trace")
    context = None if trace is None else trace.get_current_span().get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context is not None and context.is_valid else {}


_settings: dict[str, Any] | None = None
"""What the command line was told, in this process or in the one that started it: level, form, worker."""


def configure_log(level: str, form: str = "text", worker: str | None = None) -> None:
    """Has this process log to stderr, and the children that it starts; what has configured its log before keeps that.

    Args:
        level: name of the lowest level that is logged.
        form: "text", or "json": an object a line.
        worker: name of the one that this process runs, for its children.
    """
    take_log({"level": level, "form": form, "worker": worker})
    configure_log_as_parent()


def log_settings() -> dict[str, Any] | None:
    """Returns what `configure_log` was told; None when nobody did."""
    return _settings


def take_log(settings: dict[str, Any] | None) -> None:
    """Notes what the parent's `log_settings` are, for `configure_log_as_parent`."""
    global _settings  # noqa: PLW0603 - a process has one log
    _settings = settings


def configure_log_as_parent() -> None:
    """Does what `configure_log` did in the parent, if it did; call it behind the import of the user's modules, which
    may have their own idea of logs.
    """
    if _settings is not None:
        is_json = _settings["form"] == "json"
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if is_json else LineFormatter(FORMAT))
        logging.basicConfig(level=_settings["level"].upper(), handlers=[handler])
        if is_json and handler in logging.getLogger().handlers:
            _log_what_python_prints()


def _log_what_python_prints() -> None:
    """Has the log tell what Python writes to stderr by itself: warnings, and exceptions that nobody has caught."""
    logging.captureWarnings(True)
    sys.excepthook = lambda *found: _log_uncaught("an exception that nobody caught", found[1])
    sys.unraisablehook = lambda found: _log_uncaught(
        found.err_msg or "an exception that nobody could catch", found.exc_value
    )
    threading.excepthook = lambda found: _log_uncaught(
        f"thread {found.thread.name if found.thread else 'unknown'} ended by an exception", found.exc_value
    )


def _log_uncaught(text: str, error: BaseException | None) -> None:
    if not isinstance(error, SystemExit):  # which is the end of a thread that wants it
        logging.getLogger("python").error(text, exc_info=error)


class TaskLog:
    """Sets `about_task` while a handler runs; the other hooks do nothing."""

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
