"""Every shape of pipeline gives the same results in every grade, with processes and with threads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from patterns.running import RunOptions
from tests.patterns.shapes import SHAPES, Shape

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
