"""Rates of counters."""

from __future__ import annotations

import pytest

from zq.monitor import Rates


def test_a_rate_is_what_a_counter_grew_a_second() -> None:
    rates = Rates()

    assert rates.feed(100.0, {"done": 1000}) == {}
    assert rates.feed(102.0, {"done": 1050}) == {"done": 25.0}


def test_rates_are_smoothed_over_the_window_and_not_longer() -> None:
    rates = Rates(window=2.0)
    for second, done in enumerate([0, 100, 100, 100, 100]):
        found = rates.feed(float(second), {"done": done})
        assert found == ({} if second == 0 else {"done": [0, 100, 50, 0, 0][second]})


def test_samples_that_are_further_apart_than_the_window_have_a_rate() -> None:
    rates = Rates(window=1.0)
    rates.feed(0.0, {"done": 0})

    assert rates.feed(60.0, {"done": 600}) == {"done": 10.0}
    assert rates.feed(120.0, {"done": 600}) == {"done": 0.0}


def test_a_counter_that_begins_again_has_no_rate_until_it_grows_from_there() -> None:
    rates = Rates()
    rates.feed(0.0, {"done": 5000, "dead": 1})

    assert rates.feed(1.0, {"done": 7, "dead": 3}) == {"dead": 2.0}
    assert rates.feed(2.0, {"done": 10, "dead": 3}) == {"done": 3.0, "dead": 1.0}


def test_a_clock_that_goes_back_begins_anew() -> None:
    rates = Rates()
    rates.feed(50.0, {"done": 1})

    assert rates.feed(50.0, {"done": 2}) == {}
    assert rates.feed(10.0, {"done": 3}) == {}
    assert rates.feed(11.0, {"done": 4}) == {"done": 1.0}


def test_counters_that_are_gone_are_forgotten() -> None:
    rates = Rates()
    rates.feed(0.0, {"done": 1})
    rates.feed(1.0, {})

    assert rates.feed(2.0, {"done": 9}) == {}


@pytest.mark.parametrize("window", [0.0, -1.0, float("nan")])
def test_a_window_is_more_than_nothing(window: float) -> None:
    with pytest.raises(ValueError, match="window must be more than 0 seconds"):
        Rates(window)
