"""What an event loop watches for a link: the descriptors of two ZeroMQ sockets, and one time.

A descriptor of ZeroMQ is no socket's: it becomes readable when there may be news, and is quiet again as soon as anybody
has looked, whether or not all of it was taken. So whoever is called looks at EVENTS, and again after each send or
receive, until nothing is left.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import _get_running_loop
from collections.abc import Callable
from math import inf


def has_readers(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop can watch descriptors; that of Windows that starts processes (Proactor) cannot."""
    return getattr(type(loop), "add_reader", None) not in (None, asyncio.AbstractEventLoop.add_reader)


class LoopWatch:
    """What one event loop watches; used in its thread, but for `close`.

    The loop gets duplicates of the descriptors, so that none is ever taken away that has been given to another file
    meanwhile: the socket may be closed by another thread before the loop comes to it.
    """

    __slots__ = ("_descriptors", "_due_at", "_timer", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._descriptors: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = inf

    def add(self, descriptor: int, call: Callable[[], None]) -> None:
        """Has the loop call when a descriptor is readable."""
        own = os.dup(descriptor)
        self._descriptors.append(own)
        self.loop.add_reader(own, call)

    def clear(self) -> None:
        """Watches no descriptor any more."""
        descriptors, self._descriptors = self._descriptors, []
        for own in descriptors:
            if not self.loop.is_closed():
                self.loop.remove_reader(own)
            os.close(own)

    def call_at(self, now: float, at: float, call: Callable[[], None]) -> None:
        """Has the loop call at a time (monotonic seconds), or earlier: it need not be told when that comes later."""
        if at < self._due_at:
            if self._timer is not None:
                self._timer.cancel()
            self._due_at = at
            self._timer = self.loop.call_later(max(at - now, 0.0), self._ring, call)

    def close(self) -> None:
        """Watches nothing any more; from any thread, and for a loop that is closed."""
        if self.loop.is_running() and self.loop is not _get_running_loop():
            try:
                self.loop.call_soon_threadsafe(self._close)
                return
            except RuntimeError:  # closed in between
                pass
        self._close()

    def _close(self) -> None:
        self.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self, call: Callable[[], None]) -> None:
        self._due_at = inf
        call()

    def __del__(self) -> None:
        for own in self._descriptors:  # of a loop that was closed before it came to `close`
            os.close(own)
