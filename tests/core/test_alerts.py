"""Alerts of queues begin and end, each once (docs/semantics.md, Insight: Measures)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import WALL, Desk, assigned, done
from tests.core.test_watching import Eye
from zq.core.measures import alerts

W = b"worker-1"


def texts(eye: Eye) -> list[str]:
    return [event.text for event in eye.events if event.kind == "alert"]


def going(desk: Desk, queue: str = "q") -> list[str]:
    found: list[str] = desk.query("queue", queue=queue)["alerts"]
    return found


def test_many_waiting_tasks_are_told_once_and_so_is_their_end() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", alert_waiting=3)
    eye = Eye(desk, "q", "alert")
    desk.submit("a", 2)
    desk.wait(3)
    assert (going(desk), texts(eye)) == ([], [])
    desk.submit("b")
    desk.wait(5)
    assert going(desk) == ["waiting"]
    assigned(desk.hello(W, "worker-1", 1))
    desk.wait(5)
    assert (going(desk), desk.machine.books.measures.watched) == ([], {desk.machine.books.queues["q"]: ()})
    assert texts(eye) == ["waiting began: 3 tasks wait, the policy alert_waiting is 3", "waiting ended"]


def test_a_task_that_waits_for_long_is_told_and_its_delay_is_no_waiting() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", alert_age=10.0)
    desk.submit("a", delay=60.0)
    desk.wait(65)
    assert going(desk) == []
    desk.wait(7)
    assert going(desk) == ["age"]
    (one,) = assigned(desk.hello(W, "worker-1", 1))
    desk.settle(W, done(one))
    desk.wait(2)
    assert going(desk) == []


def test_dead_letters_are_told_after_a_restart_too() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", alert_dead=1)
    desk.submit("a")
    desk.command("bury", id="a")
    desk.wait(2)
    assert going(desk) == ["dead"]
    desk.restart()
    eye = Eye(desk, "q", "alert")
    desk.wait(2)
    assert going(desk) == ["dead"]
    assert texts(eye) == [] or "dead began" in texts(eye)[0]
    desk.command("purge-dead", queue="q")
    desk.wait(2)
    assert (going(desk), texts(eye)[-1]) == ([], "dead ended")


def test_a_policy_that_is_taken_back_ends_its_alert_and_the_looking() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", alert_waiting=1)
    desk.submit("a")
    desk.wait(2)
    eye = Eye(desk, "q", "alert")
    desk.command("set-queue", queue="q", alert_waiting=None)
    desk.wait(2)

    assert (going(desk), texts(eye), desk.machine.books.measures.watched) == ([], ["waiting ended"], {})


def test_a_deleted_queue_is_watched_no_more() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", alert_waiting=1)
    desk.command("delete", id="x", queue="q")

    assert not desk.machine.books.measures.watched


def test_a_look_is_at_a_portion_of_the_queues_and_all_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "ALERTS_LOOKED_AT", 2)
    desk = Desk()
    for number in range(5):
        desk.command("set-queue", queue=f"q{number}", alert_waiting=1)
        desk.submit(f"t{number}", queue=f"q{number}")
    desk.wait(4)

    assert [going(desk, f"q{number}") for number in range(5)] == [["waiting"]] * 5


@pytest.mark.parametrize("odd", [{"alert_waiting": 0}, {"alert_age": -1.0}, {"alert_dead": "many"}])
def test_alerts_that_cannot_be_are_refused(odd: dict[str, Any]) -> None:
    desk = Desk()
    desk.wall = WALL

    with pytest.raises(ValueError, match="not enough values"):
        desk.command("set-queue", queue="q", **odd)
