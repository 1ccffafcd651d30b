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
from typing import Final, NamedTuple

from zq.core.admin import chores, operations
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
    settling,
)


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
        UpkeepPart(settling.ring_alarms, at.alarms),
        UpkeepPart(pulls.take_back_unconfirmed, at.offers),
        UpkeepPart(pulls.call_on_guests, at.guests),
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
        UpkeepPart(retention.forget, at.retention),
    )


_EACH_STEP: Final = 2
"""A clock on which it is always later than any time, beside the monotonic one (0) and the wall clock (1)."""


class Upkeep:
    """All parts, and when the next of them is due."""

    __slots__ = ("_books", "_monotonic", "_walk", "_wall")

    def __init__(self, books: Books) -> None:
        self._books = books
        parts = parts_of(books)
        self._walk = [
            (one.due, one.deadline, _EACH_STEP if one.is_in_each_step else one.deadline.is_wall) for one in parts
        ]
        deadlines = [part.deadline for part in parts]
        self._monotonic = [one for one in deadlines if not one.is_wall]
        self._wall = [one for one in deadlines if one.is_wall]

    def carry_out(self, step: Step) -> None:
        """Does what is due."""
        books = self._books
        times = (step.now, step.wall, inf)
        for due, deadline, clock in self._walk:
            if deadline.when <= times[clock]:
                deadline.when = inf  # what is entered from now on brings it forward
                deadline.bring_forward(due(books, step))

    def next_at(self, now: Now) -> float:
        """Returns the monotonic time at which something is due, at the earliest now, or infinity."""
        wall = min([one.when for one in self._wall])
        at = min([one.when for one in self._monotonic])
        return max(now.monotonic, min(at, now.monotonic + (wall - now.wall)))


def _follow_up(books: Books, step: Step) -> float:
    """Carries out what ends entail, and has turns passed on: nothing of that waits for another step."""
    if step.ended or step.notices:
        follow_up.follow_up(books, step)
    if books.turned:
        key_turns.end_turns(books, step)
    return inf
