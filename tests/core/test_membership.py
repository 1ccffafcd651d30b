"""Who is a member of a group: what was stored, or opened, while it was open, and nothing that only names it."""

from __future__ import annotations

from tests.core.desk import CLIENT
from tests.core.test_groups import Party, batch_of, forward
from tests.simulation.invariants import check_books
from zq.wire.messages import Cancel, Group, Options


def check(party: Party) -> None:
    tx = party.store.begin()
    try:
        check_books(party.machine.books, tx)
    finally:
        tx.abort()


def test_task_that_was_forwarded_before_its_group_was_opened_is_no_member() -> None:
    party = Party()
    party.submit("early")
    party.hands += party.leases_of("early")
    party.end(forward(party.hands.pop(), 0, batch_of("f", 1, ("g", (0,)))))
    forwarded = party.hands.pop()

    party.open(size=1)
    party.do(0, "not for g", forwarded)
    assert party.pulled() == []
    party.members(1)
    check(party)
    party.do(0, "a", party.hands.pop())

    assert party.pulled() == [["a"]]


def test_what_a_task_that_is_no_member_forwards_counts_as_any_other() -> None:
    party = Party()
    party.submit("early")
    party.hands += party.leases_of("early")
    party.end(forward(party.hands.pop(), 0, batch_of("f", 1, ("g", (0,)))))
    party.open(size=1)

    party.end(forward(party.hands.pop(), 0, batch_of("f2", 1, ("g", (0,)))))
    check(party)
    assert party.group()["joined"] == 1
    party.do(0, "b", party.hands.pop())

    assert party.pulled() == [["b"]]


def test_members_that_outlive_their_group_are_none_of_a_later_one_of_its_id() -> None:
    party = Party(keep_seconds=0.0, keep_seconds_min=0.0)
    party.open(size=2)
    party.members(2)
    old = party.hands.pop()
    party.say(CLIENT, Cancel(70, "m#0"))
    assert party.group()["state"] == "unknown"

    party.open(size=1)
    party.do(1, "old", old)
    check(party)
    assert party.group()["outstanding"] == 1
    party.members(1, id="new")
    party.do(0, "new", party.hands.pop())

    assert party.pulled() == [["new"]]


def test_group_that_was_opened_before_the_one_around_it_is_no_member() -> None:
    party = Party()
    party.submit("opener")
    party.hands += party.leases_of("opener")
    inner = Group("inner", 1, "all", False, "q", Options(group=("g", (0,))))
    party.end(forward(party.hands.pop(), 0, batch_of("i", 1, ("inner", (0,))), groups=(inner,)))
    party.open(size=1)

    party.do(0, "x", party.hands.pop())
    party.do(0, "joined", party.hands.pop())  # its callback

    check(party)
    assert party.group()["outstanding"] == 1


def test_group_that_a_handler_opens_again_counts_once() -> None:
    party = Party()
    party.open(size=2)
    inner = Group("inner", 1, "all", False, "q", Options(group=("g", (0,))))
    for number in range(2):
        party.submit(f"opener{number}")
        party.hands += party.leases_of(f"opener{number}")
        party.end(forward(party.hands.pop(), 0, groups=(inner,)))

    check(party)
    assert party.group()["joined"] == 1


def test_task_under_the_id_of_an_open_group_is_a_member_beside_it() -> None:
    party = Party()
    party.open(size=2)
    party.open("inner", 1, callback="q", options=Options(group=("g", (0,))))
    party.members(1, path=(1,), id="inner")
    check(party)
    party.do(0, "task", party.hands.pop())
    assert party.group()["outstanding"] == 1

    party.members(1, group="inner", id="m2")
    party.do(0, "x", party.hands.pop())

    check(party)
    assert party.group()["state"] == "failed"
