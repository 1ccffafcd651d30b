"""Setting the policies of a queue."""

from zq.core import tables
from zq.core.state import service_order
from zq.core.state.books import Books
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.throttle import Gate, needs_gate
from zq.wire.policies import QueuePolicies


def set_policies(books: Books, step: Step, queue: Queue, policies: QueuePolicies) -> None:
    """Sets how a queue behaves from now on; what waited for the old policies is looked at by the new ones.

    What was set aside goes back without being read: its lanes come to it when it is next.
    """
    before = queue.policies
    queue.set_policies(policies)
    books.prepare(queue, step.now, is_restart=False)
    waiting: list[tuple[bytes, bytes]] = []
    gate = queue.gate
    if gate is not None:
        if policies.key_concurrency is None or before.key_concurrency is None:
            _count_leases(books, queue, gate)
        if not needs_gate(policies):
            waiting = queue.awaiting.take_all() + gate.held.take_all()
            queue.gate = None
    if policies.assign != before.assign:
        waiting += queue.awaiting.take_all()
    for place, key in waiting:
        if place == key and queue.gate is None:
            queue.lane(tables.split_task_key(key)[1]).leave(key)
        else:
            service_order.line_up(books, step.tx, place, key)
    books.stirred[queue] = None  # a wider limit is of use at once
    books.deadlines.schedules.bring_forward(step.wall)  # a schedule may have waited until the queue drains no more


def _count_leases(books: Books, queue: Queue, gate: Gate) -> None:
    """Counts the leases of each key afresh, if they are limited now."""
    gate.leased.clear()
    if queue.leased and queue.policies.key_concurrency is not None:
        for lease in books.leases.values():
            if lease.batch.queue is queue:
                gate.count(lease.batch.options.key, lease.mask.bit_count())
