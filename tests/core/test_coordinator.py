"""The rules of docs/protocol.md, one at a time, on the pure core."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed, only
from zq.core.admin.commands import COMMANDS
from zq.core.insight.queries import QUERIES
from zq.core.options import CoordinatorOptions
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Answer,
    Batch,
    Beat,
    Cancel,
    Cancelled,
    Command,
    Done,
    Error,
    Extend,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Outcome,
    Ping,
    Pong,
    Progress,
    Pull,
    Query,
    Release,
    Settle,
    Settled,
    Span,
    Started,
    Tasks,
    Wait,
    Welcome,
)
from zq.wire.policies import QueuePolicies
from zq.wire.retry import RetryPolicy

W, V = b"worker-1", b"worker-2"
POLICIES = ", ".join(QueuePolicies._fields)


# Submits.


def test_receipt_tells_the_place_in_the_queue() -> None:
    desk = Desk()
    desk.submit("a", 10)

    assert desk.submit("b").accepted[0].position == 11
    assert desk.submit("urgent", priority=9).accepted[0].position == 1
    assert desk.submit("late", priority=0).accepted[0].position == 13


def test_receipt_tells_the_wait_once_a_rate_is_known() -> None:
    desk = Desk()
    assert desk.submit("a", 10).accepted[0].eta is None
    (one,) = assigned(desk.hello(W, "w", 10))
    desk.now = 2.0

    desk.settle(W, done(one), credit=0)

    assert desk.submit("b").accepted[0].eta == pytest.approx(1 / 5)


def test_same_id_again_gets_a_receipt_and_no_second_task() -> None:
    desk = Desk()
    desk.submit("a", 3)

    assert desk.submit("a", 3).accepted[0].id == "a"
    assert desk.query("status")["waiting"] == 3


def test_same_id_after_it_is_done_is_known_as_long_as_its_outcome_is_kept() -> None:
    desk = Desk(keep_seconds=200.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, done(one), credit=0)

    desk.submit("a")
    assert desk.query("status")["waiting"] == 0
    desk.wait(201.0, every=5.0)
    desk.submit("a")
    assert desk.query("status")["waiting"] == 1


def test_full_queue_is_busy_and_stores_nothing() -> None:
    desk = Desk(queue_tasks_max=5)
    desk.submit("a", 4)

    (refused,) = desk.submit("b", 2).refused

    assert (refused.code, refused.reason) == ("busy", "queue q is full: 4 of 5 tasks")
    assert refused.retry_after > 0
    assert desk.task("b")["state"] == "unknown"
    assert desk.submit("c").accepted


def test_full_store_refuses_submits_and_completes_what_it_has() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.store.capacity_bytes = desk.store.used_bytes * 6 // 5

    (refused,) = desk.submit("b").refused

    assert (refused.code, refused.reason) == ("busy", "the store is full")
    assert not only(desk.settle(W, done(one)), Settled).stale
    assert desk.task("a")["state"] == "done"


def test_payload_over_the_limit_is_refused_for_good() -> None:
    desk = Desk(payload_bytes_max=1)
    (refused,) = desk.submit("a", 300).refused  # the payload 299 takes three bytes

    assert (refused.code, refused.retry_after) == ("invalid", None)
    assert refused.reason == "a payload has 3 bytes, the coordinator allows 1"


# Order.


def test_higher_priority_is_served_first_and_equal_ones_in_order() -> None:
    desk = Desk()
    for id, priority in (("low", 0), ("first", 5), ("second", 5), ("high", 9)):
        desk.submit(id, priority=priority)

    assert [one.id for one in assigned(desk.hello(W, "w", 4))] == ["high", "first", "second", "low"]


def test_task_that_comes_back_keeps_its_place() -> None:
    desk = Desk()
    desk.submit("a", 3)
    desk.submit("b")
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Release(1, 0, (Span(one.token, 0, 2),)))

    assert [(one.id, one.lo) for one in assigned(desk.hello(V, "v", 4))] == [("a", 0), ("b", 0)]


def test_delayed_task_is_not_assigned_before_its_time() -> None:
    desk = Desk()
    desk.submit("a", delay=10.0)
    desk.hello(W, "w")

    assert desk.task("a")["due_time"] == WALL + 10.0
    assert not assigned([message for _, message in desk.wait(9.5)])
    assert desk.machine.next_at(desk.clocks()) == pytest.approx(10.0)
    desk.say(W, Heartbeat(1, ()))
    assert [one.id for one in assigned([message for _, message in desk.wait(1.0)])] == ["a"]


def test_backlog_larger_than_memory_is_served_in_order() -> None:
    desk = Desk()
    for i in range(1000):
        desk.submit(f"t{i:04d}")
    desk.restart()
    served = [one.id for one in assigned(desk.hello(W, "w", 600))]
    desk.submit("urgent", priority=9)

    assert served == [f"t{i:04d}" for i in range(600)]
    assert [one.id for one in assigned(desk.hello(V, "v", 500))] == ["urgent", *(f"t{i:04d}" for i in range(600, 1000))]


# Credit and assignment.


def test_worker_gets_no_more_than_its_credit() -> None:
    desk = Desk()
    desk.submit("a", 10)
    (one,) = assigned(desk.hello(W, "w", 4))

    assert len(one.ends) >> 2 == 4
    assert not assigned(desk.say(W, Heartbeat(1, (Held(one.token, ()),))))
    (more,) = assigned(desk.settle(W, done(one, 0, 2), credit=4))
    assert (more.lo, len(more.ends) >> 2) == (4, 2)


def test_short_queue_is_shared_evenly() -> None:
    desk = Desk()
    desk.hello(W, "w", 100)
    desk.hello(V, "v", 100)
    desk.submit("a", 10)

    assert sorted(worker.held for worker in desk.machine.books.workers.values()) == [5, 5]


def test_key_stays_with_its_worker_and_only_keys_of_a_dead_one_move() -> None:
    desk = Desk(assign="hash", gone_after=5.0)
    names = {b"w%d" % i: f"w{i}" for i in range(4)}
    for peer, name in names.items():
        desk.hello(peer, name, 1000)
    keys = [f"customer-{i}" for i in range(40)]
    before = _owners(desk, keys, "before")
    gone = before["customer-0"]
    peer = next(peer for peer, name in names.items() if name == gone)
    desk.say(peer, Goodbye(gone, gone))

    after = _owners(desk, keys, "after")

    assert len(set(before.values())) == 4
    assert _owners(desk, keys, "again") == after
    assert {key for key in keys if before[key] != after[key]} == {key for key in keys if before[key] == gone}


def _owners(desk: Desk, keys: list[str], prefix: str) -> dict[str, str]:
    for key in keys:
        desk.submit(f"{prefix}-{key}", key=key)
    return {key: desk.task(f"{prefix}-{key}")["worker"] for key in keys}


def test_key_whose_worker_is_full_goes_to_an_idle_one() -> None:
    desk = Desk(assign="hash")
    desk.hello(W, "w", 2)
    desk.hello(V, "v", 2)
    for i in range(4):
        desk.submit(f"t{i}", key="same")

    assert sorted(worker.held for worker in desk.machine.books.workers.values()) == [2, 2]


# Completions, failures, fencing.


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


def test_replay_brings_back_the_dead_of_one_queue() -> None:
    desk = Desk(max_attempts=1)
    desk.submit("a", 3)
    desk.submit("other", queue="r")
    (one, other) = assigned(desk.hello(W, "w", 9, queues=("q", "r")))
    desk.settle(W, *(failed(one, i) for i in range(3)), failed(other), credit=0)
    assert [row["id"] for row in desk.query("tasks", state="dead", queue="q")["rows"]] == ["a#0", "a#1", "a#2"]

    assert only(desk.say(CLIENT, Command(1, "replay", {"queue": "q", "limit": 2})), Answer).value == 2
    assert desk.query("status")["dead"] == 2
    assert desk.query("status")["waiting"] == 2


# Liveness.


def test_silent_worker_gets_nothing_new_and_then_loses_its_leases() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.submit("a", 2)
    desk.hello(W, "w", 1)
    desk.wait(3.5)
    assert desk.query("workers")[0]["state"] == "suspect"
    desk.wait(11.0)
    assert desk.task("a#0")["state"] == "leased"

    desk.wait(1.0)

    assert desk.query("workers") == []
    assert desk.task("a#0")["state"] == "waiting"


def test_any_message_counts_as_life() -> None:
    desk = Desk(suspect_after=3.0, gone_after=5.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    for fraction in (0.1, 0.5, 0.9):
        desk.wait(2.5)
        desk.say(W, Progress(one.token, 0, fraction))

    assert desk.query("workers")[0]["state"] == "live"
    assert desk.task("a")["progress"] == 0.9


def test_stall_of_the_coordinator_kills_nobody() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.hello(W, "w")

    desk.now += 60.0
    desk.turn()

    assert desk.query("workers")[0]["state"] == "live"


def test_worker_that_was_heard_after_a_stall_is_suspected_in_time() -> None:
    desk = Desk(suspect_after=3.0, gone_after=6.0)
    desk.hello(W, "w")
    desk.now += 5.0  # four of them are a stall
    desk.say(W, Heartbeat(1, ()))
    desk.say(W, Heartbeat(2, ()))
    desk.wait(2.9)
    assert desk.query("workers")[0]["state"] == "live"
    desk.wait(0.1)

    assert desk.query("workers")[0]["state"] == "suspect"


def test_jump_of_the_wall_clock_kills_nobody_and_loses_no_lease() -> None:
    desk = Desk()
    desk.submit("a")
    desk.hello(W, "w")
    for jump in (-86_400.0, 2 * 86_400.0):
        desk.wall += jump
        desk.turn()

    assert desk.query("workers")[0]["state"] == "live"
    assert desk.task("a")["state"] == "leased"


def test_worker_is_suspected_at_the_time_for_which_the_coordinator_woke() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.now = 125.2
    desk.turn()
    desk.hello(W, "w", 1)
    for now in (125.7, 126.2, 126.7, 127.2, 127.7):
        desk.now = now
        desk.turn()

    desk.now = desk.machine.next_at(desk.clocks())  # 128.2, which is 2.999999999999986 s later
    desk.turn()

    assert desk.query("workers")[0]["state"] == "suspect"


def test_worker_whose_connection_another_takes_gets_nothing_any_more() -> None:
    desk = Desk()
    desk.hello(W, "w", 1)
    desk.hello(W, "v", 1)

    desk.submit("a")
    desk.submit("b")

    assert [lease.holder.name for lease in desk.leases] == ["v"]
    assert desk.query("queue", queue="q")["waiting"] == 1


def test_second_incarnation_of_a_name_fences_the_first() -> None:
    desk = Desk()
    desk.submit("a", on_lost="cancel")
    (one,) = assigned(desk.hello(W, "w"))
    desk.say(W, Started((Held(one.token, (0,)),)))

    sent = desk.turn((V, Hello("w", "second", ("q",), 1, 1, ())))

    assert (W, Error(None, "fenced", "another worker took the name w")) in sent
    assert desk.task("a")["state"] == "cancelled"
    assert only(desk.hello(W, "w", 1, one.token), Error).code == "fenced"
    assert desk.query("workers")[0]["state"] == "live"


def test_worker_without_hello_is_told_to_say_it() -> None:
    desk = Desk()
    for message in (Heartbeat(1, ()), Started(()), Goodbye("w", "w"), Release(1, 1, ())):
        assert only(desk.say(W, message), Error).code == "say-hello"
    assert only(desk.settle(W), Error).code == "say-hello"
    assert desk.query("status")["counters"]["error say-hello"] == 5


def test_hello_gives_back_what_it_does_not_list_and_refuses_what_is_not_its_own() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b")
    one, two = assigned(desk.hello(W, "w", 2))

    answers = desk.hello(b"new connection", "w", 0, two.token, 12345)

    assert only(answers, Welcome).refused == (12345,)
    assert desk.task("a")["state"] == "waiting"
    assert desk.task("a")["attempts"] == 0
    assert desk.task("b")["token"] == two.token
    assert one.token != two.token


def test_lease_that_heartbeats_never_list_goes_back() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a")
    desk.hello(W, "w")
    for number in range(5):
        desk.wait(1.0)
        desk.say(W, Heartbeat(number, ()))
    desk.wait(0.5)

    sent = desk.say(W, Heartbeat(9, ()))

    assert [one.id for one in assigned(sent)] == ["a"]  # lost on the way, so assigned again
    assert desk.query("status")["counters"]["never arrived"] == 1


def test_beat_lists_the_tokens_that_are_no_longer_the_workers() -> None:
    desk = Desk()
    desk.hello(W, "w")

    assert only(desk.say(W, Heartbeat(7, (Held(99, ()),))), Beat) == Beat(7, 1, (99,))


# Losses.


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


def test_goodbye_gives_everything_back_uncharged() -> None:
    desk = Desk()
    desk.submit("a", on_lost="cancel")
    (one,) = assigned(desk.hello(W, "w"))
    desk.say(W, Started((Held(one.token, (0,)),)))

    desk.say(W, Goodbye("w", "w"))

    assert (desk.task("a")["state"], desk.task("a")["attempts"]) == ("waiting", 0)
    assert desk.query("workers") == []


# Restarts.


def test_restart_keeps_leases_for_workers_that_claim_them() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.restart()
    assert desk.query("status")["leased"] == 2
    desk.wait(4.0)

    welcome = only(desk.hello(V, "w", 2, one.token), Welcome)

    assert (welcome.epoch, welcome.refused) == (2, ())
    assert not only(desk.settle(V, done(one)), Settled).stale


def test_restart_loses_leases_that_nobody_claims_within_the_grace() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.restart()

    desk.wait(5.5)

    (again,) = assigned(desk.hello(V, "v"))
    assert again.token > one.token
    desk.hello(W, "w", 0, one.token)
    assert only(desk.settle(W, done(one), credit=0), Settled).stale


def test_restart_keeps_order_delays_dead_letters_and_results() -> None:
    desk = Desk(max_attempts=1)
    for id, options in (("low", {"priority": 1}), ("high", {"priority": 8}), ("later", {"delay": 50.0})):
        desk.submit(id, **options)
    desk.submit("bad", priority=9)
    desk.submit("good", priority=9)
    bad, good = assigned(desk.hello(W, "w", 2))
    desk.settle(W, failed(bad), done(good, result=5), credit=0)

    desk.restart()

    assert desk.task("bad")["state"] == "dead"
    assert desk.task("later")["state"] == "scheduled"
    assert only(desk.say(CLIENT, Wait(1, "good", 0, 1)), Outcome).ended[0].blob == b"\x05"
    assert [one.id for one in assigned(desk.hello(V, "v", 9))] == ["high", "low"]


# Cancelling.


def test_waiting_scheduled_and_running_tasks_can_be_cancelled() -> None:
    desk = Desk()
    desk.submit("running")
    (one,) = assigned(desk.hello(W, "w"))
    desk.submit("waiting", 3)
    desk.submit("scheduled", 2, delay=9.0)

    for id, count in (("waiting#1", 1), ("scheduled", 2), ("running", 1), ("running", 0), ("nothing", 0)):
        sent = desk.turn((CLIENT, Cancel(1, id)))
        assert (CLIENT, Answer(1, count)) in sent
        if id == "running" and count:
            assert (W, Cancelled((Span(one.token, 0, 1),))) in sent

    assert desk.task("waiting#1")["state"] == "cancelled"
    assert desk.task("waiting#2")["state"] in ("waiting", "leased")
    assert only(desk.settle(W, done(one), credit=0), Settled).stale
    desk.restart()
    assert desk.task("running")["state"] == desk.task("scheduled#0")["state"] == "cancelled"


# Waits.


def test_wait_is_answered_as_tasks_end_until_the_last() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    assert only(desk.say(CLIENT, Wait(1, "a", 0, 3)), Outcome) == Outcome(1, (), False)

    sent = [message for to, message in desk.turn((W, _settle(1, done(one, 0, 1)))) if to == CLIENT]
    assert [(m.ended[0].lo, m.ended[0].hi, m.is_last) for m in sent] == [(0, 1, False)]
    sent = [message for to, message in desk.turn((W, _settle(2, done(one, 1, 3)))) if to == CLIENT]
    assert [(m.ended[0].lo, m.ended[0].hi, m.is_last) for m in sent] == [(1, 3, True)]


def _settle(number: int, *ended: Done) -> Any:
    return Settle(number, 0, ended, ())


def test_wait_for_an_unknown_task_is_answered_at_once() -> None:
    outcome = only(Desk().say(CLIENT, Wait(1, "nothing", 0, 1)), Outcome)

    assert (outcome.ended[0].outcome, outcome.is_last) == ("unknown", True)


def test_wait_beyond_the_batch_is_told_so() -> None:
    desk = Desk()
    desk.submit("a", 2, delay=5.0)

    outcome = only(desk.say(CLIENT, Wait(1, "a", 0, 5)), Outcome)

    assert [(one.lo, one.hi, one.outcome) for one in outcome.ended] == [(2, 5, "unknown")]
    assert not outcome.is_last


# Pulls.


def test_pull_leases_tasks_and_the_same_pull_again_gets_the_same_leases() -> None:
    desk = Desk()
    desk.submit("a", 5)
    pull = Pull(1, "till", "q", 3, 0.0, 30.0)

    first = only(desk.say(CLIENT, pull), Tasks)

    assert len(assigned([first])[0].ends) >> 2 == 3
    assert only(desk.say(b"other connection", pull), Tasks) == first
    assert desk.query("status")["leased"] == 3


def test_pull_waits_for_a_task_and_ends_empty() -> None:
    desk = Desk()
    assert not desk.say(CLIENT, Pull(1, "till", "q", 1, 5.0, 30.0))
    assert not desk.say(CLIENT, Pull(2, "till", "q", 1, 3.0, 30.0))

    desk.submit("a")
    assert len(desk.leases) == 1
    assert desk.wait(4.0) == [(CLIENT, Tasks(2, ()))]


def test_pulled_lease_that_runs_out_is_a_lost_attempt_and_can_be_extended() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.say(CLIENT, Pull(1, "till", "q", 1, 0.0, 10.0)))
    desk.wait(9.0)
    assert only(desk.say(CLIENT, Extend(2, one.token, 10.0)), Answer).value is True
    desk.wait(9.0)
    assert desk.task("a")["state"] == "leased"

    desk.wait(2.0)

    assert (desk.task("a")["state"], desk.task("a")["attempts"]) == ("waiting", 1)
    assert only(desk.say(CLIENT, Extend(3, one.token, 10.0)), Answer).value is False
    assert only(desk.settle(CLIENT, done(one), credit=None), Settled).stale


def test_pull_and_workers_share_a_queue() -> None:
    desk = Desk()
    desk.say(CLIENT, Pull(1, "till", "q", 1, 20.0, 30.0))
    desk.hello(W, "w", 1)
    desk.submit("a", 2)

    assert sorted(lease.holder.is_puller for lease in desk.leases) == [False, True]


# Questions.


def test_question_that_cannot_be_answered_is_refused_in_words() -> None:
    desk = Desk()
    desk.submit("a")
    for message, text in (
        (Query(1, "weather", {}), f"expected a query of {', '.join(QUERIES)}, got 'weather'"),
        (Query(1, "task", {}), "expected text for id, got None"),
        (Query(1, "tasks", {"limit": 0}), "expected limit from 1 to 1000, got 0"),
        (
            Query(1, "tasks", {"state": "tired"}),
            "expected state waiting, leased, scheduled, dead, unfinished, done, cancelled, expired, any, got 'tired'",
        ),
        (Query(1, "tasks", {"queue": "r"}), "there is no queue 'r'"),
        (Command(1, "explode", {}), f"expected a command of {', '.join(COMMANDS)}, got 'explode'"),
        (Command(1, "set-queue", {"queue": "q", "colour": 1}), f"expected policies of {POLICIES}, got colour"),
        (Command(1, "set-queue", {"queue": "q", "max_tasks": 0}), "expected max_tasks from 1 to 1099511627776, got 0"),
        (Query(1, "queue", {}), "expected text for queue, got None"),
        (Query(1, "queue", {"queue": "r"}), "there is no queue 'r'"),
    ):
        assert only(desk.say(CLIENT, message), Error) == Error(1, "invalid", text)


def test_queue_keeps_its_limit_over_a_restart() -> None:
    desk = Desk()
    desk.say(CLIENT, Command(1, "set-queue", {"queue": "q", "max_tasks": 1, "assign": "hash"}))
    desk.restart()

    (row,) = desk.query("queues")

    assert (row["max_tasks"], row["assign"]) == (1, "hash")
    assert desk.submit("a", 2).refused


def test_ping_is_answered_with_the_epoch() -> None:
    desk = Desk()
    desk.restart()

    assert desk.say(CLIENT, Ping(4)) == [Pong(4, 2)]


def test_tasks_are_listed_in_the_order_of_service() -> None:
    desk = Desk()
    desk.submit("a", 2)
    desk.submit("b", priority=9)

    assert [row["id"] for row in desk.query("tasks", limit=2)["rows"]] == ["b", "a#0"]


@pytest.mark.parametrize(
    "options",
    [
        {"heartbeat_interval": 0},
        {"suspect_after": 0.5},
        {"gone_after": 1.0},
        {"gone_after": float("inf")},
        {"max_attempts": 0},
        {"payload_bytes_max": (8 << 20) + 1},
        {"retry": RetryPolicy("constant", float("nan"))},
        {"keep_seconds": -1.0},
        {"assign": "random"},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|expected"):
        CoordinatorOptions(**options)


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
