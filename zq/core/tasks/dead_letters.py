"""Dead letters: kept with their history until somebody decides. They are found by queue and reason, brought back at
once or slowly, or purged.

A *replay* brings dead letters back at a rate. It is stored, so it goes on after a restart, and it is over when it has
seen every dead letter that there was when it began: what dies again while it runs is not brought back by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from zq.core import tables
from zq.core.state import event_streams, history, unique_keys
from zq.core.state.batch import Batch
from zq.core.tasks import endings

if TYPE_CHECKING:
    from zq.core.state.books import Books, Step
    from zq.core.state.queue import Queue

REPLAY_SCAN_MAX = 1000
"""Dead letters that one replay looks at in one step: a bounded part of its time."""

BURST_SECONDS = 1.0
"""Of its rate, that a replay may catch up at once after the coordinator was busy."""


ONE = 1.0 - 1e-9
"""Dead letter, of which the replay waits for the last billionth no more: sums of floats must not make it late."""


class Dead(NamedTuple):
    """A dead letter."""

    key: bytes
    batch: Batch
    reason: str
    dead_time: float  # wall
    death: int  # number of the event: later deaths have larger ones


class Replay:
    """A replay that goes on; stored in table `replays` but for what it may do now."""

    __slots__ = ("allowance", "at", "before", "cursor", "id", "moved", "queue", "rate", "reason", "started_time", "to")

    def __init__(self, id: str, rate: float, queue: str | None, reason: str | None, to: str | None) -> None:
        self.id = id
        self.rate = rate  # dead letters a second
        self.queue = queue  # None: of all queues
        self.reason = reason  # text that the reason must contain; None: any
        self.to = to  # None: back to where they were
        self.started_time = 0.0  # wall
        self.before = 0  # number of an event: what has died after it is not brought back
        self.cursor = b""  # what it has looked at comes before this key
        self.moved = 0
        self.allowance = 0.0  # dead letters that it may bring back now
        self.at = 0.0  # monotonic, when the allowance was counted

    def record(self) -> bytes:
        return tables.pack(
            (self.rate, self.queue, self.reason, self.to, self.started_time, self.before, self.cursor, self.moved)
        )

    def next_at(self) -> float:
        """Returns when it may bring the next one back (monotonic)."""
        return self.at + max(0.0, 1.0 - self.allowance) / self.rate

    def as_map(self) -> dict[str, Any]:
        names = ("id", "rate", "queue", "reason", "to", "started_time", "moved")
        return {name: getattr(self, name) for name in names}


def find(
    books: Books, step: Step, queue: Queue | None, reason: str | None = None, start: bytes = b""
) -> Iterator[Dead]:
    """Yields the dead letters of a queue, or all, whose reason contains a text in whatever case."""
    first, stop = (b"", None) if queue is None else tables.queue_bounds(queue.number)
    wanted = None if reason is None else reason.casefold()
    for key, value in step.tx.scan(tables.DEAD, max(first, start), stop):
        record, why, dead_time, death = tables.unpack(value)
        if wanted is None or wanted in why.casefold():
            yield Dead(key, books.read(step.tx, key, record), why, dead_time, death)


def revive(books: Books, step: Step, single: Batch, to: Queue | None = None) -> bool:
    """Lets a dead task wait again, at once: no attempts are charged, its delay and ttl are dropped, and its group has
    had its end, so it is no member any more.

    Args:
        single: what `find` or `read_dead` returned.
        to: another queue, at the end of which it is to wait; None: where it was, in its old place.

    Returns:
        False when another task has its unique key: it stays dead.
    """
    unique = single.options.unique
    if unique is not None and unique_keys.holder(step, to or single.queue, unique) is not None:
        return False
    step.tx.delete(tables.DEAD, single.key)
    single.queue.dead -= 1
    books.changed[single.queue] = None
    single.options = single.options._replace(group=None, delay=0.0, at=None, ttl=None)
    single.attempts = single.failures = 0
    detail = {}
    if to is not None and to is not single.queue:
        detail = {"from": single.queue.name, "to": to.name}
        _, priority, _, sub = tables.split_task_key(single.key)
        books.sequence += 1
        books.is_changed = True
        single.key = tables.task_key(to.number, priority, books.sequence, sub)
        single.queue = to
    books.count("revived")
    event_streams.note_batch(books, single, "revived", "" if to is None else f"to queue {to.name}")
    history.add_event(step, books, single.own_id, "revived", detail)
    if unique is not None:
        unique_keys.take(step, single)
    endings.wait_again(books, step, single)
    return True


def revive_some(books: Books, step: Step, found: Iterator[Dead], most: int, to: Queue | None) -> int:
    """Brings dead letters back at once; returns how many."""
    return sum(revive(books, step, one.batch, to) for one in list(islice(found, most)))


def purge(books: Books, step: Step, found: Iterator[Dead], most: int) -> int:
    """Gives dead letters up: how they ended is known as long as that of any other task. Returns how many."""
    dead = list(islice(found, most))
    for one in dead:
        step.tx.delete(tables.DEAD, one.key)
        one.batch.queue.dead -= 1
        books.changed[one.batch.queue] = None
        books.count("purged")
        history.add_event(step, books, one.batch.own_id, "purged", {})
        endings.finish(books, step, one.batch, "dead", one.reason)
    return len(dead)


# Replays.


def start_replay(
    books: Books, step: Step, id: str, rate: float, queue: Queue | None, reason: str | None, to: Queue | None
) -> Replay:
    """Begins to bring dead letters back at a rate, the first one at once; asked for again by its id, it is the one that
    goes on.
    """
    if id in books.replays:
        return books.replays[id]
    names = [None if one is None else one.name for one in (queue, to)]
    replay = Replay(id, rate, names[0], reason, names[1])
    replay.started_time = step.wall
    replay.before = books.next_event()
    replay.at = step.now
    replay.allowance = 1.0
    books.replays[replay.id] = replay
    books.deadlines.replays.bring_forward(step.now)
    _save(step, replay)
    return replay


def stop_replay(books: Books, step: Step, id: str) -> bool:
    """Ends a replay; False when there is none of the id."""
    step.tx.delete(tables.REPLAYS, id.encode())
    return books.replays.pop(id, None) is not None


def read_replays(books: Books, step: Step) -> None:
    """Takes up the replays that were going on."""
    for key, value in step.tx.scan(tables.REPLAYS):
        rate, queue, reason, to, started_time, before, cursor, moved = tables.unpack(value)
        replay = Replay(key.decode(), rate, queue, reason, to)
        replay.started_time, replay.before, replay.cursor, replay.moved = started_time, before, cursor, moved
        replay.at = step.now
        books.replays[replay.id] = replay


def carry_on(books: Books, step: Step) -> float:
    """Brings back what the replays may bring back by now; returns when to look again."""
    for replay in list(books.replays.values()):
        most = max(1.0, replay.rate * BURST_SECONDS)
        replay.allowance = min(replay.allowance + (step.now - replay.at) * replay.rate, most)
        replay.at = step.now
        if replay.allowance >= ONE:
            _carry_on(books, step, replay)
    return min((replay.next_at() for replay in books.replays.values()), default=inf)


def _carry_on(books: Books, step: Step, replay: Replay) -> None:
    queue = None if replay.queue is None else books.queue(step, replay.queue)
    to = None if replay.to is None else books.queue(step, replay.to)
    wanted = None if replay.reason is None else replay.reason.casefold()
    seen = list(islice(find(books, step, queue, None, replay.cursor), REPLAY_SCAN_MAX))
    for dead in seen:
        if replay.allowance < ONE:
            break
        replay.cursor = dead.key + b"\0"
        if dead.death < replay.before and (wanted is None or wanted in dead.reason.casefold()):
            replay.allowance -= 1.0
            replay.moved += revive(books, step, dead.batch, to)
    else:
        if len(seen) < REPLAY_SCAN_MAX:
            stop_replay(books, step, replay.id)
            return
    _save(step, replay)


def _save(step: Step, replay: Replay) -> None:
    step.tx.put(tables.REPLAYS, replay.id.encode(), replay.record())
