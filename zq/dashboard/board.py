"""What the dashboard shows of the coordinator as a whole, from one look at it to the next: rates, sparklines, and which
queues are busiest. Pure: no sockets and no clock.

Theory of operation. A look brings counters; two looks make rates. Of few queues each look has all rows. Of many it has
one page, of those after the page before, round and round, so that a look costs the same with a hundred thousand queues;
those that were busy when they came by are kept, and asked for by name in each look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from zq.dashboard.values import JsonObject
from zq.monitor.percentiles import merged, percentile
from zq.monitor.rates import Rates

SPARK_POINTS: Final = 30
"""Values of a queue's sparkline, one a look."""

BUSY_QUEUES: Final = 50
"""Queues that a pulse has."""

TRACKED_QUEUES: Final = 2000
"""Queues of which the last look is remembered; those that were not seen for longest are forgotten."""

GAP_SECONDS: Final = 15.0
"""Looks that are further apart than this say nothing of what is done a second now."""

RECENT_SECONDS: Final = 2.0
"""For which the row of a queue is good enough to be shown again."""

LEFT_COUNTERS: Final = ("done", "cancelled", "expired")
"""Counters of a queue row that say what has left it."""

RATED_COUNTERS: Final = ("accepted", "done", "failed", "dead", "retried", "commits")
"""Counters of the status whose rates are shown."""


@dataclass(slots=True)
class Track:
    """What is remembered of a queue."""

    row: JsonObject
    seen_at: float
    counters: Rates = field(default_factory=Rates)
    rates: dict[str, float] = field(default_factory=dict)  # "in" and "out", as far as they are known
    spark: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK_POINTS))

    @property
    def is_unfinished(self) -> bool:
        return bool(self.row["waiting"] or self.row["leased"])

    @property
    def weight(self) -> tuple[float, int]:
        """More for what is busier."""
        moving = self.rates.get("in", 0.0) + self.rates.get("out", self.row.get("rate") or 0.0)
        return (moving, self.row["waiting"] + self.row["leased"])


class Board:
    """Remembers the last looks."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._counters = Rates()
        self._counters_at = float("-inf")
        self.rates: dict[str, float | None] = dict.fromkeys(RATED_COUNTERS)

    def note_counters(self, now: float, counters: Mapping[str, float]) -> None:
        """Takes the counters of a status in; `now` is monotonic."""
        if now - self._counters_at > GAP_SECONDS:
            self._counters = Rates()
        self._counters_at = now
        found = self._counters.feed(now, {name: counters.get(name, 0) for name in RATED_COUNTERS})
        self.rates = {name: found.get(name) for name in RATED_COUNTERS}

    def note_queues(self, now: float, rows: Iterable[JsonObject]) -> None:
        """Takes rows of queues in; `now` is monotonic."""
        for row in rows:
            track = self._tracks.pop(row["name"], None)
            if track is None:
                track = Track(row, now)
            _advance(track, row, now)
            self._tracks[row["name"]] = track  # behind all others: the first are those not seen for longest
        while len(self._tracks) > TRACKED_QUEUES:
            del self._tracks[next(iter(self._tracks))]

    def forget_others(self, names: set[str]) -> None:
        """Forgets the queues that are not among all that there are."""
        for name in self._tracks.keys() - names:
            del self._tracks[name]

    def forget(self, name: str) -> None:
        self._tracks.pop(name, None)

    def busiest(self, most: int = BUSY_QUEUES) -> list[JsonObject]:
        """Returns the busiest queues that are known, by name."""
        tracks = self._tracks.values()
        if len(self._tracks) > most:
            tracks = sorted(tracks, key=lambda track: track.weight, reverse=True)[:most]  # type: ignore[assignment]
        return sorted([shown(track) for track in tracks], key=lambda row: row["name"])

    def busy_names(self) -> list[str]:
        """Returns the names of queues that have something to do, the busiest first, no more than a pulse has."""
        busy = [track for track in self._tracks.values() if track.is_unfinished or track.weight[0]]
        busy.sort(key=lambda track: track.weight, reverse=True)
        return [track.row["name"] for track in busy[:BUSY_QUEUES]]

    def with_rates(self, row: JsonObject) -> JsonObject:
        """Returns the row of a queue with what is known of its rates."""
        track = self._tracks.get(row["name"])
        return shown(Track(row, 0.0)) if track is None else {**shown(track), **row}

    def recent(self, name: str, now: float) -> JsonObject | None:
        """Returns the row of a queue if it was seen within the last looks."""
        track = self._tracks.get(name)
        return None if track is None or now - track.seen_at > RECENT_SECONDS else track.row

    def oldest_time(self) -> float | None:
        """Returns when the task was accepted that waits longest, of the queues that are known."""
        times = [time for track in self._tracks.values() if (time := track.row.get("oldest_time")) is not None]
        return min(times, default=None)

    def alerts(self) -> list[JsonObject]:
        """Returns what the known queues warn of: queue and text."""
        return [
            {"queue": track.row["name"], "text": text}
            for track in self._tracks.values()
            for text in track.row.get("alerts") or ()
        ]


def percentiles(histograms: Iterable[Any]) -> JsonObject:
    """Returns p50, p95 and p99, in seconds, of several histograms together; None where there is none."""
    total: Any = None
    for one in histograms:
        if one is not None:
            total = one if total is None else merged(total, one)
    return {f"p{q}": percentile(total, q / 100) for q in (50, 95, 99)}


def _advance(track: Track, row: JsonObject, now: float) -> None:
    """Takes another look at a queue in."""
    seconds = now - track.seen_at
    before, track.row, track.seen_at = track.row, row, now
    if seconds > GAP_SECONDS:
        track.counters = Rates()
        track.spark.clear()
    counters = {"out": _ended(row), **({"in": row["accepted"]} if "accepted" in row else {})}
    track.rates = track.counters.feed(now, counters)
    if 0.0 < seconds <= GAP_SECONDS:
        track.spark.append(round(max(_ended(row) - _ended(before), 0) / seconds, 3))


def _ended(row: JsonObject) -> int:
    return sum(row[name] for name in LEFT_COUNTERS)


def shown(track: Track) -> JsonObject:
    """Returns a queue's row with its rates and its sparkline."""
    rates = {"in": _rounded(track.rates.get("in")), "out": _rounded(track.rates.get("out", track.row.get("rate")))}
    return {**track.row, "rates": rates, "spark": list(track.spark)}


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)
