"""Submits: a receipt when the batch is stored, busy when there is no room, and the same receipt when it comes again."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

from zq.core import tables
from zq.core.accounts import BusyRequestError
from zq.core.state import places, service_order, unique_keys
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.places import End, Known, Place
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.transitions import WAITING
from zq.core.tasks import cancelling, endings, groups, key_turns
from zq.wire.batch import largest_payload
from zq.wire.limits import TASK_SEPARATOR
from zq.wire.messages import DEFAULT_OPTIONS, Accepted, Done, Open, Options, Receipt, Refused, Submit
from zq.wire.messages import Batch as WireBatch
from zq.wire.policies import DEFAULT_POLICIES
from zq.wire.unique import Unique

RETRY_AFTER_MIN, RETRY_AFTER_MAX = 0.1, 30.0
"""Seconds within which a busy answer tells a client to come back."""

BUSY_PART = 10
"""Part of a full queue that should be free when a refused client comes back: else all of them come back for one
place.
"""

OVERFLOW_MAX = 1000
"""Tasks that one step makes dead letters for want of room: a bounded part of its time; beyond, a submit is refused as
busy.
"""

OVERFLOW_REASON = "the queue was full, and it was the oldest task that waited"

SHARE_RETRY_AFTER = 1.0
"""Seconds, when a namespace is full: it has no rate of its own."""

STORE_RETRY_AFTER = 5.0
"""Seconds, when the store is full: room comes with retention or with a person."""

RUN_BYTES_MAX = 64 << 10
"""Payloads of batches that are stored together: a larger batch costs little for each of its bytes by itself, and so few
do not fill a store between two looks at its room.
"""

RUN_HEADER_CHARS_MAX = 256
"""Of headers, with their names, likewise: each batch is stored with its own copy."""

RELEASE_MAX = 500
RELEASE_BYTES = 16 << 20
"""Scheduled batches that one step moves to pending, and their bytes: a bounded part of its time, and of the room of a
store. One of them may be as large as a frame.
"""

_new: Final[Callable[..., Any]] = tuple.__new__
"""Makes a named tuple three times as fast as its own constructor, once a batch."""


def submit(books: Books, step: Step, peer: Peer, message: Submit, run: SubmitRun | None) -> SubmitRun | None:
    """Stores what there is room for and answers with a receipt (protocol 2).

    Args:
        run: what the message before left to be stored, if anything.

    Returns:
        What is still to be stored before anything but the next submit is handled, and before the commit.
    """
    accepted: list[Accepted] = []
    refused: list[Refused] = []
    for batch in message.batches:
        known = places.find(step, batch.id)
        answer: Accepted | Refused | None = None
        if run is not None:
            answer = run.take(books, step, batch) if known is None else None
            if answer is None:
                run.store(books, step)
                known = places.find(step, batch.id)  # it may be there twice
        if answer is None:
            run = _begin_run(books, step, batch) if known is None else None
            if run is None or (answer := run.take(books, step, batch)) is None:
                run = None
                answer = _submit_one(books, step, batch, known)
        if type(answer) is Accepted:
            accepted.append(answer)
        elif type(answer) is Refused:
            refused.append(answer)
    step.outbox.append((peer, _new(Receipt, (message.request, tuple(accepted), tuple(refused)))))
    return run


def _submit_one(books: Books, step: Step, batch: WireBatch, known: Known) -> Accepted | Refused:
    """Stores a batch, if it is new and there is room for it; returns its receipt."""
    if known is not None:
        books.count("repeated")
        return repeat(books, batch, known)
    queue = books.queues.get(batch.queue)
    if queue is None:
        try:
            queue = books.queue_for(step, batch.queue)
        except BusyRequestError as error:
            books.count("busy")
            return Refused(batch.id, "busy", STORE_RETRY_AFTER, str(error))
    options = batch.options
    if options.unique is not None and batch.tasks == 1:
        original = _original(books, step, queue, batch)
        if original is not None and step.tx.is_full:
            books.count("busy")
            return Refused(batch.id, "busy", STORE_RETRY_AFTER, step.tx.why_full)
        if original is not None:
            places.note_duplicate(books, step, queue, batch.id, original)
            books.count("duplicates")
            return Accepted(batch.id, 1, None, original)
    answer = refusal(books, step, queue, batch)
    if answer is None:
        if options.unique is not None:
            _replace_holder(books, step, queue, batch)
        if options.group is not None:
            groups.join(books, step, options.group[0], batch.tasks)
            groups.enroll(step, options.group[0], batch.id, groups.IS_TASK)
        return store(books, step, queue, batch)
    books.forget_unused(queue)
    books.count(answer.code)
    if books.events is not None:
        text = f"{answer.code}: {answer.reason}"
        books.events.note("refused", queue.name, batch.id, 0, batch.tasks, text=text, veiled=answer.code)
    return answer


class SubmitRun:
    """New batches of submits that follow each other in a turn, for one queue and with the same options, of which
    nothing has to be looked at but whether there is room: they are stored together, which costs each of many small ones
    a third of what it costs alone.
    """

    __slots__ = ("_batches", "_bytes_left", "_first", "_options", "_position", "_queue", "_tasks_left")

    def __init__(self, queue: Queue, options: Options, tasks_left: int, bytes_left: int) -> None:
        self._queue = queue
        self._options = options
        self._tasks_left = tasks_left
        self._bytes_left = bytes_left
        self._first = self._position = queue.position(options.priority)  # of the first batch, and the next one
        self._batches: dict[str, StoredBatch] = {}  # by id

    def take(self, books: Books, step: Step, batch: WireBatch) -> Accepted | None:
        """Takes a batch whose id is not known, and returns its receipt; None when it cannot be stored with these."""
        id, name, options, ends, blob = batch
        queue, batches, common = self._queue, self._batches, self._options
        count = len(ends) >> 2
        tasks_left, bytes_left = self._tasks_left - count, self._bytes_left - len(blob)
        if tasks_left < 0 or bytes_left < 0 or name != queue.name or id in batches:
            return None
        if options is not common and options != common:
            return None
        self._tasks_left, self._bytes_left = tasks_left, bytes_left
        position = self._position
        self._position = position + count
        key = tables.task_key(queue.number, common.priority, books.next_sequence())
        batches[id] = StoredBatch(key, queue, id, count, 0, common, step.wall, ends, blob)
        accepted: Accepted = _new(Accepted, (id, position, queue.eta(position), None))
        return accepted

    def store(self, books: Books, step: Step) -> None:
        """Stores them all."""
        batches = list(self._batches.values())
        if len(batches) == 1:
            places.enter_pending(books, step, batches[0])
        else:
            places.enter_new(books, step, self._queue, batches)
        books.count("accepted", self._position - self._first)


def _begin_run(books: Books, step: Step, batch: WireBatch) -> SubmitRun | None:
    """Begins a run, with what there is room for, for a batch with a new id; None when that one needs more."""
    options, queue = batch.options, books.queues.get(batch.queue)
    if options is not DEFAULT_OPTIONS and not _is_plain(options):
        return None
    if queue is None or queue.lining or books.events is not None or books.shares.by_name or step.tx.is_full:
        return None
    policies, most = queue.policies, books.options
    size, tasks = most.payload_bytes_max, most.queue_tasks_max
    size = size if size < RUN_BYTES_MAX else RUN_BYTES_MAX
    if policies is not DEFAULT_POLICIES:
        if policies.draining:
            return None
        tasks = policies.max_tasks or tasks
        if policies.max_bytes is not None:
            size = min(size, policies.max_bytes - queue.stored_bytes)
    return None if TASK_SEPARATOR in batch.id else SubmitRun(queue, options, tasks - queue.unfinished, size)


def _is_plain(options: Options) -> bool:
    """Whether what has these options only waits, for no time and for no other task, and they are short."""
    waits = options.ordered or options.delay or options.at is not None or options.group is not None
    is_plain = not waits and options.ttl is None and options.unique is None
    if options.headers and is_plain:
        return sum([len(name) + len(text) for name, text in options.headers.items()]) <= RUN_HEADER_CHARS_MAX
    return is_plain


def open_group(books: Books, step: Step, peer: Peer, message: Open) -> None:
    """Opens a group, or says again that it is open."""
    answer = groups.admit(books, step, message.group)
    if isinstance(answer, Accepted):
        step.send(peer, Receipt(message.request, (answer,), ()))
    else:
        books.count(answer.code)
        step.send(peer, Receipt(message.request, (), (answer,)))


def store(books: Books, step: Step, queue: Queue, wire: WireBatch) -> Accepted:
    """Stores a new batch, whatever the limits; the caller has checked that its id is new, and enrols it in its
    group.
    """
    options = wire.options
    key = tables.task_key(queue.number, options.priority, books.next_sequence())
    batch = StoredBatch(key, queue, wire.id, wire.tasks, 0, options, step.wall, wire.ends, wire.blob)
    position = queue.position(options.priority)
    eta = queue.eta(position)
    books.count("accepted", batch.count)
    if books.events is not None:
        books.events.note("accepted", queue.name, batch.id, 0, batch.count)
    if options.ttl is not None:
        places.watch_expiry(books, step, batch)
    if options.unique is not None:
        unique_keys.take(step, batch)
    delay = options.delay if options.at is None else options.at - step.wall
    if delay > 0:
        places.enter_scheduled(books, step, batch, step.wall + delay)
        return Accepted(wire.id, position, delay + (eta or 0.0))
    endings.wait_again(books, step, batch)
    return Accepted(wire.id, position, eta)


def store_forwarded(books: Books, step: Step, origin: str, own_group: str | None, done: Done) -> None:
    """Stores what a completion in queue `origin` opens and forwards, in its transaction and whatever the limits: what
    was accepted still completes.
    """
    opened = [group for group in done.groups if groups.open_group(books, step, group)]
    fresh: list[WireBatch] = []
    for batch in done.forwards:  # one by one: a handler may have forwarded the same id twice
        if places.find(step, batch.id) is None:
            _store_once(books, step, batch)
            books.count("forwarded", batch.tasks)
            books.measures.flows.note(origin, batch.queue, batch.tasks, step.wall)
            fresh.append(batch)
    groups.follow_moves(books, step, own_group, opened, fresh)


def store_if_new(books: Books, step: Step, batch: WireBatch) -> bool:
    """Stores a task whatever the limits, unless its id is known (then it returns False) or its unique key is taken."""
    is_new = places.find(step, batch.id) is None
    if is_new:
        _store_once(books, step, batch)
    return is_new


def _store_once(books: Books, step: Step, batch: WireBatch) -> None:
    queue = books.queue(step, batch.queue)
    if batch.options.unique is not None:
        if _original(books, step, queue, batch) is not None:
            books.count("duplicates")
            return
        _replace_holder(books, step, queue, batch)
    if batch.options.group is not None:
        groups.enroll(step, batch.options.group[0], batch.id, groups.IS_TASK)
    store(books, step, queue, batch)


def _original(books: Books, step: Step, queue: Queue, batch: WireBatch) -> str | None:
    """Returns the task that has the unique key of a batch and keeps it; None when there is none, or it is to be
    replaced and can be.
    """
    assert batch.options.unique is not None
    id = unique_keys.holder(step, queue, batch.options.unique)
    if id is None or Unique(*batch.options.unique).policy == "keep":
        return id
    held = places.read(books, step, places.find(step, id))
    return id if held is not None and held.leased else None


def _replace_holder(books: Books, step: Step, queue: Queue, batch: WireBatch) -> None:
    """Cancels the waiting task that has the unique key of a batch which is about to be stored."""
    assert batch.options.unique is not None
    id = unique_keys.holder(step, queue, batch.options.unique)
    if id is not None:
        cancelling.cancel_task(books, step, id, f"replaced by task {batch.id} of the same unique key")


def release_due(books: Books, step: Step) -> float:
    """Moves batches whose time has come from scheduled to pending; returns when to look again (wall)."""
    rows: list[tuple[bytes, bytes, bytes]] = []
    next_time = inf
    room = min(RELEASE_BYTES, step.tx.room_bytes / 4)  # they are written anew before their old place is free
    for key, value in step.tx.scan(tables.SCHEDULED):
        due_time, task_key = tables.split_due_key(key)
        if due_time > step.wall or len(rows) == RELEASE_MAX:
            next_time = due_time
            break
        room -= len(value)
        if room < 0:
            next_time = step.wall if rows else step.wall + STORE_RETRY_AFTER
            break
        rows.append((key, task_key, value))
    for key, task_key, value in rows:
        batch = books.read(step.tx, task_key, value)
        places.leave(step, Place(tables.AT_SCHEDULED, key), batch, batch.full & ~batch.ended)
        endings.wait_again(books, step, batch)
    return next_time


def repeat(books: Books, batch: WireBatch, known: Known) -> Accepted:
    """Makes the receipt of a batch that was stored before; one that no longer waits is at place 1."""
    if isinstance(known, End):
        return Accepted(batch.id, 1, None, known.reason if known.outcome == "duplicate" else None)
    if known is None or known.where != tables.AT_PENDING:
        return Accepted(batch.id, 1, None)
    queue = books.queues_by_number[tables.split_task_key(known.key)[0]]
    # The place it has now is unknown without counting the table; the end of its lane is an upper bound.
    position = max(1, queue.position(batch.options.priority) - batch.tasks)
    return Accepted(batch.id, position, queue.eta(position))


def refusal(books: Books, step: Step, queue: Queue, batch: WireBatch) -> Refused | None:
    """Returns why a new batch cannot be stored, or None when it can."""
    count = batch.tasks
    if batch.options.unique is not None and count > 1:
        return Refused(batch.id, "invalid", None, f"a unique key is for one task, this batch has {count}")
    if TASK_SEPARATOR in batch.id:
        return Refused(batch.id, "invalid", None, f"an id may not contain {TASK_SEPARATOR!r}: {batch.id}")
    payload_bytes_max = books.options.payload_bytes_max
    # All of them together are rarely over the limit of one, and then none has to be looked at.
    if len(batch.blob) > payload_bytes_max and (largest := largest_payload(batch.ends, batch.blob)) > payload_bytes_max:
        reason = f"a payload has {largest} bytes, the coordinator allows {payload_bytes_max}"
        return Refused(batch.id, "invalid", None, reason)
    if batch.options.group is not None:
        closed = groups.closed_reason(step, batch.options.group[0], count)
        if closed is not None:
            return Refused(batch.id, "invalid", None, closed)
    if queue.policies.draining:
        reason = f"queue {queue.name} is draining: it accepts nothing new until it is resumed"
        return Refused(batch.id, "busy", RETRY_AFTER_MAX, reason)
    if step.tx.is_full:
        return Refused(batch.id, "busy", STORE_RETRY_AFTER, step.tx.why_full)
    if books.shares.by_name and (full := books.shares.refusal([queue], count, len(batch.blob))) is not None:
        # How much others have in a namespace is not for a key that may not see them.
        full = full if step.may_submit is None else full.partition(":")[0]
        return Refused(batch.id, "busy", SHARE_RETRY_AFTER, full)
    return _overflow(books, step, queue, batch, count)


def _overflow(books: Books, step: Step, queue: Queue, batch: WireBatch, count: int) -> Refused | None:
    """Refuses a batch of so many tasks for which the queue has no room, unless its policy makes some."""
    policies = queue.policies
    size = len(batch.blob)
    most = policies.max_tasks or books.options.queue_tasks_max
    most_bytes = policies.max_bytes
    if queue.unfinished + count <= most and (most_bytes is None or queue.stored_bytes + size <= most_bytes):
        return None
    may_fit = count <= most and (most_bytes is None or size <= most_bytes)
    if policies.overflow == "dead-oldest" and may_fit and _make_room(books, step, queue, count, size, most, most_bytes):
        return None
    excess = queue.unfinished + count - most
    if excess > 0:
        room = max(excess, most // BUSY_PART)
        wait = room / queue.rate if queue.rate > 0.001 else 1.0
        reason = f"queue {queue.name} is full: {queue.unfinished} of {most} tasks"
    else:
        wait = max(1, queue.unfinished // BUSY_PART) / queue.rate if queue.rate > 0.001 else 1.0
        reason = f"queue {queue.name} is full: {queue.stored_bytes} of {most_bytes} bytes, and the batch has {size}"
    return Refused(batch.id, "busy", min(max(wait, RETRY_AFTER_MIN), RETRY_AFTER_MAX), reason)


def _make_room(
    books: Books, step: Step, queue: Queue, count: int, size: int, most: int, most_bytes: int | None
) -> bool:
    """Makes dead letters of the oldest waiting tasks until there is room; False when they are not enough, or too many
    at once.

    A batch frees its bytes with its last task, so with max_bytes it goes as a whole.
    """
    if queue.unfinished + count - most > min(queue.total_waiting + queue.parked, OVERFLOW_MAX - step.overflowed):
        return False
    while queue.unfinished + count > most or (most_bytes is not None and queue.stored_bytes + size > most_bytes):
        if step.overflowed >= OVERFLOW_MAX:
            return False
        batch = service_order.oldest(books, step, queue)
        if batch is None and books.turned:
            key_turns.end_turns(books, step)  # of a key whose task was buried, the next one is the oldest
            batch = service_order.oldest(books, step, queue)
        if batch is None:
            return False
        waiting = batch.available()
        oldest = waiting & -waiting
        places.leave_pending(step, batch, oldest)
        step.overflowed += 1
        books.count("overflowed")
        endings.bury(books, step, endings.split_off(books, step, batch, oldest, WAITING), OVERFLOW_REASON)
    return True
