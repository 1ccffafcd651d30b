"""The last failures of all queues, newest last: what people look at first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

FAILURES_KEPT: Final = 100
"""Failures that are remembered, in memory only: a page of them. The histories of their tasks have the rest."""

ERROR_CHARS: Final = 200
"""Of the one line of an error that is shown of a failure."""

LINES_LOOKED_AT: Final = 4 * ERROR_CHARS
"""Characters of an error in which its first line is looked for."""


class FailedAttempt(NamedTuple):
    """An attempt that failed or was lost."""

    time: float  # wall
    queue: str
    id: str
    attempt: int
    worker: str | None
    error: str
    next_time: float | None  # when it is tried again (wall); None: never
    is_dead: bool


class Failures:
    """The last of them; noting one costs a failure next to nothing."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: deque[FailedAttempt] = deque(maxlen=FAILURES_KEPT)

    def note(self, failure: FailedAttempt) -> None:
        self._last.append(failure)

    def newest(self) -> Iterator[dict[str, Any]]:
        """Yields them as the query `failures` shows them, the newest first."""
        for one in reversed(self._last):
            yield {**one._asdict(), "error": line_of(one.error)}


def cut_error(error: str) -> str:
    """Returns as much of an error as is kept of it."""
    return error[:LINES_LOOKED_AT]


def line_of(text: str) -> str:
    """Returns the first line of a text that says something, cut."""
    return first_line(text)[:ERROR_CHARS]


def first_line(text: str) -> str:
    """Returns the first line of a text that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
