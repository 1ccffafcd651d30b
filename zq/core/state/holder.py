"""Who may hold tasks: a worker, or one pull of a client; and pulls that wait for their first."""

from __future__ import annotations

from enum import Enum
from typing import Any, Generic, TypeVar

L = TypeVar("L")

Peer = bytes
"""A connection, as the transport names it."""


class Life(Enum):
    """How a worker seems to be (protocol 3)."""

    LIVE = "live"
    SUSPECT = "suspect"  # missed beats: no new tasks
    ABSENT = "absent"  # known from before a restart only: its leases wait to be claimed


class HolderOf(Generic[L]):
    """A worker, by name and incarnation, or a pull, by client and request; of what is for who imports the leases:
    `zq.core.state.leases.Holder`.
    """

    __slots__ = (
        "concurrency",
        "connected_at",
        "credit",
        "done",
        "heard_at",
        "held",
        "incarnation",
        "is_puller",
        "leases",
        "life",
        "name",
        "peer",
        "queues",
        "solo",
        "suspected_time",
        "turn",
    )

    def __init__(self, name: str, incarnation: str, *, is_puller: bool) -> None:
        self.name = name
        self.incarnation = incarnation
        self.is_puller = is_puller
        self.peer: Peer | None = None
        self.life = Life.ABSENT
        self.queues: tuple[str, ...] = ()  # that it asked for; each of them exists
        self.credit = 0
        self.concurrency = 1
        self.held = 0  # invariant: tasks in `leases`
        self.leases: dict[int, L] = {}  # by token, so in the order in which they were granted
        self.heard_at = 0.0
        self.connected_at = 0.0
        self.suspected_time = 0.0  # wall; of a suspect
        self.turn = 0  # when it last got something, to choose the least recently used
        self.done = 0
        self.solo = False  # holds a task that may kill workers, and gets nothing beside it (protocol 3.1)

    @property
    def free(self) -> int:
        """Returns how many more tasks it may get."""
        return 0 if self.solo or self.life is not Life.LIVE else self.credit - self.held


class PullWait:
    """A pull that waits for its first task."""

    __slots__ = ("client", "lease", "max_tasks", "peer", "queue", "request", "until")

    def __init__(self, peer: Peer, pull: Any, until: float) -> None:
        self.peer = peer
        self.client: str = pull.client
        self.queue: str = pull.queue
        self.request: int = pull.request
        self.max_tasks: int = pull.max_tasks
        self.lease: float = pull.lease
        self.until = until


def pull_name(client: str, request: int) -> str:
    """Returns the name under which the leases of a pull are kept."""
    return f"{client}/{request}"
