"""The log of a process of the command line, and of the children that run the user's functions for it.

A program that configures its log itself has children whose modules configure theirs, as with multiprocessing.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
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
    """Writes a record as a JSON object on a line: time (UTC), level, logger, message, error, and FIELDS."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns a record as text."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        shown = {"time": time, "level": record.levelname.lower(), "logger": record.name}
        about = {**(about_task.get() or {}), **_current_span()}
        own = {name: getattr(record, name, None) for name in FIELDS}
        fields = {name: about.get(name) if own[name] is None else own[name] for name in FIELDS}
        error = self.formatException(record.exc_info) if record.exc_info else None
        document = {**shown, "message": record.getMessage(), **fields, "error": error}
        text = json.dumps({name: value for name, value in document.items() if value is not None}, default=str)
        return shown_json(text)


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
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if _settings["form"] == "json" else LineFormatter(FORMAT))
        logging.basicConfig(level=_settings["level"].upper(), handlers=[handler])
