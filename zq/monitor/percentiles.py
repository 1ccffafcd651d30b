"""Percentiles of histograms, as the coordinator counts them.

A histogram is a map of `count`, `sum` (seconds) and `buckets`, or the buckets alone: how many values were at most each
bound (and above the one before), and at last how many were above all bounds. Buckets are not cumulative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, overload

from zq.wire.questions import TIME_BOUNDS


class Bucketed(Protocol):
    """A histogram as clients return it."""

    @property
    def buckets(self) -> Sequence[int]: ...


def percentile(
    histogram: Bucketed | Mapping[str, Any] | Sequence[int] | None, q: float, bounds: Sequence[float] = TIME_BOUNDS
) -> float | None:
    """Returns the value below which a part of all values lie, interpolated inside of its bucket.

    Args:
        histogram: or its buckets, one more than there are bounds.
        q: the part, 0 to 1: 0.5 is the median, 0.95 what is called p95.
        bounds: upper bounds of the buckets, ascending; what is beyond the last one counts as the last one.

    Returns:
        in the unit of the bounds; None when nothing was counted.

    Raises:
        ValueError: `q` is not between 0 and 1, or there are other buckets than bounds.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"expected a part of all values, 0 to 1 (0.95 is p95), got {q!r}")
    buckets = _buckets(histogram)
    if buckets and len(buckets) != len(bounds) + 1:
        raise ValueError(f"expected {len(bounds) + 1} buckets, one more than there are bounds, got {len(buckets)}")
    total = sum(buckets)
    if total <= 0:
        return None
    rank = q * total
    below, lower = 0, 0.0
    for upper, inside in zip(bounds, buckets, strict=False):
        if inside and below + inside >= rank:
            return lower + (upper - lower) * max(rank - below, 0.0) / inside
        below, lower = below + inside, upper
    return float(bounds[-1])


@overload
def difference(later: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> dict[str, Any]: ...
@overload
def difference(later: Sequence[int], earlier: Sequence[int] | None) -> list[int]: ...
def difference(
    later: Mapping[str, Any] | Sequence[int], earlier: Mapping[str, Any] | Sequence[int] | None
) -> dict[str, Any] | list[int]:
    """Returns what was counted between two looks at one histogram.

    One that has less than before began again in between: all that it has is new then. None is one that was empty.
    """
    before, now = _buckets(earlier), _buckets(later)
    is_same = len(before) == len(now) and all(old <= new for old, new in zip(before, now, strict=True))
    if not is_same:
        return dict(later) if isinstance(later, Mapping) else list(later)
    buckets = [new - old for old, new in zip(before, now, strict=True)]
    if not isinstance(later, Mapping) or not isinstance(earlier, Mapping):
        return buckets
    return {"count": sum(buckets), "sum": max(0.0, later["sum"] - earlier["sum"]), "buckets": buckets}


@overload
def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]: ...
@overload
def merged(first: Sequence[int], second: Sequence[int]) -> list[int]: ...
def merged(
    first: Mapping[str, Any] | Sequence[int], second: Mapping[str, Any] | Sequence[int]
) -> dict[str, Any] | list[int]:
    """Returns two histograms (or the buckets of two) as one.

    Raises:
        ValueError: they have different buckets.
    """
    if len(_buckets(first)) != len(_buckets(second)):
        raise ValueError(f"expected equal buckets, got {len(_buckets(first))} and {len(_buckets(second))}")
    buckets = [one + other for one, other in zip(_buckets(first), _buckets(second), strict=True)]
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return buckets
    return {"count": sum(buckets), "sum": first["sum"] + second["sum"], "buckets": buckets}


def _buckets(histogram: Bucketed | Mapping[str, Any] | Sequence[int] | None) -> Sequence[int]:
    if histogram is None:
        return ()
    if isinstance(histogram, Mapping):
        found: Sequence[int] = histogram["buckets"]
        return found
    return histogram if isinstance(histogram, Sequence) else histogram.buckets
