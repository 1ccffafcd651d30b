"""Pipeline patterns over zq, and the patterns of the ZeroMQ guide. This package sees only the names that `zq` exports.

Names are loaded when they are first used, so that `import patterns` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patterns.lazy_pirate import LazyPirateClient
    from patterns.paranoid_pirate_queue import ParanoidPirateQueue
    from patterns.paranoid_pirate_worker import ParanoidPirateWorker

_MODULES = {
    "LazyPirateClient": "patterns.lazy_pirate",
    "ParanoidPirateQueue": "patterns.paranoid_pirate_queue",
    "ParanoidPirateWorker": "patterns.paranoid_pirate_worker",
}

__all__ = [
    "LazyPirateClient",
    "ParanoidPirateQueue",
    "ParanoidPirateWorker",
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
