"""What the coordinator does because its time has come: one list, in the order in which a step goes through it.

Theory of operation. A part is a function `due(books, step)`: it does what is due and returns when it is to be called
again, by the clock of its deadline, or infinity. Meanwhile whoever enters something for it (a submit with a delay, a
lease with an end) brings its deadline forward, so that the earliest of all deadlines is when the next step has
something to do. A part that goes by what steps have done, and not by time alone, is called in each of them.

The order matters: workers are judged before alarms ring, since whom a lease is lost with says why; all that ends or
comes due does so before what follows from it is carried out; and what then waits is assigned in the same step.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from operator import attrgetter
from typing import Final, NamedTuple

from zq.core import clocks
from zq.core.admin import chores, operations
from zq.core.measures import alerts, rolling
from zq.core.options import Now
from zq.core.state.books import Books
from zq.core.state.deadlines import Deadline
from zq.core.state.step import Step
from zq.core.tasks import (
    admission,
    assignment,
    dead_letters,
    expiry,
    follow_up,
    key_turns,
    liveness,
    pulls,
    retention,
    schedules,
)
from zq.errors import StoreFullError


class UpkeepPart(NamedTuple):
    """One part of the upkeep."""

    due: Callable[[Books, Step], float]
    deadline: Deadline
    is_in_each_step: bool = False  # whether time has come or not


def parts_of(books: Books) -> tuple[UpkeepPart, ...]:
    """Returns what is to be done, in order."""
    at = books.deadlines
    return (
        UpkeepPart(liveness.watch, at.silence),
        UpkeepPart(expiry.ring_alarms, at.alarms),
        UpkeepPart(pulls.take_back_unconfirmed, at.offers),
        UpkeepPart(pulls.call_on_guests, at.guests),
        UpkeepPart(clocks.take_back, at.takings_back),
        UpkeepPart(expiry.expire_due, at.expiry),
        UpkeepPart(admission.release_due, at.delays),
        UpkeepPart(schedules.fire_due, at.schedules),
        UpkeepPart(dead_letters.carry_on, at.replays),
        # One may wait for what runs, which has ended.
        UpkeepPart(operations.carry_on, at.operations, is_in_each_step=True),
        UpkeepPart(chores.carry_on, at.chores),
        UpkeepPart(_follow_up, Deadline(is_wall=False), is_in_each_step=True),
        # What waits, waits for a gate's time or an event.
        UpkeepPart(assignment.assign_all, at.gates, is_in_each_step=True),
        UpkeepPart(pulls.end_due, at.pulls),
        UpkeepPart(_say_later, at.later),
        UpkeepPart(retention.forget, at.retention),
        UpkeepPart(alerts.look_at_some, at.alerts),
        UpkeepPart(rolling.roll, at.history),
    )


LEVEL_MAX: Final = 3
"""Portions of a thousandth are the smallest."""

PUT_OFF_MIN, PUT_OFF_MAX = 1.0, 60.0
"""Seconds for which a part is put off that did not fit the store."""

PITTANCE_BYTES: Final = 8192
"""That may be written whatever room there is: an operation that begins, or one task of it."""

MESSAGES_LEAVE, UPKEEP_LEAVES = 4, 8
"""Of the room for the way out, the part that messages leave to the upkeep, and the upkeep to a restart."""

_EACH_STEP: Final = 2
"""A clock on which it is always later than any time, beside the monotonic one (0) and the wall clock (1)."""

_WHEN: Final[Callable[[Deadline], float]] = attrgetter("when")
"""Of deadlines: the earliest of many is found without a step of Python for each."""


class Cramp:
    """What did not fit the store, over the lives of the machine, which is made anew each time.

    A part of the upkeep that does not fit is put off, longer each time, so that it keeps nobody from anything else;
    what works in portions is tried with smaller ones first.
    """

    __slots__ = ("level", "pauses", "put_off", "was_full")

    def __init__(self) -> None:
        self.level = 0  # of portions: each is a tenth of the one before
        self.put_off: dict[int, float] = {}  # by number of the part: until when (monotonic)
        self.pauses: dict[int, float] = {}  # and for how long, in seconds
        self.was_full = False  # whether the store was, in the last turn

    def blame(self, part: int, now: float, *, is_in_portions: bool) -> None:
        """Notes that a part did not fit."""
        if is_in_portions:
            self.level = min(self.level + 1, LEVEL_MAX)
            self.pauses[part] = 0.0 if self.level < LEVEL_MAX else PUT_OFF_MIN
        else:
            self.pauses[part] = min(2 * self.pauses.get(part, PUT_OFF_MIN / 2), PUT_OFF_MAX)
        self.put_off[part] = now + self.pauses[part]


class Upkeep:
    """All parts, and when the next of them is due."""

    __slots__ = ("_always", "_books", "_monotonic", "_timed", "_walk", "_wall", "at", "cramp", "is_at_commit")

    def __init__(self, books: Books, cramp: Cramp) -> None:
        self._books = books
        self.cramp = cramp
        self.at: int | None = None  # the part that is carried out
        self.is_at_commit = False  # all of them were, and the turn is being made durable
        parts = parts_of(books)
        self._walk = [
            (at, one.due, one.deadline, _EACH_STEP if one.is_in_each_step else one.deadline.is_wall)
            for at, one in enumerate(parts)
        ]
        self._always = [part for part in self._walk if part[3] == _EACH_STEP]
        self._timed = [part[2] for part in self._walk if part[3] == 0]  # by the monotonic clock alone
        deadlines = [part.deadline for part in parts]
        self._monotonic = [one for one in deadlines if not one.is_wall]
        self._wall = [one for one in deadlines if one.is_wall]

    def carry_out(self, step: Step) -> None:
        """Does what is due.

        Raises:
            StoreFullError: a part does not fit the store; `blame` tells it from a message.
        """
        times = (step.now, step.wall, inf)
        cramp, books = self.cramp, self._books
        if step.tx.is_full or cramp.put_off:
            self._carry_out_watched(step, times)
            return
        if cramp.pauses:
            cramp.level, cramp.was_full = 0, False
            cramp.pauses.clear()
        # In most steps no time has come, and what is in each of them is all there is to do.
        is_time = min(map(_WHEN, self._timed)) <= step.now or min(map(_WHEN, self._wall)) <= step.wall
        for at, due, deadline, clock in self._walk if is_time or books.operations else self._always:
            if clock == _EACH_STEP or deadline.when <= times[clock]:
                self.at = at
                deadline.when = inf  # what is entered from now on brings it forward
                deadline.bring_forward(due(books, step))
        self.at = None

    def _carry_out_watched(self, step: Step, times: tuple[float, float, float]) -> None:
        """As `carry_out`, but that what did not fit is put off, and no part takes the room of those that make some."""
        put_off, was_full = self.cramp.put_off, self.cramp.was_full
        self.cramp.was_full = step.tx.is_full
        if step.tx.is_full:
            self._books.deadlines.retention.bring_forward(step.wall)  # what is kept may be forgotten earlier
        elif was_full:
            self._resume(step)
        for at, due, deadline, clock in self._walk:
            if deadline.when > times[clock]:
                continue
            if put_off.get(at, -inf) > step.now:
                deadline.when = times[deadline.is_wall] + put_off[at] - step.now
                continue
            put_off.pop(at, None)
            self.at = at
            room = step.tx.room_bytes
            deadline.when = inf
            deadline.bring_forward(due(self._books, step))
            check_room(step, room, UPKEEP_LEAVES)
        self.at = None

    def _resume(self, step: Step) -> None:
        """Has what was put off tried at once, as there is room again."""
        for at in self.cramp.put_off:
            deadline = self._walk[at][2]
            deadline.bring_forward(step.wall if deadline.is_wall else step.now)
        self.cramp.put_off.clear()

    def blame(self, now: float) -> bool:
        """Notes what did not fit the store; returns whether it was a part, and not a message.

        Where it shows only at the commit nobody knows, and what ends entail never waits for another step: then all that
        is due by itself is put off.
        """
        at = self.at
        if self.is_at_commit or (at is not None and self._walk[at][1] is _follow_up):
            put_off = self.cramp.put_off
            for other, due, _, _ in self._walk:
                if due not in (_follow_up, _say_later) and put_off.get(other, -inf) <= now:
                    put_off[other] = now + PUT_OFF_MIN
            return at is not None
        if at is None:
            return False
        self.cramp.blame(at, now, is_in_portions=self._walk[at][1] in (operations.carry_on, retention.forget))
        return True

    def next_at(self, now: Now) -> float:
        """Returns the monotonic time at which something is due, at the earliest now, or infinity."""
        monotonic, wall = now
        wall_at = monotonic + (min(map(_WHEN, self._wall)) - wall)
        at = min(map(_WHEN, self._monotonic))
        return max(monotonic, min(at, wall_at))


def check_room(step: Step, room_before: float, leaves: int) -> None:
    """Raises StoreFullError when what was done has taken of the room that is for what comes after it: of the way out
    one part in so many.
    """
    tx = step.tx
    room = tx.room_bytes
    if room < tx.way_out_bytes / leaves and room_before - room > PITTANCE_BYTES:
        raise StoreFullError(f"what is left, {room:.0f} bytes, is for purging and deleting")


def _follow_up(books: Books, step: Step) -> float:
    """Carries out what ends entail, and has turns passed on: nothing of that waits for another step."""
    if step.ended or step.notices:
        follow_up.follow_up(books, step)
    if books.turned:
        key_turns.end_turns(books, step)
    return inf


def _say_later(books: Books, step: Step) -> float:
    """Answers waits of which nothing has ended meanwhile."""
    told, next_at = books.waits.unhurried.take_due(step.now)
    step.outbox += told
    return next_at
