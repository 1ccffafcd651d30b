"""Patterns over zq: pipelines composed in code (docs/pipelines.md), and the patterns of the ZeroMQ guide (docs/patterns.md).

This package sees only the names that `zq` exports. Names are loaded when they are first used, so that `import patterns` costs nothing and a worker process loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patterns.errors import LostError, PipelineError, StageError, StartError
    from patterns.freelance import FreelanceClient
    from patterns.lazy_pirate import LazyPirateClient
    from patterns.load_balancer import LoadBalancer
    from patterns.majordomo import MajordomoBroker
    from patterns.paranoid_pirate_queue import ParanoidPirateQueue
    from patterns.paranoid_pirate_worker import ParanoidPirateWorker
    from patterns.pipeline import Pipeline
    from patterns.publisher import Publisher
    from patterns.running import Run, RunOptions
    from patterns.sink import Sink
    from patterns.stages import FlatStage, Stage, batch, fan_out, gather, route, scatter, stage
    from patterns.subscriber import Gap, Subscriber, Update
    from patterns.ventilator import Ventilator, VentilatorWorker

_MODULES = {
    "FlatStage": "patterns.stages",
    "FreelanceClient": "patterns.freelance",
    "Gap": "patterns.subscriber",
    "LazyPirateClient": "patterns.lazy_pirate",
    "LoadBalancer": "patterns.load_balancer",
    "LostError": "patterns.errors",
    "MajordomoBroker": "patterns.majordomo",
    "ParanoidPirateQueue": "patterns.paranoid_pirate_queue",
    "ParanoidPirateWorker": "patterns.paranoid_pirate_worker",
    "Pipeline": "patterns.pipeline",
    "PipelineError": "patterns.errors",
    "Publisher": "patterns.publisher",
    "Run": "patterns.running",
    "RunOptions": "patterns.running",
    "Sink": "patterns.sink",
    "Stage": "patterns.stages",
    "StageError": "patterns.errors",
    "StartError": "patterns.errors",
    "Subscriber": "patterns.subscriber",
    "Update": "patterns.subscriber",
    "Ventilator": "patterns.ventilator",
    "VentilatorWorker": "patterns.ventilator",
    "batch": "patterns.stages",
    "fan_out": "patterns.stages",
    "gather": "patterns.stages",
    "route": "patterns.stages",
    "scatter": "patterns.stages",
    "stage": "patterns.stages",
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
