"""A queue: how many of its tasks are in which state, its policies, and the lanes in which tasks wait in the order of
service: one for each priority.

A queue owns its counts: whoever moves tasks says so by `move`, or by `take_out` and `bring_in` when they are in hand
between two states, and the queue notes by itself that its record must be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, ClassVar, Final, NamedTuple

from zq.core import tables
from zq.core.measures.times import Times
from zq.core.options import CoordinatorOptions
from zq.core.ring import Ring
from zq.core.state.holder import HolderOf, PullWait
from zq.core.state.lane import Lane, SetAside, Standing
from zq.core.state.throttle import Gate
from zq.core.state.transitions import (
    CANCELLED,
    DEAD,
    DONE,
    EXPIRED,
    IS_END,
    LEASED,
    MAY_BECOME,
    NAMES,
    NEW,
    PARKED,
    PURGED,
    SCHEDULED,
    WAITING,
    TaskState,
)
from zq.wire.policies import DEFAULT_POLICIES, QueuePolicies, policies_of, policies_record

PRIORITIES = 10

NO_LANES: Final = (None,) * PRIORITIES
NO_PLACES: Final[dict[bytes, bytes]] = {}
"""What a queue has before its first task: of a hundred thousand queues most have none."""

COUNT_NAMES: Final = (*NAMES, "accepted", "failed", "retried", "lost", "died")
"""What a queue counts: its tasks by state, and behind them what has happened in it since it was made."""

ACCEPTED_AT: Final = len(NAMES)  # tasks that were new here
FAILED_AT: Final = ACCEPTED_AT + 1  # attempts
RETRIED_AT: Final = ACCEPTED_AT + 2
LOST_AT: Final = ACCEPTED_AT + 3  # tasks that were in the hands of a holder that is gone
DIED_AT: Final = ACCEPTED_AT + 4  # tasks that became dead letters

RATE_WEIGHT = 0.3
"""Of the newest second, in the average rate of completions: settles within about five seconds."""


class Lining(IntEnum):
    """Which tasks of a queue take turns by key (`zq.core.tasks.key_turns`); ordered ones always do."""

    NONE = 0
    KEYED = 1  # those that have a key
    ALL = 2


class QueueRecord(NamedTuple):
    """A queue as it is stored; `waiting` is by priority."""

    name: str
    policies: Any
    waiting: tuple[int, ...]
    leased: int
    scheduled: int
    parked: int
    lines: int
    dead: int
    done: int
    cancelled: int
    expired: int
    bytes: int
    purged: int
    accepted: int
    failed: int
    retried: int
    lost: int
    died: int


_BEFORE_LINES: Final = itemgetter(LEASED, SCHEDULED, PARKED)
_BEFORE_BYTES: Final = itemgetter(DEAD, DONE, CANCELLED, EXPIRED)
_BEHIND_BYTES: Final = itemgetter(PURGED, ACCEPTED_AT, FAILED_AT, RETRIED_AT, LOST_AT, DIED_AT)
"""The counts of a QueueRecord, in its order: a record is made in each turn, so without a step of Python for each."""


class Queue:
    """A named queue. Counts are of tasks; `waiting` is by priority."""

    __slots__ = (
        "_changed",
        "_counts",
        "_finished_in_turn",
        "awaiting",
        "counted",
        "gate",
        "is_stored",
        "lanes",
        "lines",
        "lining",
        "name",
        "number",
        "places",
        "policies",
        "pull_waits",
        "rate",
        "rate_at",
        "ring",
        "stored_bytes",
        "swept_before",
        "times",
        "waiting",
        "workers",
    )

    TOTALS: ClassVar = ("waiting", "scheduled", "leased", "dead", "done", "bytes")
    """What is summed up over the queues of a namespace; the first three are unfinished."""

    def __init__(self, number: int, name: str, changed: dict[Queue, None]) -> None:
        """Makes an empty queue.

        Args:
            number: in the keys of its tasks.
            name: what peers call it.
            changed: where it notes that its record must be written.
        """
        self.number = number
        self.name = name
        self.policies = DEFAULT_POLICIES
        self.lining = Lining.NONE
        self.gate: Gate | None = None  # while a policy can hold tasks back
        self.waiting = [0] * PRIORITIES
        self._changed = changed
        self._counts = [0] * len(COUNT_NAMES)  # invariant: that of WAITING is the sum of `waiting`
        self.stored_bytes = 0  # of payloads in its records in pending, scheduled and parked
        self.lines = 0  # rows of table `lines`
        self.lanes: Sequence[Lane | None] = NO_LANES  # a list as soon as there is one
        self.places = NO_PLACES  # task keys of batches that stand elsewhere in their lane than these say
        self.awaiting = SetAside()  # by worker: batches that wait for it to have room
        self.workers: dict[str, HolderOf[Any]] = {}  # by name, those that asked for this queue
        self.pull_waits: dict[str, PullWait] = {}  # by key, in the order in which they came
        self.swept_before = 0  # the last sequence that the operation which goes on in it looks at; 0: there is none
        self.ring: Ring | None = None  # made when it is asked for, dropped when the workers change
        self.rate = 0.0  # tasks finished a second
        self.rate_at = 0.0
        self._finished_in_turn = 0
        self.is_stored = False  # whether it has a record
        self.times: Times | None = None  # how long its tasks waited and ran, if it had some lately (`TimedQueues`)
        self.counted: tuple[int, ...] = ()  # its totals as its namespaces have them; empty: none has limits

    # Counts.

    @property
    def total_waiting(self) -> int:
        return self._counts[WAITING]

    @property
    def leased(self) -> int:
        return self._counts[LEASED]

    @property
    def scheduled(self) -> int:
        return self._counts[SCHEDULED]

    @property
    def parked(self) -> int:
        """Ready, and behind another of their line."""
        return self._counts[PARKED]

    @property
    def dead(self) -> int:
        return self._counts[DEAD]

    @property
    def done(self) -> int:
        return self._counts[DONE]

    @property
    def cancelled(self) -> int:
        return self._counts[CANCELLED]

    @property
    def expired(self) -> int:
        return self._counts[EXPIRED]

    @property
    def unfinished(self) -> int:
        counts = self._counts
        return counts[WAITING] + counts[PARKED] + counts[SCHEDULED] + counts[LEASED]

    def totals(self) -> tuple[int, ...]:
        """Returns what a namespace sums up, as TOTALS names it."""
        counts = self._counts
        waiting = counts[WAITING] + counts[PARKED]
        return waiting, counts[SCHEDULED], counts[LEASED], counts[DEAD], counts[DONE], self.stored_bytes

    def counts(self) -> list[int]:
        """Returns what it counts, as COUNT_NAMES names it: how many of its tasks are in which state, or have ended in
        it, and what has happened.
        """
        return self._counts.copy()

    def note_changes_in(self, changed: dict[Queue, None]) -> None:
        """From now on it notes here that something of it has changed."""
        self._changed = changed

    def move(self, origin: TaskState, to: TaskState, tasks: int, priority: int) -> None:
        """Counts tasks that go from one state to another, which the table of transitions must allow."""
        if not MAY_BECOME[origin][to]:
            raise _no_way(origin, to)
        counts = self._counts
        counts[origin] -= tasks
        counts[to] += tasks
        if origin == WAITING:
            self.waiting[priority] -= tasks
        if to == WAITING:
            self.waiting[priority] += tasks
        elif IS_END[to]:
            self._finished_in_turn += tasks
        self._changed[self] = None

    def take_out(self, origin: TaskState, tasks: int, priority: int) -> None:
        """Counts tasks out that are in hand now; whoever has them brings them in elsewhere."""
        self._counts[origin] -= tasks
        if origin == WAITING:
            self.waiting[priority] -= tasks
        self._changed[self] = None

    def bring_in(self, origin: TaskState, to: TaskState, tasks: int, priority: int, stored_bytes: int = 0) -> None:
        """Counts tasks in that were in hand, and in a state before that, perhaps in another queue; and the payloads of
        the record that was written of them.
        """
        if not MAY_BECOME[origin][to]:
            raise _no_way(origin, to)
        self._counts[to] += tasks
        if origin == NEW:
            self._counts[ACCEPTED_AT] += tasks
        self.stored_bytes += stored_bytes
        if to == WAITING:
            self.waiting[priority] += tasks
        elif IS_END[to] and origin != DEAD:
            self._finished_in_turn += tasks
        self._changed[self] = None

    def count(self, at: int, tasks: int = 1) -> None:
        """Counts what has happened to tasks, by its place in COUNT_NAMES."""
        self._counts[at] += tasks
        self._changed[self] = None

    def free_bytes(self, count: int) -> None:
        """Counts the payloads of a record out that was deleted."""
        self.stored_bytes -= count
        self._changed[self] = None

    def add_lines(self, count: int) -> None:
        self.lines += count
        self._changed[self] = None

    def set_policies(self, policies: QueuePolicies) -> None:
        self.policies = policies
        self._changed[self] = None

    def save_later(self) -> None:
        """Notes that there is something to write of it, as there is of a new one."""
        self._changed[self] = None

    def takes_lines(self, key: str | None) -> bool:
        """Whether tasks with this key, or without one, take turns here."""
        return self.lining is Lining.ALL or (self.lining is Lining.KEYED and key is not None)

    # Lanes.

    def position(self, priority: int) -> int:
        """Returns the place that a new task of this priority takes, counted from 1."""
        return 1 + sum(self.waiting[priority:])

    def lane(self, priority: int) -> Lane:
        return self.lanes[priority] or self._add_lane(priority, Lane())

    def _add_lane(self, priority: int, lane: Lane) -> Lane:
        lanes = list(self.lanes)
        lanes[priority] = lane
        self.lanes = lanes
        return lane

    def put(self, batch: Standing) -> None:
        """Puts a batch that is in memory into its lane."""
        if not batch.is_queued:
            batch.is_queued = True
            heappush(self.lane(batch.options.priority).heap, batch.key)

    def drop_head(self, lane: Lane, batch: Standing) -> None:
        """Takes the head of a lane out of it."""
        key = heappop(lane.heap)
        batch.is_queued = False
        if self.places:
            self.places.pop(key, None)

    def put_at(self, batch: Standing, place: bytes) -> None:
        """Puts a batch that is in memory back to where it stood in its lane."""
        if place == batch.key:
            self.put(batch)
        elif not batch.is_queued:
            batch.is_queued = True
            if self.places is NO_PLACES:
                self.places = {}
            self.places[place] = batch.key
            heappush(self.lane(batch.options.priority).heap, place)

    def put_behind(self, batch: Standing, sequence: int, turn: int) -> None:
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

    def measure_rate(self, now: float) -> None:
        """Moves the average rate of completions; called about once a second."""
        elapsed = now - self.rate_at
        if elapsed < 1.0:
            return
        measured = self._finished_in_turn / elapsed
        if measured or self.leased:
            self.rate = measured if not self.rate else self.rate + RATE_WEIGHT * (measured - self.rate)
        self.rate_at = now
        self._finished_in_turn = 0

    def eta(self, position: int) -> float | None:
        """Returns the seconds until the task at a place is likely to be finished, or None while no rate is known."""
        return position / self.rate if self.rate > 0.001 else None

    # Records.

    def record(self) -> bytes:
        counts = self._counts
        record = (  # as QueueRecord names them: to make one takes longer than all of this
            self.name,
            policies_record(self.policies),
            tuple(self.waiting),
            *_BEFORE_LINES(counts),
            self.lines,
            *_BEFORE_BYTES(counts),
            self.stored_bytes,
            *_BEHIND_BYTES(counts),
        )
        return tables.pack(record)

    def restore(self, record: QueueRecord) -> None:
        """Takes up what is stored of it; every lane with waiting tasks is read from its start."""
        self.policies = policies_of(record.policies)
        self.waiting = list(record.waiting)
        counts = self._counts
        counts[WAITING] = sum(record.waiting)
        counts[LEASED], counts[SCHEDULED], counts[PARKED] = record.leased, record.scheduled, record.parked
        counts[DEAD], counts[DONE] = record.dead, record.done
        counts[CANCELLED], counts[EXPIRED] = record.cancelled, record.expired
        counts[PURGED] = record.purged
        counts[ACCEPTED_AT:] = record.accepted, record.failed, record.retried, record.lost, record.died
        self.lines, self.stored_bytes = record.lines, record.bytes
        for priority, count in enumerate(self.waiting):
            if count:
                self._add_lane(priority, Lane(tables.lane_bounds(self.number, priority)[0]))


def _no_way(origin: TaskState, to: TaskState) -> AssertionError:
    """Returns the error of a way that the table does not have; raised, since `python -O` leaves assertions out."""
    return AssertionError(f"a task that is {NAMES[origin]} cannot become {NAMES[to]}")


def read_queue(number: int, value: bytes, changed: dict[Queue, None]) -> Queue:
    """Makes a queue of its record."""
    record = QueueRecord(*tables.unpack(value))
    queue = Queue(number, record.name, changed)
    queue.restore(record)
    queue.is_stored = True
    return queue


def assign_policy(queue: Queue, options: CoordinatorOptions) -> str:
    """Returns how its workers are chosen: as its policy says, else as the coordinator."""
    return queue.policies.assign or options.assign
