"""Tasks end wherever they are, and who waits for that is told."""

from typing import Any

from tests.core.desk import CLIENT, Desk, assigned, done, only
from zq.wire.messages import Answer, Cancel, Cancelled, Done, Outcome, Settle, Settled, Span, Wait

W, V = b"worker-1", b"worker-2"


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
