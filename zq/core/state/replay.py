"""A replay, as it is stored: dead letters that are brought back at a rate (`zq.core.tasks.dead_letters`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from zq.core import tables


@dataclass(slots=True, eq=False)
class Replay:
    """A replay that goes on; stored in table `replays`, under its id and in this order, but for what it may do now."""

    id: str
    rate: float  # dead letters a second
    queue: str | None  # None: of all queues
    reason: str | None  # text that the reason must contain; None: any
    to: str | None  # None: back to where they were
    started_time: float  # wall
    before: int  # number of an event: what has died after it is not brought back
    cursor: bytes = b""  # what it has looked at comes before this key
    moved: int = 0
    allowance: float = 0.0  # dead letters that it may bring back now
    at: float = 0.0  # monotonic, when the allowance was counted

    def record(self) -> bytes:
        return tables.pack([getattr(self, field.name) for field in fields(self)[1:-2]])

    def next_at(self) -> float:
        """Returns when it may bring the next one back (monotonic)."""
        return self.at + max(0.0, 1.0 - self.allowance) / self.rate

    def as_map(self) -> dict[str, Any]:
        names = ("id", "rate", "queue", "reason", "to", "started_time", "moved")
        return {name: getattr(self, name) for name in names}


def read_replay(id: str, value: bytes) -> Replay:
    """Makes a replay of its record."""
    return Replay(id, *tables.unpack(value))
