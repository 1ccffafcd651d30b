"""Who runs the tasks of a worker: threads, event loops, or threads with a child process each, as its settings say; and
whether the children can work.

A worker has up to two kinds of children, for plain functions and for coroutines. It can work when of each kind it has
there is one that can; a worker that cannot gives back what it holds and takes nothing, for other workers may be well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from zq.handling.hooks import Hooks, hooked_all
from zq.keys.own import KeySource
from zq.processes.logs import task_log
from zq.processes.pulse import Pulse
from zq.wire.namespaces import Namespace
from zq.worker.child_runner import ChildRunner
from zq.worker.child_start import Source
from zq.worker.child_thread import ChildHost, ChildOptions, ChildThread
from zq.worker.loop_child_runner import CoroutineChildRunner
from zq.worker.loop_runner import LoopRunner, is_coroutine_handler
from zq.worker.runner import Handler
from zq.worker.thread_runner import RunnerThread, ThreadRunner

log = logging.getLogger(__name__)


class RunSettings(Protocol):
    """What a run needs to know of its worker, which says what each means; it is read when the run is made."""

    address: str
    namespace: Namespace | None
    name: str
    handlers: dict[str, Handler]  # with the hooks of the middleware
    middleware: tuple[Hooks, ...]
    concurrency: int
    coroutines: int
    child_stdout: int | None
    tasks_per_child: int | None
    child_memory_max: int | None
    key: KeySource | None
    pulse: Pulse


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


class WorkerCrew:
    """The runners of one run of a worker, which may become more or fewer; but for `start`, used in turns of the link.

    Attributes:
        slots: how many tasks they run at once.
        runners: all of them, that of the coroutines last; always the same list.
        children: whether they can work, if they are child processes.
        has_loop: whether the last one is that of coroutines.
    """

    def __init__(self, host: ChildHost, settings: RunSettings, slots: Slots, spec: str | None) -> None:
        """Makes a crew that is not started.

        Args:
            spec: where child processes find the handlers; None: they run in this process.
        """
        self.slots = slots
        self.children: ChildrenWatch | None = None
        self.has_loop = slots.coroutines > 0
        self._bench = host.bench
        self._hire: Callable[[], RunnerThread]
        loops: list[RunnerThread] = []
        if spec is None:
            handlers = hooked_all(settings.handlers, task_log())
            self._plain: list[RunnerThread] = [ThreadRunner(host, handlers) for _ in range(slots.plain)]
            self._hire = lambda: ThreadRunner(host, handlers)
            if self.has_loop:
                loops.append(LoopRunner(host, handlers, slots.coroutines))
        else:
            options = _child_options(settings, spec)
            children: list[ChildThread] = [ChildRunner(host, options) for _ in range(slots.plain)]
            self._hire = lambda: ChildRunner(host, options)
            coroutine_children = [CoroutineChildRunner(host, options, slots.coroutines)] if self.has_loop else []
            self.children = ChildrenWatch([children, coroutine_children])
            self._plain = children  # type: ignore[assignment] # one list, of which the watch sees what it is
            loops += coroutine_children
        self.runners: list[RunnerThread] = [*self._plain, *loops]
        self._count()

    def _count(self) -> None:
        self._bench.is_alone = len(self.runners) == 1 and self.children is None and not self.has_loop

    def start(self) -> None:
        for runner in self.runners:
            runner.start()

    def resize(self, size: int) -> None:
        """Has so many threads or children run plain functions, or, if the worker has none, so many coroutines; in
        threads both. Who leaves finishes what it does.
        """
        plain, coroutines = self.slots.plain, self.slots.coroutines
        if coroutines and (not plain or self.children is None):
            coroutines = size
            loop = self.runners[-1]
            assert isinstance(loop, LoopRunner | CoroutineChildRunner)
            loop.resize(size)
        if plain:
            missing = self._bench.keep(size - plain) if size > plain else 0
            self._hire_more(missing)
            if size < plain:
                self._bench.dismiss(plain - size)
            plain = size
        self.slots = self.slots._replace(plain=plain, coroutines=coroutines)
        self._count()
        self._bench.resize(plain + coroutines, coroutines)

    def _hire_more(self, count: int) -> None:
        hired = [self._hire() for _ in range(count)]
        for runner in hired:
            self._plain.append(runner)
            self.runners.insert(len(self.runners) - self.has_loop, runner)
        self._count()  # before they start: who takes itself for the only one waits in the place of the link
        for runner in hired:
            runner.start()

    def broken(self) -> RunnerThread | None:
        """Returns a runner that has ended by itself, and forgets those that were to leave and have."""
        for runner in self.runners:
            if runner.is_over:
                if runner.thread not in self._bench.left:
                    return runner
                self._bench.left.discard(runner.thread)
                self._plain.remove(runner)
                self.runners.remove(runner)
                self._count()
                return None
        return None


def _child_options(settings: RunSettings, spec: str) -> ChildOptions:
    mib_max = settings.child_memory_max
    return ChildOptions(
        spec,
        tuple(settings.handlers),
        settings.child_stdout,
        settings.tasks_per_child,
        None if mib_max is None else mib_max << 20,
    )


CHILD_FAILURES_MAX = 5
"""Children in a row that were of no use, of each thread that has one, after which a worker ends: 3 seconds of pauses,
in which a file that is just being replaced is whole again.
"""


class ChildrenWatch:
    """Looks after the children of one run. `note` may be called from any thread, all else belongs to the link's.

    Attributes:
        is_able: whether tasks may be held, as of the last look.
    """

    def __init__(self, kinds: Sequence[Sequence[ChildThread]]) -> None:
        """Makes a watch over threads that are not started yet, by kind: lists that may change, and may be empty when
        the worker has none of the kind.
        """
        self.is_able = False
        self._kinds = [kind for kind in kinds if kind]
        self._source: Source | None = None  # what the first child has imported
        self._warned: Source | None = None

    def note(self, source: Source | None) -> None:
        """Notes what a child has imported that is ready."""
        if source is None:
            return
        if self._source is None:
            self._source = source
        elif source not in (self._source, self._warned):
            self._warned = source
            log.warning(
                "%s has changed since this worker was started: child processes that are started now run what it has "
                "now, and others what it had; restart the worker",
                Path(source.file).name,
            )

    def look(self, now: float) -> None:
        """Finds out whether tasks may be held."""
        self.is_able = all(any(one.is_able(now) for one in kind) for kind in self._kinds)

    def trouble(self) -> str | None:
        """Returns why a child cannot start at the moment; None when all can, as far as it is known."""
        return next((str(one.problem) for kind in self._kinds for one in kind if one.problem is not None), None)

    def why_over(self) -> str | None:
        """Returns why there will be no child of some kind; None when there may be.

        What children say themselves before any was ready is true for all that follow.
        """
        for kind in self._kinds:
            problems = [one.problem for one in kind if one.problem is not None]
            if len(problems) < len(kind):
                continue
            is_hopeless = all(problem.is_told for problem in problems) and not any(one.was_ready for one in kind)
            if is_hopeless or min(one.failures for one in kind) >= CHILD_FAILURES_MAX:
                return str(problems[0])
        return None
