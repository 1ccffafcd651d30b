"""What a coordinator counts and tells of its queues (docs/semantics.md, Insight: Measures)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed
from zq.core.insight.dead_reasons import common_reason
from zq.core.measures import failures, timed
from zq.core.measures.flows import Flows, topic_of, topic_origin
from zq.core.measures.times import BUCKETS, Histogram
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Assignment, Batch, Cancel, Command, Group, Held, Open, Options, Publish, Schedule, Started
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


def test_the_oldest_task_is_found_behind_many_that_were_cancelled() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", alert_age=20.0)
    for number in range(30):
        desk.submit(f"t{number}")
        pass_time(desk, 1)
    for number in range(25):
        desk.number += 1
        desk.say(CLIENT, Cancel(desk.number, f"t{number}"))
    assert (row(desk)["waiting"], row(desk)["oldest_time"]) == (5, WALL + 25)
    pass_time(desk, 20)
    assert row(desk)["alerts"] == ["age"]

    (first,) = take(desk, 1)
    assert first.id == "t25"
    assert row(desk)["oldest_time"] == WALL + 26


def test_the_oldest_task_is_found_behind_many_that_are_leased_after_a_restart() -> None:
    desk = Desk()
    for number in range(20):
        desk.submit(f"t{number}")
        pass_time(desk, 1)
    take(desk, 15)
    desk.restart()

    assert (row(desk)["waiting"], row(desk)["oldest_time"]) == (5, WALL + 15)


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


def test_ways_between_queues_are_counted() -> None:
    desk = Desk()
    batch = Batch("box", "delivery", Options(), *pack_payloads([encode_payload(i) for i in range(3)]))
    desk.say(CLIENT, Open(1, Group("g", 2, "all", False, "report", Options())))
    desk.command("bind", pattern="orders.*", queue="q")
    desk.say(CLIENT, Publish(2, "news", "orders.new", Options(), True, *pack_payloads([encode_payload(1)])))
    desk.submit("m", 2, group=("g", (0,)))
    desk.submit("d", max_attempts=1, on_dead="complaints", queue="dying")
    mine = {one.id: one for one in take(desk, 10, ("q", "dying"))}
    pass_time(desk, 1)
    desk.settle(W, done(mine["news.1"])._replace(forwards=(batch,)), done(mine["m"]), failed(mine["d"]))

    assert [(row["origin"], row["target"], row["tasks"], row["last_time"]) for row in desk.query("flows")] == [
        ("dying", "complaints", 1, WALL + 1),
        ("q", "delivery", 3, WALL + 1),
        ("q", "report", 1, WALL + 1),
        ("topic:orders.new", "q", 1, WALL),
    ]
    assert [row["target"] for row in desk.query("flows", limit=1, cursor=None)["rows"]] == ["complaints"]
    assert desk.query("flows", namespace="a") == []


def test_ways_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.measures.flows.WAYS_MAX", 2)
    ways = Flows()
    for target in ("a", "b", "a", "c"):
        ways.note("q", target, 1, 0.0)

    assert [target for _, target, _ in ways.after("", "")] == ["a", "c"], "the one that was not taken for longest goes"


@pytest.mark.parametrize(
    ("topic", "origin"), [("orders.new", "topic:orders.new"), ("team/eu/orders.new", "team/eu/topic:orders.new")]
)
def test_a_topic_is_an_origin_inside_of_its_namespace(topic: str, origin: str) -> None:
    assert topic_origin(topic) == origin
    assert topic_of(origin) == topic
    assert topic_of("team/orders") is None


def test_dead_letters_are_counted_by_what_their_reasons_have_in_common() -> None:
    desk = Desk()
    for number in range(1200):
        desk.submit(f"t{number}", queue="q" if number % 3 else "other")
        reason = f"RuntimeError: no dough for order {number} (0x7f{number:04x})\nTraceback" if number % 2 else "burnt"
        desk.command("bury", id=f"t{number}", reason=reason)
        pass_time(desk, 1)
    first = desk.ask("dead-reasons")
    assert first["cursor"] is not None, "a question may look at so many only"
    rows = desk.query("dead-reasons")

    sums: dict[tuple[str, str], int] = {}
    for one in rows:
        sums[one["queue"], one["reason"]] = sums.get((one["queue"], one["reason"]), 0) + one["count"]
    common = "RuntimeError: no dough for order # (#)"
    assert sums == {("q", common): 400, ("q", "burnt"): 400, ("other", common): 200, ("other", "burnt"): 200}
    assert min(one["oldest_time"] for one in rows) == WALL
    assert max(one["newest_time"] for one in rows) == WALL + 1199
    assert {one["queue"] for one in desk.query("dead-reasons", queue="q")} == {"q"}
    assert desk.query("dead-reasons", namespace="a") == []


@pytest.mark.parametrize(
    ("reason", "common"),
    [
        ("no dough", "no dough"),
        ("order-17 of 3.5 kg burnt", "order-# of #.# kg burnt"),
        ("task 8f14e45f-ceea-467e-adb1-0f5b2e4c9a11 gone", "task # gone"),
        ("<Oven at 0x7fAB>\n  more", "<Oven at #>"),
        ("defaced facade", "defaced facade"),
        (" \n\n", ""),
        ("a" * 5000 + "1", "a" * 120),
    ],
)
def test_what_reasons_have_in_common(reason: str, common: str) -> None:
    assert common_reason(reason) == common


def test_a_schedule_runs_at_once_and_keeps_its_times() -> None:
    desk = Desk()
    desk.say(CLIENT, Schedule(1, Batch("s", "q", Options(), *pack_payloads([b"1"])), 60.0, None, "UTC", "skip"))
    desk.command("set-schedule", name="s", is_paused=True)
    before = desk.query("schedule", name="s")
    row_now = desk.command("run-schedule", name="s")

    assert desk.task(row_now["last_id"])["state"] == "waiting"
    assert row_now == {**before, "fired": 1, "last_time": WALL, "last_id": row_now["last_id"]}
    desk.command("drain", queue="q")
    (refused,) = desk.say(CLIENT, Command(3, "run-schedule", {"name": "s"}))
    assert (refused.code, "draining" in refused.text) == ("busy", True)


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
