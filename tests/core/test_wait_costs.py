"""What waiting costs: a few calls for each wait, and at most so many answers in a turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.cost import calls_of, cost_of, finish, largest_cost_of
from tests.core.desk import CLIENT, Desk, assigned, done, failed
from zq.core.state import outcome_waits
from zq.core.tasks import outcomes as tasks_outcomes
from zq.wire.batch import decode_payload, encode_payload, iterate_payloads, pack_payloads
from zq.wire.messages import Confirm, Outcome, Progress, Pull, Settle, Wait, Withdraw

W = b"w"


def desk_with(waits: int, tasks: int = 1, hi: int = 1) -> tuple[Desk, Any]:
    """Returns a desk with a batch that a worker has, and that somebody waits for so often, and the assignment."""
    desk = Desk()
    desk.submit("b", tasks)
    (one,) = assigned(desk.hello(W, "w", tasks))
    desk.turn(*[(CLIENT, Wait(request, "b", 0, hi)) for request in range(waits)])
    return desk, one


def outcomes(sent: list[tuple[bytes, Any]]) -> list[Outcome]:
    return [message for _, message in sent if isinstance(message, Outcome) and (message.ended or message.progress)]


def test_waits_on_one_task_cost_as_much_each_however_many_there_are() -> None:
    costs = []
    for count in (200, 800):
        desk, _ = desk_with(0)
        costs.append(cost_of(desk, *[(CLIENT, Wait(request, "b", 0, 1)) for request in range(count)]))
        assert len(desk.machine.books.waits.entries["b"]) == count
    assert costs[1] <= 4.2 * costs[0]


@pytest.mark.parametrize("way", ["withdraw", "disconnect"])
def test_giving_waits_up_costs_as_much_each_however_many_there_are(way: str) -> None:
    costs = []
    for count in (200, 800):
        desk, _ = desk_with(count)
        if way == "withdraw":
            costs.append(cost_of(desk, (CLIENT, Withdraw(tuple(range(count))))))
        else:
            costs.append(calls_of(lambda desk=desk: desk.lose(CLIENT)))  # type: ignore[misc]
        assert not desk.machine.books.waits.entries
    assert costs[1] <= 4.2 * costs[0]


def test_an_end_costs_each_turn_the_same_however_many_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_waits, "TOLD_MAX", 50)
    costs = []
    for count in (200, 800):
        desk, one = desk_with(count)
        costs.append(largest_cost_of(desk, (W, Settle(1, 0, (done(one),), ()))))
        assert not desk.machine.books.waits.entries
    assert costs[1] <= 1.2 * costs[0]


def test_all_who_wait_are_told_once_and_those_who_gave_it_up_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_waits, "TOLD_MAX", 10)
    desk, one = desk_with(50)

    sent = desk.turn((W, Settle(1, 0, (done(one, result="hot"),), ())))
    sent += finish(desk, (CLIENT, Withdraw((48, 49))))

    told = outcomes(sent)
    assert sorted(message.request for message in told) == list(range(48))
    assert {(message.ended[0].blob, message.is_last) for message in told} == {(b"\xa3hot", True)}


def test_who_asks_meanwhile_is_told_at_once_and_no_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_waits, "TOLD_MAX", 10)
    desk, one = desk_with(50)
    sent = desk.turn((W, Settle(1, 0, (done(one),), ())))

    sent += finish(desk, (CLIENT, Wait(40, "b", 0, 1)))

    assert [message.request for message in outcomes(sent)].count(40) == 1


def test_many_ends_and_reports_cost_little_more_than_one_however_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_waits, "TOLD_MAX", 50)
    costs = []
    for count in (100, 400):
        desk, one = desk_with(count, 100, 100)
        ends = tuple(done(one, index, index + 1) for index in range(100))
        reports = [(W, Progress(one.token, 0, number / 1000)) for number in range(50)]
        costs.append(max(largest_cost_of(desk, *reports), largest_cost_of(desk, (W, Settle(1, 0, ends, ())))))
        assert not desk.machine.books.waits.entries
    assert costs[1] <= 1.2 * costs[0]


def test_of_reports_that_come_faster_than_they_can_be_told_the_last_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome_waits, "TOLD_MAX", 5)
    desk, one = desk_with(20)

    sent = desk.turn((W, Progress(one.token, 0, 0.1)))
    sent += desk.turn((W, Progress(one.token, 0, 0.2)))
    sent += finish(desk, (W, Progress(one.token, 0, 0.3)))

    last = {message.request: message.progress for message in outcomes(sent)}
    assert set(last.values()) == {((0, 0.3),)}
    assert len(last) == 20
    assert len(outcomes(sent)) == 40


def desk_with_results(tasks: int, run: int) -> Desk:
    """Returns a desk with a batch that has ended, so many tasks at a time; each results in its index."""
    desk = Desk()
    desk.submit("b", tasks)
    (one,) = assigned(desk.hello(W, "w", tasks))
    for lo in range(0, tasks, run):
        hi = min(lo + run, tasks)
        ends, blob = pack_payloads([encode_payload(index) for index in range(lo, hi)])
        desk.turn((W, Settle(1, None, (done(one, lo, hi)._replace(ends=ends, blob=blob),), ())))
    return desk


def results_in(sent: list[tuple[bytes, Any]]) -> list[tuple[int, Any]]:
    """Returns index and result of each task that is told as done, in the order in which they are told."""
    return [
        (one.lo + at, decode_payload(payload))
        for message in outcomes(sent)
        for one in message.ended
        if one.outcome == "done"
        for at, payload in enumerate(iterate_payloads(one.ends, one.blob))
    ]


@pytest.mark.parametrize("run", [1, 3, 64])
def test_a_wait_for_one_task_costs_the_same_however_many_its_batch_has(run: int) -> None:
    costs = []
    for count in (100, 800):
        desk = desk_with_results(count, run)
        costs.append(max(cost_of(desk, (CLIENT, Wait(7, "b", index, index + 1))) for index in (5, 71, count - 1)))
    assert costs[1] <= costs[0] + 40


@pytest.mark.parametrize("run", [1, 3, 7, 40])
def test_a_wait_is_told_of_just_those_tasks_that_it_asks_for(run: int) -> None:
    desk = desk_with_results(40, run)
    for lo in range(40):
        for hi in range(lo + 1, 41):
            assert results_in(desk.turn((CLIENT, Wait(7, "b", lo, hi)))) == [(index, index) for index in range(lo, hi)]


def in_portions(monkeypatch: pytest.MonkeyPatch, spans: int = 10, size: int = 1 << 20) -> None:
    monkeypatch.setattr(tasks_outcomes, "ANSWER_PORTION_SPANS", spans)
    monkeypatch.setattr(tasks_outcomes, "ANSWER_PORTION_BYTES", size)


def desk_with_reasons(tasks: int) -> Desk:
    """Returns a desk with a batch whose tasks are dead, each with a reason of its own."""
    desk = Desk()
    desk.submit("b", tasks)
    (one,) = assigned(desk.hello(W, "w", tasks))
    ends = tuple(failed(one, index, error=f"burnt {index}", is_final=True) for index in range(tasks))
    desk.turn((W, Settle(1, None, (), ends)))
    return desk


@pytest.mark.parametrize("make", [lambda tasks: desk_with_results(tasks, 1), desk_with_reasons])
def test_a_long_answer_costs_each_turn_the_same_and_tells_everything_once(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[int], Desk]
) -> None:
    in_portions(monkeypatch)
    costs = []
    for count in (100, 400):
        costs.append(largest_cost_of(make(count), (CLIENT, Wait(7, "b", 0, count))))
        told = outcomes(finish(make(count), (CLIENT, Wait(7, "b", 0, count))))
        assert [index for one in told for span in one.ended for index in range(span.lo, span.hi)] == list(range(count))
        assert [one.is_last for one in told] == [False] * (len(told) - 1) + [True]
    assert costs[1] <= 1.3 * costs[0]


def test_a_portion_has_so_many_bytes_and_no_more_than_a_run_of_results_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_portions(monkeypatch, 300, 20)
    desk = desk_with_results(100, 2)

    told = outcomes(finish(desk, (CLIENT, Wait(7, "b", 1, 100))))

    assert max(sum(len(span.blob) for span in one.ended) for one in told) < 24
    assert results_in([(CLIENT, one) for one in told]) == [(index, index) for index in range(1, 100)]


def test_who_has_much_to_read_is_told_more_when_it_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    in_portions(monkeypatch)
    desk = desk_with_results(40, 1)
    slow = {CLIENT}
    desk.machine.books.waits.reads_slowly = lambda peer: peer in slow

    sent = finish(desk, (CLIENT, Wait(7, "b", 0, 40)), (b"other", Wait(7, "b", 0, 40)))
    assert len(results_in([one for one in sent if one[0] == CLIENT])) == 10
    assert len(results_in([one for one in sent if one[0] == b"other"])) == 40

    slow.clear()
    desk.now = desk.machine.next_at(desk.clocks())
    assert desk.now <= outcome_waits.UNREAD_PAUSE
    assert [index for index, _ in results_in(finish(desk))] == list(range(10, 40))
    assert not desk.machine.books.waits.has_long_answers


@pytest.mark.parametrize("way", ["withdraw", "disconnect", "ask again"])
def test_a_long_answer_ends_with_its_wait(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    in_portions(monkeypatch)
    desk = desk_with_results(40, 1)
    desk.turn((CLIENT, Wait(7, "b", 0, 40)))

    if way == "disconnect":
        sent = desk.lose(CLIENT) + finish(desk)
    else:
        sent = finish(desk, (CLIENT, Withdraw((7,)) if way == "withdraw" else Wait(7, "b", 39, 40)))

    assert [index for index, _ in results_in(sent)] == ([39] if way == "ask again" else [])
    assert not desk.machine.books.waits.has_long_answers
    assert not desk.machine.books.waits.entries


def test_what_ends_while_a_long_answer_goes_on_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    in_portions(monkeypatch)
    desk = Desk()
    desk.submit("b", 60)
    (one,) = assigned(desk.hello(W, "w", 60))
    desk.turn((W, Settle(1, None, tuple(done(one, index, index + 1, index) for index in range(0, 60, 2)), ())))
    late = Settle(2, None, tuple(done(one, index, index + 1, index) for index in range(1, 60, 2)), ())

    sent = desk.turn((CLIENT, Wait(7, "b", 0, 60)))
    sent += finish(desk, (W, late))

    assert sorted(results_in(sent)) == [(index, index) for index in range(60)]
    assert not desk.machine.books.waits.entries


def test_a_batch_that_goes_on_is_told_as_far_as_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    in_portions(monkeypatch)
    desk = Desk()
    desk.submit("b", 60)
    (one,) = assigned(desk.hello(W, "w", 60))
    ends = tuple(failed(one, index, is_final=index < 30) for index in range(0, 60, 2))  # the others are tried again
    desk.turn((W, Settle(1, None, (), ends)))

    told = outcomes(finish(desk, (CLIENT, Wait(7, "b", 0, 60))))

    assert sorted(span.lo for message in told for span in message.ended) == list(range(0, 30, 2))
    (entry,) = desk.machine.books.waits.entries["b"].values()
    assert (entry.missing.bit_count(), entry.rest) == (45, 0)
    assert not desk.machine.books.waits.has_long_answers


def test_a_withdraw_costs_as_much_however_often_it_names_a_pull() -> None:
    costs = []
    for count in (10, 1000):
        desk = Desk()
        for number in range(20):
            desk.submit(f"t{number}")
            (one,) = assigned(desk.say(CLIENT, Pull(77, f"till-{number}", "q", 1, 0.0, 60.0, True)))
            desk.turn((CLIENT, Confirm((one.token,))))
        costs.append(cost_of(desk, (CLIENT, Withdraw((77,) * count))))
        assert len(desk.leases) == 20
    assert costs[1] <= costs[0] + 10


def test_connections_that_end_together_cost_as_much_each_however_many_they_are() -> None:
    costs = []
    for count in (50, 200):
        desk = Desk()
        peers = [b"peer-%d" % number for number in range(count)]
        for number, peer in enumerate(peers):
            desk.submit(f"t{number}")
            desk.turn((peer, Pull(1, "till", "q", 1, 0.0, 60.0, True)))
        costs.append(calls_of(lambda desk=desk, peers=peers: desk.lose(*peers)))  # type: ignore[misc]
        assert not desk.machine.books.offers
    assert costs[1] <= 4.2 * costs[0]
