"""Runs: several ordered tasks in one lease, for a worker that does them one after the other (docs/protocol.md, 3.5)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.wire.messages import Cancel, Cancelled, Heartbeat, Held, Release, Settle, Settled, Span, Started
from zq.wire.retry import RetryPolicy
from zq.wire.steering import About

W, V = b"worker-1", b"worker-2"
ABOUT = About("oven", 1, 0, 1, False, None, takes_runs=True)
CREDIT = 40


def open_desk(**options: Any) -> Desk:
    """Returns a desk at which a worker is that takes runs of ten."""
    desk = Desk(suspect_after=50.0, gone_after=60.0, **options)
    hello(desk, W, "w")
    return desk


def hello(desk: Desk, peer: bytes, name: str, *held: int) -> list[Any]:
    return desk.hello(peer, name, CREDIT, *held) + desk.say(peer, ABOUT)


def submit(desk: Desk, id: str, count: int = 8, **options: Any) -> Any:
    """Submits ordered tasks of one key, and returns what the worker was assigned by that."""
    desk.submit(id, count, key="k", ordered=True, **options)
    return [lease for lease in desk.leases if lease.batch.id == id]


def spans_of(desk: Desk) -> list[tuple[str, int, int]]:
    """Returns id, lo and hi of what is leased."""
    leases = [(lease.batch, lease.mask) for lease in desk.leases]
    return [
        (batch.id, (mask & -mask).bit_length() - 1 + batch.first, mask.bit_length() + batch.first)
        for batch, mask in leases
    ]


def assign(desk: Desk, id: str = "a", count: int = 8, **options: Any) -> Any:
    desk.submit(id, count, key="k", ordered=True, **options)
    desk.say(W, Release(1, 0, tuple(Span(lease.token, 0, 1000) for lease in desk.leases)))
    (one,) = assigned(desk.say(W, Release(2, CREDIT, ())))
    return one


def test_run_is_one_lease_and_its_completion_brings_the_next() -> None:
    desk = open_desk()
    first = assign(desk)
    desk.submit("b", 3, key="k", ordered=True)
    assert (first.lo, first.tasks) == (0, 8)

    (second,) = assigned(desk.settle(W, done(first), credit=CREDIT))

    assert (second.id, second.tasks) == ("b", 3)
    assert desk.task("a")["state"] == "done"


def test_run_is_bounded_by_the_work_of_one_slot_and_is_worked_off_in_parts() -> None:
    desk = open_desk()
    first = assign(desk, count=25)
    assert first.tasks == CREDIT // 4

    assert assigned(desk.settle(W, done(first, 0, 4), credit=CREDIT)) == []
    (second,) = assigned(desk.settle(W, done(first, 4, 10), credit=CREDIT))

    assert (second.lo, second.tasks) == (10, 10)


def test_worker_that_has_not_said_so_gets_one_at_a_time() -> None:
    desk = Desk()
    desk.hello(V, "v", CREDIT)
    desk.say(V, ABOUT._replace(takes_runs=False))

    desk.submit("a", 8, key="k", ordered=True)

    assert spans_of(desk) == [("a", 0, 1)]


def test_tasks_with_a_time_to_live_go_one_at_a_time() -> None:
    desk = open_desk()

    submit(desk, "a", ttl=100.0)

    assert spans_of(desk) == [("a", 0, 1)]


def test_failure_in_a_run_takes_back_what_is_behind_it_and_goes_first() -> None:
    desk = open_desk(retry=RetryPolicy.constant(10))
    first = assign(desk)
    desk.submit("b", key="k", ordered=True)

    assert assigned(desk.settle(W, done(first, 0, 2), failed(first, 2), credit=CREDIT)) == []
    assert desk.leases == []
    (again,) = assigned([message for _, message in desk.wait(11.0)])
    assert (again.lo, again.attempt) == (2, 2)
    (rest,) = assigned(desk.settle(W, done(again), credit=CREDIT))

    assert (rest.id, rest.lo, rest.tasks, rest.attempt) == ("a", 3, 5, 1)
    assert [one.id for one in assigned(desk.settle(W, done(rest), credit=CREDIT))] == ["b"]


def test_final_failure_in_a_run_lets_the_rest_go_on() -> None:
    desk = open_desk()
    first = assign(desk)

    (rest,) = assigned(desk.settle(W, failed(first, 0, is_final=True), credit=CREDIT))

    assert (rest.lo, rest.tasks) == (1, 7)
    assert rest.token > first.token


def test_completion_behind_an_open_task_is_stale() -> None:
    desk = open_desk()
    first = assign(desk)

    told = only(desk.say(W, Settle(7, CREDIT, (done(first, 3, 5),), ())), Settled)

    assert told.stale == (Span(first.token, 3, 5),)
    assert only(desk.say(W, Settle(8, CREDIT, (done(first, 0, 3), done(first, 3, 5)), ())), Settled).stale == ()


def test_failure_behind_an_open_task_charges_nobody_and_ends_the_run() -> None:
    desk = open_desk()
    first = assign(desk)

    answers = desk.settle(W, failed(first, 3), credit=CREDIT)

    assert only(answers, Cancelled).spans == (Span(first.token, 0, 8),)
    assert only(answers, Settled).stale == ()
    (one,) = assigned(answers)
    assert (one.lo, one.tasks, one.attempt) == (0, 1, 1)
    (two,) = assigned(desk.settle(W, done(one), credit=CREDIT))
    assert (two.lo, two.tasks) == (1, 1)


def test_release_from_the_middle_takes_back_all_behind_it() -> None:
    desk = open_desk()
    first = assign(desk)

    answers = desk.say(W, Release(9, CREDIT, (Span(first.token, 2, 4), Span(first.token, 6, 8))))

    assert only(answers, Cancelled).spans == (Span(first.token, 4, 8),)
    assert only(answers, Settled).stale == ()
    assert spans_of(desk) == [("a", 0, 2)]
    (rest,) = assigned(desk.settle(W, done(first, 0, 2), credit=CREDIT))
    assert (rest.lo, rest.tasks) == (2, 6)


def test_cancelled_task_of_a_run_is_left_out() -> None:
    desk = open_desk()
    first = assign(desk)

    desk.say(CLIENT, Cancel(5, "a#2"))

    settled = only(desk.settle(W, done(first, 0, 2), done(first, 3, 8), credit=CREDIT), Settled)
    assert settled.stale == ()
    assert desk.task("a#2")["state"] == "cancelled"


@pytest.mark.parametrize(("started", "attempts"), [((0,), [2, 1]), ((3,), [1, 1])])
def test_lost_worker_costs_the_first_open_task_of_its_run_or_none(
    started: tuple[int, ...], attempts: list[int]
) -> None:
    desk = open_desk()
    first = assign(desk)
    desk.say(W, Started((Held(first.token, started),)))
    desk.kill(W)
    desk.wait(62.0)

    (one,) = assigned(hello(desk, V, "v"))
    (two,) = assigned(desk.settle(V, done(one), credit=CREDIT))

    assert [one.lo, two.lo] == [0, 1]
    assert [one.attempt, two.attempt] == attempts


def test_timeout_in_a_run_takes_back_what_is_behind_it() -> None:
    desk = Desk(suspect_after=3.0, gone_after=60.0, retry=RetryPolicy.constant(1000))
    hello(desk, W, "w")
    first = assign(desk, timeout=5.0)
    desk.say(W, Started((Held(first.token, (0,)),)))
    spans: list[Span] = []
    for number in range(10):
        desk.now += 1.0
        sent = desk.say(W, Heartbeat(number, (Held(first.token, (0,)),)))
        spans += [span for one in sent if isinstance(one, Cancelled) for span in one.spans]

    assert spans == [Span(first.token, 0, 8)]
    assert desk.leases == []
    assert desk.task("a#0")["attempts"] == 1


def beat(desk: Desk, token: int, *running: int, after: float) -> list[Any]:
    desk.now += after
    return desk.say(W, Heartbeat(1, (Held(token, running),)))


def test_nothing_is_taken_from_a_run_while_one_of_it_is_long() -> None:
    desk = open_desk()
    first = assign(desk)
    beat(desk, first.token, 0, after=1.0)  # it has ended, and is reported with the next one

    sent = [message for _ in range(200) for message in beat(desk, first.token, 2, after=1.0)]

    assert [one for one in sent if isinstance(one, Cancelled)] == []
    assert only(desk.settle(W, done(first), credit=CREDIT), Settled).stale == ()
    assert desk.task("a")["attempts"] == 0


def test_run_of_which_a_task_behind_others_is_forgotten_goes_back_in_order() -> None:
    desk = open_desk()
    first = assign(desk)
    beat(desk, first.token, 2, after=1.0)

    sent = [message for _ in range(62) for message in beat(desk, first.token, after=1.0)]

    assert only(sent, Cancelled).spans == (Span(first.token, 0, 8),)
    assert [one.lo for one in assigned(sent)] == [0]
    assert desk.query("queue", queue="q")["waiting"] == 7


def test_run_of_which_the_first_task_is_forgotten_goes_back_once() -> None:
    desk = open_desk()
    first = assign(desk)
    beat(desk, first.token, 0, after=1.0)
    beat(desk, first.token, after=1.0)
    for _ in range(20):
        desk.wait(3.5)
        sent = beat(desk, first.token, after=0.0)
        if any(isinstance(one, Cancelled) for one in sent):
            break

    assert only(sent, Cancelled).spans == (Span(first.token, 0, 8),)
    assert [(one.lo, one.attempt) for one in assigned(sent)] == [(0, 2)]
    queue = desk.query("queue", queue="q")
    assert (queue["waiting"], queue["leased"], queue["lost"]) == (7, 1, 1)


def test_run_is_claimed_after_a_restart_and_goes_on() -> None:
    desk = open_desk()
    first = assign(desk)
    desk.settle(W, done(first, 0, 2), credit=CREDIT)
    desk.restart()

    hello(desk, W, "w", first.token)

    assert spans_of(desk) == [("a", 2, 8)]
    assert only(desk.settle(W, done(first, 2, 8), credit=CREDIT), Settled).stale == ()
