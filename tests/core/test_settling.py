"""Completions, failures and losses: what ends a lease, and what is stale."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Answer,
    Batch,
    Cancel,
    Cancelled,
    Command,
    Done,
    Heartbeat,
    Held,
    Hello,
    Outcome,
    Release,
    Settled,
    Span,
    Started,
    Wait,
)
from zq.wire.retry import RetryPolicy

W, V = b"worker-1", b"worker-2"


def test_completion_ends_the_task_and_keeps_its_result() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))

    assert only(desk.settle(W, done(one, 0, 2, result="hot"), done(one, 2, 3)), Settled).stale == ()
    outcome = only(desk.say(CLIENT, Wait(9, "a", 0, 3)), Outcome)
    assert outcome.is_last
    assert [(ended.lo, ended.hi, ended.outcome, ended.blob) for ended in outcome.ended] == [
        (0, 2, "done", b"\xa3hot" * 2),
        (2, 3, "done", b""),
    ]


def test_completion_with_an_old_token_is_refused_as_stale() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a")
    (old,) = assigned(desk.hello(W, "w"))
    desk.say(W, Started((Held(old.token, (0,)),)))
    desk.wait(6.0)
    (new,) = assigned(desk.hello(V, "v"))

    desk.hello(W, "w", 1, old.token)
    assert only(desk.settle(W, done(old)), Settled).stale == (Span(old.token, 0, 1),)
    assert new.token > old.token
    assert not only(desk.settle(V, done(new)), Settled).stale
    assert only(desk.settle(W, done(old)), Settled).stale
    assert desk.query("status")["counters"]["stale"] == 2


def test_completion_sent_twice_is_accepted_once_and_not_called_stale() -> None:
    desk = Desk()
    desk.submit("a", 4)
    (one,) = assigned(desk.hello(W, "w", 4))
    desk.settle(W, done(one, 0, 2))

    assert not only(desk.settle(W, done(one, 0, 2)), Settled).stale
    desk.settle(W, done(one, 2, 4))
    desk.restart()
    desk.hello(W, "w", 4)
    assert not only(desk.settle(W, done(one, 0, 4)), Settled).stale
    assert desk.query("status")["done"] == 4


BOX = Batch("box-1", "boxes", DEFAULT_OPTIONS, b"\x01\0\0\0", b"\x01")


@pytest.mark.parametrize("has_restarted", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_another_completion_than_the_accepted_one_is_stale(size: int, has_restarted: bool) -> None:
    desk = Desk()
    desk.submit("a", size)
    (one,) = assigned(desk.hello(W, "w", size))
    said = done(one, 0, 1, result="hot")._replace(forwards=(BOX,))
    desk.settle(W, said)
    if has_restarted:
        desk.restart()
        desk.hello(W, "w", size)

    assert not only(desk.settle(W, said), Settled).stale
    for other in (
        done(one, 0, 1, result="cold")._replace(forwards=(BOX,)),
        done(one, 0, 1)._replace(forwards=(BOX,)),
        done(one, 0, 1, result="hot"),
        done(one, 0, 1, result="hot")._replace(forwards=(BOX._replace(id="box-2"),)),
        done(one, 0, 1, result="hot")._replace(forwards=(BOX, BOX._replace(id="box-2"))),
    ):
        assert only(desk.settle(W, other), Settled).stale == (Span(one.token, 0, 1),)
    assert only(desk.settle(W, failed(one, 0)), Settled).stale
    assert desk.task("box-2")["state"] == "unknown"
    outcome = only(desk.say(CLIENT, Wait(9, "a", 0, 1)), Outcome)
    assert outcome.ended[0].blob == b"\xa3hot"


def test_of_a_completion_sent_again_with_other_results_those_are_stale() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.settle(W, done(one, 0, 1, result="hot"), done(one, 1, 2), done(one, 2, 3, result="hot"))

    assert only(desk.settle(W, done(one, 0, 3, result="hot")), Settled).stale == (Span(one.token, 1, 2),)
    assert only(desk.settle(W, done(one, 0, 3)), Settled).stale == (Span(one.token, 0, 1), Span(one.token, 2, 3))


@pytest.mark.parametrize("has_restarted", [False, True])
def test_another_failure_than_the_noted_one_and_a_completion_after_it_are_stale(has_restarted: bool) -> None:
    desk = Desk()
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.settle(W, failed(one, 1))
    if has_restarted:
        desk.restart()
        desk.hello(W, "w", 2)

    assert not only(desk.settle(W, failed(one, 1)), Settled).stale
    for changes in ({"error": "it froze"}, {"retry_in": 5.0}, {"is_final": True}):
        assert only(desk.settle(W, failed(one, 1, **changes)), Settled).stale == (Span(one.token, 1, 2),)
    assert only(desk.settle(W, done(one, 1, 2)), Settled).stale == (Span(one.token, 1, 2),)
    assert desk.task("a#1")["attempts"] == 1


def test_forwarded_tasks_are_stored_with_the_completion_and_only_with_it() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    box = Batch("box-2", "boxes", DEFAULT_OPTIONS, b"\x01\0\0\0", b"\x01")
    stale = Done(one.token + 5, "a", 0, 1, b"", b"", (box._replace(id="box-3"),))

    desk.settle(W, stale)
    desk.settle(W, done(one)._replace(forwards=(box,)))

    assert desk.task("box-2")["state"] == "waiting"
    assert desk.task("box-3")["state"] == "unknown"


def test_failed_task_is_tried_again_after_a_growing_delay_and_then_dead() -> None:
    desk = Desk(max_attempts=3, retry=RetryPolicy.exponential(1.0, factor=10.0))
    desk.submit("a")
    delays = []
    answers: list[Any] = desk.hello(W, "w")
    for attempt in (1, 2, 3):
        (one,) = assigned(answers)
        assert one.attempt == attempt
        desk.settle(W, failed(one), credit=0)
        task = desk.task("a")
        if attempt < 3:
            delays.append(task["due_time"] - desk.wall)
            desk.wait(delays[-1] + 0.1, every=0.1)
            answers = desk.say(W, Release(99, 1, ()))

    assert delays == pytest.approx([1.0, 10.0], abs=0.01)
    assert (task["state"], task["attempts"], task["reason"]) == ("dead", 3, "it burnt")
    assert [event["event"] for event in task["timeline"]] == ["retry", "retry", "dead"]


def test_failure_leaves_its_neighbours_alone() -> None:
    desk = Desk()
    desk.submit("a", 5)
    (one,) = assigned(desk.hello(W, "w", 5))

    desk.settle(W, done(one, 0, 2), failed(one, 2), done(one, 3, 5), credit=5)

    assert desk.query("status")["done"] == 4
    assert desk.task("a#2")["state"] == "scheduled"
    assert desk.task("a#1")["state"] == desk.task("a#3")["state"] == "done"


def test_failure_reported_twice_is_charged_once() -> None:
    desk = Desk()
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))

    desk.settle(W, failed(one, 1))
    assert not only(desk.settle(W, failed(one, 1)), Settled).stale
    assert desk.task("a#1")["attempts"] == 1


def test_final_failure_is_dead_at_once_and_can_be_retried() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, failed(one, is_final=True), credit=0)
    assert desk.task("a")["state"] == "dead"

    assert only(desk.say(CLIENT, Command(1, "retry", {"id": "a"})), Answer).value is True
    assert only(desk.say(CLIENT, Command(2, "retry", {"id": "a"})), Answer).value is False
    (again,) = assigned(desk.say(W, Release(5, 1, ())))
    assert again.attempt == 1


@pytest.mark.parametrize(("on_lost", "state"), [("reassign", "waiting"), ("cancel", "cancelled"), ("dead", "dead")])
def test_started_task_of_a_dead_worker_is_charged_and_the_others_go_back(on_lost: str, state: str) -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a", 4, on_lost=on_lost)
    (one,) = assigned(desk.hello(W, "w", 4))
    desk.say(W, Started((Held(one.token, (1,)),)))

    desk.wait(6.0)

    assert desk.task("a#1")["state"] == state
    assert [desk.task(f"a#{i}")["state"] for i in (0, 2, 3)] == ["waiting"] * 3
    assert [desk.task(f"a#{i}")["attempts"] for i in (0, 2, 3)] == [0] * 3
    assert "lost" in [event["event"] for event in desk.task("a#1")["timeline"]]


def test_task_that_kills_its_workers_is_dead_after_its_attempts_and_its_neighbours_are_done() -> None:
    desk = Desk(max_attempts=3)
    desk.submit("a", 3)
    for life in range(12):
        work = assigned(desk.say(W, Hello("w", f"life-{life}", ("q",), 3, 1, ())))
        while work:
            one = work.pop(0)
            for index in range(one.lo, one.lo + (len(one.ends) >> 2)):
                if index == 1:  # it takes the worker with it, before anyone hears that it started
                    work.clear()
                    desk.kill(W)
                    break
                work += assigned(desk.settle(W, done(one, index, index + 1), credit=3))

    assert (desk.task("a#1")["state"], desk.task("a#1")["attempts"]) == ("dead", 3)
    assert desk.query("status")["done"] == 2


def test_task_that_runs_past_its_timeout_is_taken_away() -> None:
    desk = Desk(suspect_after=3.0, max_attempts=1)
    desk.submit("a", timeout=10.0)
    (one,) = assigned(desk.hello(W, "w"))
    held = (Held(one.token, (0,)),)
    sent = []
    for number in range(14):
        sent += desk.wait(1.0)
        desk.say(W, Heartbeat(number, held))

    assert (W, Cancelled((Span(one.token, 0, 1),))) in sent
    assert (desk.task("a")["state"], desk.task("a")["reason"]) == ("dead", "ran longer than its timeout of 10 s")
    assert desk.query("workers")[0]["state"] == "live"


def test_task_that_was_cancelled_while_it_ran_is_not_taken_away_again_at_its_timeout() -> None:
    desk = Desk()
    desk.submit("a", 2, timeout=5.0)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.turn((CLIENT, Cancel(1, "a#0")))
    for number in range(10):
        desk.wait(1.0)
        desk.say(W, Heartbeat(number, (Held(one.token, ()),)))

    assert desk.task("a#0")["state"] == "cancelled"
    assert desk.task("a#1")["state"] == "leased"
