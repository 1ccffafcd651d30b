"""Work that goes on from step to step, as it is stored: an operation on a whole queue (`zq.core.admin.operations`), a
replay, which brings dead letters back at a rate (`zq.core.tasks.dead_letters`), and a chore, which is what is left to
do of one message or end (`zq.core.admin.chores`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from zq.core import tables
from zq.core.state.holder import Peer
from zq.core.state.step import Step

RUNNING, WAITING, DONE = "running", "waiting", "done"
"""States of an operation: waiting means that only running tasks keep it from its end."""


@dataclass(slots=True, eq=False)
class Operation:
    """One operation; all but its id is stored under that, in this order."""

    id: str
    kind: str  # "purge", "move" or "delete"
    queue: str
    number: int  # of the queue: one that is made anew under the name is another
    to: str | None
    states: tuple[str, ...]
    before: int  # the last sequence that it looks at
    state: str = RUNNING
    phase: int = 0  # index in `states`
    cursor: bytes = b""  # what it has looked at in this phase comes before this key
    has_found: bool = False  # whether this pass has found anything
    tasks: int = 0  # ended or moved so far
    started_time: float = 0.0  # wall
    finished_time: float | None = None

    def record(self) -> bytes:
        return tables.pack([getattr(self, field.name) for field in fields(self)[1:]])

    def as_map(self) -> dict[str, Any]:
        names = ("id", "kind", "queue", "to", "states", "state", "tasks", "started_time", "finished_time")
        return {name: getattr(self, name) for name in names}


def read_operation(id: str, value: bytes) -> Operation:
    """Makes an operation of its record."""
    return Operation(id, *tables.unpack(value))


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


@dataclass(slots=True, eq=False)
class Chore:
    """Work about a task, batch or group; all but verb and id is stored under these, in this order."""

    verb: str
    id: str
    reason: str = ""
    parent: str = ""  # key of the one that it is part of
    at: int = 0  # index of the first task that is not yet looked at
    count: int = 0  # tasks that have ended by it
    below: int = 0  # chores that are part of it and go on; it waits for them
    marks: tuple[str, ...] = ()  # of the commands that asked for it

    @property
    def key(self) -> str:
        return f"{self.verb}\0{self.id}"


class Chores:
    """The chores that go on, by key, and who waits for their ends. Invariant: table `chores` has those that go on."""

    __slots__ = ("askers", "going")

    def __init__(self) -> None:
        self.going: dict[str, Chore] = {}
        # Connection and request, and what was done before of what is asked for again; in memory only.
        self.askers: dict[str, dict[tuple[Peer, int], int]] = {}

    def save(self, step: Step, chore: Chore) -> None:
        """Stores a chore that begins or goes on."""
        self.going[chore.key] = chore
        record = (
            chore.reason,
            chore.parent,
            chore.at,
            chore.count,
            chore.below,
            *((chore.marks,) if chore.marks else ()),
        )
        step.tx.put(tables.CHORES, chore.key.encode(), tables.pack(record))

    def end(self, step: Step, chore: Chore) -> None:
        """Forgets a chore that is done, and counts it for the one that it is part of."""
        self.going.pop(chore.key, None)
        step.tx.delete(tables.CHORES, chore.key.encode())
        parent = self.going.get(chore.parent)
        if parent is not None:
            parent.below -= 1
            parent.count += chore.count
            self.save(step, parent)

    def is_about(self, verb: str, id: str) -> bool:
        """Whether such a chore goes on."""
        return f"{verb}\0{id}" in self.going

    def read(self, key: bytes, value: bytes) -> None:
        """Takes up a chore of an earlier life."""
        verb, _, id = key.decode().partition("\0")
        chore = Chore(verb, id, *tables.unpack(value))
        self.going[chore.key] = chore
