"""How long tasks waited and ran, as histograms: numbers of tasks by the bounds that docs/protocol.md names."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from zq.wire.questions import TIME_BOUNDS

BUCKETS: Final = len(TIME_BOUNDS) + 1
"""Of a histogram; the last one has what is above all bounds."""


class Histogram:
    """Numbers of tasks by how long something took, and the seconds of all of them together."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * BUCKETS
        self.seconds = 0.0

    def note(self, seconds: float, count: int = 1) -> None:
        """Counts so many that took so long each; what a clock that was put back makes negative took no time."""
        if seconds > 0.0:
            self.buckets[bisect_left(TIME_BOUNDS, seconds)] += count
            self.seconds += seconds * count
        else:
            self.buckets[0] += count

    def add(self, other: Histogram) -> None:
        self.buckets = list(map(int.__add__, self.buckets, other.buckets))
        self.seconds += other.seconds

    def since(self, before: Histogram) -> Histogram:
        """Returns what has come to it since it was as another one."""
        found = Histogram()
        found.buckets = list(map(int.__sub__, self.buckets, before.buckets))
        found.seconds = self.seconds - before.seconds
        return found

    def copy(self) -> Histogram:
        return self.since(NOTHING_TIMED)

    @property
    def is_empty(self) -> bool:
        return not any(self.buckets)

    def as_map(self) -> dict[str, Any]:
        """Returns it as answers show it (protocol 4)."""
        return {"count": sum(self.buckets), "sum": round(self.seconds, 6), "buckets": self.buckets.copy()}


NOTHING_TIMED: Final = Histogram()


class Times:
    """How long the tasks of one queue waited and ran."""

    __slots__ = ("run", "seen_run", "seen_wait", "wait")

    def __init__(self) -> None:
        self.wait = Histogram()  # from when they were accepted or due until they were first assigned
        self.run = Histogram()  # from their start, or, where that is not known, from their assignment, to their end
        self.seen_wait = NOTHING_TIMED  # as they were when the history was last written
        self.seen_run = NOTHING_TIMED
