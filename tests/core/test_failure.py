"""What becomes of tasks whose starts fail or are lost: retry policies, attempts, dead letters (docs/semantics.md,
Failure).
"""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, failed
from zq.wire.messages import Held, Pull, Release, Span, Started
from zq.wire.retry import RetryPolicy

W = b"w-1"


def start(desk: Desk, lease: float = 30.0) -> Any:
    """Pulls the next task."""
    desk.number += 1
    (one,) = assigned(desk.say(CLIENT, Pull(desk.number, "till", "q", 1, 0.0, lease)))
    return one


def fail_and_measure(desk: Desk, id: str, times: int) -> list[float]:
    """Fails a task several times; returns how long it had to wait after each."""
    delays = []
    for _ in range(times):
        desk.settle(CLIENT, failed(start(desk)), credit=None)
        task = desk.task(id)
        delays.append(task["due_time"] - desk.wall if task["state"] == "scheduled" else 0.0)
        desk.wait(delays[-1] + 0.01, every=delays[-1] + 0.01)
    return delays


def test_retry_policy_of_the_task_goes_before_the_queues_and_the_coordinators() -> None:
    desk = Desk(retry=RetryPolicy.constant(7.0), max_attempts=10)
    desk.submit("coordinators")
    assert fail_and_measure(desk, "coordinators", 2) == pytest.approx([7.0, 7.0], abs=0.002)
    desk.command("set-queue", queue="q", retry="linear:2:3")
    assert fail_and_measure(desk, "coordinators", 1) == pytest.approx([3.0], abs=0.002)
    desk.settle(CLIENT, failed(start(desk), is_final=True), credit=None)

    desk.submit("own", retry=RetryPolicy.exponential(1.0, factor=3.0))
    assert fail_and_measure(desk, "own", 3) == pytest.approx([1.0, 3.0, 9.0], abs=0.002)


def test_retry_policies_hold_over_a_restart() -> None:
    desk = Desk(max_attempts=10)
    desk.command("set-queue", queue="q", retry="constant:4")
    desk.submit("queues")
    desk.restart()
    assert fail_and_measure(desk, "queues", 1) == pytest.approx([4.0], abs=0.002)
    desk.settle(CLIENT, failed(start(desk), is_final=True), credit=None)
    desk.submit("own", retry=RetryPolicy.constant(3.0))
    desk.restart()
    assert fail_and_measure(desk, "own", 2) == pytest.approx([3.0, 3.0], abs=0.002)


def test_full_jitter_keeps_no_two_tasks_in_step() -> None:
    desk = Desk(retry=RetryPolicy.full_jitter(10.0))
    delays = set()
    for number in range(20):
        desk.submit(f"t{number}")
        desk.settle(CLIENT, failed(start(desk)), credit=None)
        delays.add(round(desk.task(f"t{number}")["due_time"] - desk.wall, 3))

    assert len(delays) == 20
    assert all(0 <= delay <= 10 for delay in delays)


def test_policy_none_makes_a_dead_letter_of_the_first_failure() -> None:
    desk = Desk()
    desk.submit("a", retry=RetryPolicy.none())
    desk.settle(CLIENT, failed(start(desk)), credit=None)

    assert desk.task("a")["state"] == "dead"


def test_handler_that_asks_for_a_retry_gets_it_whatever_the_policy() -> None:
    desk = Desk()
    desk.submit("a", retry=RetryPolicy.none())
    desk.settle(CLIENT, failed(start(desk), retry_in=3.0), credit=None)

    assert desk.task("a")["due_time"] == pytest.approx(desk.wall + 3.0, abs=0.002)


def test_failures_and_lost_starts_are_counted_apart_and_delays_follow_the_failures() -> None:
    desk = Desk(retry=RetryPolicy.linear(10.0), max_attempts=4)
    desk.submit("a")
    start(desk, lease=2.0)
    desk.wait(3.0)
    assert (desk.task("a")["attempts"], desk.task("a")["failures"]) == (1, 0)

    assert fail_and_measure(desk, "a", 1) == pytest.approx([10.0], abs=0.002)
    assert (desk.task("a")["attempts"], desk.task("a")["failures"]) == (2, 1)


def test_task_whose_workers_only_ever_crash_ends_as_a_dead_letter() -> None:
    desk = Desk(max_attempts=3, retry=RetryPolicy.none())
    desk.submit("a")
    for _ in range(3):
        assert desk.task("a")["state"] == "waiting"
        start(desk, lease=2.0)
        desk.wait(3.0)
    task = desk.task("a")

    assert (task["state"], task["attempts"], task["failures"]) == ("dead", 3, 0)
    assert task["reason"] == "the lease of 2 s ran out"


def test_released_start_is_charged_as_nothing() -> None:
    desk = Desk(max_attempts=1)
    desk.submit("a")
    for _ in range(5):
        one = start(desk)
        desk.say(CLIENT, Release(50, None, (Span(one.token, 0, 1),)))

    assert (desk.task("a")["state"], desk.task("a")["attempts"]) == ("waiting", 0)


def test_task_that_runs_out_of_its_time_has_failed() -> None:
    desk = Desk(retry=RetryPolicy.constant(0.0))
    desk.hello(W, "w")
    desk.submit("a", timeout=1.0)
    (lease,) = desk.leases
    desk.say(W, Started((Held(lease.token, (0,)),)))
    for _ in range(12):
        desk.wait(0.5)
        desk.say(W, Started(()))

    assert desk.task("a")["failures"] >= 1


def test_limit_of_attempts_is_the_tasks_else_the_queues_else_the_coordinators() -> None:
    desk = Desk(max_attempts=3, retry=RetryPolicy.constant(0.0))
    starts = {}
    for id, own in (("coordinators", None), ("queues", None), ("own", 1)):
        if id == "queues":
            desk.command("set-queue", queue="q", max_attempts=2)
        desk.submit(id, max_attempts=own)
        starts[id] = 0
        while desk.task(id)["state"] != "dead":
            desk.settle(CLIENT, failed(start(desk)), credit=None)
            starts[id] += 1

    assert starts == {"coordinators": 3, "queues": 2, "own": 1}


def test_history_of_a_dead_letter_has_every_attempt_and_its_reason() -> None:
    desk = Desk(max_attempts=3, retry=RetryPolicy.constant(0.0))
    desk.submit("a")
    desk.settle(CLIENT, failed(start(desk), error="too hot"), credit=None)
    start(desk, lease=2.0)
    desk.wait(3.0)
    desk.settle(CLIENT, failed(start(desk), error="too cold"), credit=None)
    timeline = desk.task("a")["timeline"]

    assert [event["event"] for event in timeline] == ["retry", "lost", "retry", "dead"]
    detail = timeline[0]["detail"]
    assert (detail["attempt"], detail["failures"], detail["in"], detail["error"]) == (1, 1, 0.0, "too hot")
    assert detail["worker"] == "till/2"
    assert timeline[2]["detail"]["attempt"] == 2
    detail = timeline[3]["detail"]
    assert (detail["attempt"], detail["failures"], detail["reason"]) == (3, 2, "too cold")
