"""Cron expressions in time zones: days on which clocks are changed, and what cannot be."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from zq.server.calendar import CALENDAR, last_until, next_after

pytest.importorskip("cronsim", reason="the extra cron is not installed")

BERLIN = "Europe/Berlin"


def seconds(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()


def times(expression: str, zone: str, start: str, count: int) -> list[str]:
    """Returns the next times, in UTC."""
    found = []
    at = seconds(start)
    for _ in range(count):
        at = next_after(expression, zone, at)
        found.append(datetime.fromtimestamp(at, UTC).isoformat()[:16])
    return found


def test_expression_is_meant_in_its_time_zone() -> None:
    assert times("30 8 * * MON-FRI", BERLIN, "2026-01-09T12:00", 2) == ["2026-01-12T07:30", "2026-01-13T07:30"]
    assert times("30 8 * * *", BERLIN, "2026-07-01T12:00", 1) == ["2026-07-02T06:30"]


def test_time_that_a_day_does_not_have_comes_at_the_end_of_the_gap() -> None:
    assert times("30 2 * * *", BERLIN, "2026-03-28T00:00", 3) == [
        "2026-03-28T01:30",
        "2026-03-29T01:00",  # 03:00 summer time: 02:30 is not there
        "2026-03-30T00:30",
    ]


def test_time_that_a_day_has_twice_comes_once() -> None:
    assert times("30 2 * * *", BERLIN, "2026-10-24T00:00", 3) == [
        "2026-10-24T00:30",
        "2026-10-25T00:30",  # 02:30 summer time; 02:30 winter time, an hour later, does not come
        "2026-10-26T01:30",
    ]


def test_expression_of_every_half_hour_goes_on_through_the_hour_that_comes_twice() -> None:
    found = times("*/30 * * * *", BERLIN, "2026-10-24T23:30", 6)

    assert found == [f"2026-10-25T0{hour}:{minute}" for hour in range(3) for minute in ("00", "30")]


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/30 * * * *", "0 0 1 * *", "15 10 * * SUN"])
@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_last_time_is_the_one_that_next_found(expression: str, day: str) -> None:
    at = seconds(f"{day}T00:00")
    found = [at := next_after(expression, BERLIN, at) for _ in range(60)]

    for before, after in pairwise(found):
        assert last_until(expression, BERLIN, after) == after
        assert last_until(expression, BERLIN, after - 0.5) == before
        assert next_after(expression, BERLIN, before) == after


@pytest.mark.parametrize(
    ("expression", "zone", "text"),
    [
        ("often", "UTC", "expected a cron expression such as .*got 'often': Wrong number of fields"),
        ("0 25 * * *", "UTC", "got '0 25 .*Bad hour"),
        ("0 0 31 2 *", "UTC", "Bad day-of-month"),
        ("0 0 * * *", "Mars/Olympus", "expected a time zone such as UTC or Europe/Berlin, got 'Mars/Olympus'"),
        ("0 0 * * *", "../etc/passwd", "expected a time zone"),
    ],
)
def test_what_cannot_be_is_refused_in_words(expression: str, zone: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        CALENDAR.next_after(expression, zone, 0.0)
    with pytest.raises(ValueError, match=text):
        CALENDAR.last_until(expression, zone, 0.0)
