"""Batches that come in one message are stored together, and get what each would get if it came alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, only
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Batch, Options, Receipt, Submit

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
