"""Which queues have times (`zq.core.measures.times`): those that had tasks lately, so that a hundred thousand queues
take no more memory than a few thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zq.core.measures.times import Times
from zq.core.state.queue import Queue
from zq.wire.messages import DEFAULT_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zq.core.state.leases import Lease

TIMED_QUEUES_MAX: Final = 4096
"""Queues that have times, of about a kilobyte each. Who had no task for longest loses them to one that has."""


class TimedQueues:
    """The queues that have times; the one that was idle for longest is the first."""

    __slots__ = ("_queues", "count", "queue", "seconds")

    def __init__(self) -> None:
        self._queues: dict[Queue, None] = {}
        # Runs that ended lately and are not in the times of their queue yet: of what one step ends most is of one
        # queue, and was assigned in one step, so it is counted together; `end_done` adds to them by itself.
        self.queue: Queue | None = None
        self.seconds = 0.0
        self.count = 0

    def __len__(self) -> int:
        return len(self._queues)

    def begin(self, queue: Queue) -> Times:
        """Begins to time a queue."""
        if len(self._queues) >= TIMED_QUEUES_MAX:
            self.forget(next(iter(self._queues)))
        self._queues[queue] = None
        times = queue.times = Times()
        return times

    def note_busy(self, queue: Queue) -> None:
        """Notes that a queue had tasks lately: the others lose their times first."""
        if queue in self._queues:
            del self._queues[queue]
            self._queues[queue] = None

    def forget(self, queue: Queue) -> None:
        """Ends timing a queue, if it is timed."""
        if self.queue is queue:
            self.queue = None
        if self._queues.pop(queue, queue) is None:
            queue.times = None

    def note_waits(self, leases: Iterable[Lease], wall: float) -> None:
        """Counts how long the tasks of some new leases have waited; those that were tried before waited for their
        retry, which is not counted.
        """
        queue: Queue | None = None
        since, count = 0.0, 0
        for lease in leases:
            batch = lease.batch
            if batch.attempts:
                continue
            ready = batch.accepted_time if batch.options is DEFAULT_OPTIONS else batch.ready_time
            if ready != since or batch.queue is not queue:
                if queue is not None:
                    (queue.times or self.begin(queue)).wait.note(wall - since, count)
                queue, since, count = batch.queue, ready, 0
            count += lease.mask.bit_count()
        if queue is not None:
            (queue.times or self.begin(queue)).wait.note(wall - since, count)

    def note_run(self, queue: Queue, seconds: float, count: int) -> None:
        """Counts how long some tasks ran that have just ended, or failed."""
        if seconds == self.seconds and queue is self.queue:
            self.count += count
        else:
            self.settle()
            self.queue, self.seconds, self.count = queue, seconds, count

    def settle(self) -> None:
        """Counts what was only noted; whoever looks at times calls it before."""
        queue = self.queue
        if queue is not None:
            (queue.times or self.begin(queue)).run.note(self.seconds, self.count)
            self.queue = None
