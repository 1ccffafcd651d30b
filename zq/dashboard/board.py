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

JsonObject = dict[str, Any]

SPARK_POINTS: Final = 30
"""Values of a queue's sparkline, one a look."""

BUSY_QUEUES: Final = 50
"""Queues that a pulse has."""

TRACKED_QUEUES: Final = 2000
"""Queues of which the last look is remembered; those that were not seen for longest are forgotten."""

SMOOTHING_SECONDS: Final = 5.0
"""Over which rates are evened out."""

GAP_SECONDS: Final = 15.0
"""Looks that are further apart than this say nothing of what is done a second now."""

LEFT_COUNTERS: Final = ("done", "cancelled", "expired")
"""Counters of a queue row that say what has left it."""

RATED_COUNTERS: Final = ("accepted", "done", "failed", "dead", "retried")
"""Counters of the status whose rates are shown."""


def smoothed(before: float | None, rate: float, seconds: float) -> float:
    """Returns a rate as an exponential mean over SMOOTHING_SECONDS."""
    if before is None:
        return rate
    share = min(seconds / SMOOTHING_SECONDS, 1.0)
    return before + (rate - before) * share


def per_second(before: float, now: float, seconds: float) -> float:
    """Returns a counter's rate; one that began anew, as after a restart, counts from nothing."""
    return max(now - before if now >= before else now, 0.0) / seconds


@dataclass(slots=True)
class Track:
    """What is remembered of a queue."""

    row: JsonObject
    seen_at: float
    rate_in: float | None = None
    rate_out: float | None = None
    spark: deque[float] = field(default_factory=lambda: deque(maxlen=SPARK_POINTS))

    @property
    def is_unfinished(self) -> bool:
        return bool(self.row["waiting"] or self.row["leased"])

    @property
    def weight(self) -> tuple[float, int]:
        """More for what is busier."""
        moving = (self.rate_in or 0.0) + (self.rate_out or 0.0)
        return (moving, self.row["waiting"] + self.row["leased"])


class Board:
    """Remembers the last looks."""

    def __init__(self) -> None:
        self._tracks: dict[str, Track] = {}
        self._counters: Mapping[str, float] = {}
        self._counters_at: float | None = None
        self.rates: dict[str, float | None] = dict.fromkeys(RATED_COUNTERS)

    def note_counters(self, now: float, counters: Mapping[str, float]) -> None:
        """Takes the counters of a status in; `now` is monotonic."""
        before_at, before = self._counters_at, self._counters
        self._counters, self._counters_at = dict(counters), now
        if before_at is None or not 0.0 < now - before_at < GAP_SECONDS:
            self.rates = dict.fromkeys(RATED_COUNTERS)
            return
        for name in RATED_COUNTERS:
            rate = per_second(before.get(name, 0), counters.get(name, 0), now - before_at)
            self.rates[name] = smoothed(self.rates[name], rate, now - before_at)

    def note_queues(self, now: float, rows: Iterable[JsonObject]) -> None:
        """Takes rows of queues in; `now` is monotonic."""
        for row in rows:
            track = self._tracks.pop(row["name"], None)
            if track is None:
                track = Track(row, now)
            else:
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
        busy = [track for track in self._tracks.values() if track.is_unfinished or track.rate_out or track.rate_in]
        busy.sort(key=lambda track: track.weight, reverse=True)
        return [track.row["name"] for track in busy[:BUSY_QUEUES]]

    def with_rates(self, row: JsonObject) -> JsonObject:
        """Returns the row of a queue with what is known of its rates."""
        track = self._tracks.get(row["name"])
        return shown(Track(row, 0.0)) if track is None else {**shown(track), **row}

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


def _advance(track: Track, row: JsonObject, now: float) -> None:
    """Makes rates of the difference between two looks at a queue."""
    seconds = now - track.seen_at
    before, track.row, track.seen_at = track.row, row, now
    if not 0.0 < seconds < GAP_SECONDS:
        track.rate_in = track.rate_out = None
        track.spark.clear()
        return
    left = per_second(_ended(before), _ended(row), seconds)
    track.rate_out = smoothed(track.rate_out, left, seconds)
    track.spark.append(round(left, 3))
    if "accepted" in row and "accepted" in before:
        track.rate_in = smoothed(track.rate_in, per_second(before["accepted"], row["accepted"], seconds), seconds)


def _ended(row: JsonObject) -> int:
    return sum(row[name] for name in LEFT_COUNTERS)


def shown(track: Track) -> JsonObject:
    """Returns a queue's row with its rates and its sparkline."""
    rate_out = track.row.get("rate") if track.rate_out is None else track.rate_out
    rates = {"in": _rounded(track.rate_in), "out": _rounded(rate_out)}
    return {**track.row, "rates": rates, "spark": list(track.spark)}


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)
