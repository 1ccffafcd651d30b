"""When tasks may start and until when (docs/semantics.md, Time)."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed, only
from zq.core import tables
from zq.wire.messages import Answer, Cancel, Command, Goodbye, Outcome, Pull, Release, Span, Wait
from zq.wire.retry import RetryPolicy

W = b"w-1"


def pull(desk: Desk, max_tasks: int = 1, lease: float = 30.0) -> list[Any]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", "q", max_tasks, 0.0, lease)))


def rows(desk: Desk, table: str) -> int:
    tx = desk.store.begin()
    count = sum(1 for _ in tx.scan(table))
    tx.abort()
    return count


def test_task_with_a_time_starts_at_that_time_and_not_before() -> None:
    desk = Desk()
    receipt = desk.submit("a", at=WALL + 60.0)

    assert receipt.accepted[0].eta == pytest.approx(60.0)
    assert desk.task("a")["due_time"] == WALL + 60.0
    desk.wait(59.5)
    assert pull(desk) == []
    desk.wait(1.0)
    assert [one.id for one in pull(desk)] == ["a"]


def test_time_that_is_over_means_at_once() -> None:
    desk = Desk()
    desk.submit("a", at=WALL - 1.0)

    assert [one.id for one in pull(desk)] == ["a"]


def test_delayed_task_never_runs_twice_however_long_the_delay() -> None:
    # Celery on Redis and SQS hands a delayed task out again and again once its delay is above the visibility timeout.
    desk = Desk(max_attempts=1)
    desk.submit("a", delay=30 * 86_400.0)
    starts = []
    for _ in range(40 * 24):
        starts += [(desk.wall - WALL, one) for one in pull(desk, lease=43_200.0)]
        desk.wait(3600.0, every=3600.0)
        if len(starts) == 1 and desk.task("a")["state"] == "leased":
            desk.settle(CLIENT, done(starts[0][1]), credit=None)

    assert [at for at, _ in starts] == [30 * 86_400.0]


def test_delay_holds_over_a_restart() -> None:
    desk = Desk()
    desk.submit("a", delay=10.0)
    desk.restart()
    assert pull(desk) == []
    desk.wait(10.5)

    assert [one.id for one in pull(desk)] == ["a"]


def test_waiting_task_expires_on_time_when_nobody_asks() -> None:
    desk = Desk()
    desk.submit("a", ttl=5.0)
    desk.turn((CLIENT, Wait(77, "a", 0, 1)))
    assert desk.machine.next_at(desk.clocks()) <= desk.now + 5.0
    sent = desk.wait(5.0)

    (outcome,) = [message for _, message in sent if isinstance(message, Outcome)]
    assert [(one.outcome, one.reason) for one in outcome.ended] == [
        ("expired", "it was not started within its ttl of 5 s")
    ]
    assert (desk.task("a")["state"], desk.task("a")["reason"]) == ("expired", outcome.ended[0].reason)
    assert desk.query("queue", queue="q")["expired"] == 1
    assert pull(desk) == []


def test_expired_task_is_not_handed_out_even_if_nothing_ticked_since() -> None:
    desk = Desk()
    desk.submit("a", 3, ttl=5.0)
    desk.submit("b")
    desk.now += 60.0
    desk.wall += 60.0

    assert [one.id for one in pull(desk, 10)] == ["b"]
    assert desk.query("queue", queue="q")["expired"] == 3


def test_expired_batch_ends_as_one_and_each_of_its_tasks_is_known_as_expired() -> None:
    desk = Desk()
    desk.submit("a", 1000, ttl=5.0)
    desk.wait(5.0)

    assert rows(desk, tables.FINISHED) == 1
    assert desk.task("a#999")["state"] == "expired"
    (outcome,) = [one for one in desk.say(CLIENT, Wait(77, "a", 0, 1000)) if isinstance(one, Outcome)]
    assert [(one.lo, one.hi, one.outcome) for one in outcome.ended] == [(0, 1000, "expired")]


def test_task_that_expires_before_it_is_due_never_runs() -> None:
    desk = Desk()
    desk.submit("a", delay=10.0, ttl=5.0)
    desk.wait(5.0)
    assert desk.task("a")["state"] == "expired"
    desk.wait(6.0)

    assert pull(desk) == []
    assert desk.query("queue", queue="q")["scheduled"] == 0


def test_task_that_has_been_started_does_not_expire() -> None:
    desk = Desk(retry=RetryPolicy.constant(10.0))
    desk.submit("a", ttl=5.0)
    (one,) = pull(desk)
    desk.wait(6.0)
    assert desk.task("a")["state"] == "leased"
    desk.settle(CLIENT, failed(one), credit=None)
    desk.wait(11.0)
    (again,) = pull(desk)

    assert again.options.ttl is None
    desk.settle(CLIENT, done(again), credit=None)
    assert desk.task("a")["state"] == "done"


def test_prefetched_task_that_comes_back_unstarted_after_its_time_expires_at_once() -> None:
    desk = Desk()
    desk.hello(W, "w", 5)
    desk.submit("a", 3, ttl=5.0)
    (lease,) = desk.leases
    desk.wait(6.0)
    assert desk.query("queue", queue="q")["leased"] == 3
    desk.say(W, Release(1, 0, (Span(lease.token, 1, 3),)))

    assert [desk.task(f"a#{index}")["state"] for index in range(3)] == ["leased", "expired", "expired"]
    desk.say(W, Goodbye("w", "w"))
    assert desk.task("a#0")["state"] == "expired"
    assert rows(desk, tables.EXPIRY) == 0


def test_assignment_tells_what_is_left_of_the_ttl() -> None:
    desk = Desk()
    desk.submit("a", ttl=5.0)
    desk.wait(2.0)

    assert pull(desk)[0].options.ttl == pytest.approx(3.0, abs=0.01)


def test_expiry_holds_over_a_restart() -> None:
    desk = Desk()
    desk.submit("a", ttl=5.0)
    desk.restart()
    desk.wait(6.0)

    assert desk.task("a")["state"] == "expired"


def test_queue_may_keep_what_expires_as_dead_letters_that_live_on_when_replayed() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", on_expired="dead")
    desk.submit("a", 2, ttl=5.0)
    desk.wait(5.0)

    assert [desk.task(f"a#{index}")["state"] for index in range(2)] == ["dead", "dead"]
    assert desk.task("a#0")["reason"] == "it was not started within its ttl of 5 s"
    assert only(desk.say(CLIENT, Command(90, "retry", {"id": "a#1"})), Answer).value is True
    desk.wait(60.0)
    assert [(one.id, one.lo) for one in pull(desk)] == [("a", 1)]


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_task_that_ends_in_time_leaves_nothing_to_expire(end: str) -> None:
    desk = Desk()
    desk.submit("a", ttl=500.0)
    if end == "done":
        desk.settle(CLIENT, done(pull(desk)[0]), credit=None)
    else:
        desk.say(CLIENT, Cancel(9, "a"))

    assert rows(desk, tables.EXPIRY) == 0
    assert desk.task("a")["state"] == end


def test_clock_that_jumps_back_delays_expiry_and_never_brings_it_back() -> None:
    desk = Desk()
    desk.submit("a", ttl=5.0)
    desk.submit("b", ttl=100.0)
    desk.wait(6.0)
    desk.wall -= 3600.0
    desk.wait(1.0)

    assert desk.task("a")["state"] == "expired"
    assert desk.task("b")["state"] == "waiting"


def test_task_that_becomes_due_is_moved_in_one_transaction() -> None:
    # Where a due task is copied and then acknowledged, a crash between the two runs it twice.
    desk = Desk()
    desk.submit("a", delay=5.0)
    desk.now += 5.0
    desk.wall += 5.0
    desk.crash()
    assert (rows(desk, tables.SCHEDULED), rows(desk, tables.PENDING)) == (1, 0)
    desk.turn()
    assert (rows(desk, tables.SCHEDULED), rows(desk, tables.PENDING)) == (0, 1)

    assert [one.id for one in pull(desk, 9)] == ["a"]


def test_end_of_a_task_is_told_although_the_rest_of_its_batch_is_not_due() -> None:
    desk = Desk()
    desk.submit("a", 3, delay=5.0)
    desk.say(CLIENT, Cancel(1, "a#1"))

    outcome = only(desk.say(CLIENT, Wait(2, "a", 0, 3)), Outcome)

    assert [(one.lo, one.hi, one.outcome) for one in outcome.ended] == [(1, 2, "cancelled")]
    assert not outcome.is_last


def test_cancel_of_a_batch_that_is_not_due_reaches_a_task_of_it_that_was_brought_back() -> None:
    desk = Desk()
    desk.submit("a", 3, delay=5.0)
    desk.command("bury", id="a#1")
    desk.command("retry", id="a#1")
    assert desk.task("a#1")["state"] == "waiting"

    answer = only(desk.say(CLIENT, Cancel(1, "a")), Answer)

    assert answer.value == 3
    assert desk.task("a#1")["state"] == "cancelled"
