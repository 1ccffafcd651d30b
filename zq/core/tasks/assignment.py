"""Which worker gets what: the head of each queue goes to whoever has credit for it.

*least-loaded*: the worker with the most free credit, the least recently used among equals. *hash*: the owner of the
task's key on the ring of live workers; when it
has no room and holds more than LOAD_BOUND times the mean, or somebody is idle, the next one on the ring. A task that
must wait for its worker blocks nobody behind it: it is set aside until that one has room (`Queue.awaiting`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from itertools import islice
from math import inf

from zq.core.ring import Ring
from zq.core.state import service_order
from zq.core.state.batch import StoredBatch, first_run
from zq.core.state.books import Books
from zq.core.state.holder import Life, Peer, PullWait
from zq.core.state.lane import Lane
from zq.core.state.leases import ASSIGN_BYTES_MAX, Holder, Lease, assignment_of, assignment_parts
from zq.core.state.queue import Queue, assign_policy
from zq.core.state.step import Step
from zq.core.state.throttle import Gate
from zq.core.tasks import expiry, key_turns, leasing
from zq.wire.limits import CREDIT_MAX
from zq.wire.messages import Assign, Error, Tasks

LOAD_BOUND = 1.25
"""Consistent hashing with bounded loads (Mirrokni et al., 2016): a quarter above the mean before a key leaves its
worker.
"""

BLOCKED_MAX = 256
"""Batches at the head of a queue that may wait for their workers while those behind them are served."""

AWAITING_MAX = 4096
"""Batches, each of another key, that wait for one worker; those behind them are not worth waiting with, and others
help.
"""

FAIR_TASKS = 16
"""Tasks that a key of a fair queue gets in its turn: few enough to be fair, and enough to let leases pay."""

ASSIGN_TASKS_MAX = CREDIT_MAX
"""Batches of one key that are put back into their lane at once: nobody can hold more tasks."""

PULLS_AT_ONCE = 16
"""Pulls that are looked at before the next ones are: a queue with few tasks does not look at thousands."""

LOAD_BYTES_MAX = 8 << 20
"""Payloads that one worker gets in one step, at most a lease above it; a quarter of what may be on its way to its
connection, if that is less. Whether it reads them is looked at before the next step.
"""

LOAD_BYTES_LEAST = 256 << 10
"""Payloads for which nobody asks whether they are too many."""

OFFER_SECONDS = 5.0
"""For which the lease of a pull waits to be confirmed: time for a link to come back, and what a task may be late
because of a client that has died without a word.
"""

REOPENED_MAX = 1000
"""Keys of a queue that are looked at in one step because they may have room: all of them, when its limits change."""

SHORT_SECONDS = 1.0
"""Until it is looked again whether a store that is short of room has room for leases."""


class Granted(dict[Holder, list[Lease]]):
    """The leases of one step by holder, sent together, and the payloads of each."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes: dict[Holder, int] = {}

    def add(self, books: Books, holder: Holder, lease: Lease) -> None:
        """Adds a lease; its holder is loaded then, if that was enough for one step."""
        batch = lease.batch
        size = batch.sent_bytes
        if lease.mask != batch.full:
            size -= len(batch.blob) - len(batch.blob) * lease.mask.bit_count() // batch.full.bit_count()
        self.add_all(books, holder, [lease], size)

    def room(self, holder: Holder) -> int:
        """Returns the bytes that may be added until its holder is loaded."""
        return max(LOAD_BYTES_LEAST + 1, _load_max(holder)) - self._bytes.get(holder, 0)

    def add_all(self, books: Books, holder: Holder, leases: list[Lease], size: int) -> None:
        """As `add`, of several with so many bytes."""
        self.setdefault(holder, []).extend(leases)
        size = self._bytes[holder] = self._bytes.get(holder, 0) + size
        if size > LOAD_BYTES_LEAST and size >= _load_max(holder):
            holder.is_loaded = True
            books.loaded[holder] = None


def _load_max(holder: Holder) -> int:
    return LOAD_BYTES_MAX if holder.account is None else min(LOAD_BYTES_MAX, holder.account.limits.bytes_out // 4)


def note_slow(books: Books, slow: Collection[Peer]) -> None:
    """Notes whose connections have much to read, and that the others may have more again."""
    before = books.loaded
    books.loaded = {books.peers[peer]: None for peer in slow if peer in books.peers}
    for holder in before:
        if holder not in books.loaded:
            holder.is_loaded = False
            if holder.peer is not None and books.peers.get(holder.peer) is holder:
                books.stir_for(holder)
    for holder in books.loaded:
        holder.is_loaded = True


def assign_all(books: Books, step: Step) -> float:
    """Assigns what can be; returns when to look again, because a gate opens by time."""
    next_at = _ring_gates(books, step) if books.gated else inf
    if books.stirred_holders:
        books.stirred_holders.clear()
    if books.stirred:
        if step.tx.is_short:
            return min(next_at, step.now + SHORT_SECONDS)
        before = len(books.loaded)
        _serve_queues(books, step)
        if len(books.loaded) > before and books.unserved:
            return step.now  # who got enough for this step may have more in the next
    return next_at


def _serve_queues(books: Books, step: Step) -> None:
    """Serves every queue in which something has changed; the first of them in turn, so that no queue starves
    another.
    """
    queues = [queue for queue in books.stirred if queue.total_waiting]
    for queue in books.stirred:
        books.unserved.pop(queue, None)
    books.stirred.clear()
    if not queues:
        return
    granted = Granted()
    first = books.turn % len(queues)
    for queue in queues[first:] + queues[:first]:
        if queue.gate is not None:
            _reopen(books, step, queue)
        if queue.pull_waits:
            _serve_pulls(books, step, queue, partial(is_heard, books, step))
        _serve_workers(books, step, queue, granted)
        if queue.pull_waits:
            _serve_pulls(books, step, queue, None)
        if not queue.pull_waits:
            books.pulled.pop(queue, None)
        if queue.total_waiting:
            books.unserved[queue] = None
    if not granted:
        return
    leases = [lease for part in granted.values() for lease in part]
    leasing.store(step, leases)
    books.measures.timed.note_waits(leases, step.wall)
    for holder, part in granted.items():
        for assignments in assignment_parts(part, step.wall):
            step.send(holder.peer, Assign(assignments))


def _serve_workers(books: Books, step: Step, queue: Queue, granted: Granted) -> None:
    ready = [worker for worker in queue.workers.values() if worker.free > 0]
    if not ready:
        return
    if queue.awaiting:
        _stop_awaiting(books, step, queue, ready, sum(worker.free for worker in ready))
    if len(ready) == 1:
        _serve_alike(books, step, queue, ready[0], granted)
        if not queue.total_waiting or ready[0].free <= 0:
            return
    share = max(1, -(-queue.total_waiting // len(ready)))  # equal parts of a short queue; of a long one all that fits
    blocked: list[tuple[Lane, bytes]] = []
    expired: list[tuple[Lane, bytes]] = []  # they end in one of the next steps
    while ready and len(blocked) + len(expired) < BLOCKED_MAX:
        found = _next(books, step, queue, share)
        if found is None:
            break
        lane, batch, most = found
        if batch.options.ttl is not None and expiry.is_expired(batch, step.wall):
            expired.append((lane, queue.pass_over(lane)))
            continue
        worker = _choose(books, queue, batch, ready)
        if worker is None:
            if batch.is_solo:
                blocked.append((lane, queue.pass_over(lane)))
            else:
                assert batch.options.key is not None
                owner = next(_ring(queue).owners(batch.options.key))
                service_order.set_aside(books, lane, batch, queue.awaiting, owner)
            continue
        if batch.options.ordered and queue.gate is None:
            most = worker.run_max  # no other could help with it
        lease = _grant(books, step, lane, batch, worker, worker.room_for(most))
        granted.add(books, worker, lease)
        if worker.free <= 0:
            ready.remove(worker)
    for lane, place in blocked + expired:
        lane.put_back(place)


def _serve_alike(books: Books, step: Step, queue: Queue, worker: Holder, granted: Granted) -> None:
    """Leases to the only worker with room the whole batches that are next, as far as nothing of them needs a closer
    look: together, which costs each of many small ones half of what it costs alone.
    """
    is_plain = queue.gate is None and not (queue.lines or queue.lining) and queue.policies.ageing is None
    if not is_plain or books.events is not None:
        return
    left, room = worker.room_for(ASSIGN_TASKS_MAX), granted.room(worker)
    for priority in range(len(queue.waiting) - 1, -1, -1):
        if queue.waiting[priority]:
            batches = service_order.take_alike(books, step.tx, queue, priority, left, room)
            if batches:
                size = sum([batch.sent_bytes for batch in batches])
                granted.add_all(books, worker, leasing.grant_alike(books, step, queue, batches, worker), size)
                if not queue.total_waiting:
                    return
                left, room = left - sum([batch.count for batch in batches]), room - size
            if queue.waiting[priority]:
                return


def _next(books: Books, step: Step, queue: Queue, most: int) -> tuple[Lane, StoredBatch, int] | None:
    """Returns the batch that is to be served next, at the head of its lane, and how many of its tasks may be, at most
    `most`.
    """
    gate = queue.gate
    if gate is None:
        found = service_order.head(books, step, queue)
        return None if found is None else (*found, most)
    room = gate.room(queue.leased, most, step.now)
    while room > 0:
        found = service_order.head(books, step, queue)
        if found is None:
            return None
        lane, batch = found
        key = batch.options.key
        key_room = gate.key_room(key, room, step.now)
        if key is None or key_room > 0:
            return lane, batch, key_room
        service_order.set_aside(books, lane, batch, gate.held, key)
        gate.arm(key, step.now)
        _watch_gate(books, queue, gate)
    _watch_gate(books, queue, gate)
    return None


def _reopen(books: Books, step: Step, queue: Queue) -> None:
    """Puts batches back into their lanes whose key has room again."""
    gate = queue.gate
    assert gate is not None
    for key in gate.held.take_opened(REOPENED_MAX):
        service_order.bring_back(books, step.tx, gate.held, key, gate.key_room(key, ASSIGN_TASKS_MAX, step.now))
        gate.arm(key, step.now)
        _watch_gate(books, queue, gate)
    if gate.held.has_opened:
        books.gated[queue] = None
        books.deadlines.gates.bring_forward(step.now)


def _watch_gate(books: Books, queue: Queue, gate: Gate) -> None:
    """Notes when a gate opens by time, if it does."""
    opens_at = gate.wake_at()
    if opens_at < inf:
        books.gated[queue] = None
        books.deadlines.gates.bring_forward(opens_at)


def _ring_gates(books: Books, step: Step) -> float:
    """Stirs the queues whose gate opens by time; returns when to look again."""
    next_at = inf
    for queue in list(books.gated):
        if queue.gate is not None and queue.gate.ring(step.now):
            books.stirred[queue] = None
        opens_at = inf if queue.gate is None else queue.gate.wake_at()
        next_at = min(next_at, opens_at)
        if opens_at == inf:
            del books.gated[queue]
    return next_at


def _grant(books: Books, step: Step, lane: Lane, batch: StoredBatch, holder: Holder, most: int) -> Lease:
    """Leases the first waiting run of the batch at the head of a lane, or as much of it as is wanted."""
    servable = batch.servable()
    lo, hi = first_run(servable)
    queue, is_ordered = batch.queue, batch.options.ordered
    is_fair = queue.policies.fair
    if batch.is_solo and not holder.is_puller:
        most = 1
    elif is_ordered:  # of those with a ttl, each is looked at when its turn comes
        most = 1 if batch.options.ttl is not None else min(most, holder.run_max, FAIR_TASKS if is_fair else most)
    elif is_fair:
        most = min(most, FAIR_TASKS)
    hi = min(hi, lo + most)
    mask = ((1 << (hi - lo)) - 1) << lo  # as `run_mask`, which would be a call for each lease
    lease = leasing.grant(books, step, batch, mask, holder)
    if queue.gate is not None:
        _watch_gate(books, queue, queue.gate)  # the last token of a key may be gone, of which more is held
    if is_ordered or mask == servable:
        queue.drop_head(lane, batch)
        if queue.lines and not is_ordered:
            key_turns.pass_on(books, step, batch)
    elif is_fair and service_order.may_move_behind(books, queue):
        queue.drop_head(lane, batch)
        queue.put_behind(batch, books.sequence, books.turn)
    return lease


def _choose(books: Books, queue: Queue, batch: StoredBatch, ready: list[Holder]) -> Holder | None:
    """Returns the worker for the next tasks of a batch, or None when they have to wait for one."""
    if batch.is_solo:
        ready = [worker for worker in ready if worker.held == 0]
    elif batch.options.key is not None and assign_policy(queue, books.options) == "hash":
        return _choose_by_key(queue, batch.options.key, ready)
    if len(ready) < 2:
        return ready[0] if ready else None
    return max(ready, key=_idleness)


def _idleness(worker: Holder) -> tuple[int, int]:
    return (worker.free, -worker.turn)


def _choose_by_key(queue: Queue, key: str, ready: list[Holder]) -> Holder | None:
    """Returns the owner of a key, or who stands in for it: the next on the ring with room, unless the owner is worth
    waiting for.
    """
    owners = (queue.workers[name] for name in _ring(queue).owners(key))
    owner = next(owners)
    if owner.free > 0:
        return owner
    return None if _is_worth_waiting(queue, owner, ready) else next((one for one in owners if one.free > 0), None)


def _is_worth_waiting(queue: Queue, owner: Holder, ready: list[Holder]) -> bool:
    """Whether tasks should wait for a worker without room: it is no busier than LOAD_BOUND times the mean, and nobody
    is idle.

    Then a task waits for the worker that knows its key.
    """
    bound = LOAD_BOUND * sum(worker.held for worker in queue.workers.values()) / len(queue.workers)
    is_full = queue.awaiting.count(owner.name) >= AWAITING_MAX
    return owner.life is Life.LIVE and owner.held <= bound and not is_full and all(worker.held for worker in ready)


def _ring(queue: Queue) -> Ring:
    if queue.ring is None:
        queue.ring = Ring(queue.workers)
    return queue.ring


def _stop_awaiting(books: Books, step: Step, queue: Queue, ready: list[Holder], room: int) -> None:
    """Lets batches stand in their lanes again which need not wait for their worker any more, as many as can be of use.

    Args:
        queue: whose batches.
        ready: workers with room; none for a pull, which takes whatever there is.
        room: how many tasks can be taken.
    """
    for name in queue.awaiting:
        owner = queue.workers.get(name)
        if ready and owner is not None and owner.free <= 0 and _is_worth_waiting(queue, owner, ready):
            continue
        service_order.bring_back(books, step.tx, queue.awaiting, name, room)


# Pulls.


def is_heard(books: Books, step: Step, wait: PullWait) -> bool:
    """Whether the client of a pull that waits seems to live; of one that does not, workers and other pulls go first."""
    return step.now < books.guests[wait.peer].heard_at + books.options.suspect_after


def _serve_pulls(books: Books, step: Step, queue: Queue, is_next: Callable[[PullWait], bool] | None) -> None:
    """Serves pulls that wait, or those of them that `is_next` names, in the order in which they came."""
    while queue.pull_waits and queue.total_waiting:
        waits = list(islice(filter(is_next, queue.pull_waits.values()), PULLS_AT_ONCE))
        for wait in waits:
            if not serve_pull(books, step, queue, wait):
                return
            del queue.pull_waits[wait.key]
            books.end_pull(wait)
        if len(waits) < PULLS_AT_ONCE:
            return


def offer(books: Books, step: Step, token: int) -> None:
    """Notes that a lease is on its way to a client that will confirm it: until then nobody has it."""
    books.offers[token] = step.now + OFFER_SECONDS
    books.deadlines.offers.bring_forward(step.now + OFFER_SECONDS)


def serve_pull(books: Books, step: Step, queue: Queue, wait: PullWait) -> bool:
    """Answers a pull with what waits, or with a refusal when its peer holds as much as it may; False when nothing
    waits.
    """
    pull = wait.pull
    guest = books.guests.get(wait.peer)
    account = books.accounts.account_of(wait.peer) if guest is None else guest.account
    if account.is_full:  # since it began to wait
        books.count("limit leases")
        step.send(wait.peer, Error(pull.request, "busy", account.refusal("leases")))
        return True
    holder = Holder(wait.name, wait.who, is_puller=True)
    holder.peer, holder.account, holder.owner = wait.peer, account, wait.owner
    if queue.awaiting:
        _stop_awaiting(books, step, queue, [], pull.max_tasks)
    leases: list[Lease] = []
    expired: list[tuple[Lane, bytes]] = []
    left = min(pull.max_tasks, account.room("leases"))
    size = 0
    while left > 0 and size < ASSIGN_BYTES_MAX and len(expired) < BLOCKED_MAX:
        found = _next(books, step, queue, left)
        if found is None:
            break
        lane, batch, most = found
        if batch.options.ttl is not None and expiry.is_expired(batch, step.wall):
            expired.append((lane, queue.pass_over(lane)))
            continue
        lease = _grant(books, step, lane, batch, holder, most)
        leasing.prolong(books, step, lease, pull.lease)
        leases.append(lease)
        left -= lease.mask.bit_count()
        size += lease.batch.sent_bytes
    for lane, place in expired:
        lane.put_back(place)
    if not leases:
        books.accounts.see_off(account)
        return False
    books.pullers[holder.key] = holder
    books.note_served(holder)
    for lease in leases:
        if pull.confirms:
            offer(books, step, lease.token)
        else:
            books.unsure[lease.token] = None
    leasing.store(step, leases)
    books.measures.timed.note_waits(leases, step.wall)
    step.send(wait.peer, Tasks(pull.request, tuple(assignment_of(lease, step.wall) for lease in leases)))
    return True
