"""What must hold in the books and the store at every moment; counted afresh from the tables."""

from __future__ import annotations

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.state.batch import read_batch
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Lease
from zq.core.state.queue import Queue
from zq.core.storage import Transaction
from zq.core.tables import AT_DEAD, AT_ENDED, AT_PARKED, AT_PENDING, AT_SCHEDULED
from zq.core.tasks.groups import IS_BOTH, IS_GROUP, IS_TASK, OPEN, read_row
from zq.core.tasks.key_turns import line_of

START_SLACK = 3.0
"""Seconds above the time at which what was not started goes back, for a look that comes too early, and for turns."""


def check_grants(books: Books, now: float) -> None:
    """Checks what is in memory: leases, credit and counts agree with each other."""
    covered: dict[tuple[bytes, int], int] = {}
    for token, lease in books.leases.items():
        if not lease.mask:
            raise Violation(f"lease {token} covers nothing")
        if lease.batch.leased & lease.mask != lease.mask or lease.batch.ended & lease.mask:
            raise Violation(f"lease {token} covers tasks that are not leased")
        if any(not lease.mask & lease.batch.span_mask(index, index + 1) for index in lease.started):
            raise Violation(f"lease {token} runs tasks that it does not cover")
        for bit in range(lease.mask.bit_length()):
            if lease.mask >> bit & 1:
                other = covered.setdefault((lease.batch.key, bit), token)
                if other != token:
                    raise Violation(f"task {lease.batch.task_id(bit)} has leases {other} and {token}")
    for worker in books.workers.values():
        held = sum(lease.mask.bit_count() for lease in worker.leases.values())
        if worker.held != held:
            raise Violation(f"{worker.name} holds {held} tasks, the books say {worker.held}")
        for token in worker.leases:
            if books.leases.get(token) is not worker.leases[token]:
                raise Violation(f"{worker.name} has lease {token}, which is not in the books")
        if worker.life is Life.LIVE and books.peers.get(worker.peer or b"") is not worker:
            raise Violation(f"{worker.name} is live and has no connection")
    for queue in books.queues.values():
        _check_queue(books, queue, now)
    _check_pulls(books)
    for lease in books.leases.values():
        _check_start(books, lease, now)


def _check_start(books: Books, lease: Lease, now: float) -> None:
    """What a worker has not started goes back when its time to live is over."""
    ttl, grace = lease.batch.options.ttl, books.options.suspect_after + START_SLACK
    worker = lease.holder
    if ttl is None or lease.batch.attempts or worker.is_puller or worker.life is not Life.LIVE:
        return
    started = sum(1 << (index - lease.batch.first) for index in lease.started)
    is_over = now > lease.granted_at + ttl + grace and now > worker.steady_since + grace
    if is_over and lease.mask & ~started:
        raise Violation(f"{worker.name} has lease {lease.token} of {ttl:g} s since {now - lease.granted_at:.1f} s")


def _check_pulls(books: Books) -> None:
    """A pull waits in one place, or has leases; each that waits is counted for its connection."""
    waits = [wait for queue in books.queues.values() for wait in queue.pull_waits.values()]
    names = [wait.key for wait in waits]
    kept = {(peer, name) for peer, guest in books.guests.items() for name in guest.pulls}
    if sorted(names) != sorted(books.pulls) or kept != {(wait.peer, wait.key) for wait in waits}:
        raise Violation(f"pulls {sorted(names)} wait, the books say {sorted(books.pulls)} of {sorted(kept)}")
    if both := books.pulls.keys() & books.pullers.keys():
        raise Violation(f"pulls {sorted(both)} wait and have leases")
    for lease in books.leases.values():
        if lease.holder.is_puller and books.pullers.get(lease.holder.key) is not lease.holder:
            raise Violation(f"lease {lease.token} is of a pull that the books do not know")
    _check_guests(books)


def _check_guests(books: Books) -> None:
    """What is kept for a connection is found from it, and nothing is on offer that is not leased to a pull."""
    entries = {(peer, request, id) for id, waits in books.waits.entries.items() for peer, request in waits}
    kept = {(peer, request, id) for peer, guest in books.guests.items() for request, id in guest.waits.items()}
    if entries != kept:
        raise Violation(f"waits {sorted(entries)} are kept, those of the connections are {sorted(kept)}")
    if idle := [peer for peer, guest in books.guests.items() if guest.is_idle]:
        raise Violation(f"connections {idle} wait for nothing and are remembered")
    for token in books.offers:
        lease = books.leases.get(token)
        if lease is None or not lease.holder.is_puller:
            raise Violation(f"lease {token} is on offer, and not that of a pull")


def _check_queue(books: Books, queue: Queue, now: float) -> None:
    """At most one run of ordered tasks of a key is leased; nobody is idle while there is something that may be."""
    ordered: dict[str | None, int] = {}
    for lease in books.leases.values():
        if lease.batch.queue is queue and lease.batch.options.ordered:
            key = lease.batch.options.key
            ordered[key] = ordered.get(key, 0) + 1
    if any(count > 1 for count in ordered.values()):
        raise Violation(f"ordered tasks of queue {queue.name} are leased at once: {ordered}")
    if queue in books.stirred:  # in a store that is short: it is looked at again soon
        return
    if queue.total_waiting and queue.workers and queue not in books.unserved:
        raise Violation(f"tasks wait in {queue.name}, and nobody will look when a worker has room again")
    idle = [worker for worker in queue.workers.values() if worker.free > 0 and worker.held == 0]
    if not idle:
        return
    gate = queue.gate
    if gate is None and not queue.lines:
        is_stuck = queue.total_waiting > 0
    else:
        is_open = gate is None or all(limit.room > 0 for limit in gate.limits(queue.leased, now))
        is_stuck = is_open and any(
            batch.servable() and (gate is None or gate.key_room(batch.options.key, 1, now) > 0)
            for batch in books.batches.values()
            if batch.queue is queue and batch.is_queued
        )
    if is_stuck:
        raise Violation(f"{idle[0].name} has nothing to do while {queue.total_waiting} tasks wait in {queue.name}")


def check_books(books: Books, tx: Transaction) -> None:
    """Checks the whole store: every task is in one place, the counters are right, the index finds everything."""
    # Waiting, leased, scheduled, dead, parked.
    counts = {queue.number: [0, 0, 0, 0, 0] for queue in books.queues.values()}
    sizes = dict.fromkeys(books.queues_by_number, 0)
    places: dict[bytes, tuple[int, bytes]] = {}
    for key, value in tx.scan(tables.PENDING):
        batch = books.read(tx, key, value)
        live = books.batches.get(key)
        leased = 0 if live is None else live.leased
        if live is not None and (live.ended, live.split) != (batch.ended, batch.split):
            raise Violation(f"{batch.id} in memory is not what is stored")
        if not batch.unfinished:
            raise Violation(f"{batch.own_id} has ended and is still pending")
        counts[batch.queue.number][0] += (batch.full & ~batch.ended & ~leased).bit_count()
        counts[batch.queue.number][1] += leased.bit_count()
        sizes[batch.queue.number] += len(batch.blob)
        places[batch.own_id.encode()] = (AT_PENDING, key)
        _check_reachable(books, batch.queue.number, key, is_waiting=bool(batch.full & ~batch.ended & ~leased))
    for key, value in tx.scan(tables.SCHEDULED):
        batch = books.read(tx, tables.split_due_key(key)[1], value)
        counts[batch.queue.number][2] += batch.unfinished
        sizes[batch.queue.number] += len(batch.blob)
        places[batch.own_id.encode()] = (AT_SCHEDULED, key)
    for key, value in tx.scan(tables.DEAD):
        queue = books.queues_by_number[tables.split_task_key(key)[0]]
        batch = read_batch(key, queue, tables.unpack(value)[0])
        counts[queue.number][3] += 1
        places[batch.own_id.encode()] = (AT_DEAD, key)
    for key, value in tx.scan(tables.PARKED):
        task_key, record = tables.unpack(value)
        batch = books.read(tx, task_key, record)
        counts[batch.queue.number][4] += batch.unfinished
        sizes[batch.queue.number] += len(batch.blob)
        places[batch.own_id.encode()] = (AT_PARKED, key)
        if not batch.unfinished:
            raise Violation(f"{batch.own_id} has ended and is still parked")
    for queue in books.queues.values():
        kept = [queue.total_waiting, queue.leased, queue.scheduled, queue.dead, queue.parked]
        if kept != counts[queue.number]:
            raise Violation(f"queue {queue.name} counts {kept}, the tables have {counts[queue.number]}")
        if queue.stored_bytes != sizes[queue.number]:
            raise Violation(
                f"queue {queue.name} counts {queue.stored_bytes} bytes, the tables have {sizes[queue.number]}"
            )
        if sum(queue.waiting) != queue.total_waiting:
            raise Violation(f"queue {queue.name}: {queue.waiting} is not {queue.total_waiting}")
    _check_tallies(books)
    _check_index(tx, places)
    _check_groups(books, tx)
    _check_leases(books, tx)
    _check_lines(books, tx)


def _check_tallies(books: Books) -> None:
    """What is summed up, over all queues and by namespace, is the sum over the queues."""
    tallies = books.tallies
    tallies.count(books.changed)
    for front, tally in (("", tallies.over_all), *tallies.by_namespace.items()):
        queues = [queue for queue in books.queues.values() if not front or queue.name.startswith(f"{front}/")]
        counts = [sum(one) for one in zip(*(queue.counts() for queue in queues), strict=True)]
        found = (tally.queues, tally.counts if queues else [], tally.stored_bytes)
        if found != (len(queues), counts, sum(queue.stored_bytes for queue in queues)):
            raise Violation(f"namespace {front!r} has sums of {found}, its queues {counts}")
    if sorted(books.queues) != list(tallies.queue_names.after("", "")):
        raise Violation("the names of the queues are not those that are listed")


def _check_lines(books: Books, tx: Transaction) -> None:
    """Each line with parked batches has a turn, whose batch can end it; an ordered line has nothing else out."""
    turns = dict(tx.scan(tables.LINES))
    counts = dict.fromkeys(books.queues_by_number, 0)
    out = [(key, books.read(tx, key, value)) for key, value in tx.scan(tables.PENDING)]
    out += [
        (tables.split_due_key(key)[1], books.read(tx, tables.split_due_key(key)[1], value))
        for key, value in tx.scan(tables.SCHEDULED)
    ]
    by_key = dict(out)
    for line, task_key in turns.items():
        counts[int.from_bytes(line[:4], "big")] += 1
        batch = by_key.get(task_key)
        if batch is None:
            raise Violation(f"line {line.hex()} has its turn at {task_key.hex()}, which has ended")
    for number, count in counts.items():
        if books.queues_by_number[number].lines != count:
            raise Violation(f"queue {number} counts {books.queues_by_number[number].lines} lines, there are {count}")
    for key, _ in tx.scan(tables.PARKED):
        if key[: -tables.POSITION_BYTES] not in turns:
            raise Violation(f"{key.hex()} is parked in a line in which nothing has the turn")
    for key, value in tx.scan(tables.PENDING):
        batch = books.read(tx, key, value)
        if batch.options.ordered and turns.get(line_of(batch)) != key:
            raise Violation(f"{batch.own_id} is ordered and waits without its turn")


def _check_reachable(books: Books, number: int, key: bytes, *, is_waiting: bool) -> None:
    """A waiting batch is in its lane's heap, or at or behind the cursor."""
    queue = books.queues_by_number[number]
    lane = queue.lanes[tables.split_task_key(key)[1]]
    is_elsewhere = (
        key in queue.places.values()
        or queue.awaiting.reason_of(key) is not None
        or (queue.gate is not None and queue.gate.held.reason_of(key) is not None)
        or ((live := books.batches.get(key)) is not None and not live.servable())  # one of its tasks is leased
    )
    is_in_lane = lane is not None and (key in lane.heap or (lane.cursor is not None and key >= lane.cursor))
    if is_waiting and not is_in_lane and not is_elsewhere:
        raise Violation(f"{key.hex()} waits in queue {queue.name} where nobody will find it")


def _check_index(tx: Transaction, places: dict[bytes, tuple[int, bytes]]) -> None:
    seen = 0
    for id, value in tx.scan(tables.INDEX):
        record = tables.unpack(value)
        if record[0] == AT_ENDED:
            if id in places:
                raise Violation(f"{id.decode()} has ended and is in a table")
            continue
        seen += 1
        if places.get(id) != (record[0], record[1]):
            raise Violation(f"the index has {id.decode()} at {record[0]}, it is at {places.get(id)}")
    if seen != len(places):
        raise Violation(f"{len(places)} tasks are stored, {seen} are in the index")


def _check_groups(books: Books, tx: Transaction) -> None:
    """An open group waits for what is still to be submitted, its tasks that have not ended, and its groups that are
    open.
    """
    rows = {key.decode(): read_row(key.decode(), value) for key, value in tx.scan(tables.GROUPS)}
    left_over = {key.partition(b"\0")[0].decode() for key, _ in tx.scan(tables.ROSTER)}
    chores = {key.decode().partition("\0")[2] for key, _ in tx.scan(tables.CHORES)}
    for id in left_over - chores:
        if id in rows and rows[id].state != OPEN:
            raise Violation(f"group {id} has ended, and nobody will look at the members that it still has")
    out = {id: row.size - row.joined for id, row in rows.items() if row.state == OPEN}
    roster = dict(tx.scan(tables.ROSTER))
    stored = [(key, value) for key, value in tx.scan(tables.PENDING)]
    stored += [(tables.split_due_key(key)[1], value) for key, value in tx.scan(tables.SCHEDULED)]
    stored += [tables.unpack(value) for _, value in tx.scan(tables.PARKED)]
    for key, value in stored:
        batch = books.read(tx, key, value)
        own = batch.options.group
        if own is not None and own[0] in out and roster.get(tables.roster_key(own[0], batch.id)) in (IS_TASK, IS_BOTH):
            out[own[0]] += batch.unfinished
    for row in rows.values():
        outer = row.options.group if row.state == OPEN and row.queue is not None else None
        if (
            outer is not None
            and outer[0] in out
            and roster.get(tables.roster_key(outer[0], row.id)) in (IS_GROUP, IS_BOTH)
        ):
            out[outer[0]] += 1
    for id, count in out.items():
        if rows[id].outstanding != count:
            raise Violation(f"group {id} waits for {rows[id].outstanding} members, {count} are out")


def _check_leases(books: Books, tx: Transaction) -> None:
    stored = {tables.token_of(key) for key, _ in tx.scan(tables.LEASES)}
    if stored != set(books.leases):
        raise Violation(f"leases {sorted(stored ^ set(books.leases))} are not both in memory and on disk")
