"""The bench: what it takes back when there is more work on it than there should be."""

from __future__ import annotations

import pytest

from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Span
from zq.worker.bench import SHED_REST, SOME_BYTES_MAX, Bench
from zq.worker.harvest import Report
from zq.worker.runner import Chunk


def lease(token: int, tasks: int, queue: str = "q") -> Assignment:
    ends = b"".join(i.to_bytes(4, "little") for i in range(1, tasks + 1))
    return Assignment(token, f"b{token}", tasks, queue, DEFAULT_OPTIONS, 1, 0, ends, b"x" * tasks)


def bench_of(seconds: float, *leases: Assignment, concurrency: int = 1, credit: int = 10_000) -> Bench:
    """Returns a bench that knows how long tasks take, with some leases on it."""
    bench = Bench(concurrency, frozenset({"coroutine"}), 0)
    bench.put(list(leases))
    bench.measure("q", Report([], [], 1, seconds))
    bench.credit = credit
    return bench


def test_work_that_would_start_soon_stays() -> None:
    bench = bench_of(0.002, lease(1, 100))

    assert bench.shed(0.0, 0, 0, 1) == []
    assert bench.credit == 10_000


def test_what_would_not_start_soon_leaves_from_the_end_and_the_credit_falls() -> None:
    bench = bench_of(0.02, lease(1, 3), lease(2, 10), lease(3, 10))

    assert bench.shed(0.0, 0, 0, 1) == [Span(2, 2, 10), Span(3, 0, 10)]
    assert bench.credit == 6  # five that stay, and the one that runs
    assert bench.close() == [Span(1, 0, 3), Span(2, 0, 2)]


def test_everything_leaves_when_all_slots_are_stuck_however_short_tasks_were_before() -> None:
    bench = bench_of(1e-6, lease(1, 3), lease(2, 2), concurrency=2)
    assert bench.shed(0.0, 1, 0, 2) == []

    assert bench.shed(0.0, 2, 0, 2) == [Span(1, 0, 3), Span(2, 0, 2)]
    assert bench.credit == 2
    assert bench.shed(0.1, 0, 0, 0) == []
    bench.measure("q", Report([], [], 1000, 0.001))
    assert bench.credit == 4  # nothing holds it back when a slot works again


def test_slow_tasks_keep_one_for_each_free_slot() -> None:
    bench = bench_of(10.0, lease(1, 5), concurrency=3)

    assert bench.shed(0.0, 1, 0, 1) == [Span(1, 2, 5)]


def test_credit_does_not_grow_for_a_while_after_something_left_beside_a_free_slot() -> None:
    bench = bench_of(10.0, lease(1, 5), concurrency=3)
    bench.shed(7.0, 1, 0, 1)
    assert bench.credit == 3
    bench.measure("other", Report([], [], 1000, 0.001))
    assert bench.credit == 3
    assert not bench.rest_is_over(7.0 + SHED_REST / 2)

    assert bench.rest_is_over(7.0 + SHED_REST)
    bench.measure("other", Report([], [], 1000, 0.001))
    assert bench.credit == 6
    assert not bench.rest_is_over(8.0 + SHED_REST)


def test_first_report_of_another_process_says_nothing_where_it_is_known_how_long_tasks_take() -> None:
    bench = bench_of(0.0002, lease(1, 100), concurrency=2)
    bench.measure("q", Report([], [], 1, 0.5), is_first=True)  # it has imported what the handler needs

    assert bench.credit == 10_000
    assert bench.shed(0.0, 0, 0, 2) == []
    assert len(bench.take_some()) == 1
    assert bench.waiting == 50


def test_first_report_of_all_counts_until_there_is_another() -> None:
    bench = Bench(2)
    for seconds in (0.5, 0.4):
        bench.measure("q", Report([], [], 1, seconds), is_first=True)
    bench.put([lease(1, 100)])
    assert bench.take_some() == [Chunk(lease(1, 100), 0, 1)]
    bench.measure("q", Report([], [], 1, 0.0002))

    assert bench.credit == 4
    assert bench.shed(0.0, 0, 0, 2) == []
    assert bench.take_some() == [Chunk(lease(1, 100), 1, 51)]


def test_worker_whose_children_do_not_begin_asks_again_after_a_while() -> None:
    bench = bench_of(1e-6, lease(1, 2), concurrency=2)

    assert bench.shed(7.0, 2, 0, 0) == [Span(1, 0, 2)]
    assert bench.credit == 0
    assert bench.rest_is_over(7.0 + SHED_REST)
    assert bench.credit == 2
    bench.put([lease(2, 2)])
    bench.shed(8.0, 2, 0, 0)
    assert not bench.rest_is_over(8.0 + SHED_REST)
    assert bench.shed(8.1, 1, 0, 0) == []
    assert bench.rest_is_over(8.1)  # one of them works


def test_coroutines_and_plain_functions_leave_by_their_own_slots() -> None:
    bench = Bench(3, frozenset({"coroutine"}), 2)
    bench.put([lease(1, 4), lease(2, 4, "coroutine")])

    assert bench.shed(0.0, 1, 0, 1) == [Span(1, 0, 4)]
    assert bench.credit == 3
    assert bench.shed(1.0, 0, 2, 2) == [Span(2, 0, 4)]


def test_expiry_of_what_left_is_forgotten() -> None:
    timed = lease(1, 4)._replace(options=DEFAULT_OPTIONS._replace(ttl=1000.0))
    bench = bench_of(10.0, timed, lease(2, 1))
    bench.shed(0.0, 1, 0, 1)
    bench.put([lease(3, 2)])

    assert bench.take_leaving() == []
    assert [(chunk.lo, chunk.hi) for chunk in bench.take_some()] == [(0, 1)]


@pytest.mark.parametrize("queue", ["q", "coroutine"])
def test_what_is_put_back_on_a_closed_bench_leaves(queue: str) -> None:
    bench = Bench(2, frozenset({"coroutine"}), 1)
    bench.close()
    one = lease(1, 4, queue)
    bench.put_back(Chunk(one, 1, 3))
    bench.put_back(Chunk(one, 3, 3))

    assert bench.take_leaving() == [Span(1, 1, 3)]
    assert bench.take_leaving() == []


def test_run_is_taken_as_a_whole_and_its_rest_goes_to_no_other_runner() -> None:
    run = lease(1, 8)._replace(options=DEFAULT_OPTIONS._replace(key="k", ordered=True))
    bench = bench_of(1.0, run, run._replace(token=2))

    (chunk,) = bench.take_some()
    assert chunk == Chunk(run, 0, 8)
    bench.put_back(chunk._replace(lo=3))
    assert bench.take_some(5) == [Chunk(run._replace(token=2), 0, 5)]
    assert bench.take_leaving() == [Span(1, 3, 8), Span(2, 5, 8)]
    assert bench.waiting == 0


def test_what_comes_when_the_bench_is_closed_leaves_at_once() -> None:
    bench = bench_of(0.001)
    bench.close()

    bench.put([lease(1, 3), lease(2, 1, "coroutine")])

    assert bench.take_leaving() == [Span(1, 0, 3), Span(2, 0, 1)]
    assert bench.waiting == 0


def test_headers_count_in_what_is_taken_together() -> None:
    options = DEFAULT_OPTIONS._replace(headers={"name": "x" * (SOME_BYTES_MAX // 16)})
    bench = bench_of(1e-6, *(lease(token, 1)._replace(options=options) for token in range(1, 20)))

    assert len(bench.take_some()) == 16


def test_all_that_was_revoked_is_told_in_one_piece() -> None:
    bench = bench_of(0.001)
    bench.revoke([Span(1, 0, 2), Span(2, 5, 6)])

    assert bench.all_revoked() == {(1, 0), (1, 1), (2, 5)}
