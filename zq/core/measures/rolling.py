"""Writing the history (`zq.core.measures.steps`): what the queues have counted since the last row becomes a row.

Theory of operation. Counting costs nothing for this: what a queue had counted when it first changed after a row was
written is known from the sums over queues (`Tallies.before`). At the end of the ten seconds in which something changes,
the differences are written, and every five minutes those rows are summed up. When nothing changes, nothing is written.

Invariant, which the simulation checks: the rows over all queues, and what has changed since the last of them, add up to
what the queues have counted, whatever was restarted or deleted.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from operator import itemgetter
from typing import Final

from zq.core.measures.steps import (
    COARSE_SECONDS,
    FINE_SECONDS,
    OVER_ALL,
    SERIES_MAX,
    Base,
    Levels,
    StepRow,
    Totals,
    first_after,
    rows_in,
)
from zq.core.measures.times import Histogram
from zq.core.state.books import Books
from zq.core.state.queue import COUNT_NAMES, Queue
from zq.core.state.step import Step

TIME_END: Final = 1 << 62
"""After all times."""

_TOTALS_AT: Final = [COUNT_NAMES.index({"dead": "died"}.get(name, name)) for name in Totals._fields]
_WAITING, _PARKED, _SCHEDULED, _LEASED = (COUNT_NAMES.index(n) for n in ("waiting", "parked", "scheduled", "leased"))


def end_of_step(wall: float) -> float:
    """Returns when the step ends that a time is in (wall)."""
    return float((int(wall) // FINE_SECONDS + 1) * FINE_SECONDS)


def totals_of(counts: list[int]) -> Totals:
    """Returns what a queue has counted of what the history tells."""
    return Totals(*[counts[at] for at in _TOTALS_AT])


def roll(books: Books, step: Step) -> float:
    """Writes what has changed since the last row, and forgets what is old; returns when to look again (wall) if nothing
    changes.
    """
    history, tx = books.measures.history, step.tx
    if tx.is_full:
        return step.wall + FINE_SECONDS  # what has changed is in a later row then
    _write(books, step)
    next_time = _sum_up(books, step)
    return step.wall if history.trim(tx, step.wall) else next_time


def _write(books: Books, step: Step) -> None:
    history, tallies = books.measures.history, books.tallies
    tallies.count(books.changed)
    now = totals_of(tallies.over_all.counts)
    totals = Totals(*map(int.__sub__, now, history.base.totals))
    before, tallies.before = tallies.before, {}
    if totals.is_nothing and not before:
        return
    books.measures.timed.settle()
    series, wait, run = _series(books, before)
    counts = tallies.over_all.counts
    whole = StepRow(totals, levels_of(counts), history.commits, wait, run)
    history.commits = 0
    time = max(0, int(end_of_step(step.wall)) - 2 * FINE_SECONDS)  # of the step that has ended
    until = history.base.summed_until or time // COARSE_SECONDS * COARSE_SECONDS
    if until > time + COARSE_SECONDS:  # the clock was put back, or far ahead once
        summed_until, until = until, time // COARSE_SECONDS * COARSE_SECONDS
        history.forget_fine(step.tx, until, summed_until)
    time = max(time, until)  # or was put back a little
    history.put(step.tx, FINE_SECONDS, time, [(OVER_ALL, whole), *series])
    history.put_base(step.tx, Base(now, until))


def levels_of(counts: list[int]) -> Levels:
    return Levels(counts[_WAITING] + counts[_PARKED], counts[_SCHEDULED], counts[_LEASED])


def _series(
    books: Books, before: dict[Queue, list[int]]
) -> tuple[list[tuple[int, StepRow]], Histogram | None, Histogram | None]:
    """Returns the rows of the queues in which most has happened, and the times of all of them."""
    found: list[tuple[int, int, StepRow]] = []
    waits, runs = Histogram(), Histogram()
    for queue, counts in before.items():
        now = queue.counts()
        totals = Totals(*map(int.__sub__, totals_of(now), totals_of(counts)))
        wait, run = _take_times(books, queue)
        if wait is not None:
            waits.add(wait)
        if run is not None:
            runs.add(run)
        if books.queues_by_number.get(queue.number) is queue:
            found.append((totals.traffic, queue.number, StepRow(totals, levels_of(now), 0, wait, run)))
    found.sort(key=itemgetter(0), reverse=True)
    rows = [(number, row) for _, number, row in found[:SERIES_MAX]]
    return rows, None if waits.is_empty else waits, None if runs.is_empty else runs


def _take_times(books: Books, queue: Queue) -> tuple[Histogram | None, Histogram | None]:
    """Returns the times of a queue since they were last taken; None where there are none."""
    times = queue.times
    if times is None:
        return None, None
    books.measures.timed.note_busy(queue)
    wait, run = times.wait.since(times.seen_wait), times.run.since(times.seen_run)
    if not wait.is_empty:
        times.seen_wait = times.wait.copy()
    if not run.is_empty:
        times.seen_run = times.run.copy()
    return (None if wait.is_empty else wait), (None if run.is_empty else run)


def _sum_up(books: Books, step: Step) -> float:
    """Sums up the fine rows of one coarse step that has ended; returns when to look again (wall)."""
    history, tx = books.measures.history, step.tx
    start = history.base.summed_until
    first = first_after(tx, FINE_SECONDS, start, OVER_ALL, TIME_END)
    if first is None:
        return inf
    start = first[0] // COARSE_SECONDS * COARSE_SECONDS
    stop = start + COARSE_SECONDS
    if step.wall < stop + FINE_SECONDS:  # its last row may not be there yet
        return float(stop + FINE_SECONDS)
    sums: dict[int, StepRow] = {}
    for _, number, row in rows_in(tx, FINE_SECONDS, start, stop):
        known = sums.get(number)
        sums[number] = row if known is None else known.plus(row)
    history.put(tx, COARSE_SECONDS, start, _busiest(sums))
    history.put_base(tx, history.base._replace(summed_until=stop))
    return step.wall


def _busiest(sums: dict[int, StepRow]) -> Iterable[tuple[int, StepRow]]:
    """Returns the row over all queues, and those of the queues in which most has happened."""
    whole = [(OVER_ALL, sums.pop(OVER_ALL))] if OVER_ALL in sums else []
    return [*whole, *sorted(sums.items(), key=lambda one: one[1].totals.traffic, reverse=True)[:SERIES_MAX]]
