"""Which tasks have been running for long enough to be reported as started, so that a crash is charged to the right ones
(protocol 3, started); a pure machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from zq.sessions.hand import Hand
from zq.wire.messages import Held, Started

STARTED_AFTER = 0.02
"""Seconds that a task runs before it is reported as started: most have ended by then, and need no message."""

Running = Callable[[], Iterable[tuple[int, int, float]]]
"""What the shell runs now: token, index and since when (monotonic seconds)."""


class StartedTasks:
    """The tasks that were reported as started, and when to look for others.

    Args:
        running: tells what the shell runs now.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._reported: set[tuple[int, int]] = set()
        self._look_at = 0.0  # before which none is due: what starts after a look is not due for a while

    def look(self, now: float, hands: Mapping[int, Hand]) -> Started | None:
        """Returns what is to be reported, if anything is."""
        if now < self._look_at or not (hands or self._reported):
            return None
        self._look_at = now + STARTED_AFTER
        fresh: dict[int, list[int]] = {}
        running = set()
        for token, index, since in self._running():
            running.add((token, index))
            if token not in hands or (token, index) in self._reported:
                continue
            if now - since >= STARTED_AFTER:
                fresh.setdefault(token, []).append(index)
            else:
                self._look_at = min(self._look_at, since + STARTED_AFTER)
        self._reported &= running
        if not fresh:
            return None
        self._reported.update((token, index) for token, indexes in fresh.items() for index in indexes)
        return Started(tuple(Held(token, tuple(indexes)) for token, indexes in fresh.items()))

    def next_at(self, at: float) -> float:
        """Returns when the next is to be reported (monotonic), or `at`, if that is earlier."""
        for token, index, since in self._running():
            if (token, index) not in self._reported:
                at = min(at, since + STARTED_AFTER)
        return at

    def forget(self) -> None:
        """Has all of them reported again: nobody is known to have heard of them."""
        self._reported.clear()
        self._look_at = 0.0
