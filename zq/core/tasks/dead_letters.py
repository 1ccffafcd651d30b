"""Dead letters: kept with their history until somebody decides. They are found by queue and reason, brought back at
once or slowly, or purged.

A *replay* brings dead letters back at a rate. It is stored, so it goes on after a restart, and it is over when it has
seen every dead letter that there was when it began: what dies again while it runs is not brought back by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from zq.core import tables
from zq.core.state import event_streams, history, places, unique_keys
from zq.core.state.batch import StoredBatch
from zq.core.state.books import Books
from zq.core.state.operation import Replay, read_replay
from zq.core.state.places import Dead
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.core.state.transitions import DEAD, PURGED
from zq.core.tasks import endings

PORTION_DEAD = 200
"""Dead letters that one step looks at, or brings back, of a replay or of all searches: a few milliseconds."""

PORTION_DEAD_BYTES = 1 << 20
"""Of their rows, which may have long reasons."""

DEAD_LOOKS = 4
"""Dead letters that are looked at for what it costs to bring one back."""

BURST_SECONDS = 1.0
"""Of its rate, that a replay may catch up at once after the coordinator was busy."""


FULL_SECONDS = 1.0
"""Until it is looked again whether a full store has room for what replays bring back."""

ONE_ALLOWED = 1.0 - 1e-9
"""Dead letter, of which the replay waits for the last billionth no more: sums of floats must not make it late."""


def find(
    books: Books, step: Step, queue: Queue | None, reason: str | None = None, start: bytes = b""
) -> Iterator[Dead]:
    """Yields the dead letters of a queue, or all, whose reason contains a text in whatever case."""
    first, stop = (b"", None) if queue is None else tables.queue_bounds(queue.number)
    wanted = None if reason is None else reason.casefold()
    for key, value in step.tx.scan(tables.DEAD, max(first, start), stop):
        dead = places.dead_letter(books, step, key, value)
        if wanted is None or wanted in dead.reason.casefold():
            yield dead


def revive(books: Books, step: Step, single: StoredBatch, to: Queue | None = None) -> bool:
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
    places.leave_dead(step, single)
    single.options = single.options._replace(group=None, delay=0.0, at=None, ttl=None)
    single.attempts = single.failures = 0
    detail = {}
    if to is not None and to is not single.queue:
        detail = {"from": single.queue.name, "to": to.name}
        _, priority, _, sub = tables.split_task_key(single.key)
        single.key = tables.task_key(to.number, priority, books.next_sequence(), sub)
        single.queue = to
    books.count("revived")
    event_streams.note_batch(books.events, single, "revived", "" if to is None else f"to queue {to.name}", "")
    history.add_event(step, books, single.own_id, "revived", detail)
    if unique is not None:
        unique_keys.take(step, single)
    endings.wait_again(books, step, single)
    return True


def purge(books: Books, step: Step, dead: Dead) -> None:
    """Gives a dead letter up: how it ended is known as long as that of any other task."""
    places.leave_dead(step, dead.batch)
    dead.batch.queue.bring_in(DEAD, PURGED, 1, dead.batch.options.priority)
    books.count("purged")
    history.add_event(step, books, dead.batch.own_id, "purged", {})
    endings.finish(books, step, dead.batch, "dead", dead.reason)


class DeadPortion:
    """What one step may look at of the dead letters, and take."""

    __slots__ = ("_bytes", "_looks", "_takes")

    def __init__(self, most: int | None = None) -> None:
        """Makes one.

        Args:
            most: dead letters that may be taken; None: as many as are a portion.
        """
        self._takes = PORTION_DEAD if most is None else min(most, PORTION_DEAD)
        self._looks = self._takes * DEAD_LOOKS
        self._bytes = PORTION_DEAD_BYTES

    @property
    def may_look(self) -> bool:
        return self._looks > 0 and self._bytes > 0 and self._takes > 0

    def take(self) -> bool:
        """Counts one that is to be brought back or purged; returns False when that is one too many."""
        self._takes -= 1
        return self._takes >= 0

    def read(
        self, step: Step, start: bytes, stop: bytes | None, behind: Callable[[bytes], bytes | None] | None = None
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Returns rows of dead letters, as many as may still be looked at, and where to go on; None at the end.

        Args:
            start: key from which on.
            stop: key before which; None: up to the last.
            behind: says where to go on behind the dead letters of a queue that is not meant, by the key of the first.
        """
        rows: list[tuple[bytes, bytes]] = []
        for row in step.tx.scan(tables.DEAD, start, stop):
            if not self.may_look:
                return rows, row[0]
            self._looks -= 1
            self._bytes -= len(row[1])
            past = None if behind is None else behind(row[0])
            if past is not None:
                return rows, past
            rows.append(row)
        return rows, None


def reason_of(value: bytes) -> str:
    """Returns why a task is dead, of a row of `dead`."""
    return str(tables.unpack(value)[1])


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
    replay = Replay(id, rate, names[0], reason, names[1], step.wall, books.next_event(), allowance=1.0, at=step.now)
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
        replay = read_replay(key.decode(), value)
        replay.at = step.now
        books.replays[replay.id] = replay


def carry_on(books: Books, step: Step) -> float:
    """Brings back what the replays may bring back by now; returns when to look again."""
    if books.replays and step.tx.is_full:
        return step.now + FULL_SECONDS
    for replay in list(books.replays.values()):
        most = max(1.0, replay.rate * BURST_SECONDS)
        replay.allowance = min(replay.allowance + (step.now - replay.at) * replay.rate, most)
        replay.at = step.now
        if replay.allowance >= ONE_ALLOWED:
            _carry_on(books, step, replay)
    return min((replay.next_at() for replay in books.replays.values()), default=inf)


def _carry_on(books: Books, step: Step, replay: Replay) -> None:
    """Looks at what one step may look at; whether it is over or goes on is stored."""
    queue = None if replay.queue is None else books.queue(step, replay.queue)
    to = None if replay.to is None else books.queue(step, replay.to)
    first, stop = (b"", None) if queue is None else tables.queue_bounds(queue.number)
    wanted = None if replay.reason is None else replay.reason.casefold()
    portion = DeadPortion(None if wanted is not None else int(replay.allowance) + 1)
    rows, cursor = portion.read(step, max(first, replay.cursor), stop)
    for key, value in rows:
        if replay.allowance < ONE_ALLOWED:
            cursor = key
            break
        _, reason, _, death = tables.unpack(value)
        if death >= replay.before or (wanted is not None and wanted not in reason.casefold()):
            continue
        if not portion.take():
            cursor = key
            break
        replay.allowance -= 1.0
        replay.moved += revive(books, step, places.dead_letter(books, step, key, value).batch, to)
    if cursor is None:
        stop_replay(books, step, replay.id)
    else:
        replay.cursor = cursor
        _save(step, replay)


def _save(step: Step, replay: Replay) -> None:
    step.tx.put(tables.REPLAYS, replay.id.encode(), replay.record())
