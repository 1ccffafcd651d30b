"""A wall clock that was ahead for a moment, or is set back, leaves nothing waiting for the time that it had shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, failed
from zq.core import clocks, tables
from zq.wire.messages import Pull

MONTH = 30 * 86_400.0
HOUR = 3600.0


def pull(desk: Desk, lease: float = 1000.0) -> list[Any]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", "q", 1000, 0.0, lease)))


def set_back(desk: Desk, is_restarted: bool, seconds: float = MONTH) -> None:
    """Corrects a clock that was a month ahead, or makes it wrong."""
    desk.wall -= seconds
    if is_restarted:
        desk.restart()
    desk.turn()


again = pytest.mark.parametrize("is_restarted", [False, True])


@again
def test_delay_that_began_while_the_clock_was_ahead_begins_anew(is_restarted: bool) -> None:
    desk = Desk()
    desk.wall += MONTH
    desk.submit("a", delay=20.0, ttl=100.0)
    set_back(desk, is_restarted)

    desk.wait(19.0)
    assert pull(desk) == []
    desk.wait(1.5)
    assert [one.id for one in pull(desk)] == ["a"]
    assert "rescheduled" in [event["event"] for event in desk.query("trace", id="a")]


@again
def test_retry_of_a_failure_while_the_clock_was_ahead_is_not_put_off(is_restarted: bool) -> None:
    desk = Desk()
    desk.submit("a")
    (first,) = pull(desk)
    desk.wall += MONTH
    desk.settle(CLIENT, failed(first, retry_in=20.0), credit=None)
    set_back(desk, is_restarted)

    desk.wait(19.0)
    assert pull(desk) == []
    desk.wait(1.5)
    assert [one.id for one in pull(desk)] == ["a"]


@again
def test_clock_that_is_set_back_lets_nobody_wait_longer_than_the_delay_anew(is_restarted: bool) -> None:
    desk = Desk()
    desk.submit("a", delay=20.0)
    desk.submit("b")
    (second,) = pull(desk)
    desk.settle(CLIENT, failed(second, retry_in=20.0), credit=None)
    desk.wait(10.0)
    set_back(desk, is_restarted, 86_400.0)  # it was right before

    desk.wait(20.5)
    assert [one.id for one in pull(desk)] == ["a", "b"]


def test_retry_long_after_all_else_is_not_put_off_by_a_clock_set_back_while_it_was_stopped() -> None:
    desk = Desk()
    desk.submit("a")
    (first,) = pull(desk, lease=2 * HOUR)
    desk.wait(HOUR, every=600.0)
    desk.settle(CLIENT, failed(first, retry_in=20.0), credit=None)
    set_back(desk, is_restarted=True, seconds=HOUR)

    desk.wait(20.5)
    assert [one.id for one in pull(desk)] == ["a"]


def test_time_that_was_given_as_such_stays_when_the_clock_is_set_back() -> None:
    desk = Desk()
    desk.wall += MONTH
    at = desk.wall + 20.0
    desk.submit("a", at=at)
    set_back(desk, is_restarted=False)

    assert desk.task("a")["due_time"] == at


def test_delay_that_was_stored_before_the_clock_was_ahead_stays() -> None:
    desk = Desk()
    desk.submit("a", delay=2 * MONTH)
    due_time = desk.task("a")["due_time"]
    desk.wall += MONTH
    desk.turn()
    set_back(desk, is_restarted=False)

    assert desk.task("a")["due_time"] == due_time


def test_expiry_goes_by_the_new_time_of_a_task_whose_delay_began_anew() -> None:
    desk = Desk()
    desk.wall += MONTH
    desk.submit("a", delay=20.0, ttl=10.0)
    set_back(desk, is_restarted=False)
    desk.wait(10.5)

    assert desk.task("a")["state"] == "expired"


@again
def test_what_ended_while_the_clock_was_ahead_is_forgotten_in_time(is_restarted: bool) -> None:
    desk = Desk(keep_seconds=100.0, keep_seconds_min=1.0)
    desk.wall += MONTH
    desk.submit("a", ttl=0.001)
    desk.wait(1.0)
    set_back(desk, is_restarted)
    desk.submit("b", ttl=0.001)
    desk.wait(102.0)

    tx = desk.store.begin()
    assert list(tx.scan(tables.FINISHED)) == []
    tx.abort()


def test_many_times_are_taken_back_in_portions_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clocks, "DELAYS_MAX", 3)
    desk = Desk()
    desk.wall += MONTH
    for number in range(10):
        desk.submit(f"a{number}", delay=20.0)
    desk.wall -= MONTH
    desk.turn()
    assert desk.machine.books.deadlines.clock.phase == 0, "there was one portion"
    desk.restart()
    desk.wait(25.0, every=0.5)

    assert len(pull(desk)) == 10


def test_clock_that_creeps_or_stands_still_takes_nothing_back() -> None:
    desk = Desk()
    desk.submit("a", delay=20.0)
    for _ in range(10):
        desk.wall -= 0.5
        desk.turn()

    assert "clock set back" not in desk.query("status")["counters"]
