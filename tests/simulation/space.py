"""A disk that others fill and empty: the real gauge and the real room of a data file, over simulated blocks.

Nothing that was accepted may find no room, nothing new is taken while there is none, and all of it ends by itself.
"""

from __future__ import annotations

import errno
import random
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from tests.simulation.ledger import Violation
from tests.simulation.world import World
from zq.store.gauge import Gauge
from zq.store.room import STEP, DiskRoom

if TYPE_CHECKING:
    from tests.simulation.disk import DiskTables

SHARE = 0.3
"""Of the seeds."""

FILLED = 0.05
"""Of the turns, in which others fill the disk."""

PLENTY, MAP_BYTES, KEPT_FREE = 1 << 40, 1 << 36, 1 << 20

SCALE = 12
"""Bytes on the disk for each of a row: what a run writes is little, and what is held back is made for more."""

NOTICED_IN = 1.0
"""Seconds, and two turns, in which it is noticed that there is no room, or some again."""

CALM_AFTER = 12.0
"""Seconds after which all that has waited for room is done."""


class SimulatedRoom(DiskRoom):
    """What a file has of the simulated disk."""

    def __init__(self, space: Space) -> None:
        self.held, self.lack, self.needed = 0, "", STEP
        self.path, self.limit = Path("/simulated"), inf
        self._number = -1
        self._retry_at = -inf
        self._is_known = False
        self._space = space
        self._allocate = lambda number, start, count: space.take(start + count)

    def free_bytes(self) -> int:
        return self._space.free

    def _first_gap(self, end: int) -> int:
        return end // STEP * STEP


class Space:
    """The disk, and what the store should know of it."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = random.Random(f"space {seed}")
        self.is_active = self._rng.random() < SHARE
        self.free = PLENTY
        self._blocks = 0  # bytes that the file has
        self._end = 0  # up to which it was written
        self._full_until = -inf
        self._changed_at = -inf
        self._turns = 0  # since then
        self._full_at = -inf  # when the store was full last
        self._was_full = False  # as the turn began
        self.gauge: Gauge | None = None

    def open(self, tables: DiskTables) -> None:
        """Looks at the file as a start does."""
        if self.is_active:
            self.gauge = Gauge(
                SimulatedRoom(self),
                lambda: (SCALE * tables.used_bytes, self._end),
                MAP_BYTES,
                KEPT_FREE,
                lambda: self._world.now,
            )

    def take(self, stop: int) -> None:
        """Gives the file blocks up to a place."""
        count = max(0, stop - self._blocks)
        if count > self.free:
            raise OSError(errno.ENOSPC, "No space left on the simulated disk")
        self.free -= count
        self._blocks += count

    def note_commit(self, used_before: int, written: int) -> None:
        """Writes what finds no place inside behind the end."""
        if self.is_active:
            self._end = max(self._end, SCALE * (used_before + written))
            try:
                self.take(self._end)
            except OSError as error:
                raise Violation("a commit has found no room, and none was held back") from error

    def act(self) -> None:
        """Fills the disk, or empties it, before a turn."""
        if not self.is_active:
            return
        self._turns += 1
        is_over = self._world.is_healed or self._world.now >= self._full_until
        if not self.free and is_over:
            self.free, self._changed_at, self._turns = PLENTY, self._world.now, 0
        elif self.free and not self._world.is_healed and self._rng.random() < FILLED:
            self.free, self._changed_at, self._turns = 0, self._world.now, 0
            self._full_until = self._world.now + self._rng.choice((1.0, 3.0, 6.0))
            self._world.note("disk full")

    def begin_turn(self, *, is_full: bool) -> None:
        self._was_full = is_full

    def check(self, *, is_full: bool) -> None:
        """Checks a turn that is about to be committed."""
        if self.gauge is None:
            return
        if is_full:
            self._full_at = self._world.now
        if self.gauge.is_spent or self.gauge.is_short:
            raise Violation("what is held back for completions is used up, or nobody has held it back")
        if self._turns < 2 or self._world.now < self._changed_at + NOTICED_IN:
            return
        if not self.free and not self._was_full:
            raise Violation(f"the disk has had no room for {self._world.now - self._changed_at:.1f} s, unnoticed")
        if self.free and self._was_full:
            raise Violation(f"the disk has room since {self._world.now - self._changed_at:.1f} s, unnoticed")

    def check_accepted(self, id: str, *, is_full: bool) -> None:
        """Checks that something new may be accepted."""
        if self.is_active and is_full and self._was_full:
            raise Violation(f"{id} was accepted, and there is no room on the disk")

    def check_reason(self, text: str) -> None:
        """Checks a refusal that speaks of the disk."""
        if str(Path("/simulated")) in text and self._full_at < self._world.now and not self._was_full:
            raise Violation(f"refused for want of room, of which there is plenty: {text}")

    @property
    def is_calm(self) -> bool:
        """Whether nothing waits for room any more."""
        return self._world.now > self._full_at + CALM_AFTER
