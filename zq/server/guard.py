"""Looks after memory and connections from time to time, when no message asks for it.

Nothing is looked at one by one while the memory of the process stays as it is. When it grows, each connection is looked
at, and who piles up too much ends, by its bytes or by the memory that they cost. When that does not help, the process
ends before the system ends it, in words: what was accepted is on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from zq.errors import MemoryLimitError
from zq.processes.machine import give_back, private_bytes
from zq.server.connections import Connections
from zq.server.host import half_of_memory
from zq.wire.limits import FRAME_BYTES_MAX

log = logging.getLogger(__name__)

GROWTH_BYTES = 8 << 20
"""By so much memory grows before all connections are looked at."""

WATCH_SECONDS, AROUND_SECONDS = 0.1, 0.01
"""Between two looks at the memory, which take ten microseconds; and while it grows, or connections are looked
at.
"""

GROWING_SECONDS = 1.0
"""For so long after it has grown memory is taken to grow."""


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
            memory_max: bytes above which `watch` raises; None: it never does, and at three quarters of half of the
                machine's memory ends connections for or from which more waits than a message.
            measure: returns the memory of the process, or None when the system does not tell.
        """
        self.next_at = 0.0  # monotonic
        self._connections = connections
        self._memory_max = memory_max
        self._most = memory_max or half_of_memory()
        self._least = 0 if memory_max else FRAME_BYTES_MAX
        self._growing_until = 0.0  # monotonic
        self._cuts = 0  # how many there were when memory was given back
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
            if memory > self._most * 3 // 4:
                self._relieve(memory)
        is_calm = self._is_around and now > self._growing_until
        if is_calm:
            self._tidy()
        self.next_at = now + (WATCH_SECONDS if is_calm else AROUND_SECONDS)

    def _look(self, memory: int, now: float) -> None:
        """Looks at connections when memory has grown."""
        if self._is_around and memory <= self._calm + GROWTH_BYTES:
            self._calm = min(self._calm, memory)
            return
        self._growing_until = now + GROWING_SECONDS
        self._is_around = self._connections.look_around(now)
        if self._is_around:
            self._connections.blame(memory - self._calm)
            self._calm = memory

    def _tidy(self) -> None:
        """Gives back what connections had that were ended: the next who piles up makes memory grow, and is seen."""
        cuts = self._connections.cuts.total()
        if cuts != self._cuts:
            self._cuts = cuts
            give_back()

    def _relieve(self, memory: int) -> None:
        most = self._most
        text = f"the coordinator has {memory >> 20} MiB, and may have {most >> 20}"
        if not self._connections.cut_largest(text, self._least) and self._memory_max is not None:
            give_back()
        if self._memory_max is not None and memory > most and (self._measure() or 0) > most:
            raise MemoryLimitError(
                f"the coordinator has {memory >> 20} MiB of memory and may have {most >> 20}, so it ends; everything "
                "that was accepted is on disk. Start it again, with a larger limit if it needs so much"
            )

    def about(self) -> dict[str, Any]:
        """Returns what the query `status` shows."""
        return {"bytes": self._memory, "max": self._memory_max}
