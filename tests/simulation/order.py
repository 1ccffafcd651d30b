"""In which order tasks are handed out: by priority, and first in first out inside a priority; what comes back keeps its
place.
"""

from __future__ import annotations

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.state.books import Books
from zq.core.state.leases import Lease
from zq.core.state.step import Step
from zq.core.tasks import expiry


class OrderCheck:
    """Looks, in queues that serve strictly, whether anything was passed over that could have been served."""

    def __init__(self) -> None:
        self._bent: set[str] = set()  # queues that were fair once: what they have served in turns stands elsewhere

    def check(self, books: Books, step: Step, granted: list[Lease]) -> None:
        """Checks what was given to workers in a step."""
        self._bent.update(queue.name for queue in books.queues.values() if queue.policies.fair)
        for lease in granted:
            batch, queue = lease.batch, lease.batch.queue
            is_strict = queue.policies.ageing is None and queue.gate is None and queue.name not in self._bent
            if not is_strict or batch.is_solo or lease.holder.is_puller:
                continue
            start = tables.lane_bounds(queue.number, 9)[0]
            for key, value in step.tx.scan(tables.PENDING, start, batch.key):
                other = books.batches.get(key) or books.read(step.tx, key, value)
                is_blocked = other.options.key is not None or other.is_solo or expiry.is_expired(other, step.wall)
                if other.servable() and not is_blocked:
                    raise Violation(f"{batch.own_id} was handed out before {other.own_id}, which goes first")
