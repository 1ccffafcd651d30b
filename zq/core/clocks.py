"""The wall clock, and what is done when it was set back.

Theory of operation. What must come at a time over restarts has that time on disk, by the wall clock. A clock that is
ahead for a moment (a machine that wakes, before its time is corrected) would leave times there that do not come for
months. So each turn compares what the wall clock shows more than the monotonic one with the turn before, and a start
compares it with the latest time on disk. When it was set back, all that goes by it is looked at again, in portions:

- a task that was accepted, or failed, at a time that is still to come has its delay from now on. So it waits its delay
  twice at most. A time that was given as such (`at`) stays;
- a schedule has the next of its times after now;
- what has ended at a time that is still to come has ended now, or all that ended after it would not be forgotten.

A clock that is set ahead starts early what has a time, as it should.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Final

from zq.core import tables
from zq.core.options import Now
from zq.core.state import history, places
from zq.core.state.books import Books
from zq.core.state.deadlines import CLOCK_SLACK
from zq.core.state.places import Place
from zq.core.state.step import Step
from zq.core.tasks import schedules

DELAYS_MAX: Final = 250
"""Of scheduled batches that one step looks at."""

DELAYS_BYTES: Final = 4 << 20
"""Of them, at least one."""

FINISHED_MAX: Final = 1000
"""Things that have ended and that one step looks at."""

FULL_PAUSE: Final = 5.0
"""Seconds until it is gone on in a store that is full."""

RESCHEDULED: Final = "rescheduled"
"""The event in the history of a task that has its delay from then on."""


def open_clock(books: Books, now: Now) -> None:
    """Compares the clock at a start with what is on disk."""
    clock = books.deadlines.clock
    clock.offset = now.wall - now.monotonic
    if clock.latest > now.wall + CLOCK_SLACK:
        _begin(books)
    else:
        clock.latest = now.wall


def note_clock(books: Books, step: Step) -> None:
    """Compares the clock with that of the turn before."""
    clock = books.deadlines.clock
    offset = step.wall - step.now
    if offset < clock.offset - CLOCK_SLACK:
        _begin(books)
    elif offset > clock.offset + CLOCK_SLACK:
        books.is_changed = True  # whatever is stored under this time, it is known to have been shown
    clock.offset = offset
    if clock.phase is None:
        clock.latest = step.wall


def _begin(books: Books) -> None:
    clock = books.deadlines.clock
    clock.phase, clock.cursor = 0, b""
    books.deadlines.look_at_once()
    books.deadlines.takings_back.when = -inf
    books.count("clock set back")


def take_back(books: Books, step: Step) -> float:
    """Takes back a portion of the times that are too late; returns when to go on (monotonic)."""
    clock = books.deadlines.clock
    if clock.phase is None:
        return inf
    if step.tx.is_full:
        return step.now + FULL_PAUSE
    for phase in range(clock.phase, len(_PHASES)):
        cursor = _PHASES[phase](books, step, clock.cursor)
        clock.phase, clock.cursor = phase, cursor or b""
        if cursor is not None:
            return step.now
    clock.phase, clock.latest = None, step.wall
    books.is_changed = True
    return inf


def _take_back_delays(books: Books, step: Step, start: bytes) -> bytes | None:
    rows: list[tuple[bytes, bytes]] = []
    size = 0
    for row in step.tx.scan(tables.SCHEDULED, max(start, tables.due_key(step.wall, b""))):
        if len(rows) == DELAYS_MAX or size >= DELAYS_BYTES:
            break
        rows.append(row)
        size += len(row[1])
    for key, value in rows:
        _take_back_delay(books, step, key, value)
    return rows[-1][0] + b"\0" if len(rows) == DELAYS_MAX or size >= DELAYS_BYTES else None


def _take_back_delay(books: Books, step: Step, key: bytes, value: bytes) -> None:
    """Has a task that waits for its time wait its delay from now on, if that began at a time that is still to come."""
    batch = books.read(step.tx, tables.split_due_key(key)[1], value)
    if not batch.attempts:
        begun_time, delay = batch.accepted_time, batch.options.delay if batch.options.at is None else 0.0
    else:
        events = reversed(history.events_of(step, batch.own_id))
        begun_time, delay = next(((one.time, one.detail["in"]) for one in events if "in" in one.detail), (-inf, 0.0))
    if begun_time <= step.wall + CLOCK_SLACK or not delay:
        return
    places.leave(step, Place(tables.AT_SCHEDULED, key), batch, batch.full & ~batch.ended)
    if not batch.attempts:
        if batch.options.ttl is not None:
            places.forget_expiry(step, batch.expiry_key())
        batch.accepted_time = step.wall
        if batch.options.ttl is not None:
            places.watch_expiry(books, step, batch)
    history.add_event(step, books, batch.own_id, RESCHEDULED, {"in": delay})
    places.enter_scheduled(books, step, batch, step.wall + delay)


def _take_back_ends(books: Books, step: Step, start: bytes) -> bytes | None:
    rows = list(islice(places.finished_rows(step, start), FINISHED_MAX))
    for row in rows:
        if row.finished_time > step.wall:
            places.leave_finished(step, row)
            places.enter_finished(
                books, step, row.id, row.kind, row.batch_key, has_results=row.has_results, is_new=False
            )
    return rows[-1].key + b"\0" if len(rows) == FINISHED_MAX else None


_PHASES: Final = (_take_back_delays, schedules.take_back, _take_back_ends)
