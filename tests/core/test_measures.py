"""What a coordinator counts and tells of its queues (docs/semantics.md, Insight: Measures)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import WALL, Desk, assigned, done, failed
from zq.core.measures import failures, timed
from zq.core.measures.times import BUCKETS, Histogram
from zq.wire.messages import Assignment, Held, Started
from zq.wire.questions import TIME_BOUNDS

W = b"worker-1"


def row(desk: Desk, name: str = "q", *, with_times: bool = False) -> dict[str, Any]:
    (found,) = [one for one in desk.query("queues", with_times=with_times) if one["name"] == name]
    return dict(found)


def take(desk: Desk, credit: int, queues: tuple[str, ...] = ("q",)) -> list[Assignment]:
    """Says hello as a worker; returns what it gets."""
    return assigned(desk.hello(W, "worker-1", credit, queues=queues))


def start(desk: Desk, one: Assignment) -> None:
    desk.say(W, Started((Held(one.token, (one.lo,)),)))


def pass_time(desk: Desk, seconds: float) -> None:
    desk.now += seconds
    desk.wall += seconds


def bucket(histogram: dict[str, Any]) -> dict[float | None, int]:
    """Returns what is in a histogram, by upper bound."""
    return {bound: count for bound, count in zip((*TIME_BOUNDS, None), histogram["buckets"], strict=True) if count}


def test_a_queue_counts_what_has_happened_in_it_over_restarts() -> None:
    desk = Desk()
    desk.submit("a", 3)
    desk.submit("b", max_attempts=2)
    desk.submit("c", queue="other")
    mine = {one.id: one for one in take(desk, 10)}
    desk.settle(W, failed(mine["b"], error="no dough", retry_in=0.0))
    desk.restart()

    totals = ("accepted", "failed", "retried", "lost")
    assert [row(desk)[name] for name in totals] == [4, 1, 1, 0]
    assert [row(desk, "other")[name] for name in totals] == [1, 0, 0, 0]
    assert [desk.query("status")[name] for name in totals] == [5, 1, 1, 0]


def test_what_a_dead_worker_held_is_counted_as_lost() -> None:
    desk = Desk()
    desk.submit("a", 3)
    take(desk, 10)
    desk.wait(60)

    assert row(desk)["lost"] == desk.query("status")["counters"]["lost"] == 3


@pytest.mark.parametrize("priority", [0, 9])
def test_the_oldest_task_that_waits_is_told(priority: int) -> None:
    desk = Desk()
    assert desk.submit("a", priority=priority)
    pass_time(desk, 5)
    desk.submit("b", priority=5)

    assert row(desk)["oldest_time"] == WALL
    take(desk, 2)
    assert row(desk)["oldest_time"] is None


def test_the_oldest_task_is_found_on_disk_and_aside() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", key_concurrency=1)
    desk.submit("a", key="k")
    pass_time(desk, 1)
    desk.submit("b", key="k")
    pass_time(desk, 1)
    desk.submit("c")
    take(desk, 2)  # a runs, b is held, for its key has no room
    pass_time(desk, 1)
    desk.submit("d")
    assert row(desk)["oldest_time"] == WALL + 1
    desk.restart()
    assert row(desk)["oldest_time"] == WALL + 1


def test_waits_are_from_acceptance_or_due_time_to_the_first_lease() -> None:
    desk = Desk()
    desk.submit("a", 2)
    desk.submit("later", delay=3.0)
    pass_time(desk, 4)
    (first,) = [one for one in take(desk, 3) if one.id == "a"]
    wait = row(desk, with_times=True)["wait"]
    assert (wait["count"], wait["sum"], bucket(wait)) == (3, 9.0, {1.0: 1, 5.0: 2})
    desk.settle(W, failed(first, error="no dough", retry_in=0.0))

    wait = row(desk, with_times=True)["wait"]
    assert wait["count"] == 3, "an attempt is no acceptance"
    assert "wait" not in row(desk)


def test_runs_are_from_start_or_lease_to_the_end() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b", max_attempts=1)
    mine = {one.id: one for one in take(desk, 2)}
    pass_time(desk, 2)
    start(desk, mine["a"])
    pass_time(desk, 0.4)
    desk.settle(W, done(mine["a"]), failed(mine["b"], error="no dough"))

    run = desk.query("queue", queue="q", with_times=True)["run"]
    assert bucket(run) == {0.5: 1, 2.5: 1}
    assert run["sum"] == pytest.approx(2.8)
    assert run["count"] == 2


def test_a_clock_that_is_put_back_takes_no_time() -> None:
    histogram = Histogram()
    histogram.note(-5.0, 2)
    histogram.note(1e9)

    assert histogram.as_map() == {"count": 3, "sum": 1e9, "buckets": [2, *[0] * (BUCKETS - 2), 1]}


def test_only_queues_that_had_tasks_lately_have_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed, "TIMED_QUEUES_MAX", 2)
    desk = Desk()
    take(desk, 10, ("q1", "q2", "q3"))
    for name in ("q1", "q2", "q3"):
        desk.submit(name, queue=name)

    assert [row(desk, name, with_times=True)["wait"]["count"] for name in ("q1", "q2", "q3")] == [0, 1, 1]
    assert len(desk.machine.books.measures.timed) == 2


def test_the_last_failures_are_told_newest_first() -> None:
    desk = Desk()
    desk.submit("a", max_attempts=2)
    desk.submit("b", max_attempts=1, queue="other")
    mine = {one.id: one for one in take(desk, 2, ("q", "other"))}
    desk.settle(W, failed(mine["a"], error="no dough\n  at oven", retry_in=7.0))
    desk.settle(W, failed(mine["b"], error="\n" + 300 * "x"))

    newest, before = desk.query("failures")
    assert before == {
        "time": WALL, "queue": "q", "id": "a", "attempt": 1, "worker": "worker-1", "error": "no dough",
        "next_time": WALL + 7.0, "is_dead": False,
    }  # fmt: skip
    assert (newest["error"], newest["next_time"], newest["is_dead"]) == (200 * "x", None, True)
    assert [one["id"] for one in desk.query("failures", queue="q")] == ["a"]
    assert [one["id"] for one in desk.query("failures", limit=1)] == ["b"]
    assert desk.query("failures", namespace="elsewhere") == []


def test_a_lost_attempt_is_among_the_failures() -> None:
    desk = Desk()
    desk.submit("a")
    (mine,) = take(desk, 1)
    start(desk, mine)
    desk.wait(60)

    (lost,) = desk.query("failures")
    assert (lost["id"], lost["worker"], lost["is_dead"]) == ("a", "worker-1", False)
    assert "was silent" in lost["error"]


def test_failures_are_bounded() -> None:
    kept = failures.Failures()
    for number in range(1000):
        kept.note(failures.FailedAttempt(0.0, "q", str(number), 1, None, "no dough", None, True))

    assert [one["id"] for one in kept.newest()] == [str(number) for number in range(999, 899, -1)]


def test_the_status_tells_the_time_of_the_coordinator() -> None:
    desk = Desk()
    pass_time(desk, 3)

    assert desk.query("status")["time"] == WALL + 3


def test_assigned_tasks_do_not_wait() -> None:
    desk = Desk()
    desk.submit("a")
    assert len(take(desk, 1)) == 1
    assert row(desk)["oldest_time"] is None
