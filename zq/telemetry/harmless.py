"""What keeps the tools of a program that watches from harming what they watch.

Samplers, processors and propagators belong to the program, and may raise; what they put into headers may be more than a
task can carry. Neither may fail a submit or a task.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from zq.handling.raised import LOGGED_BYTES_MAX, trace_of
from zq.wire.limits import HEADER_CHARACTERS_MAX, HEADERS_MAX, RESERVED_HEADER_PREFIX
from zq.wire.options import read_headers
from zq.wire.values import Malformed, TooLarge

log = logging.getLogger(__name__)

FAULTS_INTERVAL = 60.0
"""Seconds between two lines about faults: a tool that is broken is so for each task."""

LISTS = ("tracestate", "baggage")
"""Headers whose members stand between commas; W3C lets those at the end be left out."""


class Faults:
    """Tells that a tool fails, once in a while and with its traceback."""

    def __init__(self) -> None:
        self._untold = 0
        self._next_at = float("-inf")

    def note(self, hook: str, error: Exception) -> None:
        """Notes one, and tells it if none was told for a while; threads that meet here tell one more."""
        self._untold += 1
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + FAULTS_INTERVAL
        count, self._untold = self._untold, 0
        trace = trace_of(error, LOGGED_BYTES_MAX)
        log.error("tracing failed in %s (%d times since the last word); tasks go on without\n%s", hook, count, trace)


class HasFaults(Protocol):
    """Whose hooks are contained."""

    faults: Faults


P = ParamSpec("P")
Tool = TypeVar("Tool", bound=HasFaults)


def contained(hook: Callable[Concatenate[Tool, P], None]) -> Callable[Concatenate[Tool, P], None]:
    """Returns a hook that raises nothing: what it raises is noted."""

    @functools.wraps(hook)
    def call(self: Tool, /, *arguments: P.args, **options: P.kwargs) -> None:
        try:
            hook(self, *arguments, **options)
        except Exception as error:
            self.faults.note(hook.__name__, error)

    return call


def with_context(carried: Mapping[Any, Any], headers: Mapping[str, str]) -> dict[str, str]:
    """Returns headers with those of a context, which give way: to those of the same name, and where there is no room.

    Args:
        carried: what a propagator wants to be carried, the most important first.
        headers: of the task, which stay as they are.
    """
    mixed = dict(headers)
    for name, text in carried.items():
        if name not in mixed and len(mixed) < HEADERS_MAX:
            mixed.update(_fitting(name, text))
    return mixed


def _fitting(name: Any, text: Any) -> dict[str, str]:
    """Returns a header if a task may have it; of a list as many members as there is room for."""
    if name in LISTS and isinstance(text, str) and len(text) > HEADER_CHARACTERS_MAX:
        text = text[: HEADER_CHARACTERS_MAX + 1].rpartition(",")[0]
    try:
        found = read_headers({name: text})
    except (Malformed, TooLarge):
        return {}
    return {} if not text or name.startswith(RESERVED_HEADER_PREFIX) else found
