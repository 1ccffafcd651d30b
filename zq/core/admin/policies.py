"""Setting the policies of a queue."""

from zq.core.state import service_order
from zq.core.state.books import Books
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.throttle import needs_gate
from zq.wire.policies import QueuePolicies


def set_policies(books: Books, step: Step, queue: Queue, policies: QueuePolicies) -> None:
    """Sets how a queue behaves from now on; what waited for the old policies is looked at by the new ones."""
    queue.set_policies(policies)
    books.prepare(queue, step.now, is_restart=False)
    waiting = queue.awaiting.take_all()
    if queue.gate is not None:
        queue.gate.leased.clear()
        for lease in books.leases.values():
            if lease.batch.queue is queue:
                queue.gate.count(lease.batch.options.key, lease.mask.bit_count())
        if not needs_gate(policies):
            waiting += queue.gate.held.take_all()
            queue.gate = None
    for place, key in waiting:
        service_order.line_up(books, step.tx, place, key)
    books.stirred[queue] = None  # a wider limit is of use at once
    books.deadlines.schedules.bring_forward(step.wall)  # a schedule may have waited until the queue drains no more
