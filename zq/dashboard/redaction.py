"""What payloads, results and errors go through before anybody sees them, when the dashboard was told a function for it.

It covers values (payloads, results) and texts that may repeat them: reasons, errors, what events and `why` say in
words. It does not cover ids, keys, headers and names of queues, topics and workers, which are shown as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from zq.dashboard.options import Redact
from zq.dashboard.values import JsonObject

log = logging.getLogger(__name__)

TEXT_FIELDS: Final = ("reason", "error", "text", "last_error", "trouble", "traceback", "payload", "result")
"""Fields of rows and of their details that may repeat what a payload has."""

NESTED_FIELDS: Final = ("detail", "details", "timeline")

FAILED: Final = "(not shown: the redaction function failed)"


class Redactor:
    """Has the function look at everything that must not be shown as it is; without one all is shown."""

    def __init__(self, redact: Redact | None) -> None:
        self._redact = redact

    @property
    def is_active(self) -> bool:
        return self._redact is not None

    def value(self, field: str, value: Any, about: Mapping[str, Any]) -> Any:
        """Returns what is shown in the place of a value.

        Args:
            field: what it is: "payload", "result", or the name of a field with a text.
            value: that would be shown.
            about: what is known of its task; `id` and `queue` of it are passed on.
        """
        if self._redact is None or value is None:
            return value
        try:
            return self._redact(value, {"field": field, "id": about.get("id"), "queue": about.get("queue")})
        except Exception:
            log.exception("the redaction function failed; what it was given is not shown")
            return FAILED

    def row(self, row: JsonObject, about: Mapping[str, Any] | None = None) -> JsonObject:
        """Returns a row, or an event, with its texts as they may be shown."""
        if self._redact is None:
            return row
        about = row if about is None else about
        found = dict(row)
        for name in TEXT_FIELDS:
            if found.get(name):
                found[name] = self.value(name, found[name], about)
        for name in NESTED_FIELDS:
            inner = found.get(name)
            if isinstance(inner, dict):
                found[name] = self.row(inner, about)
            elif isinstance(inner, list | tuple):
                found[name] = [self.row(one, about) for one in inner]
        return found

    def rows(self, rows: Iterable[JsonObject], about: Mapping[str, Any] | None = None) -> list[JsonObject]:
        return [self.row(row, about) for row in rows] if self._redact is not None else list(rows)
