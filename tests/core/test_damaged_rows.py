"""What becomes of tasks when rows of a store were set aside since they were damaged (`zq.core.recount`)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed
from zq.core import tables
from zq.core.recount import DAMAGED_PROGRESS
from zq.core.storage import Damage
from zq.wire.messages import Cancel, Outcome, Pull, Wait


def damage(desk: Desk, table: str, key: bytes) -> None:
    """Does what the store does of a row whose checksum fails, and reads the books again."""
    stored = b"rot!" + desk.store.values[table][key]
    desk.store.set(table, key, None)
    desk.store.set(tables.DAMAGED, tables.damaged_key(1), Damage(table, key, None, stored, "it is tried", 0.0).record())
    desk.store.set(tables.DAMAGED, tables.RECOUNT_KEY, tables.pack(([table], 1)))
    desk.restart()


def pull(desk: Desk) -> list[Any]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", "q", 1000, 0.0, 1000.0)))


def outcomes(desk: Desk, id: str, size: int) -> dict[int, str]:
    """Returns how the tasks of a batch have ended, as those are told who wait for it."""
    desk.number += 1
    answers = [one for one in desk.say(CLIENT, Wait(desk.number, id, 0, size)) if isinstance(one, Outcome)]
    ended = [one for answer in answers for one in answer.ended]
    return {index: one.outcome for one in ended for index in range(one.lo, one.hi)}


def test_task_that_is_tried_again_on_its_own_is_not_told_as_damaged_with_its_batch() -> None:
    desk = Desk(keep_seconds=50.0, keep_seconds_min=1.0)
    desk.submit("a", 3)
    (first,) = pull(desk)
    desk.settle(CLIENT, failed(first, 2, retry_in=100.0), credit=None)
    (key,) = desk.store.values[tables.PENDING]
    damage(desk, tables.PENDING, key)

    assert outcomes(desk, "a", 3) == {0: "dead", 1: "dead"}
    assert desk.task("a#2")["state"] == "scheduled"
    desk.wait(101.0, every=10.0)
    (again,) = pull(desk)
    desk.settle(CLIENT, done(again), credit=None)
    assert outcomes(desk, "a", 3) == {0: "dead", 1: "dead", 2: "done"}  # as long as one of them is known


def test_cancel_of_a_batch_that_was_damaged_ends_what_is_left_of_it() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (first,) = pull(desk)
    desk.settle(CLIENT, failed(first, 2, retry_in=100.0), credit=None)
    (key,) = desk.store.values[tables.PENDING]
    damage(desk, tables.PENDING, key)

    desk.say(CLIENT, Cancel(99, "a"))
    desk.wait(1.0)
    assert desk.task("a#2")["state"] == "cancelled"


@pytest.mark.parametrize("options", [{"key": "k", "ordered": True}, {"delay": 100.0}], ids=["parked", "scheduled"])
def test_batch_of_which_nobody_knows_what_has_ended_is_set_aside_wherever_it_is(options: dict[str, Any]) -> None:
    desk = Desk()
    desk.submit("before", key="k", ordered=True)
    desk.submit("a", 3, **options)
    desk.say(CLIENT, Cancel(99, "a#1"))
    (key,) = desk.store.values[tables.PROGRESS]
    damage(desk, tables.PROGRESS, key)

    assert (desk.task("a#0")["state"], desk.task("a#1")["state"]) == ("dead", "cancelled")
    assert [one.why for one in set_aside(desk)] == ["it is tried", DAMAGED_PROGRESS]
    desk.wait(101.0, every=50.0)
    assert [one.id for one in pull(desk)] == ["before"]


def set_aside(desk: Desk) -> list[Damage]:
    tx = desk.store.begin()
    found = [Damage(*tables.unpack(value)) for _, value in tx.scan(tables.DAMAGED, *tables.damaged_bounds())]
    tx.abort()
    return found
