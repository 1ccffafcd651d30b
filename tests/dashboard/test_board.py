"""What is remembered from one look to the next: rates, sparklines, the busiest queues."""

from __future__ import annotations

from typing import Any

from zq.dashboard.board import BUSY_QUEUES, SPARK_POINTS, TRACKED_QUEUES, Board

Row = dict[str, Any]


def row(name: str, *, done: int = 0, accepted: int = 0, waiting: int = 0) -> Row:
    counts = {"done": done, "accepted": accepted, "waiting": waiting, "cancelled": 0, "expired": 0, "leased": 0}
    return {"name": name, **counts, "rate": 0.0}


def test_two_looks_make_rates() -> None:
    board = Board()
    board.note_queues(100.0, [row("a", accepted=10)])
    board.note_queues(102.0, [row("a", accepted=30, done=8)])

    (shown,) = board.busiest()

    assert shown["rates"] == {"in": 10.0, "out": 4.0}
    assert shown["spark"] == [4.0]


def test_counters_that_begin_again_make_no_negative_rate() -> None:
    board = Board()
    board.note_counters(100.0, {"done": 1000})
    board.note_counters(101.0, {"done": 5})
    board.note_queues(100.0, [row("a", done=1000)])
    board.note_queues(101.0, [row("a", done=5)])

    assert (board.rates["done"] or 0) >= 0
    assert board.busiest()[0]["spark"] == [0.0]


def test_looks_that_are_far_apart_say_nothing_of_now() -> None:
    board = Board()
    for at, done in ((100.0, 0), (101.0, 10), (500.0, 5000)):
        board.note_queues(at, [row("a", done=done)])
        board.note_counters(at, {"done": done})

    assert board.busiest()[0]["spark"] == []
    assert board.busiest()[0]["rates"]["in"] is None
    assert board.rates["done"] is None


def test_of_many_queues_the_busiest_are_shown_and_no_more_is_remembered_than_may() -> None:
    board = Board()
    for at in (100.0, 101.0):
        board.note_queues(at, [row(f"q{number:05}", done=int(at - 100) * number) for number in range(5000)])

    names = [shown["name"] for shown in board.busiest()]

    assert names == [f"q{number:05}" for number in range(5000 - BUSY_QUEUES, 5000)]
    assert set(board.busy_names()) == set(names)
    assert len(board.busiest(10_000)) == TRACKED_QUEUES


def test_sparkline_has_the_last_values() -> None:
    board = Board()
    for second in range(100):
        board.note_queues(float(second), [row("a", done=second * second)])

    spark = board.busiest()[0]["spark"]

    assert len(spark) == SPARK_POINTS
    assert spark[-1] == 99 * 99 - 98 * 98


def test_queues_that_are_gone_are_forgotten() -> None:
    board = Board()
    board.note_queues(1.0, [row("a"), row("b")])
    board.forget_others({"b"})

    assert [shown["name"] for shown in board.busiest()] == ["b"]
