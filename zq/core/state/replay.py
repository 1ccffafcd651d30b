"""A replay, as it is stored: dead letters that are brought back at a rate (`zq.core.tasks.dead_letters`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from zq.core import tables


class ReplayRecord(NamedTuple):
    """What is stored of a replay."""

    rate: float
    queue: str | None
    reason: str | None
    to: str | None
    started_time: float
    before: int
    cursor: bytes
    moved: int


class Replay:
    """A replay that goes on; stored in table `replays` but for what it may do now."""

    __slots__ = ("allowance", "at", "before", "cursor", "id", "moved", "queue", "rate", "reason", "started_time", "to")

    def __init__(self, id: str, rate: float, queue: str | None, reason: str | None, to: str | None) -> None:
        self.id = id
        self.rate = rate  # dead letters a second
        self.queue = queue  # None: of all queues
        self.reason = reason  # text that the reason must contain; None: any
        self.to = to  # None: back to where they were
        self.started_time = 0.0  # wall
        self.before = 0  # number of an event: what has died after it is not brought back
        self.cursor = b""  # what it has looked at comes before this key
        self.moved = 0
        self.allowance = 0.0  # dead letters that it may bring back now
        self.at = 0.0  # monotonic, when the allowance was counted

    def record(self) -> bytes:
        return tables.pack(tuple(getattr(self, name) for name in ReplayRecord._fields))

    def next_at(self) -> float:
        """Returns when it may bring the next one back (monotonic)."""
        return self.at + max(0.0, 1.0 - self.allowance) / self.rate

    def as_map(self) -> dict[str, Any]:
        names = ("id", "rate", "queue", "reason", "to", "started_time", "moved")
        return {name: getattr(self, name) for name in names}


def read_replay(id: str, value: bytes) -> Replay:
    """Makes a replay of its record."""
    record = ReplayRecord(*tables.unpack(value))
    replay = Replay(id, record.rate, record.queue, record.reason, record.to)
    replay.started_time, replay.before = record.started_time, record.before
    replay.cursor, replay.moved = record.cursor, record.moved
    return replay
