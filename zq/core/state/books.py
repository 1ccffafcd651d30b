"""The coordinator's books: what it keeps in memory, and the step in which it is changed.

Memory holds what is leased, the workers, the queues' counts and a window of waiting batches; the tables hold everything
that must survive. Each function of the core that changes both does so within one *step*, which is one transaction; when
its commit fails, the books are thrown away and read again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from zq.core import tables
from zq.core.options import Calendar, CoordinatorOptions, Now
from zq.core.state import service_order, unique_keys
from zq.core.state.batch import Batch, read_batch
from zq.core.state.bindings import Bindings
from zq.core.state.deadlines import Alarms, Deadlines
from zq.core.state.event_streams import Watchers
from zq.core.state.leases import Holder, Lease, Peer, PullWait, pull_name
from zq.core.state.outcome_waits import Waits
from zq.core.state.queue import Lining, Queue
from zq.core.state.throttle import Gate, needs_gate
from zq.core.storage import Transaction
from zq.errors import StoreCorruptError
from zq.wire.messages import FromCoordinator
from zq.wire.policies import QueuePolicies

if TYPE_CHECKING:
    from zq.core.admin.operations import Operation
    from zq.core.state.departures import EndedMembers, Notice
    from zq.core.state.namespace_limits import Share
    from zq.core.tasks.dead_letters import Replay

EPOCH_SHIFT = 40
"""Tokens are epoch << 40 | number: a million million leases in one life of a coordinator, and they grow over
restarts.
"""

WINDOW_BYTES_MAX = 32 << 20
"""Of the batches in memory; above it new ones wait on disk only."""

BATCH_OVERHEAD_BYTES = 1000
"""What a batch in memory takes beside its payloads, so that many small ones are bounded, too."""


class Step:
    """One step of the coordinator: the time, the transaction, and the messages that leave when it is committed."""

    __slots__ = ("ended", "fanout_bytes", "notices", "now", "outbox", "overflowed", "tx", "wall")

    def __init__(self, now: Now, tx: Transaction) -> None:
        self.now = now.monotonic
        self.wall = now.wall
        self.tx = tx
        self.outbox: list[tuple[Peer, FromCoordinator]] = []
        # What the ends of tasks entail; `joins.follow_up` carries it out after each message.
        self.ended: list[EndedMembers] = []
        self.notices: list[Notice] = []
        self.fanout_bytes = 0  # payloads that publications have written, over all of their queues
        self.overflowed = 0  # tasks that became dead letters for want of room

    def send(self, peer: Peer | None, message: FromCoordinator) -> None:
        """Sends a message after the commit; a holder that is not connected has no peer and hears nothing."""
        if peer is not None:
            self.outbox.append((peer, message))


class Books:
    """Everything that the coordinator knows without reading. One thread, one step at a time."""

    def __init__(self, options: CoordinatorOptions) -> None:
        self.options = options
        self.epoch = 0
        self.sequence = 0  # of the newest batch
        self.finish_sequence = 0
        self.queue_number = 0
        self.kept = 0  # rows of `finished`
        self.lease_number = 0
        self.queues: dict[str, Queue] = {}
        self.queues_by_number: dict[int, Queue] = {}
        self.batches: dict[bytes, Batch] = {}  # in memory, by task key
        self.window_bytes = 0  # that they take
        self.leases: dict[int, Lease] = {}
        self.deadlines = Deadlines()
        self.alarms = Alarms(self.leases, self.deadlines.alarms)
        self.workers: dict[str, Holder] = {}
        self.peers: dict[Peer, Holder] = {}  # invariant: holder.peer is the key
        self.pullers: dict[str, Holder] = {}
        self.pulls: dict[str, PullWait] = {}  # those that wait, by the same names
        self.pulls_of: dict[Peer, int] = {}  # how many of a connection wait
        self.waits = Waits()
        self.events: Watchers | None = None  # None: nobody watches
        self.calendar: Calendar  # set by the coordinator
        self.replays: dict[str, Replay] = {}  # by id: dead letters that are brought back at a rate
        self.bindings = Bindings()
        self.shares: dict[str, Share] = {}  # by name, the namespaces that have limits
        self.operations: dict[str, Operation] = {}  # on whole queues, by id; also some that are done
        self.counters: dict[str, int] = {}
        self.stirred: dict[Queue, None] = {}  # queues in which something can perhaps be assigned
        self.unserved: dict[Queue, None] = {}  # invariant: between steps, every queue with workers in which tasks wait
        self.changed: dict[Queue, None] = {}  # queues whose record must be written
        self.unsaved: dict[bytes, Batch] = {}  # by task key, batches whose progress must be written
        self.fenced: dict[str, deque[str]] = {}  # by worker name, the last incarnations that were fenced
        self.is_changed = False  # whether the counters must be written
        self.pulled: dict[Queue, None] = {}  # queues in which pulls wait
        self.gated: dict[Queue, None] = {}  # queues whose gate may open by time
        self.turned: dict[bytes, Batch] = {}  # by task key: ended, and the turn of their line is to be passed on
        self.turn = 0
        self.event_number = 0

    def next_event(self) -> int:
        """Returns a number that is larger than all before, over restarts too."""
        self.event_number += 1
        return self.epoch << EPOCH_SHIFT | self.event_number

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + amount

    # Queues.

    def queue(self, step: Step, name: str) -> Queue:
        """Returns the queue of a name, which is made when it is first named."""
        queue = self.queues.get(name)
        if queue is None:
            self.queue_number += 1
            queue = Queue(self.queue_number, name)
            queue.rate_at = step.now
            self.add_queue(queue)
            self.prepare(queue, step.now, is_restart=False)
            self.changed[queue] = None
            self.is_changed = True
        return queue

    def add_queue(self, queue: Queue) -> None:
        self.queues[queue.name] = queue
        self.queues_by_number[queue.number] = queue
        for share in self.shares.values():
            if share.takes(queue.name):
                share.queues[queue.name] = queue

    def prepare(self, queue: Queue, now: float, *, is_restart: bool) -> None:
        """Makes what the policies of a queue need in memory.

        Args:
            queue: whose policies were set or read.
            now: monotonic.
            is_restart: whether they held in an earlier life of the coordinator.
        """
        policies = queue.policies
        by_key = self.assign_policy(queue) == "hash" or policies.key_concurrency or policies.key_rate
        queue.lining = Lining.ALL if policies.fair else Lining.KEYED if by_key else Lining.NONE
        if queue.gate is not None:
            queue.gate.change(policies)
        elif needs_gate(policies):
            queue.gate = Gate(policies, now, is_restart=is_restart)

    def set_policies(self, step: Step, queue: Queue, policies: QueuePolicies) -> None:
        """Sets how a queue behaves from now on; what waited for the old policies is looked at by the new ones."""
        queue.policies = policies
        self.prepare(queue, step.now, is_restart=False)
        waiting = queue.awaiting.take_all()
        if queue.gate is not None:
            queue.gate.leased.clear()
            for lease in self.leases.values():
                if lease.batch.queue is queue:
                    queue.gate.count(lease.batch.options.key, lease.mask.bit_count())
            if not needs_gate(policies):
                waiting += queue.gate.held.take_all()
                queue.gate = None
        for place, key in waiting:
            service_order.line_up(self, step.tx, place, key)
        self.changed[queue] = None
        self.stirred[queue] = None  # a wider limit is of use at once
        self.deadlines.schedules.bring_forward(step.wall)  # a schedule may have waited until the queue drains no more

    def assign_policy(self, queue: Queue) -> str:
        return queue.policies.assign or self.options.assign

    # Batches in memory.

    def keep(self, batch: Batch) -> None:
        earlier = self.batches.get(batch.key)
        if earlier is not batch:
            self.window_bytes += len(batch.blob) + BATCH_OVERHEAD_BYTES
            if earlier is not None:
                self.window_bytes -= len(earlier.blob) + BATCH_OVERHEAD_BYTES
            self.batches[batch.key] = batch

    def drop(self, batch: Batch) -> None:
        """Forgets a batch that is in no lane and has no lease."""
        if self.batches.pop(batch.key, None) is not None:
            self.window_bytes -= len(batch.blob) + BATCH_OVERHEAD_BYTES

    def has_room(self) -> bool:
        """Whether another batch that waits may be kept in memory."""
        return self.window_bytes < WINDOW_BYTES_MAX

    def offer(self, batch: Batch) -> None:
        """Lets a batch wait that was just stored: in memory while there is room, else to be read when it is next."""
        queue = batch.queue
        lane = queue.lane(batch.options.priority)
        if self.has_room() and lane.takes(batch.key):
            self.keep(batch)
            queue.put(batch)
        else:
            lane.leave(batch.key)
        self.stirred[queue] = None

    def fetch(self, tx: Transaction, key: bytes) -> Batch | None:
        """Returns the pending batch of a key from memory or disk; it is not kept."""
        batch = self.batches.get(key)
        if batch is None:
            value = tx.get(tables.PENDING, key)
            batch = None if value is None else self.read(tx, key, value)
        return batch

    def read(self, tx: Transaction, key: bytes, value: bytes) -> Batch:
        """Makes a batch of its record and its progress."""
        changed = self.unsaved.get(key)
        if changed is not None:
            return changed  # its progress is ahead of the table in this step
        queue = self.queues_by_number.get(tables.split_task_key(key)[0])
        if queue is None:
            raise StoreCorruptError(f"task key {key.hex()} names a queue that is not in table queues")
        batch = read_batch(key, queue, value)
        progress = tx.get(tables.PROGRESS, key)
        if progress is not None:
            batch.read_progress(progress)
        return batch

    # Leases.

    def grant(self, step: Step, batch: Batch, mask: int, holder: Holder) -> Lease:
        """Leases waiting tasks to a holder."""
        self.lease_number += 1
        lease = Lease(self.epoch << EPOCH_SHIFT | self.lease_number, batch, mask, holder, step.now, step.wall)
        lease.is_solo = holder.solo = batch.is_solo and not holder.is_puller
        count = mask.bit_count()
        batch.leased |= mask
        if batch.options.unique is not None:
            unique_keys.note_start(step, batch)
        queue = batch.queue
        queue.add_waiting(batch.options.priority, -count)
        queue.leased += count
        self.changed[queue] = None
        self.add_lease(lease)
        if queue.gate is not None:
            queue.gate.spend(batch.options.key, count, step.now)
        self.turn += 1
        holder.turn = self.turn
        if self.events is not None:
            lo, hi = (mask & -mask).bit_length() - 1 + batch.first, mask.bit_length() + batch.first
            self.events.note("assigned", queue.name, batch.id, lo, hi, holder.name, lease.token)
        return lease

    def store_leases(self, step: Step, leases: list[Lease]) -> None:
        if leases:
            step.tx.put_many(tables.LEASES, [(tables.token_key(lease.token), lease.record()) for lease in leases])

    def add_lease(self, lease: Lease) -> None:
        self.leases[lease.token] = lease
        lease.holder.leases[lease.token] = lease
        lease.holder.held += lease.mask.bit_count()
        if lease.batch.queue.gate is not None:
            lease.batch.queue.gate.count(lease.batch.options.key, lease.mask.bit_count())

    def uncover(self, step: Step, lease: Lease, mask: int) -> None:
        """Takes tasks out of a lease, which ends with its last; the caller says what becomes of them."""
        lease.mask &= ~mask
        if lease.started:
            lease.forget_started(mask)
        lease.holder.held -= mask.bit_count()
        batch = lease.batch
        batch.leased &= ~mask
        if batch.options.ordered and batch.count > 1:
            self.serve_on(batch)
        if batch.queue.gate is not None:
            batch.queue.gate.give_back(batch.options.key, mask.bit_count())
            self.stirred[batch.queue] = None
        self.stir_for(lease.holder)
        if lease.mask:
            return
        del self.leases[lease.token]
        del lease.holder.leases[lease.token]
        step.tx.delete(tables.LEASES, tables.token_key(lease.token))
        if lease.is_solo:
            lease.holder.solo = False
        if lease.holder.is_puller and not lease.holder.leases:
            self.pullers.pop(lease.holder.name, None)

    def add_pull(self, queue: Queue, wait: PullWait) -> None:
        """Lets a pull wait in a queue."""
        queue.pull_waits.append(wait)
        self.pulled[queue] = None
        self.deadlines.pulls.bring_forward(wait.until)
        self.stirred[queue] = None
        self.pulls[pull_name(wait.client, wait.request)] = wait
        self.pulls_of[wait.peer] = self.pulls_of.get(wait.peer, 0) + 1

    def end_pull(self, wait: PullWait) -> None:
        """Notes that a pull does not wait any more; its queue has it no longer."""
        del self.pulls[pull_name(wait.client, wait.request)]
        self.pulls_of[wait.peer] -= 1
        if not self.pulls_of[wait.peer]:
            del self.pulls_of[wait.peer]

    def stir_for(self, holder: Holder) -> None:
        """Notes that a holder has room again, for the queues in which tasks wait for it; what waits from this step on
        is noted by itself.
        """
        unserved = self.unserved
        if len(unserved) < len(holder.queues):
            for queue in unserved:
                if holder.name in queue.workers:
                    self.stirred[queue] = None
        else:
            for queue in holder.queues:
                if queue in unserved:
                    self.stirred[queue] = None

    def serve_on(self, batch: Batch) -> None:
        """Lets the next task of an ordered batch be served, of which one is leased no more."""
        queue = batch.queue
        if queue.policies.fair and not batch.is_queued and service_order.may_move_behind(self, queue):
            self.turn += 1
            queue.put_behind(batch, self.sequence, self.turn)
        else:
            queue.put(batch)
        self.stirred[queue] = None

    def reopen(self, batch: Batch) -> None:
        """Has what is held of a key looked at again, because something of it is there no more; only where the queue has
        a gate.
        """
        assert batch.queue.gate is not None
        if batch.queue.gate.touch(batch.options.key):
            self.stirred[batch.queue] = None

    def give_back(self, step: Step, lease: Lease, mask: int) -> None:
        """Lets leased tasks wait again, in their place; a lease that goes on is stored with what it still covers."""
        batch, queue = lease.batch, lease.batch.queue
        self.uncover(step, lease, mask)
        if lease.mask:
            step.tx.put(tables.LEASES, tables.token_key(lease.token), lease.record())
        count = mask.bit_count()
        queue.leased -= count
        queue.add_waiting(batch.options.priority, count)
        queue.put(batch)
        if batch.options.ttl is not None:
            self.watch_expiry(step, batch)
        self.changed[queue] = None
        self.stirred[queue] = None

    def watch_expiry(self, step: Step, batch: Batch) -> None:
        """Notes when waiting tasks expire."""
        step.tx.put(tables.EXPIRY, batch.expiry_key(), b"")
        self.deadlines.expiry.bring_forward(batch.expires_time)

    # Records.

    def save(self, tx: Transaction) -> None:
        """Writes the counters and the progress that the step has changed."""
        if self.unsaved:
            tx.put_many(tables.PROGRESS, [(key, batch.progress_record()) for key, batch in self.unsaved.items()])
            for batch in self.unsaved.values():
                batch.has_progress = True
            self.unsaved.clear()
        if self.changed:
            tx.put_many(tables.QUEUES, [(tables.queue_key(queue.number), queue.record()) for queue in self.changed])
            self.changed.clear()
        if self.is_changed:
            counters = (self.epoch, self.sequence, self.finish_sequence, self.queue_number, self.kept)
            tx.put(tables.META, tables.COUNTERS_KEY, tables.pack(counters))
            self.is_changed = False
