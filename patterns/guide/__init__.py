"""The patterns of the ZeroMQ guide, each in a file of its own; docs/patterns.md has their guarantees and weaknesses.

Names are loaded when they are first used.

May import: sockets; of zq its public names and `zq.processes`. Neither pipelines nor their runs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "FreelanceClient": "patterns.guide.freelance",
    "Gap": "patterns.guide.subscriber",
    "LazyPirateClient": "patterns.guide.lazy_pirate",
    "LoadBalancer": "patterns.guide.load_balancer",
    "MajordomoBroker": "patterns.guide.majordomo",
    "ParanoidPirateQueue": "patterns.guide.paranoid_pirate_queue",
    "ParanoidPirateWorker": "patterns.guide.paranoid_pirate_worker",
    "Publisher": "patterns.guide.publisher",
    "Sink": "patterns.guide.sink",
    "Subscriber": "patterns.guide.subscriber",
    "Update": "patterns.guide.subscriber",
    "Ventilator": "patterns.guide.ventilator",
    "VentilatorWorker": "patterns.guide.ventilator",
}

__all__ = [
    "FreelanceClient",
    "Gap",
    "LazyPirateClient",
    "LoadBalancer",
    "MajordomoBroker",
    "ParanoidPirateQueue",
    "ParanoidPirateWorker",
    "Publisher",
    "Sink",
    "Subscriber",
    "Update",
    "Ventilator",
    "VentilatorWorker",
]


if not TYPE_CHECKING:  # seen by a type checker, it would make every misspelt name an Any

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'patterns.guide' has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value  # found without this function from now on
        return value


def __dir__() -> list[str]:
    return __all__
