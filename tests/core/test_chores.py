"""What one message leaves to the next steps: it goes on in portions, over restarts, and is answered when it is over."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.cost import calls_of, finish, largest_cost_of
from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core.admin import chores
from zq.core.tasks import follow_up, groups
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Answer,
    Batch,
    Cancel,
    Command,
    Group,
    Open,
    Options,
    Outcome,
    Receipt,
    Settle,
    Submit,
    Wait,
)

W = b"w"
ONE = pack_payloads([encode_payload(1)])


@pytest.fixture(autouse=True)
def portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes many steps is little here."""
    monkeypatch.setattr(chores, "PORTION", 4)
    monkeypatch.setattr(chores, "SWEPT", 1)


def open_group(desk: Desk, id: str, size: int, queue: str | None = None, options: Options = DEFAULT_OPTIONS) -> Any:
    desk.number += 1
    group = Group(id, size, "all", False, queue, options)
    return only(desk.say(CLIENT, Open(desk.number, group)), Receipt)


def members(desk: Desk, group: str, count: int, first: int = 0) -> None:
    """Submits members of a group, each a batch of its own."""
    batches = tuple(
        Batch(f"{group}-{index}", "q", Options(group=(group, (index,))), *ONE) for index in range(first, first + count)
    )
    for lo in range(0, count, 1000):
        desk.turn((CLIENT, Submit(1, batches[lo : lo + 1000])))


def answers(sent: list[tuple[bytes, Any]]) -> list[Any]:
    return [message.value for _, message in sent if isinstance(message, Answer)]


def states(desk: Desk, *ids: str) -> set[str]:
    return {desk.task(id)["state"] for id in ids}


def test_a_cancel_is_answered_when_the_last_member_has_ended_with_the_number_of_all() -> None:
    desk = Desk()
    open_group(desk, "g", 20, "after")
    members(desk, "g", 20)

    first = desk.turn((CLIENT, Cancel(1, "g")))
    rest = finish(desk)

    assert answers(first) == []
    assert answers(rest) == [21]
    assert states(desk, *(f"g-{index}" for index in range(20))) == {"cancelled"}
    assert desk.query("group", id="g")["state"] == "cancelled"
    assert desk.query("queue", queue="q")["waiting"] == 0


def test_others_are_served_while_a_cancel_goes_on() -> None:
    desk = Desk()
    open_group(desk, "g", 20)
    members(desk, "g", 20)
    desk.turn((CLIENT, Cancel(1, "g")))

    assert desk.submit("other").accepted

    assert answers(finish(desk)) == [21]
    assert desk.task("other")["state"] == "waiting"


def test_a_cancel_goes_on_after_a_restart_and_whoever_asks_again_hears_of_all() -> None:
    desk = Desk()
    open_group(desk, "g", 20)
    members(desk, "g", 20)
    desk.turn((CLIENT, Cancel(1, "g")))
    desk.turn()

    desk.restart()
    sent = finish(desk, (CLIENT, Cancel(2, "g")))

    assert answers(sent) == [21]
    assert states(desk, *(f"g-{index}" for index in range(20))) == {"cancelled"}


def test_a_cancel_goes_on_after_a_kill_in_the_middle_of_a_portion_also_when_nobody_asks_again() -> None:
    desk = Desk()
    open_group(desk, "g", 20)
    members(desk, "g", 20)
    desk.turn((CLIENT, Cancel(1, "g")))

    desk.crash()
    finish(desk)

    assert states(desk, *(f"g-{index}" for index in range(20))) == {"cancelled"}
    assert not desk.machine.books.chores.going


def test_two_who_cancel_the_same_are_both_told_when_it_is_over() -> None:
    desk = Desk()
    open_group(desk, "g", 20)
    members(desk, "g", 20)

    desk.turn((CLIENT, Cancel(1, "g")))
    sent = finish(desk, (b"other", Cancel(7, "g")), (CLIENT, Cancel(1, "g")))

    told = [(peer, message.request, message.value) for peer, message in sent if isinstance(message, Answer)]
    assert sorted(told) == [(CLIENT, 1, 21), (b"other", 7, 21)]


def test_members_that_are_handed_out_meanwhile_are_taken_back_before_the_answer() -> None:
    desk = Desk()
    open_group(desk, "g", 20)
    members(desk, "g", 20)
    desk.turn((CLIENT, Cancel(1, "g")))
    hands = assigned(desk.hello(W, "w", 100))
    assert hands

    assert answers(finish(desk)) == [21]
    assert desk.leases == []
    assert assigned(desk.hello(W, "w", 100)) == []


def test_groups_inside_are_cancelled_with_theirs_each_counting_as_one_more() -> None:
    desk = Desk()
    open_group(desk, "outer", 3)
    for id in ("in-1", "in-2"):
        open_group(desk, id, 10, "after", Options(group=("outer", (int(id[-1]),))))
        members(desk, id, 10)
    members(desk, "outer", 1)

    assert answers(finish(desk, (CLIENT, Cancel(1, "outer")))) == [3 + 20 + 1]
    assert desk.query("group", id="in-2")["state"] == "cancelled"
    assert states(desk, "in-1-3", "in-2-9", "outer-0") == {"cancelled"}


def test_groups_are_nested_so_deep_and_no_deeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUP_DEPTH_MAX", 50)
    desk = Desk()
    open_group(desk, "g0", 1)
    for number in range(1, 51):
        assert open_group(desk, f"g{number}", 1, "after", Options(group=(f"g{number - 1}", (0,)))).accepted

    (refused,) = open_group(desk, "g51", 1, "after", Options(group=("g50", (0,)))).refused
    sent = finish(desk, (CLIENT, Cancel(1, "g0")))

    assert (refused.code, "more than" in refused.reason) == ("invalid", True)
    assert answers(sent) == [51]


def test_tasks_of_a_batch_with_fates_of_their_own_are_cancelled_in_portions() -> None:
    desk = Desk()
    desk.submit("b", 40, retry=("constant", 50.0, 1.0, 50.0))
    (one,) = assigned(desk.hello(W, "w", 20))
    desk.settle(W, done(one, 0, 5), failed(one, 7), failed(one, 9), credit=20)

    sent = finish(desk, (CLIENT, Cancel(1, "b")))

    assert answers(sent) == [35]
    assert states(desk, "b#7", "b#9", "b#10", "b#39") == {"cancelled"}
    assert desk.task("b#3")["state"] == "done"
    counts = desk.query("queue", queue="q")
    assert (counts["waiting"], counts["leased"], counts["scheduled"], counts["cancelled"]) == (0, 0, 0, 35)


def test_what_is_split_off_while_a_cancel_goes_on_ends_with_the_others() -> None:
    desk = Desk()
    desk.submit("b", 40, retry=("constant", 50.0, 1.0, 50.0))
    (one,) = assigned(desk.hello(W, "w", 20))
    desk.settle(W, done(one, 19, 20), credit=0)
    desk.turn((CLIENT, Cancel(1, "b")))

    desk.settle(W, failed(one, 12), credit=0)

    assert answers(finish(desk)) == [39]
    assert states(desk, "b#12", "b#0", "b#39") == {"cancelled"}


def test_a_batch_of_which_nothing_was_touched_is_cancelled_as_a_whole() -> None:
    desk = Desk()
    desk.submit("b", 1000)
    desk.say(CLIENT, Wait(5, "b", 0, 1000))

    sent = desk.turn((CLIENT, Cancel(1, "b")))

    assert answers(sent) == [1000]
    (outcome,) = [message for _, message in sent if isinstance(message, Outcome)]
    assert [(one.lo, one.hi, one.outcome) for one in outcome.ended] == [(0, 1000, "cancelled")]
    assert desk.task("b#500")["state"] == "cancelled"
    assert answers(finish(desk, (CLIENT, Cancel(2, "b#500")))) == [0]


def test_a_batch_is_buried_in_portions_over_a_restart() -> None:
    desk = Desk()
    desk.submit("b", 20)

    first = desk.turn((CLIENT, Command(1, "bury", {"id": "b", "reason": "spoilt"})))
    desk.restart()
    sent = finish(desk, (CLIENT, Command(2, "bury", {"id": "b", "reason": "spoilt"})))

    assert (answers(first), answers(sent)) == ([], [20])
    assert desk.query("queue", queue="q")["dead"] == 20
    assert desk.task("b#3")["reason"] == "spoilt"


def test_a_group_that_failed_leaves_nothing_behind() -> None:
    desk = Desk()
    open_group(desk, "g", groups.SWEEP_ROWS + 100)
    members(desk, "g", groups.SWEEP_ROWS + 100)

    finish(desk, (CLIENT, Cancel(1, "g-5")))

    tx = desk.store.begin()
    assert list(tx.scan("roster")) == list(tx.scan("members")) == list(tx.scan("chores")) == []
    tx.abort()
    assert desk.query("group", id="g")["state"] == "failed"


@pytest.mark.parametrize("queue", ["after", None])
@pytest.mark.parametrize("has_restarted", [False, True])
def test_many_members_are_joined_in_portions_once(
    monkeypatch: pytest.MonkeyPatch, queue: str | None, has_restarted: bool
) -> None:
    monkeypatch.setattr(follow_up, "JOIN_AT_ONCE", 5)
    monkeypatch.setattr(chores, "JOIN_PORTION", 7)
    desk = Desk()
    open_group(desk, "g", 40, queue)
    members(desk, "g", 40)
    hands = assigned(desk.hello(W, "w", 100))
    desk.say(CLIENT, Wait(5, "g", 0, 1))
    sent = desk.turn((W, Settle(1, 0, tuple(done(one, result=one.id) for one in hands), ())))
    assert desk.query("group", id="g")["state"] == "open"
    if has_restarted:
        desk.restart()
        sent = desk.turn((CLIENT, Wait(5, "g", 0, 1)))

    sent += finish(desk)

    assert desk.query("group", id="g")["state"] == "done"
    names = pack_payloads([b""])[1] + b"".join(encode_payload(f"g-{index}") for index in range(40))
    if queue is None:
        outcome = [message for _, message in sent if isinstance(message, Outcome)][-1]
        again = only(desk.say(CLIENT, Wait(6, "g", 0, 1)), Outcome)
        assert outcome.ended == again.ended
        assert outcome.ended[0].blob == b"\xdc\x00\x28" + names
    else:
        (callback,) = assigned(desk.hello(b"v", "v", 5, queues=("after",)))
        assert (callback.id, callback.blob) == ("g", b"\xdc\x00\x28" + names)


def test_a_cancel_while_a_group_is_joined_comes_before_its_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_up, "JOIN_AT_ONCE", 5)
    monkeypatch.setattr(chores, "JOIN_PORTION", 7)
    desk = Desk()
    open_group(desk, "g", 40, "after")
    members(desk, "g", 40)
    hands = assigned(desk.hello(W, "w", 100))
    desk.turn((W, Settle(1, 0, tuple(done(one, result=one.id) for one in hands), ())))

    sent = finish(desk, (CLIENT, Cancel(1, "g")))

    assert answers(sent) == [1]
    assert desk.task("g")["state"] == "unknown"
    assert not desk.machine.books.joints


def test_each_step_of_a_cancel_costs_the_same_however_large_the_group_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    costs = []
    for count in (1000, 4000):
        desk = Desk()
        open_group(desk, "g", count)
        members(desk, "g", count)
        costs.append(largest_cost_of(desk, (CLIENT, Cancel(1, "g"))))

    assert costs[1] <= 1.2 * costs[0]


def test_a_cancel_of_what_is_leased_does_not_look_at_what_else_is() -> None:
    costs = []
    for others in (500, 2000):
        desk = Desk()
        desk.submit("b", 3)
        for lo in range(0, others, 500):
            batches = tuple(Batch(f"o{index}", "q", DEFAULT_OPTIONS, *ONE) for index in range(lo, lo + 500))
            desk.turn((CLIENT, Submit(1, batches)))
        desk.hello(W, "w", 5000)
        costs.append(calls_of(lambda desk=desk: desk.turn((CLIENT, Cancel(1, "b")))))  # type: ignore[misc]

    assert costs[1] <= 1.1 * costs[0]


def cancel(desk: Desk, id: str, *, is_again: bool = False) -> int:
    """Cancels, and returns the answer, whenever it comes."""
    desk.number += 1
    found = answers(desk.turn((CLIENT, Cancel(desk.number, id, is_again))))
    for _ in range(100):
        if found:
            break
        found = answers(desk.turn())
    (count,) = found
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("is_restarted", [False, True])
def test_cancel_that_is_said_again_tells_what_it_has_done_before(is_restarted: bool) -> None:
    desk = Desk()
    desk.submit("one")
    desk.submit("many", 10)
    desk.submit("ended")
    desk.say(CLIENT, Command(90, "bury", {"id": "ended"}))
    desk.submit("mixed", 3)
    (part,) = assigned(desk.hello(W, "w", 1))
    assert part.id in ("one", "many", "mixed")
    open_group(desk, "g", 6)
    members(desk, "g", 6)
    counts = {id: cancel(desk, id) for id in ("one", "many", "mixed#1", "mixed", "g", "ended", "unknown")}
    assert counts == {"one": 1, "many": 10, "mixed#1": 1, "mixed": 2, "g": 7, "ended": 0, "unknown": 0}
    if is_restarted:
        desk.restart()

    again = {id: cancel(desk, id, is_again=True) for id in counts}
    assert again == counts | {"mixed": 3}  # what another cancel of the client's has ended is cancelled, too
    assert {id: cancel(desk, id) for id in counts} == dict.fromkeys(counts, 0)


def test_cancel_that_is_said_again_while_it_goes_on_counts_each_task_once() -> None:
    desk = Desk()
    open_group(desk, "g", 20)
    members(desk, "g", 20)
    assert answers(desk.turn((CLIENT, Cancel(91, "g")))) == []
    desk.restart()

    assert cancel(desk, "g", is_again=True) == 21
    assert cancel(desk, "g", is_again=True) == 21
