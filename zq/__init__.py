"""zq: durable task queues on ZeroMQ, with no broker to install.

Clients submit tasks, a coordinator keeps them on disk and assigns them, workers run them; see README.md for the first five minutes and docs/ for the rest.
Names are loaded when they are first used, so that `import zq` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zq.async_client import AsyncClient
    from zq.client import Client
    from zq.core.options import CoordinatorOptions
    from zq.core.policies import QueueSettings
    from zq.errors import (
        BusyError,
        ClosedError,
        InvalidTaskError,
        PayloadTooLargeError,
        RemoteProtocolError,
        StaleLeaseError,
        StoreCorruptError,
        StoreError,
        StoreFullError,
        StoreLockedError,
        StoreVersionError,
        TaskCancelledError,
        TaskError,
        TaskExpiredError,
        TaskFailedError,
        TaskUnknownError,
        TimedOutError,
        UnreachableError,
        WorkerFencedError,
        ZqError,
    )
    from zq.pulled import PulledTask
    from zq.receipt import Receipt, Receipts, TaskEvent, TaskStatus
    from zq.server import Coordinator
    from zq.store.lmdb import LmdbOptions
    from zq.task import SubmitOptions, Task
    from zq.worker import Worker

_MODULES = {
    "AsyncClient": "zq.async_client",
    "Client": "zq.client",
    "Coordinator": "zq.server",
    "CoordinatorOptions": "zq.core.options",
    "LmdbOptions": "zq.store.lmdb",
    "PulledTask": "zq.pulled",
    "QueueSettings": "zq.core.policies",
    "Receipt": "zq.receipt",
    "Receipts": "zq.receipt",
    "SubmitOptions": "zq.task",
    "Task": "zq.task",
    "TaskEvent": "zq.receipt",
    "TaskStatus": "zq.receipt",
    "Worker": "zq.worker",
}

__all__ = [
    "AsyncClient",
    "BusyError",
    "Client",
    "ClosedError",
    "Coordinator",
    "CoordinatorOptions",
    "InvalidTaskError",
    "LmdbOptions",
    "PayloadTooLargeError",
    "PulledTask",
    "QueueSettings",
    "Receipt",
    "Receipts",
    "RemoteProtocolError",
    "StaleLeaseError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreVersionError",
    "SubmitOptions",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskEvent",
    "TaskExpiredError",
    "TaskFailedError",
    "TaskStatus",
    "TaskUnknownError",
    "TimedOutError",
    "UnreachableError",
    "Worker",
    "WorkerFencedError",
    "ZqError",
    "__version__",
]


if not TYPE_CHECKING:  # seen by a type checker, it would make every misspelt name an Any

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'zq' has no attribute {name!r}")
        value = getattr(import_module(_MODULES.get(name, "zq.errors")), name)
        globals()[name] = value  # found without this function from now on
        return value


def __dir__() -> list[str]:
    return __all__
