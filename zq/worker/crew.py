"""Who runs the tasks of a worker: threads, event loops, or threads with a child process each, as its settings say."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from zq.keys.own import KeySource
from zq.wire.namespaces import Namespace
from zq.worker.child_runner import ChildRunner
from zq.worker.child_thread import ChildHost, ChildOptions
from zq.worker.children_watch import ChildrenWatch
from zq.worker.loop_child_runner import CoroutineChildRunner
from zq.worker.loop_runner import LoopRunner, is_coroutine_handler
from zq.worker.runner import Handler
from zq.worker.thread_runner import RunnerThread, ThreadRunner


class RunSettings(Protocol):
    """What a run needs to know of its worker, which says what each means; it is read when the run is made."""

    address: str
    namespace: Namespace | None
    name: str
    handlers: dict[str, Handler]
    concurrency: int
    coroutines: int
    child_stdout: int | None
    tasks_per_child: int | None
    child_memory_max: int | None
    key: KeySource | None


class Slots(NamedTuple):
    """How many tasks run at once, by kind."""

    coroutine_queues: frozenset[str]
    plain: int
    coroutines: int


def count_slots(settings: RunSettings) -> Slots:
    """Returns how many tasks a worker with these settings runs at once."""
    handlers = settings.handlers
    coroutine_queues = frozenset(queue for queue, one in handlers.items() if is_coroutine_handler(one))
    plain = settings.concurrency if len(coroutine_queues) < len(handlers) else 0
    return Slots(coroutine_queues, plain, settings.coroutines if coroutine_queues else 0)


def hire_threads(host: ChildHost, settings: RunSettings, slots: Slots) -> list[RunnerThread]:
    """Returns runners in this process; that of the coroutines, if there is one, is the last."""
    runners: list[RunnerThread] = [ThreadRunner(host, settings.handlers) for _ in range(slots.plain)]
    if slots.coroutines:
        runners.append(LoopRunner(host, settings.handlers, slots.coroutines))
    return runners


def hire_children(
    host: ChildHost, settings: RunSettings, slots: Slots, spec: str
) -> tuple[list[RunnerThread], ChildrenWatch]:
    """Returns runners in child processes, that of the coroutines last, and what watches whether they can work.

    Args:
        spec: where child processes find the handlers.
    """
    mib_max = settings.child_memory_max
    options = ChildOptions(
        spec,
        tuple(settings.handlers),
        settings.child_stdout,
        settings.tasks_per_child,
        None if mib_max is None else mib_max << 20,
    )
    plain = [ChildRunner(host, options) for _ in range(slots.plain)]
    loops = [CoroutineChildRunner(host, options, slots.coroutines)] if slots.coroutines else []
    return [*plain, *loops], ChildrenWatch([plain, loops])
