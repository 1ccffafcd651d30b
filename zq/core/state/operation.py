"""An operation on a whole queue, as it is stored (`zq.core.admin.operations`)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from zq.core import tables

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
