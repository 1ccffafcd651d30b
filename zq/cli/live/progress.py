"""A line on stderr that says how far a command is, in a terminal, when it takes longer than a second; none in pipes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from zq.errors import ZqError

if TYPE_CHECKING:
    from zq.client.client import Client

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that a command may take without a word."""

_INTERVAL = 0.5
"""Seconds between two looks at what the coordinator does."""


@contextmanager
def progress(
    what: str, total: int | None = None, look: Callable[[], int | None] | None = None, patience: float = _PATIENCE
) -> Iterator[Callable[[int], None]]:
    """Shows how far something is, until the body ends; the line is gone then.

    Args:
        what: is being done, such as "purging orders".
        total: how much there is to do; None when nobody knows.
        look: asks how much is done, from a thread of its own; None when the body says it.
        patience: seconds before it is shown.

    Yields:
        takes how much is done so far.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield _ignore
        return
    shown = _Shown(what, total, look, patience)
    shown.start()
    try:
        yield shown.set
    finally:
        shown.end()


def counted(items: Iterable[T], advance: Callable[[int], None]) -> Iterator[T]:
    """Yields items, and says how many there have been."""
    for done, item in enumerate(items, 1):
        yield item
        advance(done)


@contextmanager
def operation_progress(client: Client, queue: str, what: str, total: int | None) -> Iterator[None]:
    """Shows how far an operation on a whole queue is."""

    def look() -> int | None:
        running = [one for one in client.queues.operations() if one.queue == queue and one.state == "running"]
        return max((one.tasks for one in running), default=None)

    with progress(what, total, look):
        yield


def _ignore(done: int) -> None:
    """Where nobody looks."""


class _Shown(threading.Thread):
    """The line, once it is time for it."""

    def __init__(self, what: str, total: int | None, look: Callable[[], int | None] | None, patience: float) -> None:
        super().__init__(name="zq-progress", daemon=True)
        self._what = what
        self._total = total
        self._look = look
        self._patience = patience
        self._done = 0
        self._is_over = threading.Event()

    def set(self, done: int) -> None:
        self._done = done

    def end(self) -> None:
        self._is_over.set()
        self.join(5.0)

    def run(self) -> None:
        if self._is_over.wait(self._patience):
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from zq.processes.shown import printable

        columns: list[Any] = [TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()]
        with Progress(*columns, TimeElapsedColumn(), console=Console(file=sys.stderr), transient=True) as display:
            line = display.add_task(printable(self._what), total=self._total)
            while not self._is_over.wait(_INTERVAL):
                if self._look is not None:
                    with suppress(ZqError):  # the command itself says what is wrong
                        self._done = self._look() or self._done
                display.update(line, completed=self._done)
