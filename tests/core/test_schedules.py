"""Recurring tasks (docs/semantics.md, Time), on the pure core with a calendar of its own."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, only
from zq.core.coordinator import Machine
from zq.core.options import NO_CALENDAR, Calendar
from zq.core.tasks import schedules
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Answer, Batch, Command, Error, Options, Pull, Schedule
from zq.wire.unique import Unique


def after(expression: str, zone: str, time: float) -> float:
    """`*/N`: each N seconds since 1970."""
    if zone != "UTC":
        raise ValueError(f"no zone {zone}")
    every = int(expression.removeprefix("*/"))
    return float((time // every + 1) * every)


def until(expression: str, zone: str, time: float) -> float:
    every = int(expression.removeprefix("*/"))
    return float(time // every * every)


class Hall(Desk):
    """A desk with a calendar."""

    calendar = Calendar(after, until)

    def restart(self) -> None:
        self.machine = Machine(self.options, self.clocks(), self.store, calendar=self.calendar)

    def schedule(self, name: str = "tick", queue: str = "q", **given: Any) -> Any:
        """Makes a schedule; returns its map, or the refusal."""
        self.number += 1
        fields: dict[str, Any] = {
            "every": None,
            "cron": None,
            "timezone": "UTC",
            "catch_up": "one",
            "options": {},
            "tasks": 1,
        }
        fields |= given
        payloads = pack_payloads([encode_payload(name)] * fields["tasks"])
        batch = Batch(name, queue, Options(**fields["options"]), *payloads)
        timing = (fields["every"], fields["cron"], fields["timezone"], fields["catch_up"])
        answers = self.say(CLIENT, Schedule(self.number, batch, *timing))
        return only(answers, Answer).value if isinstance(answers[0], Answer) else only(answers, Error).text

    def pull(self, most: int = 100, queue: str = "q") -> list[str]:
        """Takes what waits, and returns the ids."""
        self.number += 1
        found = assigned(self.say(CLIENT, Pull(self.number, "till", queue, most, 0.0, 1e4)))
        for one in found:
            self.settle(CLIENT, done(one), credit=None)
        return [one.id for one in found]

    def stop_for(self, seconds: float) -> None:
        """The coordinator is away for a while."""
        self.now += seconds
        self.wall += seconds
        self.restart()


def test_schedule_stores_a_task_at_each_of_its_times() -> None:
    hall = Hall()
    shown = hall.schedule(every=10.0)
    assert (shown["name"], shown["next_time"], shown["fired"]) == ("tick", WALL + 10.0, 0)
    assert hall.machine.next_at(hall.clocks()) <= hall.now + 10.0
    hall.wait(9.5)
    assert hall.pull() == []
    hall.wait(21.0)

    assert hall.pull() == ["tick@1970-01-12T13:46:50Z", "tick@1970-01-12T13:47:00Z", "tick@1970-01-12T13:47:10Z"]
    shown = hall.query("schedule", name="tick")
    assert (shown["fired"], shown["last_time"], shown["last_id"]) == (3, WALL + 30.0, "tick@1970-01-12T13:47:10Z")


def test_cron_follows_the_calendar() -> None:
    hall = Hall()
    hall.wall = WALL + 5.0
    hall.schedule(cron="*/60")
    hall.wait(120.0)

    assert hall.pull() == ["tick@1970-01-12T13:47:00Z", "tick@1970-01-12T13:48:00Z"]


def test_schedule_waits_while_its_queue_drains_and_holds_up_no_other() -> None:
    hall = Hall()
    hall.schedule("tick", every=10.0)
    hall.schedule("tock", "r", every=10.0)
    hall.command("drain", queue="q")
    hall.wait(25.0)

    assert hall.pull() == []
    assert len(hall.pull(queue="r")) == 2
    assert hall.machine.next_at(hall.clocks()) > hall.now
    hall.command("resume", queue="q")
    assert [id.split("@")[0] for id in hall.pull()] == ["tick"]


def test_time_is_not_fired_twice_by_a_restart() -> None:
    hall = Hall()
    hall.schedule(every=10.0)
    hall.wait(10.0)
    for _ in range(5):
        hall.restart()
        hall.turn()

    assert hall.pull() == ["tick@1970-01-12T13:46:50Z"]


def test_time_is_fired_when_a_crash_took_its_transaction_back() -> None:
    hall = Hall()
    hall.schedule(every=10.0)
    hall.now += 10.0
    hall.wall += 10.0
    hall.crash()
    hall.turn()

    assert hall.pull() == ["tick@1970-01-12T13:46:50Z"]


@pytest.mark.parametrize(
    ("catch_up", "away", "ids"),
    [
        ("one", 35.0, ["tick@1970-01-12T13:47:10Z"]),
        ("all", 35.0, ["tick@1970-01-12T13:46:50Z", "tick@1970-01-12T13:47:00Z", "tick@1970-01-12T13:47:10Z"]),
        ("skip", 35.0, ["tick@1970-01-12T13:47:10Z"]),
        ("skip", 9.9, []),
    ],
)
@pytest.mark.parametrize("kind", ["every", "cron"])
def test_missed_times_are_caught_up_as_the_schedule_says(kind: str, catch_up: str, away: float, ids: list[str]) -> None:
    hall = Hall()
    given: dict[str, Any] = {"every": 10.0} if kind == "every" else {"cron": "*/10"}
    hall.schedule(catch_up=catch_up, **given)
    hall.stop_for(away)
    hall.turn()

    assert hall.pull() == ids
    assert hall.query("schedule", name="tick")["next_time"] == WALL + (away + 10.0) // 10.0 * 10.0


@pytest.mark.parametrize("kind", ["every", "cron"])
def test_schedule_that_skips_leaves_out_what_is_long_past(kind: str) -> None:
    hall = Hall()
    given: dict[str, Any] = {"every": 100.0} if kind == "every" else {"cron": "*/100"}
    hall.schedule(catch_up="skip", **given)
    hall.stop_for(150.0)
    hall.turn()
    assert hall.pull() == []
    hall.wait(60.0)

    assert hall.pull() == ["tick@1970-01-12T13:50:00Z"]


def test_all_missed_times_are_fired_a_bounded_part_in_each_step() -> None:
    hall = Hall()
    hall.schedule(every=1.0, catch_up="all")
    hall.stop_for(250.0)
    hall.turn()
    assert hall.query("queue", queue="q")["waiting"] == schedules.FIRE_MAX
    assert hall.machine.next_at(hall.clocks()) <= hall.now
    hall.turn()
    hall.turn()

    assert hall.query("schedule", name="tick")["fired"] == 250
    assert len(set(hall.pull(1000))) == 250


@pytest.mark.parametrize("when", [{"every": 10.0}, {"cron": "*/10"}], ids=["every", "cron"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_clock_that_jumps_ahead_fires_what_it_passes_and_back_fires_nothing_again(
    when: dict[str, Any], is_restarted: bool
) -> None:
    hall = Hall(keep_seconds=7200.0)
    hall.schedule(**when)
    hall.wait(10.0)
    hall.wall += 60.0
    hall.turn()
    assert hall.pull() == ["tick@1970-01-12T13:46:50Z", "tick@1970-01-12T13:47:50Z"]
    hall.wall -= 60.0
    if is_restarted:
        hall.restart()
    hall.wait(50.0, every=5.0)
    assert hall.pull() == [f"tick@1970-01-12T13:47:{second}0Z" for second in range(5)]
    hall.wait(20.0, every=5.0)

    assert hall.pull() == ["tick@1970-01-12T13:48:00Z"]  # what was fired at 13:47:50 is known
    (row,) = hall.query("schedules")
    assert row["fired"] == 8


@pytest.mark.parametrize("how", ["set", "made again", "resumed"])
def test_schedule_whose_time_is_too_far_away_is_in_time_again_when_it_is_touched(how: str) -> None:
    hall = Hall()
    hall.wall += 30 * 86_400.0
    hall.schedule(every=10.0)
    hall.wall -= 30 * 86_400.0
    hall.machine.books.deadlines.clock.offset = hall.wall - hall.now  # as if it had crept back
    if how == "made again":
        assert hall.schedule(every=10.0)["next_time"] == WALL + 10.0
    elif how == "resumed":
        hall.command("set-schedule", name="tick", is_paused=True)
        assert hall.command("set-schedule", name="tick", is_paused=False)["next_time"] == WALL + 10.0
    else:
        assert hall.command("set-schedule", name="tick", every=10.0)["next_time"] == WALL + 10.0


def test_schedule_that_is_made_again_goes_on_and_takes_the_new_task() -> None:
    hall = Hall()
    hall.schedule(every=10.0)
    hall.wait(15.0)
    again = hall.schedule(every=10.0, queue="other", options={"priority": 9})
    assert (again["next_time"], again["fired"], again["queue"]) == (WALL + 20.0, 1, "other")
    hall.wait(5.0)
    assert hall.pull(queue="other") == ["tick@1970-01-12T13:47:00Z"]

    assert hall.schedule(every=30.0)["next_time"] == WALL + 50.0


def test_schedule_is_edited_paused_resumed_and_deleted_over_restarts() -> None:
    hall = Hall()
    hall.schedule(every=10.0)
    assert hall.command("set-schedule", name="tick", cron="*/7")["every"] is None
    assert hall.command("set-schedule", name="tick", every=20.0, catch_up="skip")["next_time"] == WALL + 20.0
    assert hall.command("set-schedule", name="tick", is_paused=True)["next_time"] is None
    hall.stop_for(50.0)
    hall.turn()
    assert hall.pull() == []
    assert hall.command("set-schedule", name="tick", is_paused=False)["next_time"] == WALL + 60.0
    hall.wait(10.0)
    assert hall.pull() == ["tick@1970-01-12T13:47:40Z"]
    assert [row["name"] for row in hall.query("schedules")] == ["tick"]

    assert hall.command("delete-schedule", name="tick") is True
    assert hall.command("delete-schedule", name="tick") is False
    hall.wait(100.0)
    assert hall.pull() == []
    assert hall.query("schedules") == []


def test_unique_key_keeps_tasks_of_a_schedule_from_piling_up() -> None:
    hall = Hall()
    hall.schedule(every=10.0, options={"unique": Unique("tick")})
    hall.wait(50.0)

    assert hall.pull() == ["tick@1970-01-12T13:46:50Z"]
    assert hall.query("schedule", name="tick")["fired"] == 5


def test_tasks_of_a_schedule_are_stored_although_their_queue_is_full() -> None:
    hall = Hall(queue_tasks_max=1)
    hall.schedule(every=10.0)
    hall.wait(20.0)

    assert len(hall.pull()) == 2


def test_schedule_whose_calendar_fails_is_paused_and_says_why() -> None:
    hall = Hall()
    hall.schedule(cron="*/10")
    hall.calendar = NO_CALENDAR
    hall.stop_for(20.0)
    hall.turn()
    shown = hall.query("schedule", name="tick")

    assert (shown["is_paused"], shown["error"]) == (
        True,
        "this coordinator has no calendar, so it cannot do cron; every= works",
    )
    assert hall.command("set-schedule", name="tick", every=10.0, is_paused=False)["error"] is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "expected either every or cron"),
        ({"every": 5.0, "cron": "*/5"}, "expected either every or cron"),
        ({"every": 5.0, "options": {"delay": 1.0}}, "leave out delay, at and group"),
        ({"every": 5.0, "tasks": 2}, "expected one task in a schedule, got 2"),
        ({"every": 5.0, "name": "n" * 101}, "expected a name of at most 100 bytes, got 101"),
        ({"cron": "*/5", "timezone": "Mars/Olympus"}, "no zone Mars/Olympus"),
    ],
)
def test_schedule_that_cannot_be_is_refused_in_words(given: dict[str, Any], text: str) -> None:
    hall = Hall()

    assert text in hall.schedule(**given)
    assert hall.query("schedules") == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "none", "every": 5.0}, "there is no schedule 'none'"),
        ({"name": "tick", "every": 0.5}, "expected every as seconds from 1 to a year, got 0.5"),
        ({"name": "tick", "colour": "red"}, "expected every, cron, timezone, catch_up, is_paused, got 'colour'"),
        ({"name": "tick", "catch_up": "some"}, "expected catch_up as skip or one or all, got 'some'"),
    ],
)
def test_change_that_cannot_be_is_refused_in_words(arguments: dict[str, Any], text: str) -> None:
    hall = Hall()
    hall.schedule(every=10.0)
    before = hall.query("schedules")
    hall.number += 1
    assert text in only(hall.say(CLIENT, Command(hall.number, "set-schedule", arguments)), Error).text
    assert hall.query("schedules") == before


def test_schedule_made_long_after_all_else_is_not_put_off_by_a_clock_set_back_while_it_was_stopped() -> None:
    hall = Hall()
    hall.submit("first")
    assert hall.pull() == ["first"]
    hall.wait(3600.0, every=600.0)
    hall.schedule(every=10.0)
    hall.wall -= 3600.0
    hall.stop_for(0.0)

    hall.wait(12.0)
    assert len(hall.pull()) == 1
