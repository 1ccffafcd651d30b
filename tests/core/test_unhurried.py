"""Answers that nobody waits for are said a little later, in their order, and never too late."""

from typing import Any

from tests.core.desk import CLIENT, Desk, done, only
from zq.core.unhurried import LATER_SECONDS, UNHEARD_MAX
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    Assign,
    Assignment,
    Batch,
    Beat,
    Heartbeat,
    Options,
    Outcome,
    Ping,
    Pong,
    Settle,
    Settled,
    Submit,
    Wait,
)

W1 = b"worker"
EMPTY = Outcome(1, (), is_last=False)


def run(desk: Desk, *messages: tuple[bytes, Any]) -> list[tuple[bytes, Any]]:
    """One turn of the machine, and nothing that it would say later."""
    return desk.machine.turn(desk.clocks(), messages)


def pass_time(desk: Desk) -> list[tuple[bytes, Any]]:
    """The turn that is due next."""
    desk.now = desk.machine.next_at(desk.clocks())
    return run(desk)


def test_wait_for_what_takes_long_is_answered_soon() -> None:
    desk = Desk()
    desk.submit("a")
    assert not run(desk, (CLIENT, Wait(1, "a", 0, 1)))
    asked_at = desk.now
    while not (sent := pass_time(desk)):
        assert desk.now < asked_at + LATER_SECONDS
    assert sent == [(CLIENT, EMPTY)]
    assert desk.now == asked_at + LATER_SECONDS


def test_wait_for_what_ends_soon_is_answered_once() -> None:
    desk = Desk()
    assignment = _assigned(desk)
    run(desk, (CLIENT, Wait(1, "a", 0, 1)))
    told = [one for to, one in run(desk, (W1, Settle(1, 1, (done(assignment),), ()))) if to == CLIENT]
    assert only(told, Outcome).is_last
    desk.now += LATER_SECONDS
    assert not [one for to, one in run(desk) if to == CLIENT]


def test_wait_that_is_said_again_with_its_number_is_answered_again() -> None:
    desk = Desk()
    desk.submit("a")
    for _ in range(2):
        run(desk, (CLIENT, Wait(1, "a", 0, 1)))
        desk.now += LATER_SECONDS
        assert run(desk) == [(CLIENT, EMPTY)]


def test_wait_is_answered_before_the_ping_behind_it() -> None:
    desk = Desk()
    desk.submit("a")
    sent = run(desk, (CLIENT, Wait(1, "a", 0, 1)), (CLIENT, Ping(2)))
    assert sent == [(CLIENT, EMPTY), (CLIENT, Pong(2, desk.machine.books.epoch))]


def test_many_waits_are_not_all_answered_in_one_turn() -> None:
    desk = Desk()
    desk.submit("a")
    waits = [(CLIENT, Wait(number, "a", 0, 1)) for number in range(UNHEARD_MAX + 2)]
    assert len(run(desk, *waits)) == 2
    desk.now += LATER_SECONDS
    assert len(run(desk)) == UNHEARD_MAX


def test_worker_hears_with_its_next_task_that_a_report_is_settled() -> None:
    desk = Desk()
    settle = Settle(1, 1, (done(_assigned(desk)),), ())
    assert not run(desk, (W1, settle))
    batch = Batch("b", "q", Options(), *pack_payloads([encode_payload(1)]))
    sent = [one for to, one in run(desk, (CLIENT, Submit(9, (batch,)))) if to == W1]
    assert [type(one) for one in sent] == [Settled, Assign]


def test_worker_hears_soon_that_a_report_is_settled_though_nothing_comes() -> None:
    desk = Desk()
    reported_at = desk.now
    run(desk, (W1, Settle(1, 1, (done(_assigned(desk)),), ())))
    assert pass_time(desk) == [(W1, Settled(1, ()))]
    assert desk.now <= reported_at + LATER_SECONDS


def test_worker_hears_before_the_answer_to_a_beat_that_a_report_is_settled() -> None:
    desk = Desk()
    settle = Settle(1, 1, (done(_assigned(desk)),), ())
    sent = run(desk, (W1, settle), (W1, Heartbeat(7, ())))
    assert [type(one) for _, one in sent] == [Settled, Beat]


def test_a_beat_is_not_answered_beside_a_turn_while_a_report_is() -> None:
    desk = Desk()
    run(desk, (W1, Settle(1, 1, (done(_assigned(desk)),), ())))
    assert not desk.machine.note_beat(desk.now, W1)
    run(desk)
    assert desk.machine.note_beat(desk.now, W1)


def _assigned(desk: Desk) -> Assignment:
    """A task of a worker that would take another one."""
    desk.submit("a")
    return only(desk.hello(W1, "w", credit=2), Assign).assignments[0]
