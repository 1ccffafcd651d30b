"""An operation on a whole queue, as it is stored (`zq.core.admin.operations`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from zq.core import tables

RUNNING, WAITING, DONE = "running", "waiting", "done"
"""States of an operation: waiting means that only running tasks keep it from its end."""


class OperationRecord(NamedTuple):
    """What is stored of an operation."""

    kind: str
    queue: str
    number: int
    to: str | None
    states: tuple[str, ...]
    before: int
    state: str
    phase: int
    cursor: bytes
    has_found: bool
    tasks: int
    started_time: float
    finished_time: float | None


class Operation:
    """One operation, as it is stored."""

    __slots__ = ("before", "cursor", "finished_time", "has_found", "id", "kind", "number", "phase", "queue", "started_time", "state", "states", "tasks", "to")  # fmt: skip

    def __init__(self, id: str, kind: str, queue: str, number: int, to: str | None, states: tuple[str, ...]) -> None:
        self.id = id
        self.kind = kind  # "purge", "move" or "delete"
        self.queue = queue
        self.number = number  # of the queue: one that is made anew under the name is another
        self.to = to
        self.states = states
        self.before = 0  # the last sequence that it looks at
        self.state = RUNNING
        self.phase = 0  # index in `states`
        self.cursor = b""  # what it has looked at in this phase comes before this key
        self.has_found = False  # whether this pass has found anything
        self.tasks = 0  # ended or moved so far
        self.started_time = 0.0  # wall
        self.finished_time: float | None = None

    def record(self) -> bytes:
        return tables.pack(tuple(getattr(self, name) for name in OperationRecord._fields))

    def as_map(self) -> dict[str, Any]:
        names = ("id", "kind", "queue", "to", "states", "state", "tasks", "started_time", "finished_time")
        return {name: getattr(self, name) for name in names}


def read_operation(id: str, value: bytes) -> Operation:
    """Makes an operation of its record."""
    record = OperationRecord(*tables.unpack(value))
    operation = Operation(id, record.kind, record.queue, record.number, record.to, record.states)
    for name in ("before", "state", "phase", "cursor", "has_found", "tasks", "started_time", "finished_time"):
        setattr(operation, name, getattr(record, name))
    return operation
