"""Starts runs: the one place that knows all engines, and therefore stands over the grades and not beside the runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from patterns.pipeline.pipeline import Pipeline
from patterns.run.running import Run
from patterns.run.settings import RunOptions, settle


def make_run(pipeline: Pipeline[Any, Any], items: Iterable[Any], options: RunOptions) -> Run[Any]:
    """Returns a run of a pipeline; raises as `Pipeline.run`."""
    plan = pipeline.plan()
    settings = settle(options)
    try:
        source = iter(items)
    except TypeError:
        raise TypeError(f"expected an iterable of items, got {type(items).__name__}") from None
    if settings.is_durable:
        from patterns.durable.engine import DurableEngine

        return Run(DurableEngine(plan, source, settings), settings)
    from patterns.direct.engine import DirectEngine

    return Run(DirectEngine(plan, source, settings), settings)
