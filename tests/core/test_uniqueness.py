"""Ids that are stored once, and keys of which a queue has one task at a time (docs/semantics.md, Uniqueness)."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed
from zq.core import tables
from zq.wire.messages import Batch, Cancel, Options, Outcome, Pull, Wait
from zq.wire.retry import RetryPolicy
from zq.wire.unique import Unique

KEEP = Unique("k")
REPLACE = Unique("k", policy="replace")
UNTIL_STARTED = Unique("k", until="started")


def pull(desk: Desk, queue: str = "q", max_tasks: int = 1) -> list[Any]:
    desk.number += 1
    return assigned(desk.say(CLIENT, Pull(desk.number, "till", queue, max_tasks, 0.0, 30.0)))


def submit(desk: Desk, id: str, unique: Unique = KEEP, **options: Any) -> str | None:
    """Submits a task; returns the task of which it is a duplicate."""
    receipt = desk.submit(id, unique=unique, **options)
    (accepted,) = receipt.accepted
    duplicate_of: str | None = accepted.duplicate_of
    return duplicate_of


def holders(desk: Desk) -> list[str]:
    tx = desk.store.begin()
    found = [value.decode() for _, value in tx.scan(tables.UNIQUE)]
    tx.abort()
    return found


def state(desk: Desk, id: str) -> str:
    return str(desk.task(id)["state"])


# Ids.


def test_id_is_known_as_long_as_its_outcome_is_kept_and_no_longer() -> None:
    desk = Desk(keep_seconds=100.0, keep_seconds_min=10.0)
    desk.submit("a")
    desk.submit("a")
    assert desk.query("status")["counters"]["accepted"] == 1
    desk.settle(CLIENT, done(pull(desk)[0]), credit=None)
    desk.wait(90.0, every=5.0)
    desk.submit("a")
    assert pull(desk) == []
    desk.wait(30.0, every=5.0)
    desk.submit("a")

    assert [one.id for one in pull(desk)] == ["a"]


def test_id_of_a_task_that_waits_or_is_dead_is_known_however_long() -> None:
    desk = Desk(keep_seconds=100.0, keep_seconds_min=10.0)
    desk.submit("a", priority=0)
    desk.submit("b")
    desk.settle(CLIENT, failed(pull(desk)[0], is_final=True), credit=None)
    desk.wait(1000.0, every=50.0)
    desk.submit("a", priority=0)
    desk.submit("b")

    assert desk.query("status")["counters"]["accepted"] == 2


def test_coordinator_sleeps_until_an_outcome_is_old_enough() -> None:
    desk = Desk(keep_seconds=100.0, keep_seconds_min=0.0)
    desk.submit("a")
    desk.settle(CLIENT, done(pull(desk)[0]), credit=None)
    desk.turn()

    assert desk.machine.next_at(desk.clocks()) > desk.now


def test_coordinator_that_keeps_nothing_sleeps_while_a_task_keeps_its_batch() -> None:
    desk = Desk(keep_seconds=0.0, keep_seconds_min=0.0)
    desk.submit("a", 2)
    [lease] = pull(desk, max_tasks=2)
    desk.settle(CLIENT, done(lease, 0, 1), failed(lease, 1, retry_in=1000.0), credit=None)
    desk.wait(1.0)

    assert desk.machine.next_at(desk.clocks()) > desk.now


def test_id_of_a_batch_is_known_as_long_as_a_task_of_it() -> None:
    desk = Desk(keep_seconds=100.0, keep_seconds_min=10.0)
    desk.submit("a", 3)
    [lease] = pull(desk, max_tasks=3)
    desk.settle(CLIENT, done(lease, 0, 2, "baked"), failed(lease, 2, retry_in=1000.0), credit=None)
    desk.wait(900.0, every=50.0)

    desk.submit("a", 3)
    [outcome] = desk.say(CLIENT, Wait(900, "a", 0, 3))
    assert isinstance(outcome, Outcome)
    assert [(one.lo, one.hi, one.outcome) for one in outcome.ended] == [(0, 2, "done")]
    assert [row["id"] for row in desk.query("tasks", state="done")["rows"]] == ["a#0", "a#1"]

    desk.wait(101.0, every=50.0)
    desk.settle(CLIENT, done(pull(desk)[0]), credit=None)
    desk.wait(250.0, every=50.0)
    assert desk.task("a")["state"] == "unknown"
    assert desk.query("status")["counters"]["accepted"] == 3
    assert desk.machine.books.kept == 0


# Unique keys.


def test_duplicate_of_a_waiting_task_is_not_stored_and_gets_its_receipt() -> None:
    desk = Desk()
    assert submit(desk, "a") is None
    assert submit(desk, "b") == "a"

    assert [one.id for one in pull(desk, max_tasks=9)] == ["a"]
    assert holders(desk) == ["a"]
    assert (state(desk, "b"), desk.task("b")["reason"]) == ("duplicate", "a")


@pytest.mark.parametrize("until", ["waiting", "running", "retried", "delayed"])
def test_key_is_held_until_its_task_has_ended(until: str) -> None:
    desk = Desk(retry=RetryPolicy.constant(5.0))
    submit(desk, "a", delay=5.0 if until == "delayed" else 0.0)
    if until in ("running", "retried"):
        (one,) = pull(desk)
        if until == "retried":
            desk.settle(CLIENT, failed(one), credit=None)
    assert submit(desk, "b") == "a"
    desk.restart()

    assert submit(desk, "c") == "a"


@pytest.mark.parametrize("end", ["done", "cancelled", "expired", "dead", "buried"])
def test_key_is_free_once_its_task_has_ended(end: str) -> None:
    desk = Desk()
    submit(desk, "a", ttl=5.0)
    match end:
        case "done":
            desk.settle(CLIENT, done(pull(desk)[0]), credit=None)
        case "dead":
            desk.settle(CLIENT, failed(pull(desk)[0], is_final=True), credit=None)
        case "cancelled":
            desk.say(CLIENT, Cancel(90, "a"))
        case "buried":
            desk.command("bury", id="a")
        case "expired":
            desk.wait(6.0)

    assert holders(desk) == []
    assert submit(desk, "b") is None
    assert [one.id for one in pull(desk)] == ["b"]


def test_key_of_a_lost_task_goes_on_with_it() -> None:
    desk = Desk()
    submit(desk, "a")
    desk.number += 1
    desk.say(CLIENT, Pull(desk.number, "till", "q", 1, 0.0, 2.0))
    desk.wait(3.0)

    assert state(desk, "a") == "waiting"
    assert submit(desk, "b") == "a"


def test_scope_of_a_key_is_its_queue() -> None:
    desk = Desk()
    submit(desk, "a")

    assert submit(desk, "b", queue="other") is None
    assert submit(desk, "c", unique=Unique("other")) is None
    assert holders(desk) == ["a", "c", "b"]


def test_receipt_of_a_duplicate_is_repeated_even_when_the_first_has_ended_since() -> None:
    # A doubled message must not store what its sender was told is a duplicate.
    desk = Desk()
    submit(desk, "a")
    assert submit(desk, "b") == "a"
    desk.settle(CLIENT, done(pull(desk)[0]), credit=None)

    assert submit(desk, "b") == "a"
    assert pull(desk) == []
    (outcome,) = [sent for sent in desk.say(CLIENT, Wait(7, "b", 0, 1)) if isinstance(sent, Outcome)]
    assert [(ended.outcome, ended.reason) for ended in outcome.ended] == [("duplicate", "a")]


def test_duplicate_is_told_also_when_the_queue_is_full() -> None:
    desk = Desk(queue_tasks_max=1)
    submit(desk, "a")

    assert submit(desk, "b") == "a"


@pytest.mark.parametrize("place", ["waiting", "delayed", "retried", "parked"])
def test_waiting_task_is_replaced_in_one_transaction(place: str) -> None:
    desk = Desk(retry=RetryPolicy.constant(50.0))
    if place == "parked":
        desk.submit("first", key="o", ordered=True)
    submit(desk, "a", REPLACE, delay=5.0 if place == "delayed" else 0.0, key="o", ordered=place == "parked")
    if place == "retried":
        desk.settle(CLIENT, failed(pull(desk)[0]), credit=None)
    assert submit(desk, "b", REPLACE) is None

    assert (state(desk, "a"), desk.task("a")["reason"]) == (
        "cancelled",
        "replaced by task b of the same unique key",
    )
    assert holders(desk) == ["b"]
    assert "b" in [one.id for one in pull(desk, max_tasks=9)]


def test_running_task_is_not_replaced_and_its_receipt_says_so() -> None:
    desk = Desk()
    submit(desk, "a", REPLACE)
    (one,) = pull(desk)

    assert submit(desk, "b", REPLACE) == "a"
    desk.settle(CLIENT, done(one), credit=None)
    assert submit(desk, "c", REPLACE) is None


def test_task_that_is_refused_replaces_nothing() -> None:
    desk = Desk(queue_tasks_max=1)
    submit(desk, "a", REPLACE)
    receipt = desk.submit("b", unique=REPLACE)

    assert [refused.code for refused in receipt.refused] == ["busy"]
    assert (state(desk, "a"), holders(desk)) == ("waiting", ["a"])


def test_key_until_started_is_free_when_its_task_is_handed_out() -> None:
    desk = Desk(retry=RetryPolicy.constant(0.0))
    submit(desk, "a", UNTIL_STARTED)
    assert submit(desk, "b", UNTIL_STARTED) == "a"
    (one,) = pull(desk)

    assert holders(desk) == []
    assert submit(desk, "c", UNTIL_STARTED) is None
    desk.settle(CLIENT, failed(one), credit=None)
    assert (state(desk, "a"), holders(desk)) == ("waiting", ["c"])


def test_replayed_task_takes_its_key_again_or_stays_dead() -> None:
    desk = Desk()
    submit(desk, "a")
    desk.settle(CLIENT, failed(pull(desk)[0], is_final=True), credit=None)
    submit(desk, "b")

    assert desk.command("replay", id="a") == 0
    assert desk.command("replay") == 0
    assert state(desk, "a") == "dead"
    desk.settle(CLIENT, done(pull(desk)[0]), credit=None)
    assert desk.command("retry", id="a") is True
    assert submit(desk, "c") == "a"
    desk.command("bury", id="a")
    desk.command("replay", id="a", to="repair")
    assert submit(desk, "d") is None
    assert submit(desk, "e", queue="repair") == "a"


def test_several_tasks_cannot_be_unique() -> None:
    desk = Desk()
    receipt = desk.submit("a", 2, unique=KEEP)

    assert [(one.code, one.reason) for one in receipt.refused] == [
        ("invalid", "a unique key is for one task, this batch has 2")
    ]
    assert holders(desk) == []


def test_forwarded_duplicate_is_left_out_and_its_completion_stands() -> None:
    desk = Desk()
    submit(desk, "box", queue="boxes")
    desk.submit("a")
    (one,) = pull(desk)
    forward = Batch("box-2", "boxes", Options(unique=KEEP), b"\x01\0\0\0", b"\x01")
    desk.settle(CLIENT, done(one)._replace(forwards=(forward,)), credit=None)

    assert state(desk, "a") == "done"
    assert state(desk, "box-2") == "unknown"
    assert [found.id for found in pull(desk, "boxes", 9)] == ["box"]
