"""Numbers with the units that people read."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zq.monitor import count, duration, moment, size


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (0.00001, "<0.1 ms"),
        (0.00025, "0.2 ms"),
        (0.0025, "2.5 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1 s"),
        (3.44, "3.4 s"),
        (30.0, "30 s"),
        (59.96, "1 min"),
        (302, "5 min 2 s"),
        (3599.7, "1 h"),
        (11040, "3 h 4 min"),
        (86399, "1 d"),
        (183600, "2 d 3 h"),
        (-3.4, "-3.4 s"),
        (float("inf"), "∞"),
        (float("nan"), "-"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1258291, "1.2 MiB"),
        ((1 << 20) - 1, "1 MiB"),
        (5 << 30, "5 GiB"),
        (1 << 60, "1 EiB"),
        (1 << 70, "1024 EiB"),
        (-2048, "-2 KiB"),
    ],
)
def test_a_size_goes_by_powers_of_1024(size_bytes: float, expected: str) -> None:
    assert size(size_bytes) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, "0"),
        (7, "7"),
        (0.25, "0.25"),
        (12.34, "12.3"),
        (999, "999"),
        (999.7, "1k"),
        (1234, "1.23k"),
        (12345, "12.3k"),
        (123456, "123k"),
        (999999, "1M"),
        (4560000, "4.56M"),
        (-1500, "-1.5k"),
        (float("inf"), "∞"),
    ],
)
def test_a_count_has_three_digits(number: float, expected: str) -> None:
    assert count(number) == expected


@given(st.floats(0, 1e12))
def test_units_stay_short(number: float) -> None:
    assert len(duration(number)) <= 15
    assert len(count(number)) <= 6
    assert len(size(number)) <= 11


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (UTC, "2026-11-29 03:04:05+00:00"),
        (timezone(timedelta(hours=-5)), "2026-11-28 22:04:05-05:00"),
    ],
)
def test_a_moment_says_its_zone(zone: tzinfo, expected: str) -> None:
    assert moment(1795921445.9, zone) == expected


def test_a_moment_is_in_the_zone_of_the_machine() -> None:
    assert moment(1795921445.9)[19] in "+-"


@pytest.mark.parametrize("wall", [1e20, float("nan")])
def test_what_no_calendar_has_is_shown_as_it_is(wall: float) -> None:
    assert moment(wall) == str(wall)
