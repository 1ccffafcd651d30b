"""Who holds leases: a worker, or one pull of a client; and the leases."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Any

from zq.core import tables
from zq.core.state.batch import Batch, mask_bytes

if TYPE_CHECKING:
    from zq.core.state.queue import Queue

Peer = bytes
"""A connection, as the transport names it."""


class Life(Enum):
    """How a worker seems to be (protocol 3)."""

    LIVE = "live"
    SUSPECT = "suspect"  # missed beats: no new tasks
    ABSENT = "absent"  # known from before a restart only: its leases wait to be claimed


class Holder:
    """A worker, by name and incarnation, or a pull, by client and request."""

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
        self.queues: list[Queue] = []
        self.credit = 0
        self.concurrency = 1
        self.held = 0  # invariant: tasks in `leases`
        self.leases: dict[int, Lease] = {}  # by token, so in the order in which they were granted
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


class Lease:
    """The right of one holder to finish some tasks of a batch."""

    __slots__ = (
        "batch",
        "expires_at",
        "granted_at",
        "granted_time",
        "holder",
        "is_solo",
        "mask",
        "progress",
        "seconds",
        "started",
        "token",
    )

    def __init__(self, token: int, batch: Batch, mask: int, holder: Holder, now: float, granted_time: float) -> None:
        self.token = token
        self.granted_at = now
        self.granted_time = granted_time  # wall; over restarts, too
        self.batch = batch
        self.mask = mask  # tasks still covered; bits as in the batch
        self.holder = holder
        # Index in the batch -> when it was first reported (monotonic). Invariant: only tasks that the lease covers.
        self.started: dict[int, float] = {}
        self.progress: dict[int, float] = {}  # index -> fraction
        self.is_solo = False
        self.seconds: float | None = None  # of a pull's lease; None for a worker's, which lives as long as the worker
        self.expires_at = inf

    def forget_started(self, mask: int) -> None:
        """Forgets what was known of the run of tasks that the lease no longer covers."""
        first = self.batch.first
        for index in [index for index in self.started if mask >> (index - first) & 1]:
            del self.started[index]
            self.progress.pop(index, None)

    def record(self) -> bytes:
        holder = self.holder
        head = (self.batch.key, mask_bytes(self.mask), holder.is_puller, holder.name, holder.incarnation)
        return tables.pack((*head, self.seconds, self.granted_time))


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
