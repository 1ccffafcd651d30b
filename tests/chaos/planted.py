"""Faults that a coordinator could have, planted in one that runs; the chaos must see each, or its green means nothing.

`python -m tests.chaos.planted NAME coordinator ...` is `zq coordinator ...` with a fault, and
`python -m tests.chaos --plants` lets each be found by the row for it.
"""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, NamedTuple

from zq.core.coordinator import Machine
from zq.core.options import Now
from zq.server import loop
from zq.server.connections import Connections
from zq.store import journal
from zq.store.hold import DirectoryHold
from zq.store.journal import FIRST_PLACE, JournalFile
from zq.store.room import DiskRoom


class Plant(NamedTuple):
    """A fault: what stands in the place of what."""

    row: str  # of the plan, which is to see it
    injuries: int  # that it takes
    owner: Any
    name: str
    by: Any


_owed: list[tuple[int, bytes, int]] = []


def _append_later(self: JournalFile, record: bytes) -> None:
    while _owed:
        journal._write(*_owed.pop())
    _owed.append((self._number, record, FIRST_PLACE + self.used))
    self.used += len(record)


def _flush_believed(self: JournalFile) -> None:
    with contextlib.suppress(OSError):
        journal._flush(self._number)
    self.flushes += 1


PLANTS: dict[str, Plant] = {
    "a receipt before it is written": Plant("7", 10, JournalFile, "append", _append_later),
    "a lock that is not taken": Plant("7", 5, DirectoryHold, "_take", lambda self, number: None),
    "a flush that failed and is believed": Plant("6", 10, JournalFile, "flush", _flush_believed),
    "room that is promised and not held": Plant("12", 3, DiskRoom, "_take", lambda self, start, stop: True),
    "liveness by the wall clock": Plant("13", 6, loop, "_now", lambda: Now(time.time(), time.time())),
    "its own stall taken for the workers' silence": Plant("10", 3, Machine, "_excuse_stall", lambda self, step: None),
    "connections that are never turned away": Plant("14", 1, Connections, "_make_room", lambda self: None),
}


def sow(name: str) -> None:
    """Changes this process, for good."""
    plant = PLANTS[name]
    assert hasattr(plant.owner, plant.name), f"{plant.name} is called otherwise by now"
    setattr(plant.owner, plant.name, plant.by)


if __name__ == "__main__":
    from zq.cli import main

    sow(sys.argv.pop(1))
    main()
