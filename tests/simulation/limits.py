"""What the policies of a queue promise, checked against every lease that was committed; it shares no code with the
gates of the core.
"""

from __future__ import annotations

from typing import Any

from tests.simulation.ledger import Violation
from zq.core.state.books import Books
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.wire.policies import QueuePolicies

TOLERANCE = 1e-6
"""Of a token: sums of floats."""


class Levels:
    """Leaky buckets, one for each queue and key: what was leased and has not drained yet. None may ever hold more than
    its burst.
    """

    def __init__(self) -> None:
        self.levels: dict[tuple[str, str | None], tuple[float, float]] = {}  # level, when

    def add(self, name: tuple[str, str | None], count: int, rate: float, burst: int, now: float) -> None:
        level, at = self.levels.get(name, (0.0, now))
        level = max(0.0, level - (now - at) * rate) + count
        self.levels[name] = (level, now)
        if level > burst + TOLERANCE:
            raise Violation(f"{name} got {level:.2f} tasks more than {rate} a second, its burst is {burst}")

    def forget(self, queue: str) -> None:
        self.levels = {name: level for name, level in self.levels.items() if name[0] != queue}


class LimitCheck:
    """Looks at each step after its commit."""

    def __init__(self) -> None:
        self.expected: dict[int, QueuePolicies] = {}  # by number: a queue that is deleted and made anew is another
        self.levels = Levels()

    def check(self, books: Books, step: Step, inbox: list[Any]) -> None:
        """Checks the leases that a step granted; `inbox` has the messages that it received."""
        changed = {
            message.arguments["queue"] for message in inbox if getattr(message, "verb", "") in ("set-queue", "delete")
        }
        for queue in books.queues.values():
            if queue.name in changed or queue.number not in self.expected:
                self.expected[queue.number] = queue.policies
                self.levels.forget(queue.name)
            elif self.expected[queue.number] != queue.policies:
                raise Violation(f"queue {queue.name} forgot {self.expected[queue.number]}, it has {queue.policies}")
            else:
                self._check_queue(books, step, queue)

    def _check_queue(self, books: Books, step: Step, queue: Queue) -> None:
        leases = [lease for lease in books.leases.values() if lease.batch.queue is queue]
        granted = [lease for lease in leases if lease.granted_at == step.now and lease.token >> 40 == books.epoch]
        policies = queue.policies
        if policies.paused and granted:
            raise Violation(f"queue {queue.name} is paused and got {len(granted)} leases")
        leased = sum(lease.mask.bit_count() for lease in leases)
        if granted and policies.concurrency is not None and leased > policies.concurrency:
            raise Violation(f"queue {queue.name} has {leased} leased, its limit is {policies.concurrency}")
        for lease in granted:
            key, count = lease.batch.options.key, lease.mask.bit_count()
            if policies.rate is not None:
                self.levels.add(
                    (queue.name, None), count, policies.rate, policies.burst or max(1, int(policies.rate)), step.now
                )
            if key is None:
                continue
            same = sum(one.mask.bit_count() for one in leases if one.batch.options.key == key)
            if policies.key_concurrency is not None and same > policies.key_concurrency:
                raise Violation(f"key {key} of queue {queue.name} has {same} leased, not {policies.key_concurrency}")
            if policies.key_rate is not None:
                burst = policies.key_burst or max(1, int(policies.key_rate))
                self.levels.add((queue.name, key), count, policies.key_rate, burst, step.now)
