"""Submits: what is stored, what is refused, and what comes again."""

from typing import Any

import pytest

from tests.core.desk import Desk, assigned, done, only
from zq.core.options import CoordinatorOptions
from zq.wire.messages import Settled
from zq.wire.retry import RetryPolicy

W, V = b"worker-1", b"worker-2"


def test_receipt_tells_the_place_in_the_queue() -> None:
    desk = Desk()
    desk.submit("a", 10)

    assert desk.submit("b").accepted[0].position == 11
    assert desk.submit("urgent", priority=9).accepted[0].position == 1
    assert desk.submit("late", priority=0).accepted[0].position == 13


def test_receipt_tells_the_wait_once_a_rate_is_known() -> None:
    desk = Desk()
    assert desk.submit("a", 10).accepted[0].eta is None
    (one,) = assigned(desk.hello(W, "w", 10))
    desk.now = 2.0

    desk.settle(W, done(one), credit=0)

    assert desk.submit("b").accepted[0].eta == pytest.approx(1 / 5)


def test_same_id_again_gets_a_receipt_and_no_second_task() -> None:
    desk = Desk()
    desk.submit("a", 3)

    assert desk.submit("a", 3).accepted[0].id == "a"
    assert desk.query("status")["waiting"] == 3


def test_same_id_after_it_is_done_is_known_as_long_as_its_outcome_is_kept() -> None:
    desk = Desk(keep_seconds=200.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.settle(W, done(one), credit=0)

    desk.submit("a")
    assert desk.query("status")["waiting"] == 0
    desk.wait(201.0, every=5.0)
    desk.submit("a")
    assert desk.query("status")["waiting"] == 1


def test_full_queue_is_busy_and_stores_nothing() -> None:
    desk = Desk(queue_tasks_max=5)
    desk.submit("a", 4)

    (refused,) = desk.submit("b", 2).refused

    assert (refused.code, refused.reason) == ("busy", "queue q is full: 4 of 5 tasks")
    assert refused.retry_after > 0
    assert desk.task("b")["state"] == "unknown"
    assert desk.submit("c").accepted


def test_full_store_refuses_submits_and_completes_what_it_has() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.store.capacity_bytes = desk.store.used_bytes * 6 // 5

    (refused,) = desk.submit("b").refused

    assert refused.code == "busy"
    assert refused.reason.startswith("the store is full")
    assert not only(desk.settle(W, done(one)), Settled).stale
    assert desk.task("a")["state"] == "done"


def test_payload_over_the_limit_is_refused_for_good() -> None:
    desk = Desk(payload_bytes_max=1)
    (refused,) = desk.submit("a", 300).refused  # the payload 299 takes three bytes

    assert (refused.code, refused.retry_after) == ("invalid", None)
    assert refused.reason == "a payload has 3 bytes, the coordinator allows 1"


@pytest.mark.parametrize(
    "options",
    [
        {"heartbeat_interval": 0},
        {"suspect_after": 0.5},
        {"gone_after": 1.0},
        {"gone_after": float("inf")},
        {"max_attempts": 0},
        {"payload_bytes_max": (8 << 20) + 1},
        {"retry": RetryPolicy("constant", float("nan"))},
        {"keep_seconds": -1.0},
        {"assign": "random"},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|expected"):
        CoordinatorOptions(**options)
