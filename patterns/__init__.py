"""Pipelines composed in code, over zq; docs/pipelines.md has their guarantees.

The patterns of the ZeroMQ guide are in `patterns.guide`.

This package sees only the names that `zq` exports, and `zq.processes`. Names are loaded when they are first used, so
that `import patterns` costs nothing and a worker process loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patterns.errors import LostError, PipelineError, StageError, StartError, TakenOverError
    from patterns.pipeline.pipeline import Pipeline
    from patterns.pipeline.stages import FlatStage, Stage, batch, fan_out, gather, route, scatter, stage
    from patterns.run.running import Run
    from patterns.run.settings import RunOptions

_MODULES = {
    "FlatStage": "patterns.pipeline.stages",
    "LostError": "patterns.errors",
    "Pipeline": "patterns.pipeline.pipeline",
    "PipelineError": "patterns.errors",
    "Run": "patterns.run.running",
    "RunOptions": "patterns.run.settings",
    "Stage": "patterns.pipeline.stages",
    "StageError": "patterns.errors",
    "StartError": "patterns.errors",
    "TakenOverError": "patterns.errors",
    "batch": "patterns.pipeline.stages",
    "fan_out": "patterns.pipeline.stages",
    "gather": "patterns.pipeline.stages",
    "route": "patterns.pipeline.stages",
    "scatter": "patterns.pipeline.stages",
    "stage": "patterns.pipeline.stages",
}

__all__ = [
    "FlatStage",
    "LostError",
    "Pipeline",
    "PipelineError",
    "Run",
    "RunOptions",
    "Stage",
    "StageError",
    "StartError",
    "TakenOverError",
    "batch",
    "fan_out",
    "gather",
    "route",
    "scatter",
    "stage",
]


if not TYPE_CHECKING:  # seen by a type checker, it would make every misspelt name an Any

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'patterns' has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value  # found without this function from now on
        return value


def __dir__() -> list[str]:
    return __all__
