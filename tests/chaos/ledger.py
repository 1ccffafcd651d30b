"""What the clients know: what they asked for, what they were promised, and what they got. Many threads write in it."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Order(NamedTuple):
    """A task with a receipt."""

    queue: str
    detail: Any = None  # what its promise needs to know


@dataclass(slots=True)
class GroupOrder:
    """A group that was opened."""

    policy: str
    parts: list[tuple[int, bool]]  # of each member, its number and whether it is bad


class Taken(NamedTuple):
    """A pulled task, with when it was asked for."""

    id: str
    token: int
    asked_at: float


@dataclass
class Ledger:
    """All that was acknowledged, and what was tried."""

    accepted: dict[str, Order] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)  # id: queue; of what got no answer, or was refused
    lines: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # ordered key: ids, as accepted
    alone: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # unique key: ids that had it
    groups: dict[str, GroupOrder] = field(default_factory=dict)
    news: dict[str, tuple[str, ...]] = field(default_factory=dict)  # id of a publication: queues that it reached
    topics: dict[str, str] = field(default_factory=dict)  # id of a publication: its topic
    called_off: dict[str, int] = field(default_factory=dict)  # id: what the cancel said
    died: set[str] = field(default_factory=set)  # what was seen as a dead letter
    revived: set[str] = field(default_factory=set)  # dead letters whose replay was acknowledged
    taken: list[Taken] = field(default_factory=list)
    ended: dict[str, tuple[int, float]] = field(default_factory=dict)  # pulled and done: token, and when it was known
    pipelines: dict[str, tuple[list[int], list[int]]] = field(
        default_factory=dict
    )  # run: what it had to give, and gave
    schedules: dict[str, tuple[str, float]] = field(default_factory=dict)  # what each does about missed times; seconds
    sent: set[str] = field(default_factory=set)  # of these, what forwarded a task
    broken_promises: list[str] = field(default_factory=list)  # what a client saw at once
    errors: list[str] = field(default_factory=list)  # of the load itself
    acknowledged: Counter[str] = field(default_factory=Counter)  # by what was asked for
    waits: list[float] = field(default_factory=list)  # seconds for each submit
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, count: int = 1) -> None:
        """Counts acknowledgements."""
        with self.lock:
            self.acknowledged[kind] += count

    def accept(self, id: str, queue: str, detail: Any = None) -> None:
        """Notes a receipt."""
        with self.lock:
            self.accepted[id] = Order(queue, detail)
            self.acknowledged[queue] += 1

    @property
    def acknowledgements(self) -> int:
        """How many there were."""
        with self.lock:
            return self.acknowledged.total()
