"""The history of what was counted: rows of table `measures`, which are kept over restarts and go with their age.

| key | value |
| --- | --- |
| b"base" | what all queues had counted when the last row was written; until when rows were summed up |
| b"s", seconds u16, time u64, queue number u32 | a row: what happened in the step that began then |

The rows of queue number 0 are over all queues. There are fine rows of FINE_SECONDS, kept for FINE_KEPT, and coarse ones
of COARSE_SECONDS, summed up from them, kept for COARSE_KEPT; of each step one over all queues and at most SERIES_MAX of
one each, so that all of it has a bound: STEPS_MAX times 101 rows of at most ROW_BYTES_MAX bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

from zq.core import tables
from zq.core.measures.times import BUCKETS, Histogram
from zq.core.storage import Transaction

FINE_SECONDS: Final = 10
FINE_KEPT: Final = 3600

COARSE_SECONDS: Final = 300
COARSE_KEPT: Final = 7 * 86400

KEPT_SECONDS: Final[Mapping[int, int]] = {FINE_SECONDS: FINE_KEPT, COARSE_SECONDS: COARSE_KEPT}
"""Seconds for which rows are kept, by the seconds of their step."""

SERIES_MAX: Final = 100
"""Queues that have a row in one step: those in which most has happened."""

STEPS_MAX: Final = FINE_KEPT // FINE_SECONDS + COARSE_KEPT // COARSE_SECONDS + 2

ROW_BYTES_MAX: Final = 512
"""Of a row: numbers and two histograms. A usual one has a hundred."""

TRIM_MAX: Final = 2000
"""Rows that are forgotten at a time."""

OVER_ALL: Final = 0
"""The queue number of the rows over all queues; no queue has it."""

_KEY = struct.Struct(">cHQI")


class Totals(NamedTuple):
    """What happened in a step: the differences of what is counted."""

    accepted: int = 0
    done: int = 0
    failed: int = 0
    dead: int = 0
    expired: int = 0
    cancelled: int = 0
    retried: int = 0
    lost: int = 0

    @property
    def is_nothing(self) -> bool:
        return not any(self)

    @property
    def traffic(self) -> int:
        """How much that is, to choose the queues that have rows."""
        return sum(self)


class Levels(NamedTuple):
    """Tasks by state at the end of a step."""

    waiting: int = 0
    scheduled: int = 0
    leased: int = 0


class StepRow(NamedTuple):
    """What happened in one step."""

    totals: Totals
    levels: Levels
    commits: int
    wait: Histogram | None
    run: Histogram | None

    def plus(self, later: StepRow) -> StepRow:
        """Returns this and a later one as one; its levels are the later ones."""
        totals = Totals(*map(int.__add__, self.totals, later.totals))
        wait, run = _sum(self.wait, later.wait), _sum(self.run, later.run)
        return StepRow(totals, later.levels, self.commits + later.commits, wait, run)

    def as_map(self, time: int) -> dict[str, Any]:
        """Returns it as the query `history` shows it."""
        return {
            "time": time,
            **self.totals._asdict(),
            **self.levels._asdict(),
            "commits": self.commits,
            "wait": None if self.wait is None else self.wait.as_map(),
            "run": None if self.run is None else self.run.as_map(),
        }

    def record(self) -> bytes:
        return tables.pack((self.totals, self.levels, self.commits, _packed(self.wait), _packed(self.run)))


class Base(NamedTuple):
    """What the rows so far add up to."""

    totals: Totals = Totals()
    summed_until: int = 0  # time until which fine rows were summed up to coarse ones


class History:
    """What is known of the history without reading it."""

    __slots__ = ("base", "commits")

    def __init__(self) -> None:
        self.base = Base()
        self.commits = 0  # since the last row

    def read(self, tx: Transaction) -> None:
        """Takes up what a life before has counted."""
        value = tx.get(tables.MEASURES, BASE_KEY)
        if value is not None:
            totals, summed_until = tables.unpack(value)
            self.base = Base(Totals(*totals), summed_until)

    def put_base(self, tx: Transaction, base: Base) -> None:
        self.base = base
        tx.put(tables.MEASURES, BASE_KEY, tables.pack(base))

    def leave_out(self, tx: Transaction, gone: Totals) -> None:
        """Notes that a queue is gone, and with it what it had counted, which the rows keep."""
        if not gone.is_nothing:
            less = Totals(*map(int.__sub__, self.base.totals, gone))
            self.put_base(tx, self.base._replace(totals=less))

    # Rows.

    def put(self, tx: Transaction, seconds: int, time: int, rows: Iterable[tuple[int, StepRow]]) -> None:
        """Writes rows of a step by queue number; to one that is there, because the clock was put back or it goes on
        after a restart, it is added.
        """
        for number, row in rows:
            key = step_key(seconds, time, number)
            known = tx.get(tables.MEASURES, key)
            tx.put(tables.MEASURES, key, (row if known is None else read_row(known).plus(row)).record())

    def forget_fine(self, tx: Transaction, start: int, stop: int) -> None:
        """Forgets the fine rows of some time, which were summed up: with those that come now they would be again."""
        rows = tx.scan(tables.MEASURES, step_key(FINE_SECONDS, start, 0), step_key(FINE_SECONDS, stop, 0))
        for key in [key for key, _ in rows]:  # of an hour at most
            tx.delete(tables.MEASURES, key)

    def trim(self, tx: Transaction, wall: float) -> bool:
        """Forgets what is too old, a portion of it; returns whether there is more."""
        left = TRIM_MAX
        for seconds, kept in KEPT_SECONDS.items():
            until = max(0, int(wall) - kept)
            if seconds == FINE_SECONDS:
                until = min(until, self.base.summed_until)
            old = tx.scan(tables.MEASURES, step_key(seconds, 0, 0), step_key(seconds, until, 0))
            keys = [key for key, _ in islice(old, left)]
            for key in keys:
                tx.delete(tables.MEASURES, key)
            left -= len(keys)
        return left <= 0


BASE_KEY: Final = b"base"


def step_key(seconds: int, time: int, number: int) -> bytes:
    return _KEY.pack(b"s", seconds, time, number)


def split_step_key(key: bytes) -> tuple[int, int]:
    """Returns the time at which a step began, and the queue number."""
    _, _, time, number = _KEY.unpack(key)
    return time, number


def rows_in(tx: Transaction, seconds: int, start: int, stop: int) -> Iterator[tuple[int, int, StepRow]]:
    """Yields time, queue number and row of the steps that began from start on and before stop."""
    for key, value in tx.scan(tables.MEASURES, step_key(seconds, start, 0), step_key(seconds, stop, 0)):
        yield *split_step_key(key), read_row(value)


def first_after(tx: Transaction, seconds: int, time: int, number: int, stop: int) -> tuple[int, int, bytes] | None:
    """Returns time, queue number and record of the first row from one on, and before a time."""
    found = next(tx.scan(tables.MEASURES, step_key(seconds, time, number), step_key(seconds, stop, 0)), None)
    return None if found is None else (*split_step_key(found[0]), found[1])


def read_row(value: bytes) -> StepRow:
    totals, levels, commits, wait, run = tables.unpack(value)
    return StepRow(Totals(*totals), Levels(*levels), commits, _unpacked(wait), _unpacked(run))


def _sum(one: Histogram | None, other: Histogram | None) -> Histogram | None:
    if one is None or other is None:
        return one or other
    found = one.copy()
    found.add(other)
    return found


def _packed(histogram: Histogram | None) -> tuple[float, int, list[int]] | None:
    """Leaves out the empty buckets at both ends."""
    if histogram is None:
        return None
    used = [at for at, count in enumerate(histogram.buckets) if count]
    first, last = (used[0], used[-1]) if used else (0, -1)
    return histogram.seconds, first, histogram.buckets[first : last + 1]


def _unpacked(packed: tuple[float, int, tuple[int, ...]] | None) -> Histogram | None:
    if packed is None:
        return None
    found = Histogram()
    found.seconds, first, buckets = packed
    found.buckets = [*[0] * first, *buckets, *[0] * (BUCKETS - first - len(buckets))]
    return found
