"""The coordinator's books: what it keeps in memory.

Memory holds what is leased, the workers, the queues' counts and a window of waiting batches; the tables hold everything
that must survive. Each function of the core that changes both does so within one *step*, which is one transaction; when
its commit fails, the books are thrown away and read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heapify, heappush
from typing import Any

from zq.core import tables
from zq.core.accounts import Accounts
from zq.core.arguments import InvalidRequestError, text_in
from zq.core.bindings import Bindings
from zq.core.counters import EPOCH_SHIFT, CountersRecord, write_counters
from zq.core.measures.measures import Measures
from zq.core.options import Calendar, CoordinatorOptions
from zq.core.state.batch import StoredBatch, read_batch
from zq.core.state.ceilings import Ceilings
from zq.core.state.deadlines import Alarms, Deadlines
from zq.core.state.event_streams import Followers
from zq.core.state.holder import Guests, Peer, PullWait, request_of
from zq.core.state.leases import Departure, Holder, Lease
from zq.core.state.namespace_limits import Shares, Tallies
from zq.core.state.operation import Chores, Operation, Replay
from zq.core.state.outcome_waits import Waits
from zq.core.state.queue import Lining, Queue, assign_policy
from zq.core.state.step import Step
from zq.core.state.throttle import Gate, needs_gate
from zq.core.storage import Transaction
from zq.errors import StoreCorruptError

WINDOW_BYTES_MAX = 24 << 20
"""Of the batches in memory; above it new ones wait on disk only."""

BATCH_OVERHEAD_BYTES = 1000
"""What a batch in memory takes beside its payloads, so that many small ones are bounded, too."""

PULL_ENDS_MIN = 1024
"""Ends of pulls, of which most wait no more, from which on these are forgotten."""


class Books:
    """Everything that the coordinator knows without reading. One thread, one step at a time."""

    calendar: Calendar  # set by the coordinator

    def __init__(self, options: CoordinatorOptions) -> None:
        self.options = options
        self.epoch = 0
        self.sequence = 0  # of the newest batch
        self.finish_sequence = 0
        self._queue_number = 0
        self._spare_numbers: list[int] = []  # of queues that were never stored
        self.kept = 0  # rows of `finished`
        self.lease_number = 0
        self.queues: dict[str, Queue] = {}
        self.queues_by_number: dict[int, Queue] = {}
        self.batches: dict[bytes, StoredBatch] = {}  # in memory, by task key
        self._window_bytes = 0  # that they take
        self.leases: dict[int, Lease] = {}
        self.deadlines = Deadlines()
        self.alarms = Alarms(self.leases, self.deadlines.alarms)
        self.workers: dict[str, Holder] = {}
        self.peers: dict[Peer, Holder] = {}  # invariant: holder.peer is the key
        self.pullers: dict[str, Holder] = {}  # by key
        self.served: dict[tuple[Peer, int], dict[str, None]] = {}  # by connection and request: pulls with leases
        self.pulls: dict[str, PullWait] = {}  # those that wait, by the same keys
        self.offers: dict[int, float] = {}  # by token, in order: leases of pulls that are not confirmed, and until when
        self.unsure: dict[int, None] = {}  # by token: leases that were sent in the last step, and will not be confirmed
        self.accounts = Accounts(options.peer_limits)
        self.ceilings = Ceilings(options, self.accounts, self.queues, self.count)
        self.guests = Guests(self.accounts)
        self.waits = Waits(self.guests, self.deadlines.later)
        self.events: Followers | None = None  # None: nobody watches
        self.worker_notes: deque[tuple[str, str]] = deque(maxlen=1000)  # name and what happened; the shell takes them
        self.replays: dict[str, Replay] = {}  # by id: dead letters that are brought back at a rate
        self.bindings = Bindings()
        self.schedules = 0  # how many there are
        self.operations: dict[str, Operation] = {}  # on whole queues, by id; also some that are done
        self.chores = Chores()
        self.searches: dict[tuple[Peer, int], Any] = {}  # the same: of dead letters (`zq.core.admin.dead_searches`)
        self.departed: deque[Departure] = deque()  # whose leases have not all ended yet
        self.passed_schedules = b""  # the row from which on those that are due are looked at next; empty: the first
        self.has_late_schedules = False  # whether large ones that are due were put off since the first was looked at
        self.pull_ends: list[tuple[float, int, PullWait]] = []  # heap: when pulls have waited long enough
        self.stirred_holders: dict[Holder, None] = {}  # for which this step has stirred queues
        self.joints: dict[str, Any] = {}  # by id, groups that are being joined, as far as that is
        self.counters: dict[str, int] = {}
        self.loaded: dict[Holder, None] = {}  # workers to which so much is on its way that they get no more
        self.stirred: dict[Queue, None] = {}  # queues in which something can perhaps be assigned
        self.unserved: dict[Queue, None] = {}  # invariant: between steps, every queue with workers in which tasks wait
        self.changed: dict[Queue, None] = {}  # queues whose record must be written
        self.shares = Shares(self.changed)  # the namespaces that have limits
        self.measures = Measures()
        self.tallies = Tallies()  # sums over queues, for who asks
        self.unsaved: dict[bytes, StoredBatch] = {}  # by task key, batches whose progress must be written
        self.fenced: dict[str, deque[str]] = {}  # by worker name, the last incarnations that were fenced
        self.is_changed = False  # whether the counters must be written
        self.pulled: dict[Queue, None] = {}  # queues in which pulls wait
        self.gated: dict[Queue, None] = {}  # queues whose gate may open by time
        self.turned: dict[bytes, StoredBatch] = {}  # by task key: ended, and the turn of their line is to be passed on
        self.turn = 0
        self.cramped = 0  # tenths of tenths, of portions: how tight the store is
        self._event_number = self._pull_number = 0

    def next_event(self) -> int:
        """Returns a number that is larger than all before, over restarts too."""
        self._event_number += 1
        return self.epoch << EPOCH_SHIFT | self._event_number

    def next_sequence(self, count: int = 1) -> int:
        """Returns the sequence of a new batch, the first of so many: larger than all before, over restarts too."""
        first = self.sequence + 1
        self.sequence += count
        self.is_changed = True
        return first

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + amount

    # Queues.

    def queue(self, step: Step, name: str) -> Queue:
        """Returns the queue of a name, which is made when it is first named, whatever the limits."""
        queue = self.queues.get(name)
        return self._make_queue(step, name) if queue is None else queue

    def queue_for(self, step: Step, name: str) -> Queue:
        """As `queue`, for whoever sent the message: a new one counts as made by it.

        Raises:
            BusyRequestError: it may make no more.
        """
        queue = self.queues.get(name)
        if queue is None:
            self.ceilings.check_queues(step, (name,))
            queue = self._make_queue(step, name)
            self.ceilings.note_made(step, "queues", name)
        return queue

    def _make_queue(self, step: Step, name: str) -> Queue:
        if not self._spare_numbers:
            self._queue_number += 1
            self.is_changed = True
            self._spare_numbers.append(self._queue_number)
        number = self._spare_numbers.pop()
        queue = Queue(number, name, self.changed)
        queue.rate_at = step.now
        self.add_queue(queue)
        self.prepare(queue, step.now, is_restart=False)
        return queue

    def forget_unused(self, queue: Queue) -> None:
        """Forgets a queue that is not stored, because it never had a task or policy, and that nobody asks for."""
        is_known = queue.is_stored or queue.workers or queue.pull_waits or queue in self.changed
        if not is_known and self.queues.get(queue.name) is queue:
            self._take_out(queue)
            if queue.number == self._queue_number:
                self._queue_number -= 1
            else:
                self._spare_numbers.append(queue.number)

    def remove_queue(self, step: Step, queue: Queue) -> None:
        """Forgets a queue in which nothing is left."""
        for batch in [one for one in self.batches.values() if one.queue is queue]:
            self.drop(batch)  # lanes hold what has ended until they come to it
        self._take_out(queue)
        step.tx.delete(tables.QUEUES, tables.queue_key(queue.number))

    def _take_out(self, queue: Queue) -> None:
        del self.queues[queue.name], self.queues_by_number[queue.number]
        self.shares.remove_queue(queue)
        self.tallies.remove_queue(queue)
        self.measures.timed.forget(queue)
        self.accounts.note_gone("queues", queue.name)
        for queues in (self.stirred, self.changed, self.pulled, self.gated, self.measures.watched):
            queues.pop(queue, None)

    def add_queue(self, queue: Queue) -> None:
        self.queues[queue.name] = queue
        self.queues_by_number[queue.number] = queue
        self.shares.add_queue(queue)
        self.tallies.add_queue(queue)

    def prepare(self, queue: Queue, now: float, *, is_restart: bool) -> None:
        """Makes what the policies of a queue need in memory.

        Args:
            queue: whose policies were set or read.
            now: monotonic.
            is_restart: whether they held in an earlier life of the coordinator.
        """
        policies = queue.policies
        by_key = assign_policy(queue, self.options) == "hash" or policies.key_concurrency or policies.key_rate
        queue.lining = Lining.ALL if policies.fair else Lining.KEYED if by_key else Lining.NONE
        if policies.has_alerts:
            self.measures.watched.setdefault(queue, ())
            self.deadlines.alerts.bring_forward(now)
        if queue.gate is not None:
            queue.gate.change(policies)
        elif needs_gate(policies):
            queue.gate = Gate(policies, now, is_restart=is_restart)

    def portion(self, most: int) -> int:
        """Returns how much of its work a part of the upkeep may do in this step: less when a step did not fit the
        store.
        """
        return max(1, most // int(10**self.cramped))

    # Batches in memory.

    def keep(self, batch: StoredBatch) -> None:
        earlier = self.batches.get(batch.key)
        if earlier is not batch:
            self._window_bytes += len(batch.blob) + BATCH_OVERHEAD_BYTES
            if earlier is not None:
                self._window_bytes -= len(earlier.blob) + BATCH_OVERHEAD_BYTES
            self.batches[batch.key] = batch

    def drop(self, batch: StoredBatch) -> None:
        """Forgets a batch that is in no lane and has no lease."""
        if self.batches.pop(batch.key, None) is not None:
            self._window_bytes -= len(batch.blob) + BATCH_OVERHEAD_BYTES

    def has_room(self) -> bool:
        """Whether another batch that waits may be kept in memory."""
        return self._window_bytes < WINDOW_BYTES_MAX

    def offer(self, queue: Queue, batches: Sequence[StoredBatch]) -> None:
        """Lets batches of one priority wait that were just stored: in memory while there is room, else on disk only."""
        lane, known = queue.lane(batches[0].options.priority), self.batches
        for batch in batches:
            if self._window_bytes < WINDOW_BYTES_MAX and lane.takes(batch.key):
                if batch.key in known:
                    self.keep(batch)
                else:
                    known[batch.key] = batch
                    self._window_bytes += len(batch.blob) + BATCH_OVERHEAD_BYTES
                if not batch.is_queued:
                    batch.is_queued = True
                    heappush(lane.heap, batch.key)
            else:
                lane.leave(batch.key)
        if queue.workers or queue.pull_waits:  # whoever comes stirs it
            self.stirred[queue] = None

    def fetch(self, tx: Transaction, key: bytes) -> StoredBatch | None:
        """Returns the pending batch of a key from memory or disk; it is not kept."""
        batch = self.batches.get(key)
        if batch is None:
            value = tx.get(tables.PENDING, key)
            batch = None if value is None else self.read(tx, key, value)
        return batch

    def read(self, tx: Transaction, key: bytes, value: bytes) -> StoredBatch:
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

    def add_lease(self, lease: Lease) -> None:
        self.leases[lease.token] = lease
        lease.batch.tokens[lease.token] = None
        lease.holder.leases[lease.token] = lease
        count = lease.mask.bit_count()
        lease.holder.held += count
        if lease.holder.account is not None:
            lease.holder.account.leases += count
        if lease.batch.queue.gate is not None:
            lease.batch.queue.gate.count(lease.batch.options.key, count)

    def entrust(self, holder: Holder, peer: Peer) -> None:
        """Has what a holder holds, and itself if it is a worker, count for a connection."""
        self.dismiss(holder)
        account = holder.account = self.accounts.account_of(peer)
        account.leases += holder.held
        if not holder.is_puller:
            account.holders[holder.name] = holder

    def dismiss(self, holder: Holder) -> None:
        """Has a holder count for nobody."""
        account = holder.account
        if account is not None:
            account.leases -= holder.held
            if account.holders.get(holder.name) is holder:
                del account.holders[holder.name]
            holder.account = None
            self.accounts.see_off(account)

    def free_leases(self, holder: Holder, count: int) -> None:
        """Notes that a holder has so many tasks less; at the limit of its peer, all of that peer have room again."""
        holder.held -= count
        account = holder.account
        if account is not None:
            was_full = account.is_full
            account.leases -= count
            if not account.leases and holder.is_puller:
                self.accounts.see_off(account)
            if was_full and not account.is_full:
                for one in account.holders.values():
                    self.stir_for(one)

    def add_pull(self, queue: Queue, wait: PullWait, now: float) -> None:
        """Lets a pull wait in a queue."""
        queue.pull_waits[wait.key] = wait
        self.pulled[queue] = None
        self.deadlines.pulls.bring_forward(wait.until)
        self.stirred[queue] = None
        self.pulls[wait.key] = wait
        heappush(self.pull_ends, (wait.until, self.turn_of_pull(), wait))
        guest = self.guests.welcome(wait.peer, now)
        guest.pulls[wait.key] = wait
        guest.account.pulls += 1
        self.deadlines.guests.bring_forward(now + self.options.suspect_after)

    def turn_of_pull(self) -> int:
        """Returns a number that only grows; and forgets the ends of pulls that wait no more, if they are many."""
        if len(self.pull_ends) > 2 * len(self.pulls) + PULL_ENDS_MIN:
            self.pull_ends = [one for one in self.pull_ends if self.pulls.get(one[2].key) is one[2]]
            heapify(self.pull_ends)
        self._pull_number += 1
        return self._pull_number

    def note_served(self, puller: Holder) -> None:
        """Notes at which connection a pull has leases."""
        if puller.peer is not None:
            self.served.setdefault((puller.peer, request_of(puller.name)), {})[puller.key] = None

    def forget_served(self, puller: Holder) -> None:
        """Notes that a pull has no leases any more, or is about to have them at another connection."""
        if puller.peer is not None:
            at = (puller.peer, request_of(puller.name))
            keys = self.served.get(at)
            if keys is not None:
                keys.pop(puller.key, None)
                if not keys:
                    del self.served[at]

    def end_pull(self, wait: PullWait) -> None:
        """Notes that a pull does not wait any more; its queue has it no longer."""
        del self.pulls[wait.key]
        if not self.pulls:
            self.pull_ends.clear()
        guest = self.guests[wait.peer]
        del guest.pulls[wait.key]
        guest.account.pulls -= 1
        self.guests.see_off(guest)
        self.forget_unused(self.queues[wait.pull.queue])

    def stir_for(self, holder: Holder) -> None:
        """Notes that a holder has room again, for the queues in which tasks wait for it; what waits from this step on
        is noted by itself.
        """
        if holder in self.stirred_holders:
            return
        self.stirred_holders[holder] = None
        unserved = self.unserved
        if len(unserved) < len(holder.queues):
            for queue in unserved:
                if holder.name in queue.workers:
                    self.stirred[queue] = None
        else:
            for name in holder.queues:
                queue = self.queues[name]
                if queue in unserved:
                    self.stirred[queue] = None

    def reopen(self, batch: StoredBatch) -> None:
        """Has what is held of a key looked at again, because something of it is there no more; only where the queue has
        a gate.
        """
        assert batch.queue.gate is not None
        if batch.queue.gate.touch(batch.options.key):
            self.stirred[batch.queue] = None

    # Records.

    def save_progress(self, batch: StoredBatch) -> None:
        """Notes that the progress of a batch must be written."""
        self.unsaved[batch.key] = batch

    def forget_progress(self, step: Step, batch: StoredBatch) -> None:
        """Takes the progress of a batch out that leaves its place."""
        self.unsaved.pop(batch.key, None)
        if batch.has_progress:
            step.tx.delete(tables.PROGRESS, batch.key)
            batch.has_progress = False

    def begin_epoch(self, value: bytes | None) -> None:
        """Takes up the numbers of the life before, as they are stored, and begins another epoch."""
        if value is not None:
            record = CountersRecord(*tables.unpack(value))
            self.epoch, self.sequence, self.finish_sequence = record.epoch, record.sequence, record.finish_sequence
            self._queue_number, self.kept, self.deadlines.clock.latest = record.queue_number, record.kept, record.wall
        self.epoch += 1
        self.is_changed = True

    def save(self, tx: Transaction) -> None:
        """Writes the counters and the progress that the step has changed."""
        if self.unsaved:
            tx.put_many(tables.PROGRESS, [(key, batch.progress_record()) for key, batch in self.unsaved.items()])
            for batch in self.unsaved.values():
                batch.has_progress = True
            self.unsaved.clear()
        changed = self.changed
        if changed:
            rows = []
            for queue in changed:
                queue.is_stored = True
                rows.append((tables.queue_key(queue.number), queue.record()))
            tx.put_many(tables.QUEUES, rows)
            self.tallies.note(changed)
            changed.clear()
        if self.is_changed:
            latest = self.deadlines.clock.latest
            numbers = (self.epoch, self.sequence, self.finish_sequence, self._queue_number, self.kept, latest)
            write_counters(tx, numbers)
            self.is_changed = False


def one_queue(books: Books, arguments: dict[str, Any]) -> Queue:
    """Reads the name of a queue that there is."""
    queue = books.queues.get(text_in(arguments, "queue"))
    if queue is None:
        raise InvalidRequestError(f"there is no queue {arguments['queue']!r}")
    return queue


def named_queue(books: Books, arguments: dict[str, Any]) -> Queue | None:
    """Reads the name of a queue that there is; None when none is named."""
    return None if arguments.get("queue") is None else one_queue(books, arguments)
