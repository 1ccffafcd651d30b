"""Charts of one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zq.monitor import sparkline


def test_the_highest_value_is_a_full_block_and_zero_the_lowest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"


def test_the_newest_values_are_shown_and_scaled_by_themselves() -> None:
    assert sparkline([1000, 0, 2], 2) == "▁█"


def test_what_is_missing_is_blank() -> None:
    assert sparkline([5], 4) == "   █"
    assert sparkline([5, None, 5], 3) == "█ █"
    assert sparkline([], 3) == "   "


def test_little_is_more_than_nothing() -> None:
    assert sparkline([0, 0.001, 1000], 3) == "▁▂█"


def test_nothing_at_all_is_flat() -> None:
    assert sparkline([0, 0], 2) == "▁▁"


@pytest.mark.parametrize("width", [0, -1])
def test_no_room_is_no_chart(width: int) -> None:
    assert sparkline([1, 2], width) == ""


@given(st.lists(st.none() | st.floats(0, 1e300)), st.integers(0, 40))
def test_a_chart_has_its_width(values: list[float | None], width: int) -> None:
    assert len(sparkline(values, width)) == width
