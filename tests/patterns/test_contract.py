"""Every shape of pipeline gives the same results in every grade, with processes and with threads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from patterns import StageError, batch, fan_out, gather, scatter
from patterns.run.settings import RunOptions
from tests.patterns.shapes import SHAPES, Shape
from tests.patterns.shop import describe, digits, double, fail_on_sevens, make_object, split_unreadable, tally, total

GRADES = ("direct", "embedded", "shared")

WORKERS: dict[str, RunOptions] = {"processes": {}, "threads": {"threads": True}}


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zq.Coordinator]:
    """One for all shared runs: they do not meet."""
    with zq.Coordinator(tmp_path_factory.mktemp("shared") / "data") as one:
        yield one


@pytest.fixture
def choose(coordinator: zq.Coordinator, tmp_path: Path) -> Callable[[str], RunOptions]:
    """Returns the options that choose a grade."""

    def options_of(grade: str) -> RunOptions:
        match grade:
            case "direct":
                return {}
            case "embedded":
                return {"data": tmp_path / "data"}
            case _:
                return {"address": coordinator.address}

    return options_of


Choose = Callable[[str], RunOptions]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("grade", GRADES)
def test_shape_gives_the_same_results(grade: str, workers: str, shape: Shape, choose: Choose, tidy: None) -> None:
    options: RunOptions = {**choose(grade), **WORKERS[workers], "ordered": True}

    with shape.pipeline.run(shape.items, **options) as run:
        results: list[Any] = list(run)

    assert results == shape.results
    assert run.sent == run.completed == len(list(shape.items))
    assert (run.failed, run.lost) == (0, {})


@pytest.mark.parametrize("grade", GRADES)
def test_results_come_as_they_are_ready(grade: str, choose: Choose, tidy: None) -> None:
    for shape in SHAPES:
        if "batch" not in shape.name:
            options: RunOptions = {**choose(grade), "threads": True}
            results = shape.pipeline.run(shape.items, **options)
            assert Counter(results) == Counter(shape.results), shape.name


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("grade", GRADES)
def test_failures_are_the_same(grade: str, workers: str, choose: Choose, tidy: None) -> None:
    options: RunOptions = {**choose(grade), **WORKERS[workers], "ordered": True, "on_error": "collect"}
    pipeline = fan_out(scatter(digits) | fail_on_sevens | gather(total), describe) | describe

    run = pipeline.run([12, 77, 3], **options)

    assert list(run) == ["<3>", "<<12>>", "<<77>>", "<3>", "<<3>>"]
    assert [(error.stage, error.item, error.error, error.attempts) for error in run.errors] == [
        ("fail_on_sevens", 7, "ValueError: no 7 today", 1)
    ]
    assert "in fail_on_sevens" in run.errors[0].remote_traceback
    assert (run.sent, run.completed, run.failed, run.lost) == (3, 2, 1, {})


@pytest.mark.parametrize("grade", GRADES)
def test_failure_of_a_batch_is_one_error_and_fails_all_of_its_items(grade: str, choose: Choose, tidy: None) -> None:
    options: RunOptions = {**choose(grade), "threads": True, "on_error": "collect"}

    run = (batch(3) | total | fail_on_sevens).run([1, 2, 4, 5, 6, 8], **options)

    assert list(run) == [19]
    assert [error.item for error in run.errors] == [7]
    assert (run.sent, run.completed, run.failed) == (6, 3, 3)


@pytest.mark.parametrize("grade", GRADES)
def test_failure_is_raised_after_the_results_before_it(grade: str, choose: Choose, tidy: None) -> None:
    taken: list[int] = []
    options: RunOptions = {**choose(grade), "ordered": True, "threads": True}

    with pytest.raises(StageError, match="no 7 today"):
        taken.extend(fail_on_sevens.run(range(30), **options))

    assert taken == list(range(7))


@pytest.mark.parametrize("grade", GRADES)
def test_input_is_not_read_far_ahead_of_the_results(grade: str, choose: Choose, tidy: None) -> None:
    read = 0
    options: RunOptions = {**choose(grade), "ordered": True, "threads": True}

    def source() -> Iterator[int]:
        nonlocal read
        while read < 1_000_000:
            read += 1
            yield read - 1

    with double.run(source(), **options) as run:
        assert [next(run) for _ in range(5)] == [0, 2, 4, 6, 8]

    assert read < 500_000


@pytest.mark.parametrize("grade", GRADES)
def test_result_that_cannot_travel_fails_its_item_alone_in_each_grade(grade: str, choose: Choose, tidy: None) -> None:
    options: RunOptions = {**choose(grade), "on_error": "collect", "ordered": True, "threads": True}
    run = make_object.run(range(10), **options)

    assert list(run) == [n for n in range(10) if n != 7]
    (error,) = run.errors
    assert (error.stage, error.item) == ("make_object", 7)
    assert "its result cannot be sent on: can not serialize 'object' object" in error.error


@pytest.mark.parametrize("grade", GRADES)
def test_failure_whose_text_utf_8_cannot_hold_fails_its_item_alone(grade: str, choose: Choose, tidy: None) -> None:
    options: RunOptions = {**choose(grade), "on_error": "collect", "ordered": True, "threads": True}
    pipeline = scatter(split_unreadable) | describe | gather(tally)

    run = pipeline.run(["tea", "caf?", "mate"], **options)

    assert list(run) == [3, 4]
    (error,) = run.errors
    assert (error.stage, error.item, error.error) == ("split_unreadable", "caf?", "FileNotFoundError: no caf\\udce9")
    assert "in split_unreadable" in error.remote_traceback
    assert (run.sent, run.completed, run.failed, run.lost) == (3, 2, 1, {})


@pytest.mark.parametrize("grade", GRADES)
def test_error_of_the_input_comes_after_the_results(grade: str, choose: Choose, tidy: None) -> None:
    taken: list[int] = []
    options: RunOptions = {**choose(grade), "ordered": True, "threads": True}

    def source() -> Iterator[int]:
        yield from range(500)
        raise LookupError("the source is dry")

    with pytest.raises(LookupError, match="the source is dry"):
        taken.extend(double.run(source(), **options))

    assert taken == [2 * n for n in range(500)]
