"""Room that there is too little of, and again enough, in three ways.

*held*: others fill and empty the disk, of which some is held back for the file: nothing that was accepted may find no
room. *loose*: the same where a file system can hold nothing back: a commit may find no room, which leaves nothing of
its turn. *map*: the store itself is all but full, up to the last byte: it is full, short or spent, and a row in the
middle of a turn does not fit. The gauge is the real one, and so is the room of a data file, over simulated blocks.

In each of them nothing new is taken while there is no room, whoever is refused hears the true reason, completions are
taken as long as there is room for them, and all of it ends by itself.
"""

from __future__ import annotations

import errno
import random
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.simulation.glutton import GLUTTON
from tests.simulation.ledger import Violation
from tests.simulation.world import World
from zq.core.storage import STORE_FULL, STORE_IN_PIECES
from zq.store.gauge import Gauge
from zq.store.room import STEP, DiskRoom
from zq.wire.messages import Error, Published, Receipt, Settle

if TYPE_CHECKING:
    from tests.simulation.disk import DiskTables

KINDS = ("held",) * 6 + ("loose",) * 3 + ("map",) * 4 + ("",) * 7
"""Of the seeds; the last have room for all."""

LEVELS = (0.82, 0.86, 0.88, 0.89, 0.94, 1.0)
"""Of the map, how much is in use when it is all but full."""

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
        self._allocate = None if space.kind == "loose" else lambda number, start, count: space.take(start + count)

    def free_bytes(self) -> int:
        return self._space.free

    def _first_gap(self, end: int) -> int:
        return end // STEP * STEP


class Space:
    """The disk, and what the store should know of it.

    Attributes:
        least, most: bytes of rows that there were in this turn.
        has_refused: whether a commit of this turn has found no room.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = random.Random(f"space {seed}")
        self.kind = self._rng.choice(KINDS)
        self.free = PLENTY
        self.least = self.most = 0
        self.has_refused = False
        self.was_ever_short = False
        self._blocks = 0  # bytes that the file has
        self._end = 0  # up to which it was written
        self._full_until = -inf
        self._changed_at = -inf
        self._turns = 0  # since then
        self._full_at = -inf  # when the store was full last
        self._was_full = False  # as the turn began
        self._tables: DiskTables
        self.gauge: Gauge | None = None

    @property
    def has_room(self) -> bool:
        """Whether others leave some."""
        return self.free > 0 and (self.kind != "map" or self._tables.capacity_bytes is None)

    def open(self, tables: DiskTables) -> None:
        """Looks at the file as a start does."""
        self._tables = tables
        if self.kind in ("held", "loose"):
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

    def refuses(self, used_before: int, written: int) -> bool:
        """Returns whether a commit finds no room, where nothing is held back."""
        if self.kind != "loose" or max(self._end, SCALE * (used_before + written)) - self._blocks <= self.free:
            return False
        self.has_refused = True
        self._world.note("no room at a commit")
        if self.gauge is not None:
            self.gauge.look()
        return True

    def refuses_record(self) -> bool:
        """Returns whether a record of the journal finds no room."""
        return self.kind == "loose" and not self.free and self._rng.random() < 0.5

    def note_commit(self, used_before: int, written: int) -> None:
        """Writes what finds no place inside behind the end."""
        if self.gauge is not None:
            self._end = max(self._end, SCALE * (used_before + written))
            try:
                self.take(self._end)
            except OSError as error:
                raise Violation("a commit has found no room, and none was held back") from error

    def act(self) -> None:
        """Fills the disk, or empties it, before a turn."""
        if not self.kind:
            return
        self._turns += 1
        is_over = self._world.is_healed or self._world.now >= self._full_until
        if not self.has_room and is_over:
            self.free, self._tables.capacity_bytes = PLENTY, None
            self._changed_at, self._turns = self._world.now, 0
        elif self.has_room and not self._world.is_healed and self._rng.random() < FILLED and self._fill():
            self._changed_at, self._turns = self._world.now, 0
            self._full_until = self._world.now + self._rng.choice((1.0, 3.0, 6.0))

    def _fill(self) -> bool:
        if self.kind != "map":
            self.free = 0
            self._world.note("disk full")
            return True
        tables = self._tables
        if tables.used_bytes == 0 or (tables.open_tx is not None and tables.open_tx.undo):
            return False  # to apply a journal again may take more than there was in the end
        tables.capacity_bytes = int(tables.used_bytes / self._rng.choice(LEVELS))
        self._world.note("map full")
        return True

    def begin_turn(self, *, is_full: bool) -> None:
        self._was_full = is_full
        self.least = self.most = self._tables.used_bytes

    @property
    def was_spent(self) -> bool:
        """Whether this turn had room for nothing, but to make some."""
        if self.kind == "map":
            return self.most > self._tables.marks.spent
        return self.kind == "loose" and self.gauge is not None and self.gauge.is_spent

    def check(self, *, is_full: bool) -> None:
        """Checks a turn that is about to be committed."""
        if is_full:
            self._full_at = self._world.now
        if self.kind == "map" and self.most > self._tables.marks.short:
            self.was_ever_short = True
        if self.gauge is None:
            return
        if self.kind == "loose" and self.gauge.is_short:
            self.was_ever_short = True
        if self.kind == "held" and (self.gauge.is_spent or self.gauge.is_short):
            raise Violation("what is held back for completions is used up, or nobody has held it back")
        if self._turns < 2 or self._world.now < self._changed_at + NOTICED_IN:
            return
        if not self.free and not self._was_full:
            raise Violation(f"the disk has had no room for {self._world.now - self._changed_at:.1f} s, unnoticed")
        if self.free and self._was_full:
            raise Violation(f"the disk has room since {self._world.now - self._changed_at:.1f} s, unnoticed")

    def check_accepted(self, id: str, *, is_full: bool) -> None:
        """Checks that something new may be accepted."""
        if self.kind == "map":
            is_full = self.least > self._tables.marks.full  # all the time
        if self.kind and is_full and self._was_full:
            raise Violation(f"{id} was accepted, and there is no room on the disk")

    def check_refusals(self, outbox: list[tuple[bytes, Any]], received: list[Any]) -> None:
        """Checks whether what is refused for want of room finds none."""
        ends = {(one.peer, one.message.number) for one in received if isinstance(one.message, Settle)}
        for peer, message in outbox:
            if isinstance(message, Error) and peer != GLUTTON:
                self.check_reason(message.text)
                is_end = message.code == "busy" and (peer, message.request) in ends
                if is_end and self.kind == "map" and self.most <= self._tables.marks.spent:
                    raise Violation(f"a completion was refused, and there is room for it: {message.text}")
                if is_end and self.kind == "held":
                    raise Violation(f"a completion was refused, for which room is held back: {message.text}")
            elif isinstance(message, Receipt):
                for refused in message.refused:
                    self.check_reason(refused.reason)
            elif isinstance(message, Published) and message.refused is not None:
                self.check_reason(message.refused.reason)

    def check_reason(self, text: str) -> None:
        """Checks a refusal that may speak of room."""
        if str(Path("/simulated")) in text and self._full_at < self._world.now and not self._was_full:
            raise Violation(f"refused for want of room, of which there is plenty: {text}")
        if text == STORE_FULL and (self.kind != "map" or self.most <= self._tables.marks.full):
            raise Violation(f"refused since the store is full, which it is not: {text}")

    def check_unfit(self, text: str) -> None:
        """Checks what is said of a message that did not fit the store."""
        if self.kind == "loose":
            is_true = not self.free and "/simulated" in text
        else:
            why = STORE_FULL if self._tables.is_full else STORE_IN_PIECES
            is_true = self.kind == "map" and self._tables.capacity_bytes is not None and text == why
        if not is_true:
            raise Violation(f"a message was refused since it does not fit, and there is room: {text}")

    @property
    def is_calm(self) -> bool:
        """Whether nothing waits for room any more."""
        return self._world.now > max(self._full_at, self._changed_at) + CALM_AFTER
