"""A queue: its counts, its policies, and the lanes in which tasks wait in the order of service.

There is a lane for each priority. A lane is a window on its part of the pending table: the batches that are next are in
memory, in a heap by task key; from `cursor` on the table has to be read. Memory therefore does not grow with the
backlog.

Invariant of a lane: every batch with waiting tasks is in the heap, or its key is at or behind the cursor.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from zq.core import tables
from zq.core.state.set_aside import SetAside
from zq.wire.policies import DEFAULT_POLICIES, policies_of, policies_record

if TYPE_CHECKING:
    from zq.core.state.batch import Batch
    from zq.core.state.leases import Holder, PullWait
    from zq.core.state.ring import Ring
    from zq.core.state.throttle import Gate

PRIORITIES = 10
LANE_BATCHES_MAX = 1024
"""New batches that a lane keeps in memory beyond which they stay on disk until they are next: a worker's largest credit
in batches of ten.
"""

RATE_WEIGHT = 0.3
"""Of the newest second, in the average rate of completions: settles within about five seconds."""


class Lining(IntEnum):
    """Which tasks of a queue take turns by key (`zq.core.state.key_turns`); ordered ones always do."""

    NONE = 0
    KEYED = 1  # those that have a key
    ALL = 2


class Lane:
    """The tasks of one priority that wait; keys only, the batches are in the books."""

    __slots__ = ("cursor", "heap")

    def __init__(self, cursor: bytes | None = None) -> None:
        self.heap: list[bytes] = []
        self.cursor = cursor  # None: nothing waits that is not in the heap

    def put_back(self, key: bytes) -> None:
        """Puts a batch back that was passed over."""
        heappush(self.heap, key)

    def leave(self, key: bytes) -> None:
        """Leaves a stored batch to be read later."""
        if self.cursor is None or key < self.cursor:
            self.cursor = key

    def takes(self, key: bytes) -> bool:
        """Whether a new batch may be kept in memory."""
        if len(self.heap) >= LANE_BATCHES_MAX and key > self.heap[0]:
            return (
                False  # one that is next is taken all the same: left on disk, it would have its neighbours read again
            )
        return self.cursor is None or key < self.cursor

    def must_read(self) -> bool:
        """Whether the next batch in order may be one that is not in memory."""
        return self.cursor is not None and (not self.heap or self.cursor <= self.heap[0])


class Queue:
    """A named queue. Counts are of tasks; `waiting` is by priority."""

    __slots__ = (
        "awaiting",
        "bytes",
        "cancelled",
        "dead",
        "done",
        "expired",
        "finished_in_turn",
        "gate",
        "lanes",
        "leased",
        "lines",
        "lining",
        "name",
        "number",
        "parked",
        "places",
        "policies",
        "pull_waits",
        "rate",
        "rate_at",
        "ring",
        "scheduled",
        "swept_before",
        "total_waiting",
        "waiting",
        "workers",
    )

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        self.policies = DEFAULT_POLICIES
        self.lining = Lining.NONE
        self.gate: Gate | None = None  # while a policy can hold tasks back
        self.waiting = [0] * PRIORITIES
        self.total_waiting = 0  # invariant: the sum of `waiting`
        self.leased = 0
        self.scheduled = 0
        self.bytes = 0  # of payloads in its records in pending, scheduled and parked
        self.parked = 0  # ready, and behind another of their line
        self.lines = 0  # rows of table `lines`
        self.dead = 0
        self.done = 0
        self.cancelled = 0
        self.expired = 0
        self.lanes: list[Lane | None] = [None] * PRIORITIES
        self.places: dict[bytes, bytes] = {}  # task keys of batches that stand elsewhere in their lane than these say
        self.awaiting = SetAside()  # by worker: batches that wait for it to have room
        self.workers: dict[str, Holder] = {}  # by name, those that asked for this queue
        self.pull_waits: deque[PullWait] = deque()
        self.swept_before = 0  # the last sequence that the operation which goes on in it looks at; 0: there is none
        self.ring: Ring | None = None  # made when it is asked for, dropped when the workers change
        self.rate = 0.0  # tasks finished a second
        self.rate_at = 0.0
        self.finished_in_turn = 0

    @property
    def unfinished(self) -> int:
        return self.total_waiting + self.leased + self.scheduled + self.parked

    def takes_lines(self, key: str | None) -> bool:
        """Whether tasks with this key, or without one, take turns here."""
        return self.lining is Lining.ALL or (self.lining is Lining.KEYED and key is not None)

    def add_waiting(self, priority: int, count: int) -> None:
        self.waiting[priority] += count
        self.total_waiting += count

    def position(self, priority: int) -> int:
        """Returns the place that a new task of this priority takes, counted from 1."""
        return 1 + sum(self.waiting[priority:])

    def lane(self, priority: int) -> Lane:
        lane = self.lanes[priority]
        if lane is None:
            lane = self.lanes[priority] = Lane()
        return lane

    def put(self, batch: Batch) -> None:
        """Puts a batch that is in memory into its lane."""
        if not batch.is_queued:
            batch.is_queued = True
            heappush(self.lane(batch.options.priority).heap, batch.key)

    def drop_head(self, lane: Lane, batch: Batch) -> None:
        """Takes the head of a lane out of it."""
        key = heappop(lane.heap)
        batch.is_queued = False
        if self.places:
            self.places.pop(key, None)

    def put_at(self, batch: Batch, place: bytes) -> None:
        """Puts a batch that is in memory back to where it stood in its lane."""
        if place == batch.key:
            self.put(batch)
        elif not batch.is_queued:
            batch.is_queued = True
            self.places[place] = batch.key
            heappush(self.lane(batch.options.priority).heap, place)

    def put_behind(self, batch: Batch, sequence: int, turn: int) -> None:
        """Puts a batch behind everything that waits in its lane; in memory only, its key stays.

        Args:
            batch: not in its lane.
            sequence: of the newest batch there is.
            turn: a number that only grows.
        """
        self.put_at(batch, tables.place_key(self.number, batch.options.priority, sequence, turn))

    def pass_over(self, lane: Lane) -> bytes:
        """Takes the head of a lane out for the rest of a step and returns its place; it still counts as queued, so that
        it is not read again.
        """
        return heappop(lane.heap)

    def note_finished(self, count: int) -> None:
        self.finished_in_turn += count

    def measure_rate(self, now: float) -> None:
        """Moves the average rate of completions; called about once a second."""
        elapsed = now - self.rate_at
        if elapsed < 1.0:
            return
        measured = self.finished_in_turn / elapsed
        if measured or self.leased:
            self.rate = measured if not self.rate else self.rate + RATE_WEIGHT * (measured - self.rate)
        self.rate_at = now
        self.finished_in_turn = 0

    def eta(self, position: int) -> float | None:
        """Returns the seconds until the task at a place is likely to be finished, or None while no rate is known."""
        return position / self.rate if self.rate > 0.001 else None

    # Records.

    def record(self) -> bytes:
        return tables.pack(
            (
                self.name,
                policies_record(self.policies),
                tuple(self.waiting),
                self.leased,
                self.scheduled,
                self.parked,
                self.lines,
                self.dead,
                self.done,
                self.cancelled,
                self.expired,
                self.bytes,
            )
        )


def read_queue(number: int, value: bytes) -> Queue:
    """Makes a queue of its record; every lane with waiting tasks is read from its start."""
    record: Any = tables.unpack(value)
    queue = Queue(number, record[0])
    queue.policies = policies_of(record[1])
    queue.waiting = list(record[2])
    queue.total_waiting = sum(queue.waiting)
    queue.leased, queue.scheduled, queue.parked, queue.lines = record[3:7]
    queue.dead, queue.done, queue.cancelled, queue.expired, queue.bytes = record[7:12]
    for priority, count in enumerate(queue.waiting):
        if count:
            queue.lanes[priority] = Lane(tables.lane_bounds(number, priority)[0])
    return queue
