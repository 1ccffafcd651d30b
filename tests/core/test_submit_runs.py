"""Batches that come in one turn are stored together, and get what each would get if it came alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, only
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Answer, Batch, Cancel, Options, Query, Receipt, Submit

W = b"worker-1"


def batch(id: str, queue: str = "q", count: int = 1, **options: Any) -> Batch:
    return Batch(id, queue, Options(**options), *pack_payloads([encode_payload(i) for i in range(count)]))


def submit(desk: Desk, *batches: Batch) -> Receipt:
    return only(desk.say(CLIENT, Submit(1, batches)), Receipt)


MIXED = (
    batch("a"),
    batch("b", count=3),
    batch("urgent", priority=9),
    batch("c"),
    batch("elsewhere", queue="r"),
    batch("late", delay=5.0),
    batch("d", unique=("k", "ended", "keep")),
    batch("e", unique=("k", "ended", "keep")),
    batch("f"),
    batch("g", ordered=True, key="x"),
    batch("h", ordered=True, key="x"),
    batch("i", key="y"),
    batch("a"),
)


def test_batches_of_a_message_get_what_they_would_get_alone() -> None:
    together, alone = Desk(), Desk()

    receipt = submit(together, *MIXED)
    apart = [submit(alone, one) for one in MIXED]

    assert receipt.accepted == tuple(one for answer in apart for one in answer.accepted)
    assert receipt.refused == ()
    for queue in ("q", "r"):
        assert together.query("queue", queue=queue) == alone.query("queue", queue=queue)
    order = [[one.id for one in assigned(desk.hello(W, "w", 100))] for desk in (together, alone)]
    assert order[0] == order[1]


def test_submits_of_many_connections_in_one_turn_get_what_they_would_get_alone() -> None:
    together, alone = Desk(), Desk()
    said = [(b"c%d" % number, Submit(1, (one,))) for number, one in enumerate(MIXED)]

    answers = together.turn(*said)
    apart = [answer for one in said for answer in alone.turn(one)]

    assert answers == apart
    for queue in ("q", "r"):
        assert together.query("queue", queue=queue) == alone.query("queue", queue=queue)
    together.restart()
    alone.restart()
    order = [[one.id for one in assigned(desk.hello(W, "w", 100))] for desk in (together, alone)]
    assert order[0] == order[1]


def test_message_behind_a_submit_of_its_turn_sees_what_that_stored() -> None:
    desk = Desk()
    submit(desk, batch("first"))

    sent = desk.turn(
        (b"c1", Submit(1, (batch("a"),))),
        (b"c2", Submit(1, (batch("b"),))),
        (b"c3", Query(1, "queue", {"queue": "q"})),
        (b"c4", Cancel(2, "a")),
        (b"c1", Submit(2, (batch("c"),))),
        (b"c2", Submit(2, (batch("b"),))),
    )

    assert [answer.value["waiting"] for to, answer in sent if to == b"c3" and isinstance(answer, Answer)] == [3]
    assert desk.query("queue", queue="q")["waiting"] == 3
    assert [one.id for one in assigned(desk.hello(W, "w", 100))] == ["first", "b", "c"]


def test_submits_of_one_turn_take_the_room_of_a_queue_from_each_other() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_tasks=2)

    sent = desk.turn(*((b"c%d" % number, Submit(1, (batch(str(number)),))) for number in range(4)))

    assert [len(answer.accepted) for _, answer in sent] == [1, 1, 0, 0]
    assert [one.code for _, answer in sent for one in answer.refused] == ["busy", "busy"]


def test_an_id_that_is_twice_in_a_message_is_stored_once() -> None:
    desk = Desk()

    receipt = submit(desk, batch("a"), batch("b"), batch("a"))

    assert [one.id for one in receipt.accepted] == ["a", "b", "a"]
    assert desk.query("queue", queue="q")["waiting"] == 2


def test_what_does_not_fit_a_queue_is_refused_and_what_fits_behind_it_is_stored() -> None:
    desk = Desk()
    desk.command("set-queue", queue="q", max_tasks=4)

    receipt = submit(desk, batch("a", count=2), batch("b"), batch("c", count=2), batch("d"), batch("e"))

    assert [one.id for one in receipt.accepted] == ["a", "b", "d"]
    assert [(one.id, one.code) for one in receipt.refused] == [("c", "busy"), ("e", "busy")]


@pytest.mark.parametrize("headers", [None, {"note": "x" * 4000}])
def test_store_that_becomes_full_in_a_message_refuses_what_comes_behind(headers: dict[str, str] | None) -> None:
    desk = Desk()
    submit(desk, batch("first"))
    desk.store.capacity_bytes = 20 * desk.store.used_bytes + 1_000_000
    desk.submit("fill", 1, headers={f"h{i}": "x" * 4000 for i in range(32)})
    for i in range(1000):
        if desk.store.used_bytes > desk.store.marks.full - 200_000:
            break
        desk.submit(f"fill-{i}", 1, headers={f"h{i}": "x" * 4000 for i in range(32)})

    receipt = submit(desk, *[batch(f"b{i}", headers=headers) for i in range(800)])

    assert len(receipt.accepted) + len(receipt.refused) == 800
    assert desk.store.used_bytes < desk.store.marks.full + 320_000
    assert [one.id for one in receipt.accepted] == [f"b{i}" for i in range(len(receipt.accepted))]


def test_batches_of_a_message_are_there_after_a_restart() -> None:
    desk = Desk()
    submit(desk, batch("a"), batch("b", count=2), batch("c"))

    desk.restart()

    assert desk.query("queue", queue="q")["waiting"] == 4
    assert [one.id for one in assigned(desk.hello(W, "w", 100))] == ["a", "b", "c"]
    assert submit(desk, batch("b", count=2)).accepted[0].id == "b"
    assert desk.query("queue", queue="q")["waiting"] == 0
