"""Looks after memory and connections from time to time, when no message asks for it.

Nothing is looked at one by one while the memory of the process stays as it is. When it grows, each connection is looked
at, and who piles up too much ends. When that does not help, the process ends before the system ends it, in words: what
was accepted is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from zq.errors import MemoryLimitError
from zq.processes.memory import give_back, private_bytes
from zq.server.connections import Connections

log = logging.getLogger(__name__)

GROWTH_BYTES = 8 << 20
"""By so much memory grows before all connections are looked at."""

WATCH_SECONDS, AROUND_SECONDS = 0.1, 0.01
"""Between two looks at the memory, which take ten microseconds; and while all connections are looked at, since it has
grown.
"""


class MemoryGuard:
    """Watches. Of the shell's one thread."""

    def __init__(
        self,
        connections: Connections,
        memory_max: int | None,
        measure: Callable[[], int | None] = private_bytes,
    ) -> None:
        """Watches connections and memory.

        Args:
            connections: that are cut.
            memory_max: bytes above which `watch` raises; None: no limit.
            measure: returns the memory of the process, or None when the system does not tell.
        """
        self.next_at = 0.0  # monotonic
        self._connections = connections
        self._memory_max = memory_max
        self._measure = measure
        self._memory = measure()
        self._calm = self._memory or 0  # what it was when all had been looked at
        self._is_around = True  # whether all have been looked at since it grew

    def watch(self, now: float) -> None:
        """Looks, if it is time.

        Raises:
            MemoryLimitError: the process has to end.
        """
        if now < self.next_at:
            return
        connections = self._connections
        connections.look_at_slow(now)
        connections.forget_strangers(now)
        memory = self._memory = self._measure()
        if memory is not None:
            self._look(memory, now)
            if self._memory_max is not None and memory > self._memory_max * 3 // 4:
                self._relieve(memory, self._memory_max)
        self.next_at = now + (WATCH_SECONDS if self._is_around else AROUND_SECONDS)

    def _look(self, memory: int, now: float) -> None:
        """Looks at connections when memory has grown."""
        if self._is_around and memory <= self._calm + GROWTH_BYTES:
            self._calm = min(self._calm, memory)
            return
        self._is_around = self._connections.look_around(now)
        if self._is_around:
            self._calm = memory

    def _relieve(self, memory: int, most: int) -> None:
        text = f"the coordinator has {memory >> 20} MiB, and may have {most >> 20}"
        if not self._connections.cut_largest(text):
            give_back()
        if memory > most and (self._measure() or 0) > most:
            raise MemoryLimitError(
                f"the coordinator has {memory >> 20} MiB of memory and may have {most >> 20}, so it ends; everything "
                "that was accepted is on disk. Start it again, with a larger limit if it needs so much"
            )

    def about(self) -> dict[str, Any]:
        """Returns what the query `status` shows."""
        return {"bytes": self._memory, "max": self._memory_max}
