"""Pipelines composed in code, over zq; docs/pipelines.md has their guarantees.

The patterns of the ZeroMQ guide are in `patterns.guide`.

This package sees only the names that `zq` exports, `zq.processes` and `zq.lazy`. Names are loaded when they are first
used, so that `import patterns` costs nothing and a worker process loads no more than it needs.
"""

from zq.lazy import TYPE_CHECKING, load_lazily

if TYPE_CHECKING:
    from patterns.errors import LostError as LostError
    from patterns.errors import PipelineError as PipelineError
    from patterns.errors import StageError as StageError
    from patterns.errors import StartError as StartError
    from patterns.errors import TakenOverError as TakenOverError
    from patterns.pipeline.pipeline import Pipeline as Pipeline
    from patterns.pipeline.stages import FlatStage as FlatStage
    from patterns.pipeline.stages import Stage as Stage
    from patterns.pipeline.stages import batch as batch
    from patterns.pipeline.stages import fan_out as fan_out
    from patterns.pipeline.stages import gather as gather
    from patterns.pipeline.stages import route as route
    from patterns.pipeline.stages import scatter as scatter
    from patterns.pipeline.stages import stage as stage
    from patterns.run.running import Run as Run
    from patterns.run.settings import RunOptions as RunOptions

_NAMES = {
    "patterns.errors": "LostError PipelineError StageError StartError TakenOverError",
    "patterns.pipeline.pipeline": "Pipeline",
    "patterns.pipeline.stages": "FlatStage Stage batch fan_out gather route scatter stage",
    "patterns.run.running": "Run",
    "patterns.run.settings": "RunOptions",
}
"""The same names by module, each loaded when it is first used."""

if not TYPE_CHECKING:  # seen by a type checker, it would make every misspelt name an Any
    __getattr__, __dir__, __all__ = load_lazily(__name__, _NAMES)
