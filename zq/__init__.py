"""zq: durable task queues on ZeroMQ, with no broker to install.

Clients submit tasks, a coordinator keeps them on disk and assigns them, workers run them; see README.md for the first
five minutes and docs/ for the rest. Names are loaded when they are first used, so that `import zq` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zq.app.app import App
    from zq.app.middleware import Middleware, Submission
    from zq.app.task_function import Arguments, AsyncTypedReceipt, TaskFunction, TypedReceipt
    from zq.client.async_client import AsyncClient, AsyncGroup, AsyncPulledTask, AsyncReceipt
    from zq.client.browsing import StateFilter
    from zq.client.client import Client
    from zq.client.dead_letters import AsyncDeadLetters, DeadLetters
    from zq.client.events import AsyncEventStream, Event, EventStream
    from zq.client.group import Group, GroupStatus
    from zq.client.insight import Reason
    from zq.client.namespaces import NamespaceLimits
    from zq.client.publications import PublishReceipt, PublishReceipts
    from zq.client.pulled import PulledTask
    from zq.client.queue_operations import AsyncQueueOperations, QueueOperations
    from zq.client.receipt import Receipt, Receipts, TaskEvent, TaskStatus
    from zq.client.schedules import AsyncSchedules, Schedules
    from zq.core.options import CoordinatorOptions
    from zq.errors import (
        BusyError,
        ClosedError,
        ConversionError,
        InvalidTaskError,
        PayloadTooLargeError,
        RemoteProtocolError,
        RunnerBrokenError,
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
        UnroutableError,
        WorkerFencedError,
        ZqError,
    )
    from zq.executor import Executor
    from zq.server.embedded import Coordinator
    from zq.store.lmdb import LmdbOptions
    from zq.submit_options import SubmitOptions
    from zq.task import Bury, Retry, Task
    from zq.wire.events import EVENT_KINDS
    from zq.wire.policies import QueueSettings
    from zq.wire.retry import RetryPolicy
    from zq.wire.unique import Unique
    from zq.worker.worker import Worker

_MODULES = {
    "EVENT_KINDS": "zq.wire.events",
    "App": "zq.app.app",
    "Arguments": "zq.app.task_function",
    "AsyncClient": "zq.client.async_client",
    "AsyncDeadLetters": "zq.client.dead_letters",
    "AsyncEventStream": "zq.client.events",
    "AsyncGroup": "zq.client.async_client",
    "AsyncPulledTask": "zq.client.async_client",
    "AsyncQueueOperations": "zq.client.queue_operations",
    "AsyncReceipt": "zq.client.async_client",
    "AsyncSchedules": "zq.client.schedules",
    "AsyncTypedReceipt": "zq.app.task_function",
    "Bury": "zq.task",
    "Client": "zq.client.client",
    "Coordinator": "zq.server.embedded",
    "CoordinatorOptions": "zq.core.options",
    "DeadLetters": "zq.client.dead_letters",
    "Event": "zq.client.events",
    "EventStream": "zq.client.events",
    "Executor": "zq.executor",
    "Group": "zq.client.group",
    "GroupStatus": "zq.client.group",
    "LmdbOptions": "zq.store.lmdb",
    "Middleware": "zq.app.middleware",
    "NamespaceLimits": "zq.client.namespaces",
    "PublishReceipt": "zq.client.publications",
    "PublishReceipts": "zq.client.publications",
    "PulledTask": "zq.client.pulled",
    "QueueOperations": "zq.client.queue_operations",
    "QueueSettings": "zq.wire.policies",
    "Reason": "zq.client.insight",
    "Receipt": "zq.client.receipt",
    "Receipts": "zq.client.receipt",
    "Retry": "zq.task",
    "RetryPolicy": "zq.wire.retry",
    "Schedules": "zq.client.schedules",
    "StateFilter": "zq.client.browsing",
    "Submission": "zq.app.middleware",
    "SubmitOptions": "zq.submit_options",
    "Task": "zq.task",
    "TaskEvent": "zq.client.receipt",
    "TaskFunction": "zq.app.task_function",
    "TaskStatus": "zq.client.receipt",
    "TypedReceipt": "zq.app.task_function",
    "Unique": "zq.wire.unique",
    "Worker": "zq.worker.worker",
}

__all__ = [
    "EVENT_KINDS",
    "App",
    "Arguments",
    "AsyncClient",
    "AsyncDeadLetters",
    "AsyncEventStream",
    "AsyncGroup",
    "AsyncPulledTask",
    "AsyncQueueOperations",
    "AsyncReceipt",
    "AsyncSchedules",
    "AsyncTypedReceipt",
    "Bury",
    "BusyError",
    "Client",
    "ClosedError",
    "ConversionError",
    "Coordinator",
    "CoordinatorOptions",
    "DeadLetters",
    "Event",
    "EventStream",
    "Executor",
    "Group",
    "GroupStatus",
    "InvalidTaskError",
    "LmdbOptions",
    "Middleware",
    "NamespaceLimits",
    "PayloadTooLargeError",
    "PublishReceipt",
    "PublishReceipts",
    "PulledTask",
    "QueueOperations",
    "QueueSettings",
    "Reason",
    "Receipt",
    "Receipts",
    "RemoteProtocolError",
    "Retry",
    "RetryPolicy",
    "RunnerBrokenError",
    "Schedules",
    "StaleLeaseError",
    "StateFilter",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreVersionError",
    "Submission",
    "SubmitOptions",
    "Task",
    "TaskCancelledError",
    "TaskError",
    "TaskEvent",
    "TaskExpiredError",
    "TaskFailedError",
    "TaskFunction",
    "TaskStatus",
    "TaskUnknownError",
    "TimedOutError",
    "TypedReceipt",
    "Unique",
    "UnreachableError",
    "UnroutableError",
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
