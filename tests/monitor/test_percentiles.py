"""Percentiles of histograms."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zq.monitor import difference, merged, percentile

BOUNDS = (1.0, 2.0, 4.0)


def histogram(*buckets: int, total: float = 0.0) -> dict[str, object]:
    return {"count": sum(buckets), "sum": total, "buckets": list(buckets)}


@pytest.mark.parametrize(("q", "expected"), [(0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)])
def test_a_percentile_lies_inside_of_its_bucket(q: float, expected: float) -> None:
    assert percentile(histogram(10, 10, 0, 0), q, BOUNDS) == expected


def test_what_is_beyond_all_bounds_counts_as_the_last_bound() -> None:
    assert percentile(histogram(0, 0, 0, 5), 0.5, BOUNDS) == 4.0


def test_empty_buckets_are_passed_over() -> None:
    assert percentile(histogram(0, 0, 4, 0), 0.5, BOUNDS) == 3.0
    assert percentile(histogram(0, 0, 4, 0), 0.0, BOUNDS) == 2.0


def test_buckets_alone_are_a_histogram() -> None:
    assert percentile([10, 10, 0, 0], 0.5, BOUNDS) == 1.0


def test_nothing_counted_has_no_percentile() -> None:
    assert percentile(histogram(0, 0, 0, 0), 0.5, BOUNDS) is None
    assert percentile(None, 0.5) is None


def test_the_bounds_are_those_of_the_coordinator_when_none_are_given() -> None:
    assert percentile([0, 0, 0, 8, *[0] * 16], 0.5) == pytest.approx(0.0075)


@pytest.mark.parametrize("q", [-0.1, 50, float("nan")])
def test_a_percentile_is_asked_for_as_a_part(q: float) -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        percentile(histogram(1, 0, 0, 0), q, BOUNDS)


def test_other_buckets_than_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 buckets, one more than there are bounds, got 2"):
        percentile([1, 1], 0.5, BOUNDS)


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_percentiles_do_not_fall(buckets: list[int], one: float, other: float) -> None:
    low, high = (percentile(buckets, q, BOUNDS) for q in sorted((one, other)))

    if low is None or high is None:
        assert sum(buckets) == 0
    else:
        assert 0 <= low <= high <= BOUNDS[-1]


def test_a_difference_is_what_was_counted_in_between() -> None:
    found = difference(histogram(3, 5, 0, 1, total=20.0), histogram(1, 5, 0, 0, total=8.0))

    assert found == {"count": 3, "sum": 12.0, "buckets": [2, 0, 0, 1]}
    assert difference([3, 5], [1, 5]) == [2, 0]


@pytest.mark.parametrize("earlier", [[9, 0], [1, 1, 1], None])
def test_what_began_again_is_new_as_a_whole(earlier: Sequence[int] | None) -> None:
    assert difference([3, 5], earlier) == [3, 5]


def test_merged_histograms_have_what_both_have() -> None:
    first, second = histogram(1, 2, total=3.0), histogram(4, 0, total=1.5)

    assert merged(first, second) == {"count": 7, "sum": 4.5, "buckets": [5, 2]}
    assert merged([1, 2], [4, 0]) == [5, 2]


def test_histograms_of_different_buckets_are_not_merged() -> None:
    with pytest.raises(ValueError, match="expected equal buckets, got 2 and 1"):
        merged([1, 2], [3])
