"""Every shape of pipeline gives the same results in every grade, with processes and with threads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from patterns import batch, fan_out, gather, scatter
from patterns.running import RunOptions
from tests.patterns.shapes import SHAPES, Shape
from tests.patterns.shop import describe, digits, fail_on_sevens, total

GRADES: dict[str, RunOptions] = {
    "direct": {},
}
"""The options that choose a grade."""

WORKERS: dict[str, RunOptions] = {"processes": {}, "threads": {"threads": True}}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("grade", GRADES)
def test_shape_gives_the_same_results(grade: str, workers: str, shape: Shape, tidy: None) -> None:
    options: RunOptions = {**GRADES[grade], **WORKERS[workers], "ordered": True}

    with shape.pipeline.run(shape.items, **options) as run:
        results: list[Any] = list(run)

    assert results == shape.results
    assert run.sent == run.completed == len(list(shape.items))
    assert (run.failed, run.lost) == (0, {})


@pytest.mark.parametrize("grade", GRADES)
def test_results_come_as_they_are_ready(grade: str, tidy: None) -> None:
    for shape in SHAPES:
        if "batch" not in shape.name:
            options: RunOptions = {**GRADES[grade], "threads": True}
            results = shape.pipeline.run(shape.items, **options)
            assert Counter(results) == Counter(shape.results), shape.name


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("grade", GRADES)
def test_failures_are_the_same(grade: str, workers: str, tidy: None) -> None:
    options: RunOptions = {**GRADES[grade], **WORKERS[workers], "ordered": True, "on_error": "collect"}
    pipeline = fan_out(scatter(digits) | fail_on_sevens | gather(total), describe) | describe

    run = pipeline.run([12, 77, 3], **options)

    assert list(run) == ["<3>", "<<12>>", "<<77>>", "<3>", "<<3>>"]
    assert [(error.stage, error.item, error.error, error.attempts) for error in run.errors] == [
        ("fail_on_sevens", 7, "ValueError: no 7 today", 1)
    ]
    assert "in fail_on_sevens" in run.errors[0].remote_traceback
    assert (run.sent, run.completed, run.failed, run.lost) == (3, 2, 1, {})


@pytest.mark.parametrize("grade", GRADES)
def test_failure_of_a_batch_is_one_error_and_fails_all_of_its_items(grade: str, tidy: None) -> None:
    options: RunOptions = {**GRADES[grade], "threads": True, "on_error": "collect"}

    run = (batch(3) | total | fail_on_sevens).run([1, 2, 4, 5, 6, 8], **options)

    assert list(run) == [19]
    assert [error.item for error in run.errors] == [7]
    assert (run.sent, run.completed, run.failed) == (6, 3, 3)
