"""What users of other queues complain of most, each as a test of what happens here; others stand with the feature that
answers them.
"""

from tests.core.desk import CLIENT, Desk, assigned, done, only
from zq.wire.messages import Cancel, Heartbeat, Held, Hello, Settled, Span, Started

W, V = b"worker-1", b"worker-2"


def test_a_cancelled_task_stays_cancelled_after_a_restart() -> None:
    desk = Desk()
    desk.submit("waits", queue="other")
    desk.submit("delayed", queue="other", delay=60.0)
    desk.submit("runs")
    (one,) = assigned(desk.hello(W, "w"))
    for number, id in enumerate(("waits", "delayed", "runs")):
        desk.say(CLIENT, Cancel(number, id))

    desk.restart()
    desk.wait(120.0, every=5.0)

    assert assigned(desk.hello(V, "v", 9, queues=("q", "other"))) == []
    assert [desk.task(id)["state"] for id in ("waits", "delayed", "runs")] == ["cancelled"] * 3
    assert only(desk.settle(V, done(one)), Settled).stale == (Span(one.token, 0, 1),)


def test_a_worker_restarted_under_the_same_name_does_not_hide_its_lost_task() -> None:
    desk = Desk()
    desk.submit("a")
    (lost,) = assigned(desk.hello(W, "shop"))
    desk.say(W, Started((Held(lost.token, (0,)),)))
    desk.kill(W)

    again = assigned(desk.say(V, Hello("shop", "second life", ("q",), 1, 1, ())))

    assert [(one.id, one.attempt) for one in again] == [("a", 2)]
    assert again[0].token > lost.token


def test_two_workers_never_complete_the_same_task() -> None:
    desk = Desk()
    desk.submit("a")
    (first,) = assigned(desk.hello(W, "w"))
    desk.say(W, Started((Held(first.token, (0,)),)))
    desk.wait(desk.options.gone_after + 1.0)
    (second,) = assigned(desk.hello(V, "v"))

    assert only(desk.settle(V, done(second, result="v")), Settled).stale == ()
    desk.hello(W, "w")
    assert only(desk.settle(W, done(first, result="w")), Settled).stale == (Span(first.token, 0, 1),)
    assert desk.query("status")["done"] == 1


def test_a_task_of_any_length_is_not_given_away_while_its_worker_beats() -> None:
    desk = Desk()
    desk.submit("long")
    (one,) = assigned(desk.hello(W, "w"))
    desk.hello(V, "v")
    for number in range(4000):  # more than an hour
        desk.now += 1.0
        desk.say(W, Heartbeat(number, (Held(one.token, (0,)),)))
        desk.say(V, Heartbeat(number, ()))

    assert desk.task("long")["worker"] == "w"
    assert desk.task("long")["attempts"] == 0
    assert only(desk.settle(W, done(one)), Settled).stale == ()


def test_a_slow_worker_hoards_nothing_beyond_its_credit() -> None:
    desk = Desk()
    desk.submit("b", 10)

    assert sum(len(one.ends) >> 2 for one in assigned(desk.hello(W, "slow", 2))) == 2
    assert sum(len(one.ends) >> 2 for one in assigned(desk.hello(V, "quick", 8))) == 8


def test_an_id_that_was_never_submitted_is_unknown_and_not_pending() -> None:
    desk = Desk()

    assert desk.task("nobody")["state"] == "unknown"
