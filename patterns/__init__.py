"""Patterns over zq: pipelines composed in code, and the patterns of the ZeroMQ guide.

docs/pipelines.md and docs/patterns.md have their guarantees and weaknesses.

This package sees only the names that `zq` exports, and `zq.processes`. Names are loaded when they are first used, so
that `import patterns` costs nothing and a worker process loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patterns.errors import LostError, PipelineError, StageError, StartError
    from patterns.guide.freelance import FreelanceClient
    from patterns.guide.lazy_pirate import LazyPirateClient
    from patterns.guide.load_balancer import LoadBalancer
    from patterns.guide.majordomo import MajordomoBroker
    from patterns.guide.paranoid_pirate_queue import ParanoidPirateQueue
    from patterns.guide.paranoid_pirate_worker import ParanoidPirateWorker
    from patterns.guide.publisher import Publisher
    from patterns.guide.sink import Sink
    from patterns.guide.subscriber import Gap, Subscriber, Update
    from patterns.guide.ventilator import Ventilator, VentilatorWorker
    from patterns.pipeline.pipeline import Pipeline
    from patterns.pipeline.stages import FlatStage, Stage, batch, fan_out, gather, route, scatter, stage
    from patterns.run.running import Run
    from patterns.run.settings import RunOptions

_MODULES = {
    "FlatStage": "patterns.pipeline.stages",
    "FreelanceClient": "patterns.guide.freelance",
    "Gap": "patterns.guide.subscriber",
    "LazyPirateClient": "patterns.guide.lazy_pirate",
    "LoadBalancer": "patterns.guide.load_balancer",
    "LostError": "patterns.errors",
    "MajordomoBroker": "patterns.guide.majordomo",
    "ParanoidPirateQueue": "patterns.guide.paranoid_pirate_queue",
    "ParanoidPirateWorker": "patterns.guide.paranoid_pirate_worker",
    "Pipeline": "patterns.pipeline.pipeline",
    "PipelineError": "patterns.errors",
    "Publisher": "patterns.guide.publisher",
    "Run": "patterns.run.running",
    "RunOptions": "patterns.run.settings",
    "Sink": "patterns.guide.sink",
    "Stage": "patterns.pipeline.stages",
    "StageError": "patterns.errors",
    "StartError": "patterns.errors",
    "Subscriber": "patterns.guide.subscriber",
    "Update": "patterns.guide.subscriber",
    "Ventilator": "patterns.guide.ventilator",
    "VentilatorWorker": "patterns.guide.ventilator",
    "batch": "patterns.pipeline.stages",
    "fan_out": "patterns.pipeline.stages",
    "gather": "patterns.pipeline.stages",
    "route": "patterns.pipeline.stages",
    "scatter": "patterns.pipeline.stages",
    "stage": "patterns.pipeline.stages",
}

__all__ = [
    "FlatStage",
    "FreelanceClient",
    "Gap",
    "LazyPirateClient",
    "LoadBalancer",
    "LostError",
    "MajordomoBroker",
    "ParanoidPirateQueue",
    "ParanoidPirateWorker",
    "Pipeline",
    "PipelineError",
    "Publisher",
    "Run",
    "RunOptions",
    "Sink",
    "Stage",
    "StageError",
    "StartError",
    "Subscriber",
    "Update",
    "Ventilator",
    "VentilatorWorker",
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
