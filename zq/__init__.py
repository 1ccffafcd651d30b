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
    from zq.client.async_client import AsyncClient
    from zq.client.browsing import StateFilter, TaskFilters
    from zq.client.client import Client
    from zq.client.dead_letters import AsyncDeadLetters, DeadLetter, DeadLetters, ReplayStatus
    from zq.client.events import AsyncEventStream, Event, EventStream
    from zq.client.group import AsyncGroup, Group, GroupStatus
    from zq.client.insight import Reason, TaskEvent, TaskStatus
    from zq.client.namespaces import AsyncNamespaces, NamespaceLimits, Namespaces, NamespaceStatus
    from zq.client.publications import PublishReceipt, PublishReceipts
    from zq.client.pulled import AsyncPulledTask, PulledTask
    from zq.client.queues import AsyncQueues, OperationStatus, Queues, QueueStatus
    from zq.client.receipt import AsyncReceipt, Receipt, Receipts
    from zq.client.schedules import AsyncSchedules, Schedules, ScheduleStatus
    from zq.client.topics import AsyncTopics, Binding, Topics
    from zq.client.workers import AsyncWorkers, Workers, WorkerStatus
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
    from zq.wire.policies import QueuePolicies, QueueSettings
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
    "AsyncGroup": "zq.client.group",
    "AsyncNamespaces": "zq.client.namespaces",
    "AsyncPulledTask": "zq.client.pulled",
    "AsyncQueues": "zq.client.queues",
    "AsyncReceipt": "zq.client.receipt",
    "AsyncSchedules": "zq.client.schedules",
    "AsyncTopics": "zq.client.topics",
    "AsyncTypedReceipt": "zq.app.task_function",
    "AsyncWorkers": "zq.client.workers",
    "Binding": "zq.client.topics",
    "Bury": "zq.task",
    "Client": "zq.client.client",
    "Coordinator": "zq.server.embedded",
    "CoordinatorOptions": "zq.core.options",
    "DeadLetter": "zq.client.dead_letters",
    "DeadLetters": "zq.client.dead_letters",
    "Event": "zq.client.events",
    "EventStream": "zq.client.events",
    "Executor": "zq.executor",
    "Group": "zq.client.group",
    "GroupStatus": "zq.client.group",
    "LmdbOptions": "zq.store.lmdb",
    "Middleware": "zq.app.middleware",
    "NamespaceLimits": "zq.client.namespaces",
    "NamespaceStatus": "zq.client.namespaces",
    "Namespaces": "zq.client.namespaces",
    "OperationStatus": "zq.client.queues",
    "PublishReceipt": "zq.client.publications",
    "PublishReceipts": "zq.client.publications",
    "PulledTask": "zq.client.pulled",
    "QueuePolicies": "zq.wire.policies",
    "QueueSettings": "zq.wire.policies",
    "QueueStatus": "zq.client.queues",
    "Queues": "zq.client.queues",
    "Reason": "zq.client.insight",
    "Receipt": "zq.client.receipt",
    "Receipts": "zq.client.receipt",
    "ReplayStatus": "zq.client.dead_letters",
    "Retry": "zq.task",
    "RetryPolicy": "zq.wire.retry",
    "ScheduleStatus": "zq.client.schedules",
    "Schedules": "zq.client.schedules",
    "StateFilter": "zq.client.browsing",
    "Submission": "zq.app.middleware",
    "SubmitOptions": "zq.submit_options",
    "Task": "zq.task",
    "TaskEvent": "zq.client.insight",
    "TaskFilters": "zq.client.browsing",
    "TaskFunction": "zq.app.task_function",
    "TaskStatus": "zq.client.insight",
    "Topics": "zq.client.topics",
    "TypedReceipt": "zq.app.task_function",
    "Unique": "zq.wire.unique",
    "Worker": "zq.worker.worker",
    "WorkerStatus": "zq.client.workers",
    "Workers": "zq.client.workers",
}

__all__ = [
    "EVENT_KINDS",
    "App",
    "Arguments",
    "AsyncClient",
    "AsyncDeadLetters",
    "AsyncEventStream",
    "AsyncGroup",
    "AsyncNamespaces",
    "AsyncPulledTask",
    "AsyncQueues",
    "AsyncReceipt",
    "AsyncSchedules",
    "AsyncTopics",
    "AsyncTypedReceipt",
    "AsyncWorkers",
    "Binding",
    "Bury",
    "BusyError",
    "Client",
    "ClosedError",
    "ConversionError",
    "Coordinator",
    "CoordinatorOptions",
    "DeadLetter",
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
    "NamespaceStatus",
    "Namespaces",
    "OperationStatus",
    "PayloadTooLargeError",
    "PublishReceipt",
    "PublishReceipts",
    "PulledTask",
    "QueuePolicies",
    "QueueSettings",
    "QueueStatus",
    "Queues",
    "Reason",
    "Receipt",
    "Receipts",
    "RemoteProtocolError",
    "ReplayStatus",
    "Retry",
    "RetryPolicy",
    "RunnerBrokenError",
    "ScheduleStatus",
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
    "TaskFilters",
    "TaskFunction",
    "TaskStatus",
    "TaskUnknownError",
    "TimedOutError",
    "Topics",
    "TypedReceipt",
    "Unique",
    "UnreachableError",
    "UnroutableError",
    "Worker",
    "WorkerFencedError",
    "WorkerStatus",
    "Workers",
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
