"""zq: durable task queues on ZeroMQ, with no broker to install.

Clients submit tasks, a coordinator keeps them on disk and assigns them, workers run them; see README.md for the first
five minutes and docs/ for the rest. Names are loaded when they are first used, so that `import zq` costs nothing.
"""

from zq.lazy import TYPE_CHECKING, load_lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zq.app.app import App as App
    from zq.app.middleware import Middleware as Middleware
    from zq.app.task_function import Arguments as Arguments
    from zq.app.task_function import AsyncTypedReceipt as AsyncTypedReceipt
    from zq.app.task_function import TaskFunction as TaskFunction
    from zq.app.task_function import TypedReceipt as TypedReceipt
    from zq.client.async_client import AsyncClient as AsyncClient
    from zq.client.browsing import StateFilter as StateFilter
    from zq.client.browsing import TaskFilters as TaskFilters
    from zq.client.client import Client as Client
    from zq.client.dead_letters import AsyncDeadLetters as AsyncDeadLetters
    from zq.client.dead_letters import DeadLetter as DeadLetter
    from zq.client.dead_letters import DeadLetters as DeadLetters
    from zq.client.dead_letters import ReplayStatus as ReplayStatus
    from zq.client.events import AsyncEventStream as AsyncEventStream
    from zq.client.events import Event as Event
    from zq.client.events import EventStream as EventStream
    from zq.client.group import AsyncGroup as AsyncGroup
    from zq.client.group import Group as Group
    from zq.client.group import GroupStatus as GroupStatus
    from zq.client.insight import DeadReason as DeadReason
    from zq.client.insight import FailureRow as FailureRow
    from zq.client.insight import FlowRow as FlowRow
    from zq.client.insight import HistoryRow as HistoryRow
    from zq.client.insight import HistoryStep as HistoryStep
    from zq.client.insight import Reason as Reason
    from zq.client.insight import TaskEvent as TaskEvent
    from zq.client.insight import TaskStatus as TaskStatus
    from zq.client.insight import TimeHistogram as TimeHistogram
    from zq.client.namespaces import AsyncNamespaces as AsyncNamespaces
    from zq.client.namespaces import NamespaceLimits as NamespaceLimits
    from zq.client.namespaces import Namespaces as Namespaces
    from zq.client.namespaces import NamespaceStatus as NamespaceStatus
    from zq.client.publications import PublishReceipt as PublishReceipt
    from zq.client.publications import PublishReceipts as PublishReceipts
    from zq.client.pulled import AsyncPulledTask as AsyncPulledTask
    from zq.client.pulled import PulledTask as PulledTask
    from zq.client.queues import AsyncQueues as AsyncQueues
    from zq.client.queues import OperationStatus as OperationStatus
    from zq.client.queues import Queues as Queues
    from zq.client.queues import QueueStatus as QueueStatus
    from zq.client.receipt import AsyncReceipt as AsyncReceipt
    from zq.client.receipt import Receipt as Receipt
    from zq.client.receipt import Receipts as Receipts
    from zq.client.schedules import AsyncSchedules as AsyncSchedules
    from zq.client.schedules import Schedules as Schedules
    from zq.client.schedules import ScheduleStatus as ScheduleStatus
    from zq.client.topics import AsyncTopics as AsyncTopics
    from zq.client.topics import TopicBinding as TopicBinding
    from zq.client.topics import Topics as Topics
    from zq.client.workers import AsyncWorkers as AsyncWorkers
    from zq.client.workers import HeldTask as HeldTask
    from zq.client.workers import Workers as Workers
    from zq.client.workers import WorkerStatus as WorkerStatus
    from zq.core.options import CoordinatorOptions as CoordinatorOptions
    from zq.core.peer_limits import PeerLimits as PeerLimits
    from zq.errors import AccessDeniedError as AccessDeniedError
    from zq.errors import BusyError as BusyError
    from zq.errors import ClosedError as ClosedError
    from zq.errors import ConversionError as ConversionError
    from zq.errors import InvalidTaskError as InvalidTaskError
    from zq.errors import KeyFileError as KeyFileError
    from zq.errors import MemoryLimitError as MemoryLimitError
    from zq.errors import PayloadTooLargeError as PayloadTooLargeError
    from zq.errors import RemoteProtocolError as RemoteProtocolError
    from zq.errors import RunnerBrokenError as RunnerBrokenError
    from zq.errors import StaleLeaseError as StaleLeaseError
    from zq.errors import StoreCorruptError as StoreCorruptError
    from zq.errors import StoreError as StoreError
    from zq.errors import StoreFullError as StoreFullError
    from zq.errors import StoreLockedError as StoreLockedError
    from zq.errors import StoreVersionError as StoreVersionError
    from zq.errors import TaskCancelledError as TaskCancelledError
    from zq.errors import TaskError as TaskError
    from zq.errors import TaskExpiredError as TaskExpiredError
    from zq.errors import TaskFailedError as TaskFailedError
    from zq.errors import TaskUnknownError as TaskUnknownError
    from zq.errors import TimedOutError as TimedOutError
    from zq.errors import UnreachableError as UnreachableError
    from zq.errors import UnroutableError as UnroutableError
    from zq.errors import WorkerFencedError as WorkerFencedError
    from zq.errors import ZqError as ZqError
    from zq.executor import Executor as Executor
    from zq.handling.hooks import Submission as Submission
    from zq.keys.key import Key as Key
    from zq.server.embedded import Coordinator as Coordinator
    from zq.server.host import HostOptions as HostOptions
    from zq.store.lmdb import LmdbOptions as LmdbOptions
    from zq.submit_options import SubmitOptions as SubmitOptions
    from zq.task import Bury as Bury
    from zq.task import Retry as Retry
    from zq.task import Task as Task
    from zq.wire.policies import QueuePolicies as QueuePolicies
    from zq.wire.policies import QueueSettings as QueueSettings
    from zq.wire.questions import EVENT_KINDS as EVENT_KINDS
    from zq.wire.questions import TIME_BOUNDS as TIME_BOUNDS
    from zq.wire.retry import RetryPolicy as RetryPolicy
    from zq.wire.unique import Unique as Unique
    from zq.worker.worker import Worker as Worker

_NAMES = {
    "zq.app.app": "App",
    "zq.app.middleware": "Middleware",
    "zq.handling.hooks": "Submission",
    "zq.app.task_function": "Arguments AsyncTypedReceipt TaskFunction TypedReceipt",
    "zq.client.async_client": "AsyncClient",
    "zq.client.browsing": "StateFilter TaskFilters",
    "zq.client.client": "Client",
    "zq.client.dead_letters": "AsyncDeadLetters DeadLetter DeadLetters ReplayStatus",
    "zq.client.events": "AsyncEventStream Event EventStream",
    "zq.client.group": "AsyncGroup Group GroupStatus",
    "zq.client.insight": "DeadReason FailureRow FlowRow HistoryRow HistoryStep Reason TaskEvent TaskStatus TimeHistogram",
    "zq.client.namespaces": "AsyncNamespaces NamespaceLimits Namespaces NamespaceStatus",
    "zq.client.publications": "PublishReceipt PublishReceipts",
    "zq.client.pulled": "AsyncPulledTask PulledTask",
    "zq.client.queues": "AsyncQueues OperationStatus Queues QueueStatus",
    "zq.client.receipt": "AsyncReceipt Receipt Receipts",
    "zq.client.schedules": "AsyncSchedules Schedules ScheduleStatus",
    "zq.client.topics": "AsyncTopics TopicBinding Topics",
    "zq.client.workers": "AsyncWorkers HeldTask Workers WorkerStatus",
    "zq.core.options": "CoordinatorOptions",
    "zq.core.peer_limits": "PeerLimits",
    "zq.errors": (
        "AccessDeniedError BusyError ClosedError ConversionError InvalidTaskError KeyFileError MemoryLimitError "
        "PayloadTooLargeError "
        "RemoteProtocolError RunnerBrokenError StaleLeaseError StoreCorruptError StoreError StoreFullError "
        "StoreLockedError StoreVersionError TaskCancelledError TaskError TaskExpiredError TaskFailedError "
        "TaskUnknownError TimedOutError UnreachableError UnroutableError WorkerFencedError ZqError"
    ),
    "zq.executor": "Executor",
    "zq.keys.key": "Key",
    "zq.server.embedded": "Coordinator",
    "zq.server.host": "HostOptions",
    "zq.store.lmdb": "LmdbOptions",
    "zq.submit_options": "SubmitOptions",
    "zq.task": "Bury Retry Task",
    "zq.wire.questions": "EVENT_KINDS TIME_BOUNDS",
    "zq.wire.policies": "QueuePolicies QueueSettings",
    "zq.wire.retry": "RetryPolicy",
    "zq.wire.unique": "Unique",
    "zq.worker.worker": "Worker",
}
"""The same names by module, each loaded when it is first used."""

if not TYPE_CHECKING:  # seen by a type checker, it would make every misspelt name an Any
    __getattr__, __dir__, __all__ = load_lazily(__name__, _NAMES, "__version__")
