"""What nodes do with items: against plain Python, in any order of delivery; and the books of a run."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns import batch, fan_out, gather, route, scatter, stage
from patterns.pipeline.pipeline import Pipeline
from patterns.work.execution import Execution
from patterns.work.items import Failure, Loose, Plain, WithoutResult, decode, encode, weight_of
from patterns.work.ledger import Ledger
from patterns.work.plan import SINK
from tests.patterns.in_memory import FailedItem, evaluate, run_in_memory
from tests.patterns.shop import (
    add_one,
    countdown,
    digits,
    double,
    fail_on_sevens,
    halve,
    keep,
    number_of,
    parity,
    repeat,
    sign,
    tally,
    total,
)

STEPS: list[Pipeline[Any, Any]] = [double, add_one, repeat, keep, fail_on_sevens, halve]


def pipelines(depth: int = 2) -> st.SearchStrategy[Pipeline[Any, Any]]:
    """Draws pipelines of whole numbers in, whole numbers out."""
    pieces: list[st.SearchStrategy[Pipeline[Any, Any]]] = [st.sampled_from(STEPS)]
    if depth:
        inner = pipelines(depth - 1)
        pieces += [
            st.lists(inner, min_size=1, max_size=3).map(lambda branches: fan_out(*branches)),
            st.tuples(inner, inner).map(lambda two: route(parity, {"even": two[0], "odd": two[1]})),
            inner.map(lambda one: route(sign, {"plus": one})),
            inner.map(lambda one: scatter(digits) | one | gather(number_of)),
            inner.map(lambda one: scatter(countdown) | one | gather(tally)),
        ]
    return st.lists(st.one_of(pieces), min_size=1, max_size=3).map(_chain)


def _chain(pieces: list[Pipeline[Any, Any]]) -> Pipeline[Any, Any]:
    chained = pieces[0]
    for piece in pieces[1:]:
        chained = chained | piece
    return chained


@given(pipelines(), st.lists(st.integers(-30, 120), max_size=12), st.integers(0, 2**32))
def test_any_pipeline_gives_what_plain_python_gives_in_any_order_of_delivery(
    pipeline: Pipeline[Any, Any], items: list[int], seed: int
) -> None:
    expected = [evaluate(pipeline, item) for item in items]

    outcomes, ledger = run_in_memory(pipeline, items, Random(seed))

    values = Counter(outcome for outcome in outcomes if not isinstance(outcome, Failure))
    assert values == Counter(one for results in expected for one in results if not isinstance(one, FailedItem))
    failed = sum(any(isinstance(one, FailedItem) for one in results) for results in expected)
    assert sum(isinstance(outcome, Failure) for outcome in outcomes) == failed  # one for an item
    assert (ledger.sent, ledger.completed, ledger.failed) == (len(items), len(items) - failed, failed)


@given(pipelines(), st.lists(st.integers(-30, 120), max_size=12), st.integers(0, 2**32))
def test_ordered_results_come_in_the_order_of_input_and_branches(
    pipeline: Pipeline[Any, Any], items: list[int], seed: int
) -> None:
    expected = [one for item in items for one in evaluate(pipeline, item) if not isinstance(one, FailedItem)]

    outcomes, _ = run_in_memory(pipeline, items, Random(seed), ordered=True)

    assert [outcome for outcome in outcomes if not isinstance(outcome, Failure)] == expected


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 7), st.integers(0, 2**32))
def test_batches_are_full_but_for_the_last_and_lose_nothing(items: list[int], size: int, seed: int) -> None:
    outcomes, ledger = run_in_memory(add_one | repeat | batch(size) | batch(2), items, Random(seed))

    batches = [inner for outcome in outcomes for inner in outcome]
    expected = Counter(one for item in items for one in repeat(item + 1))
    assert Counter(one for inner in batches for one in inner) == expected
    assert all(len(inner) == size for inner in batches[:-1])
    assert ledger.completed == len(items)


def test_batch_of_failing_stage_fails_all_of_its_items_once() -> None:
    def refuse(numbers: list[int]) -> int:
        raise ValueError("no")

    pipeline = fan_out(double, add_one) | batch(4) | stage(threads=True)(refuse)

    outcomes, ledger = run_in_memory(pipeline, range(4), Random(1))

    assert ledger.failed == 4
    assert all(isinstance(outcome, Failure) and outcome.stage == "refuse" for outcome in outcomes)


def test_part_that_fails_fails_its_item_once_and_its_join_is_not_called() -> None:
    outcomes, ledger = run_in_memory(scatter(digits) | fail_on_sevens | gather(total), [123, 7717, 45], Random(3))

    assert sorted(outcome for outcome in outcomes if not isinstance(outcome, Failure)) == [6, 9]
    assert [outcome.error for outcome in outcomes if isinstance(outcome, Failure)] == ["ValueError: no 7 today"]
    assert (ledger.completed, ledger.failed) == (2, 1)


def test_failure_names_stage_item_traceback_and_attempts() -> None:
    slept: list[float] = []
    flaky = stage(threads=True, retries=3, backoff=(0.1, 2.0, 0.3), name="flaky")(fail_on_sevens.function)
    worker = Execution(flaky.plan(), 0, slept.append)

    (bad, good) = worker.receive(0.0, Plain(5, [6, 17, 8]))

    number, ended = bad
    assert number == SINK
    assert isinstance(ended, WithoutResult)
    (failure,) = ended.failures
    assert failure is not None
    assert ended.origins == [6]
    assert failure[:3] == ("flaky", 17, "ValueError: no 17 today")
    assert "in fail_on_sevens" in failure.remote_traceback
    assert failure.attempts == 4
    assert slept == [0.1, 0.2, 0.3]
    assert good == (SINK, Loose([5, 7], [6, 8]))


def test_stage_that_works_at_a_retry_fails_nothing() -> None:
    calls: list[int] = []

    def second_time_lucky(number: int) -> int:
        calls.append(number)
        if calls.count(number) == 1:
            raise OSError("not now")
        return number

    worker = Execution(stage(threads=True, retries=1)(second_time_lucky).plan(), 0, lambda seconds: None)

    assert worker.receive(0.0, Plain(0, [1, 2])) == [(SINK, Plain(0, [1, 2]))]
    assert calls == [1, 1, 2, 2]


def test_exit_of_a_function_is_a_failure_of_its_item() -> None:
    def leave(number: int) -> int:
        raise SystemExit(3)

    outcomes, _ = run_in_memory(stage(threads=True)(leave), [1], Random(0))

    assert [outcome.error for outcome in outcomes if isinstance(outcome, Failure)] == ["SystemExit: 3"]


def test_batch_goes_on_when_its_time_is_over() -> None:
    worker = Execution((double | batch(10, within=0.5)).plan(), 1, lambda seconds: None)

    assert worker.receive(1.0, Plain(0, [1, 2])) == []
    assert worker.next_at() == 1.5
    assert worker.tick(1.4) == []
    assert worker.tick(1.5) == [(SINK, Loose([(((0, ()), (1, ())), ())], [[1, 2]]))]
    assert worker.next_at() == float("inf")


# The books.


def test_ledger_counts_what_was_lost_exactly() -> None:
    ledger = Ledger(ordered=False)
    ledger.send(10)
    ledger.send(10)
    ledger.receive(Plain(0, list(range(10))))
    ledger.receive(Plain(13, [13, 14]))
    ledger.receive(WithoutResult([15], [Failure("bake", 15, "burnt", "", 1)]))

    assert ledger.declare_lost() == 7
    assert (ledger.sent, ledger.completed, ledger.failed, ledger.lost, ledger.in_flight) == (20, 12, 1, 7, 0)


def test_ledger_counts_outcomes_as_untaken_until_each_has_been_read() -> None:
    ledger = Ledger(ordered=False)
    ledger.send(5)
    ledger.receive(Plain(0, list("abcde")))

    first = ledger.portion(3)
    assert (next(first), ledger.untaken) == ("a", 4)
    assert (list(first), ledger.untaken) == (["b", "c"], 2)
    assert (list(ledger.portion(2)), ledger.untaken) == (["d", "e"], 0)
    assert not ledger.has_failures


def test_ledger_drops_late_news_of_lost_items() -> None:
    ledger = Ledger(ordered=False)
    ledger.send(3)
    ledger.declare_lost()
    ledger.receive(Plain(0, [1, 2, 3]))

    assert (ledger.completed, ledger.lost) == (0, 3)
    assert not ledger.take()


def test_ledger_counts_an_item_with_a_failed_branch_as_failed_even_if_the_other_is_lost() -> None:
    ledger = Ledger(ordered=False)
    ledger.send(1)
    ledger.receive(WithoutResult([(((0, (0, 2)),), ())], [Failure("bake", 0, "burnt", "", 1)]))

    assert ledger.declare_lost() == 0
    assert (ledger.failed, ledger.lost) == (1, 0)


def test_ordered_ledger_passes_over_what_was_lost() -> None:
    ledger = Ledger(ordered=True)
    ledger.send(3)
    ledger.receive(Plain(2, ["c"]))
    assert not ledger.take()
    ledger.declare_lost()

    assert list(ledger.take()) == ["c"]


def test_weight_of_a_chunk_is_in_source_items() -> None:
    batch_of_two = (((2, (0, 2)), (3, ())), ())
    part_of_four = (((5, ()),), ((1, 4),))

    assert weight_of(Plain(0, [1, 2, 3])) == 3.0
    assert weight_of(Loose([7, batch_of_two, part_of_four], ["a", "b", "c"])) == 1.0 + 1.5 + 0.25


# Bytes.


@pytest.mark.parametrize(
    "chunk",
    [
        Plain(7, [1, "two", b"three", [4], {5: 6}, None, 0.5]),
        Loose([1, (((2, (0, 2)), (3, ())), ((0, 1), (1, 3)))], ["a", "b"]),
        WithoutResult([1, 2], [None, Failure("bake", {"a": 1}, "ValueError: x", "trace", 2)]),
    ],
)
def test_chunk_survives_the_wire(chunk: Any) -> None:
    assert decode(encode(3, chunk, 0.25)) == (3, chunk, 0.25)


@pytest.mark.parametrize(
    "frame", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x95\x01\x00\x07\x01\x90", b"\x95\x01\x00\x01\x05\x90"]
)
def test_what_is_no_chunk_is_refused(frame: bytes) -> None:
    with pytest.raises(ValueError, match="expected a chunk"):
        decode(frame)
