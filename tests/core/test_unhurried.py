"""Answers that nobody waits for are said a little later, in their order, and never too late."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, done, only
from zq.core.coordinator import Machine
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
    Query,
    Receipt,
    Settle,
    Settled,
    Submit,
    ToCoordinator,
    Wait,
    Withdraw,
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


def test_receipt_of_what_is_waited_for_at_once_comes_with_the_end() -> None:
    desk = Desk()
    desk.hello(W1, "w")
    sent = run(desk, (CLIENT, _submit(1, "a")), (CLIENT, Wait(2, "a", 0, 1)))
    assert [type(one) for to, one in sent if to == CLIENT] == []
    assigned = only([one for to, one in sent if to == W1], Assign).assignments[0]
    told = [one for to, one in run(desk, (W1, Settle(1, 1, (done(assigned),), ()))) if to == CLIENT]
    assert [(type(one), one.request) for one in told] == [(Receipt, 1), (Outcome, 2)]


def test_receipt_of_what_takes_long_is_said_soon() -> None:
    desk = Desk()
    run(desk, (CLIENT, _submit(1, "a")), (CLIENT, Wait(2, "a", 0, 1)))
    asked_at = desk.now
    while not (sent := pass_time(desk)):
        assert desk.now < asked_at + LATER_SECONDS
    assert [(type(one), one.request) for _, one in sent] == [(Receipt, 1), (Outcome, 2)]
    assert desk.now == asked_at + LATER_SECONDS


@pytest.mark.parametrize("last", [Ping(3), Withdraw((2,)), Wait(3, "b", 0, 1), Query(3, "queues", {})])
def test_receipt_is_said_before_anything_else_is_answered(last: ToCoordinator) -> None:
    desk = Desk()
    desk.submit("b")
    run(desk, (CLIENT, _submit(1, "a")), (CLIENT, Wait(2, "a", 0, 1)))
    sent = run(desk, (CLIENT, last))
    assert (type(sent[0][1]), sent[0][1].request) == (Receipt, 1)
    desk.now += LATER_SECONDS
    assert Receipt not in [type(one) for _, one in run(desk)]


def test_receipt_is_said_at_once_to_who_waits_for_something_else() -> None:
    desk = Desk()
    desk.submit("b")
    for messages in (
        [(CLIENT, _submit(1, "a")), (CLIENT, Wait(2, "b", 0, 1))],  # for another task
        [(CLIENT, _submit(3, "c")), (W1, Wait(4, "c", 0, 1))],  # at another connection
        [(CLIENT, _submit(5, "d", "e")), (CLIENT, Wait(6, "d", 0, 1))],  # which says less than the receipt
    ):
        assert (CLIENT, Receipt) in [(to, type(one)) for to, one in run(desk, *messages)]


def test_receipt_of_a_turn_that_stays_is_said_when_the_next_one_fails() -> None:
    desk = Desk()
    run(desk, (CLIENT, _submit(1, "a")), (CLIENT, Wait(2, "a", 0, 1)))

    def come() -> Iterator[tuple[bytes, ToCoordinator]]:
        yield CLIENT, _submit(3, "b")
        yield CLIENT, Wait(4, "b", 0, 1)
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        desk.machine.turn(desk.clocks(), come())
    desk.machine = Machine(desk.options, desk.clocks(), desk.store, before=desk.machine)
    told = [one for _, one in run(desk) if isinstance(one, Receipt)]
    assert [one.request for one in told] == [1]  # and none of what was never stored
    assert not run(desk)


def test_receipt_is_not_said_to_who_is_gone() -> None:
    desk = Desk()
    run(desk, (CLIENT, _submit(1, "a")), (CLIENT, Wait(2, "a", 0, 1)))
    desk.machine.turn(desk.clocks(), (), [CLIENT])
    desk.now += LATER_SECONDS
    assert not run(desk)


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
    sent = [one for to, one in run(desk, (CLIENT, _submit(9, "b"))) if to == W1]
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


def _submit(request: int, *ids: str) -> Submit:
    ends, blob = pack_payloads([encode_payload(1)])
    return Submit(request, tuple(Batch(id, "q", Options(), ends, blob) for id in ids))


def _assigned(desk: Desk) -> Assignment:
    """A task of a worker that would take another one."""
    desk.submit("a")
    return only(desk.hello(W1, "w", credit=2), Assign).assignments[0]
