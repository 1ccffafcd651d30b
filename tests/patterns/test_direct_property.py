"""Random pipelines over real sockets give what plain Python gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.pipeline.pipeline import Pipeline
from tests.patterns.in_memory import FailedItem, evaluate
from tests.patterns.test_execution import pipelines


@settings(max_examples=25)  # each makes all the threads and sockets of a run
@given(pipelines(), st.lists(st.integers(-30, 120), max_size=40))
def test_any_pipeline_gives_what_plain_python_gives_over_sockets(
    pipeline: Pipeline[Any, Any], items: list[int]
) -> None:
    expected = [one for item in items for one in evaluate(pipeline, item)]
    run = pipeline.run(items, threads=True, ordered=True, on_error="collect", quiet=True)

    results = list(run)

    assert results == [one for one in expected if not isinstance(one, FailedItem)]
    assert run.sent == len(items) == run.completed + run.failed
    assert len(run.errors) == run.failed
