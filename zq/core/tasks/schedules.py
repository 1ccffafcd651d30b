"""Recurring tasks: schedules that are stored, and store a task whenever their time comes.

Theory of operation. A schedule has one row with all that it is, and, unless it is paused, one row by its next time,
which has its weight if it is large: what a step stores is bounded in number and in bytes. When that time comes, the
task is stored, and the schedule moved to its next time, in one transaction; the id of the task is made of the name and
of the time for which it was due, and is never stored twice while it is known. So a time fires once: not again after a
restart, and not again when the wall clock jumps back: then the schedule goes on with the next time after what the
clock shows now, and passes over what it has fired. The core has no calendar: the shell brings one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from math import ceil, floor, inf
from typing import Any, Final, NamedTuple

from zq.core import tables
from zq.core.accounts import BusyRequestError
from zq.core.arguments import InvalidRequestError, judged
from zq.core.pages import Budget
from zq.core.state.books import Books
from zq.core.state.deadlines import CLOCK_SLACK
from zq.core.state.step import Step
from zq.core.tasks import admission
from zq.errors import short
from zq.wire.limits import CATCH_UP, DELAY_MAX, EVERY_MIN
from zq.wire.messages import DEFAULT_OPTIONS, Batch, Options, Schedule
from zq.wire.options import schedule_fault

FIRE_MAX: Final = 100
"""Tasks that schedules store in one step."""

FIRE_BYTES: Final = 4 << 20
"""Of the rows of large schedules that fire in one step, but at least one of them: what a step writes holds up all that
waits for it. The others go on in the next steps, in the order of their times.
"""

SMALL_BYTES: Final = 16 << 10
"""Of a row: a schedule with a larger one is large. FIRE_MAX small ones are below half of FIRE_BYTES, so they are not
weighed, and pass by large ones that wait.
"""

LOOK_MAX: Final = 300
"""Schedules that are due and looked at in one step: the queues of all of them may be draining."""

LATE_MAX: Final = 15.0
"""Seconds after which a time counts as missed for a schedule that skips what it has missed: the grace after a
restart.
"""

SCHEDULE_NAME_BYTES_MAX: Final = 100
"""Of a schedule's name: with the time behind it, it must be an id."""

RETRY_AFTER: Final = 5.0
"""Seconds until a schedule is looked at again that found the store full or its queue draining."""


class ScheduleRow(NamedTuple):
    """A schedule as it is stored."""

    queue: str
    options: Options
    ends: bytes
    blob: bytes
    every: float | None  # seconds; None: by cron
    cron: str | None
    timezone: str
    catch_up: str
    is_paused: bool
    next_time: float
    created_time: float
    fired: int = 0
    last_time: float | None = None  # for which it last stored a task
    last_id: str | None = None
    error: str | None = None  # why it was paused by itself

    def as_map(self, name: str) -> dict[str, Any]:
        """Returns it as the query `schedules` shows it."""
        left_out = ("options", "ends", "blob")
        row = {name: value for name, value in self._asdict().items() if name not in left_out}
        next_time = None if self.is_paused else self.next_time
        return {"name": name, **row, "next_time": next_time, "payload_bytes": len(self.blob)}


# Defining.


def define(books: Books, step: Step, message: Schedule) -> dict[str, Any]:
    """Makes a schedule, or gives the one of this name another task; its times begin anew only if they are others.

    Raises:
        InvalidRequestError: it cannot be; nothing was changed.
    """
    batch = message.batch
    name = batch.id
    _check(books, step, message)
    row = ScheduleRow(
        batch.queue, batch.options, batch.ends, batch.blob, message.every, message.cron, message.timezone,
        message.catch_up, False, 0.0, step.wall,
    )  # fmt: skip
    known = find(step, name)
    first_time = _first_time(books, step, row, step.wall) if known is None else 0.0
    books.queue_for(step, batch.queue).save_later()
    if known is None:
        books.schedules += 1
        books.ceilings.note_made(step, "schedules", name)
        _save(books, step, name, row._replace(next_time=first_time))
    else:
        is_same = (known.every, known.cron, known.timezone) == (row.every, row.cron, row.timezone)
        next_time = known.next_time if is_same else _first_time(books, step, row, step.wall)
        kept = {
            field: getattr(known, field) for field in ("is_paused", "created_time", "fired", "last_time", "last_id")
        }
        _unwatch(step, name, known)
        _save(books, step, name, _in_time(books, step, row._replace(next_time=next_time, **kept)))
    return show(step, name)


def _check(books: Books, step: Step, message: Schedule) -> None:
    batch, options = message.batch, message.batch.options
    if batch.tasks != 1:
        raise InvalidRequestError(f"expected one task in a schedule, got {batch.tasks}")
    if len(batch.id.encode()) > SCHEDULE_NAME_BYTES_MAX:
        raise InvalidRequestError(
            f"expected a name of at most {SCHEDULE_NAME_BYTES_MAX} bytes, got {len(batch.id.encode())}"
        )
    fault = schedule_fault(options)
    if fault is not None:
        raise InvalidRequestError(fault)
    if (message.every is None) == (message.cron is None):
        raise InvalidRequestError("expected either every or cron")
    if len(batch.blob) > books.options.payload_bytes_max:
        raise InvalidRequestError(
            f"a payload has {len(batch.blob)} bytes, the coordinator allows {books.options.payload_bytes_max}"
        )
    books.ceilings.check_store(step)
    if find(step, batch.id) is None:
        books.ceilings.check_made(step, "schedules", books.schedules)


def _first_time(books: Books, step: Step, row: ScheduleRow, start: float) -> float:
    return judged(_next_time, books, row, start, step.wall)


def change(books: Books, step: Step, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Changes when a schedule fires, or pauses or resumes it; what it missed while it was paused is not caught up.

    Args:
        changes: any of every, cron, timezone, catch_up, is_paused, checked.

    Raises:
        InvalidRequestError: there is no such schedule, or it cannot be so; nothing was changed.
    """
    known = find(step, name)
    if known is None:
        raise InvalidRequestError(f"there is no schedule {name!r}")
    if changes.get("every") is not None:
        changes = {"cron": None, **changes}
    elif changes.get("cron") is not None:
        changes = {"every": None, **changes}
    row = known._replace(**changes, error=None)
    if (row.every is None) == (row.cron is None):
        raise InvalidRequestError("expected either every or cron")
    is_same = (known.every, known.cron, known.timezone) == (row.every, row.cron, row.timezone)
    if not is_same or (known.is_paused and not row.is_paused):
        start = known.next_time if is_same and row.every is not None else step.wall
        row = row._replace(next_time=_first_time(books, step, row, start))
    _unwatch(step, name, known)
    _save(books, step, name, _in_time(books, step, row))
    return show(step, name)


def delete(books: Books, step: Step, name: str) -> bool:
    """Forgets a schedule; tasks that it has stored stay. False when there is none of the name."""
    known = find(step, name)
    if known is not None:
        books.schedules -= 1
        books.accounts.note_gone("schedules", name)
        _unwatch(step, name, known)
        step.tx.delete(tables.SCHEDULES, tables.schedule_key(name))
    return known is not None


def run_now(books: Books, step: Step, name: str) -> dict[str, Any]:
    """Stores the task of a schedule at once, whether it is paused or not; its times stay what they are.

    Raises:
        InvalidRequestError: there is no such schedule; BusyRequestError when its queue takes nothing now.
    """
    row = find(step, name)
    if row is None:
        raise InvalidRequestError(f"there is no schedule {name!r}")
    books.ceilings.check_store(step)
    queue = books.queues.get(row.queue)
    if queue is not None and queue.policies.draining:
        raise BusyRequestError(f"queue {row.queue} is draining: it accepts nothing new until it is resumed")
    _unwatch(step, name, row)
    _save(books, step, name, _store(books, step, name, row, _milliseconds(step.wall)))
    return show(step, name)


def find(step: Step, name: str) -> ScheduleRow | None:
    value = step.tx.get(tables.SCHEDULES, tables.schedule_key(name))
    return None if value is None else _read(value)


def show(step: Step, name: str) -> dict[str, Any]:
    """Returns a schedule as the query shows it; raises InvalidRequestError when there is none."""
    row = find(step, name)
    if row is None:
        raise InvalidRequestError(f"there is no schedule {name!r}")
    return row.as_map(name)


def rows_after(step: Step, front: str, after: str, budget: Budget) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yields schedules whose names begin so and come after one, by name, as the query shows them."""
    start, stop = tables.schedule_key(max(front, after)), tables.schedule_bounds()[1]
    for key, value in step.tx.scan(tables.SCHEDULES, start, stop):
        name = tables.split_schedule_key(key)
        if not name.startswith(front):
            return
        budget.read(len(value))
        if name != after:
            yield name, _read(value).as_map(name)


# Firing.


def fire_due(books: Books, step: Step) -> float:
    """Stores the tasks whose time has come, and moves their schedules on; returns when to look again (wall)."""
    if step.tx.is_full:
        return step.wall + RETRY_AFTER
    left = FIRE_MAX
    due, next_time = _find_due(books, step)
    for time, name, is_large in due:
        if left <= 0:
            return min(next_time, time)
        left -= max(1, _fire(books, step, name, 1 if is_large else left))
    return next_time


def _find_due(books: Books, step: Step) -> tuple[list[tuple[float, str, bool]], float]:
    """Returns schedules that are due, each with its time, its name and whether it is large, and when to look again; one
    whose queue is draining waits, and so do large ones that are too many.
    """
    due: list[tuple[float, str, bool]] = []
    next_time, room = inf, FIRE_BYTES
    first, stop = tables.schedule_time_bounds()
    start, books.passed_schedules = max(first, books.passed_schedules), b""
    books.has_late_schedules = books.has_late_schedules and start != first
    for looks, (key, value) in enumerate(step.tx.scan(tables.SCHEDULES, start, stop)):
        time, name = tables.split_schedule_time_key(key)
        if time > step.wall or len(due) == FIRE_MAX:
            next_time = min(next_time, time)
            break
        if looks == LOOK_MAX:
            books.passed_schedules = key
            return due, step.wall
        bytes_large, queue_name = _weigh(step, name, value)
        queue = books.queues.get(queue_name)
        if queue is not None and queue.policies.draining:
            next_time = min(next_time, step.wall + RETRY_AFTER)
        elif bytes_large > room and room < FIRE_BYTES:
            room = 0  # nor any after it: they go in order
            books.has_late_schedules, next_time = True, step.wall
        else:
            room = max(0, room - bytes_large)
            due.append((time, name, bytes_large > 0))
    if start != first:  # those that were passed by are looked at again
        next_time = min(next_time, step.wall + (0.0 if books.has_late_schedules else RETRY_AFTER))
    return due, next_time


def _weigh(step: Step, name: str, value: bytes) -> tuple[int, str]:
    """Returns the bytes of a schedule that is due if it is large, or else 0, and its queue; a large one is not read."""
    if value:
        bytes_large, queue = tables.unpack(value)
        return bytes_large, queue
    row = find(step, name)
    return 0, "" if row is None else row.queue


def _fire(books: Books, step: Step, name: str, most: int) -> int:
    """Fires one schedule as often as it should, and at most so often; returns how often."""
    row = find(step, name)
    assert row is not None, "a time without its schedule"
    _unwatch(step, name, row)
    count = 0
    try:
        if row.catch_up == "all":
            while row.next_time <= step.wall and count < most:
                row = _store(books, step, name, row, row.next_time)
                row = row._replace(next_time=_next_time(books, row, row.next_time, row.next_time))
                count += 1
        else:
            due_time = _last_time(books, row, step.wall)
            if row.catch_up == "one" or due_time >= step.wall - LATE_MAX:
                row = _store(books, step, name, row, due_time)
                count = 1
            row = row._replace(next_time=_next_time(books, row, due_time, step.wall))
    except ValueError as error:  # the calendar has changed since, or there is none any more
        row = row._replace(is_paused=True, error=str(error))
    _save(books, step, name, row)
    return count


def _store(books: Books, step: Step, name: str, row: ScheduleRow, time: float) -> ScheduleRow:
    id = task_id(name, time)
    if not admission.store_if_new(books, step, Batch(id, row.queue, row.options, row.ends, row.blob)):
        return row  # it has fired, before the clock was set back
    books.count("fired")
    return row._replace(fired=row.fired + 1, last_time=time, last_id=id)


def task_id(name: str, time: float) -> str:
    """Returns the id of the task of a schedule for a time: in UTC, to the millisecond if need be."""
    at = datetime.fromtimestamp(time, UTC)
    timespec = "milliseconds" if round(time * 1000) % 1000 else "seconds"
    return f"{name}@{at.isoformat(timespec=timespec).replace('+00:00', 'Z')}"


def _next_time(books: Books, row: ScheduleRow, start: float, after: float) -> float:
    """Returns the first time of a schedule after one; an interval counts in steps from `start`."""
    if row.cron is not None:
        return books.calendar.next_after(row.cron, row.timezone, after)
    assert row.every is not None
    return (
        _milliseconds(start + (floor(max(0.0, after - start) / row.every) + 1) * row.every) if start <= after else start
    )


def _last_time(books: Books, row: ScheduleRow, until: float) -> float:
    """Returns the last time of a schedule, from its next one on, that has come."""
    if row.cron is not None:
        return max(row.next_time, books.calendar.last_until(row.cron, row.timezone, until))
    assert row.every is not None
    return _milliseconds(row.next_time + floor(max(0.0, until - row.next_time) / row.every) * row.every)


# When the wall clock was set back.


def take_back(books: Books, step: Step, start: bytes) -> bytes | None:
    """Has the next schedules from a key on fire as if their clock had never been ahead; returns where to go on, or None
    at the end.
    """
    first, stop = tables.schedule_time_bounds()
    keys = [key for key, _ in islice(step.tx.scan(tables.SCHEDULES, max(first, start), stop), LOOK_MAX)]
    for key in keys:
        name = tables.split_schedule_time_key(key)[1]
        row = find(step, name)
        assert row is not None, "a time without its schedule"
        fresh = _in_time(books, step, row)
        if fresh is not row:
            _unwatch(step, name, row)
            _save(books, step, name, fresh)
    return keys[-1] + b"\0" if len(keys) == LOOK_MAX else None


def _in_time(books: Books, step: Step, row: ScheduleRow) -> ScheduleRow:
    """Returns a schedule with a next time that is no later than it could be by what the clock shows now."""
    if row.every is not None:
        excess = row.next_time - step.wall - row.every
        if excess <= CLOCK_SLACK:
            return row
        return row._replace(next_time=_milliseconds(row.next_time - ceil(excess / row.every) * row.every))
    try:
        next_time = _next_time(books, row, step.wall, step.wall)
    except ValueError:  # as it will be told when it fires
        return row
    return row if next_time >= row.next_time else row._replace(next_time=next_time)


def _milliseconds(time: float) -> float:
    return round(time * 1000) / 1000


# Rows.


def _save(books: Books, step: Step, name: str, row: ScheduleRow) -> None:
    options = None if row.options == DEFAULT_OPTIONS else tuple(row.options)
    # The row as it is packed has them as a list.
    value = tables.pack(row._replace(options=options))  # type: ignore[arg-type]
    step.tx.put(tables.SCHEDULES, tables.schedule_key(name), value)
    books.is_changed = True  # a time is stored, and with it the clock by which it is one
    if not row.is_paused:
        weight = tables.pack((len(value), row.queue)) if len(value) > SMALL_BYTES else b""
        step.tx.put(tables.SCHEDULES, tables.schedule_time_key(row.next_time, name), weight)
        books.deadlines.schedules.bring_forward(row.next_time)


def _unwatch(step: Step, name: str, row: ScheduleRow) -> None:
    step.tx.delete(tables.SCHEDULES, tables.schedule_time_key(row.next_time, name))


def _read(value: bytes) -> ScheduleRow:
    row = ScheduleRow(*tables.unpack(value))
    options = DEFAULT_OPTIONS if row.options is None else Options(*row.options)
    return row._replace(options=options)


def count(step: Step) -> int:
    """Returns how many schedules there are; it reads all of them, for a start."""
    return sum(1 for _ in _names(step))


def _names(step: Step) -> Any:
    for key, value in step.tx.scan(tables.SCHEDULES, *tables.schedule_bounds()):
        yield tables.split_schedule_key(key), value


def check_changes(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns what is to be changed of a schedule, checked.

    Raises:
        InvalidRequestError: something cannot be changed, or not to this.
    """
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        check = _CHECKS.get(name)
        if name == "name" or value is None:
            continue
        if check is None:
            raise InvalidRequestError(f"expected {', '.join(_CHECKS)}, got {short(name)}")
        if not check(value):
            raise InvalidRequestError(f"expected {name} as {_EXPECTED[name]}, got {short(value)}")
        found[name] = value
    return found


_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "every": lambda value: type(value) in (int, float) and EVERY_MIN <= value <= DELAY_MAX,
    "cron": lambda value: isinstance(value, str) and 0 < len(value) <= 256,
    "timezone": lambda value: isinstance(value, str) and 0 < len(value) <= 64,
    "catch_up": lambda value: value in CATCH_UP,
    "is_paused": lambda value: isinstance(value, bool),
}

_EXPECTED: Final = {
    "every": "seconds from 1 to a year",
    "cron": "a cron expression",
    "timezone": "the name of a time zone",
    "catch_up": " or ".join(CATCH_UP),
    "is_paused": "true or false",
}
