"""The history of what was counted: kept over restarts, bounded, and it adds up (docs/semantics.md, Measures)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, WALL, Desk, assigned, done, failed
from zq.core import tables
from zq.core.measures import steps
from zq.core.measures.rolling import totals_of
from zq.core.measures.times import Histogram
from zq.wire.messages import Error, Query

W = b"worker-1"

SUMS = steps.Totals._fields


def live(desk: Desk, seconds: float, every: float = 1.0) -> None:
    """Lets time pass in which the worker beats by what it does, or nobody is there."""
    for _ in range(round(seconds / every)):
        desk.now += every
        desk.wall += every
        desk.turn()


def summed(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in SUMS}


def booked(desk: Desk) -> dict[str, int]:
    """Returns what the queues have counted, which the history must add up to."""
    desk.machine.books.tallies.count({})
    return totals_of(desk.machine.books.tallies.over_all.counts)._asdict()


def test_a_step_tells_what_happened_in_it() -> None:
    desk = Desk()
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "worker-1", 2))
    live(desk, 4)
    desk.settle(W, done(one, 0, 1), failed(one, 1, retry_in=100.0))
    live(desk, 6)

    (row,) = desk.query("history")
    assert row["time"] == WALL
    assert {name: row[name] for name in SUMS if row[name]} == {"accepted": 3, "done": 1, "failed": 1, "retried": 1}
    assert (row["waiting"], row["scheduled"], row["leased"]) == (0, 1, 1)
    assert (row["wait"]["count"], row["run"]["count"], row["run"]["sum"]) == (3, 2, 8.0)
    assert row["commits"] > 3
    (own,) = desk.query("history", queue="q")
    assert {**own, "commits": row["commits"]} == row


def test_nothing_is_written_when_nothing_happens() -> None:
    desk = Desk()
    desk.submit("a")
    live(desk, 600, every=5.0)

    assert [row["time"] for row in desk.query("history")] == [WALL]
    assert [row["time"] for row in desk.query("history", step=300)] == [WALL - WALL % 300]


def test_it_goes_on_over_restarts_and_deleted_queues() -> None:
    desk = Desk()
    desk.submit("a", 2)
    live(desk, 10)
    desk.submit("b", queue="other")
    desk.command("purge", id="x", queue="other", states=("waiting",))
    desk.crash()
    assert desk.query("history")[0]["accepted"] == 2
    desk.submit("c", 5)
    live(desk, 20)
    before = summed(desk.query("history"))
    assert before == booked(desk)
    desk.command("delete", id="y", queue="other")
    desk.restart()
    live(desk, 20)
    assert summed(desk.query("history")) == before

    live(desk, 600, every=5.0)
    assert summed(desk.query("history", step=300)) == before


def test_what_is_old_is_forgotten() -> None:
    desk = Desk()
    for number in range(10):
        desk.submit(f"t{number}", queue=f"q{number % 3}")
        live(desk, 600, every=10.0)

    fine, coarse = desk.query("history"), desk.query("history", step=300)
    assert fine[0]["time"] >= desk.wall - steps.FINE_KEPT - 10
    assert len(coarse) == 10
    live(desk, steps.COARSE_KEPT, every=3600.0)
    desk.submit("last")
    live(desk, 20)
    assert [row["accepted"] for row in desk.query("history")] == [1]
    assert desk.query("history", step=300) == []
    assert len(desk.store.keys[tables.MEASURES]) == 3  # the base, and the step over all queues and of one


def test_only_the_busiest_queues_have_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.measures.rolling.SERIES_MAX", 2)
    desk = Desk()
    for count in (1, 3, 2):
        desk.submit(f"t{count}", count, queue=f"q{count}")
    live(desk, 10)

    assert [[row["accepted"] for row in desk.query("history", queue=f"q{count}")] for count in (1, 2, 3)] == [
        [],
        [2],
        [3],
    ]
    assert desk.query("history")[0]["accepted"] == 6


def test_more_queues_than_are_compared_are_all_in_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.state.namespace_limits.BEFORE_MAX", 2)
    desk = Desk()
    for number in range(5):
        desk.submit(f"t{number}", queue=f"q{number}")
    live(desk, 10)

    assert desk.query("history")[0]["accepted"] == 5
    assert len(desk.machine.books.tallies.before) <= 2


@pytest.mark.parametrize("back", [400, 3000, 7200, 300_000])
def test_a_clock_that_is_put_back_far_counts_nothing_twice(back: float) -> None:
    desk = Desk()

    def work() -> None:
        for _ in range(60):
            desk.submit(f"at-{desk.now}")
            live(desk, 10)

    work()
    if back > 7200:  # it was far ahead once
        desk.wall += back
        work()
    desk.wall -= back
    work()
    desk.restart()
    live(desk, 700, every=10.0)

    until = desk.machine.books.measures.history.base.summed_until
    coarse, fine = desk.query("history", step=300), desk.query("history")
    assert summed([*coarse, *(row for row in fine if row["time"] >= until)]) == booked(desk)
    assert summed(fine)["accepted"] <= booked(desk)["accepted"]


def test_a_clock_that_is_put_back_loses_nothing() -> None:
    desk = Desk()
    for _ in range(3):
        desk.submit(f"at {desk.now}".replace(" ", "-"))
        live(desk, 10)
        desk.wall -= 10
    live(desk, 400, every=10.0)

    assert summed(desk.query("history")) == summed(desk.query("history", step=300)) == booked(desk)


def test_pages_go_on_where_they_ended_and_begin_where_they_are_asked_to() -> None:
    desk = Desk()
    for number in range(6):
        desk.submit(f"t{number}", queue="q" if number % 2 else "other")
        live(desk, 10)

    times = [row["time"] for row in desk.query("history")]
    assert times == [WALL + 10 * number for number in range(6)]
    assert [row["time"] for row in desk.query("history", since=WALL + 25)] == times[3:]
    page = desk.ask("history", queue="q", limit=2)
    rest = desk.ask("history", queue="q", cursor=page["cursor"])
    assert [[row["time"] for row in one["rows"]] for one in (page, rest)] == [times[1:4:2], times[5:]]


def test_a_namespace_sees_the_sum_of_its_own_queues() -> None:
    desk = Desk()
    desk.submit("a", 2, queue="a/q")
    desk.submit("b", 3, queue="a/r")
    desk.submit("c", queue="b/q")
    live(desk, 10)

    (row,) = desk.query("history", namespace="a")
    assert (row["accepted"], row["waiting"], row["commits"]) == (5, 5, 0)
    assert desk.query("history", namespace="c") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"step": 60}, "10 or 300"),
        ({"since": "now"}, "since"),
        ({"queue": "nowhere"}, "no queue"),
        ({"cursor": "zz"}, "cursor"),
    ],
)
def test_odd_questions_are_answered_in_words(arguments: dict[str, Any], says: str) -> None:
    desk = Desk()
    (answer,) = desk.say(CLIENT, Query(1, "history", arguments))

    assert isinstance(answer, Error)
    assert says in answer.text


def test_a_row_is_what_was_written_and_small() -> None:
    full = Histogram()
    full.buckets, full.seconds = [1 << 40] * len(full.buckets), 1e12
    totals, levels = steps.Totals(*[1 << 50] * len(SUMS)), steps.Levels(1 << 50, 1 << 50, 1 << 50)
    row = steps.StepRow(totals, levels, 1 << 50, full, full)
    empty = steps.StepRow(steps.Totals(), steps.Levels(), 0, Histogram(), None)

    for one in (row, empty):
        assert steps.read_row(one.record()).as_map(7) == one.as_map(7)
        assert len(one.record()) <= steps.ROW_BYTES_MAX
