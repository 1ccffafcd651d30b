"""Runs coroutine handlers: many tasks at once in one event loop, which has a thread of its own.

`Coroutines` is the engine, which lives in one loop and knows neither bench nor pipes; `LoopRunner` runs it in a thread
of the worker, `zq.worker.loop_child_runner` in a child process. What ends within one turn of the loop is reported
together, so that a thousand coroutines that end at once cost one report per lease.

The thread that beats is another one: handlers that block the loop hold up each other and nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from operator import attrgetter
from typing import Any

from zq.handling.contexts import FreshContexts, end_copy
from zq.handling.raised import LOGGED_BYTES_MAX, trace_of
from zq.sessions.ids import IdMaker
from zq.task import Task, TaskOwner
from zq.wire.batch import decode_payload, payload_at
from zq.wire.messages import Assignment
from zq.worker.bench import IN_HAND_SECONDS
from zq.worker.handler_loop import HandlerLoop
from zq.worker.harvest import Harvest, Report, failure
from zq.worker.runner import Chunk, Handler, new_ids
from zq.worker.thread_runner import RunnerHost, RunnerThread

log = logging.getLogger(__name__)

UNBEGUN_LOOK_INTERVAL = 0.5
"""Seconds between two looks for tasks that are over and have not said so, while there are tasks."""

CoroutineHandler = Callable[[Task], Awaitable[Any]]


def is_coroutine_handler(handler: Handler) -> bool:
    """Returns whether calling a handler makes a coroutine: an `async def` function or method, an object whose
    `__call__` is one, or a partial of either.

    A function that only returns a coroutine, as a decorator makes it that knows nothing of them, cannot be told from
    others before it is called; `zq.worker.runner` runs what such a one returns.
    """
    while isinstance(handler, partial):
        handler = handler.func
    if isinstance(handler, type):
        return False
    # `__call__` is looked at, not looked for.
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


class _Run:
    """One task from its start to its end."""

    __slots__ = ("assignment", "awaiting", "data", "error", "index", "is_stopped", "result", "seconds", "since", "task")

    def __init__(self, assignment: Assignment, index: int, data: bytes) -> None:
        self.assignment = assignment
        self.index = index
        self.data = data
        self.since = time.monotonic()
        self.seconds = 0.0
        self.is_stopped = False  # its end is nobody's business any more
        self.awaiting: asyncio.Task[None] | None = None
        self.task: Task | None = None
        self.result: Any = None
        self.error: BaseException | None = None


class Coroutines:
    """Runs tasks concurrently in the running event loop; all methods belong to the loop's thread, `running` to any."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        owner: TaskOwner,
        ids: IdMaker,
        report: Callable[[Assignment, list[int], Report], None],
        ended: Callable[[], None],
        soon: Callable[[Callable[[], None]], object],
        note: Callable[[int, int, float | None], None] | None = None,
    ) -> None:
        """Makes an engine that runs nothing yet.

        Args:
            handlers: by queue.
            owner: of the tasks, for progress and cancelling.
            ids: for what is forwarded.
            report: takes a lease, the indexes of the tasks that are over, and how those ended whose end matters.
            ended: called after reports: there is room for more.
            soon: has something done in the next turn of the loop.
            note: told of each task when it starts (token, index, since when), and when it is over (None).
        """
        self._handlers = handlers
        self._owner = owner
        self._harvest = Harvest(ids)
        self._report = report
        self._on_ended = ended
        self._soon = soon
        self._on_note = note
        self._contexts = FreshContexts()
        self._runs: dict[tuple[int, int], _Run] = {}
        self._ended: dict[int, list[_Run]] = {}  # by token, until the next report
        self._is_broken = False
        self._is_looking = False  # whether `_look_for_unbegun` is planned

    def __len__(self) -> int:
        return len(self._runs)

    def running(self) -> list[tuple[int, int, float]]:
        """Returns token, index and start of what runs now."""
        runs = list(self._runs.values())  # one step for the interpreter: the loop's thread does not come between
        return [(run.assignment.token, run.index, run.since) for run in runs]

    def in_hand(self) -> list[Chunk]:
        """Returns what is not reported yet, each task alone."""
        runs = [*self._runs.values(), *(run for ended in list(self._ended.values()) for run in list(ended))]
        return [Chunk(run.assignment, run.index, run.index + 1) for run in runs]

    def begin(self, chunk: Chunk, revoked: Mapping[int, set[int]]) -> None:
        """Starts the tasks of a chunk, all of them."""
        assignment, lo, hi = chunk
        handler = self._handlers[assignment.queue]
        gone = revoked.get(assignment.token, ())
        loop = asyncio.get_running_loop()
        if not self._is_looking:
            self._is_looking = True
            loop.call_later(UNBEGUN_LOOK_INTERVAL, self._look_for_unbegun)
        for index in range(lo, hi):
            if index not in gone:
                run = _Run(assignment, index, payload_at(assignment.ends, assignment.blob, index - assignment.lo))
                self._runs[assignment.token, index] = run
                if self._on_note is not None:
                    self._on_note(assignment.token, index, run.since)
                name, context = f"zq-{assignment.queue}", self._contexts.copy()
                run.awaiting = loop.create_task(self._live(run, handler), name=name, context=context)

    def stop(self, token: int, index: int) -> bool:
        """Cancels a task whose end is nobody's business any more; one that suppresses it keeps its place until it ends.

        Returns:
            Whether it was running.
        """
        run = self._runs.get((token, index))
        if run is None:
            return False
        run.is_stopped = True
        if run.task is not None and run.awaiting is not None:  # else `_live` has not begun, and will see it
            run.awaiting.cancel()
        return True

    def stop_all(self) -> None:
        """Cancels everything that runs, and reports none of it."""
        for token, index in list(self._runs):
            self.stop(token, index)

    async def _live(self, run: _Run, handler: CoroutineHandler) -> None:
        try:
            if not run.is_stopped:
                run.task = Task(run.assignment, run.index, decode_payload(run.data), self._owner)
                run.result = await handler(run.task)
        except BaseException as error:  # SystemExit, too, must not end the loop under all the others
            run.error = error
        end_copy(run.error)
        run.seconds = time.monotonic() - run.since
        if not self._is_broken:
            self._note_end(run)

    def _note_end(self, run: _Run) -> None:
        token = run.assignment.token
        if not self._ended:
            self._soon(self._report_ended)
        self._ended.setdefault(token, []).append(run)
        del self._runs[token, run.index]
        if self._on_note is not None:
            self._on_note(token, run.index, None)

    def _look_for_unbegun(self) -> None:
        """Ends the tasks that a handler has cancelled before they began: nothing of ours has run in them, or will."""
        for run in [run for run in self._runs.values() if run.awaiting is not None and run.awaiting.done()]:
            run.error = asyncio.CancelledError("it was cancelled before it began")
            self._note_end(run)
        self._is_looking = len(self._runs) > 0 and not self._is_broken
        if self._is_looking:
            asyncio.get_running_loop().call_later(UNBEGUN_LOOK_INTERVAL, self._look_for_unbegun)

    def break_off(self) -> None:
        """Ends all reports, since the loop ends by a fault of ours: what is not reported runs, for whoever asks."""
        self._is_broken = True
        self._runs.update(((token, run.index), run) for token, runs in self._ended.items() for run in runs)

    def _report_ended(self) -> None:
        for token, runs in [*self._ended.items()]:
            runs.sort(key=attrgetter("index"))  # neighbours become one completion
            try:
                self._report_lease(runs)
            except Exception as fault:  # ours, which must leave nothing leased for ever
                self._report_fault(runs, fault)
            del self._ended[token]
        self._on_ended()

    def _report_lease(self, runs: list[_Run]) -> None:
        """Reports runs of one lease, and takes them off the list as it does."""
        count = 0
        for run in runs.copy():
            count += 1
            if not run.is_stopped:
                self._note(run)
            if self._harvest.is_full or count == len(runs):
                self._report_runs(runs[:count])
                del runs[:count]
                count = 0

    def _report_fault(self, runs: list[_Run], fault: Exception) -> None:
        """Reports as failed what could not be reported as it ended."""
        log.error("the ends of %d tasks could not be reported\n%s", len(runs), trace_of(fault, LOGGED_BYTES_MAX))
        self._harvest.reset()
        failed = [failure(run.assignment, run.index, run.data, fault) for run in runs if not run.is_stopped]
        report = Report([], failed, len(runs), sum(run.seconds for run in runs))
        self._report(runs[0].assignment, [run.index for run in runs], report)

    def _report_runs(self, runs: list[_Run]) -> None:
        assignment = runs[0].assignment
        report = self._harvest.take_report(assignment, len(runs), sum(run.seconds for run in runs))
        self._report(assignment, [run.index for run in runs], report)

    def _note(self, run: _Run) -> None:
        error = run.error
        if error is None and run.task is not None:
            try:
                self._harvest.add(run.task, run.result)
            except BaseException as problem:  # the result may have code of its own
                error = problem
        if error is not None:
            self._harvest.fail(run.assignment, run.index, run.data, error)


class LoopRunner(RunnerThread):
    """A thread of the worker with an event loop, which takes from the bench as many tasks as it may run at once."""

    def __init__(self, host: RunnerHost, handlers: Mapping[str, Handler], concurrency: int) -> None:
        """Makes a runner that is not started.

        Args:
            host: from whose bench it takes; the bench's `stir` becomes this runner's.
            handlers: by queue.
            concurrency: coroutines at once.
        """
        super().__init__(host, "zq-coroutines")
        self._concurrency = concurrency
        self._loop = HandlerLoop()
        ids = new_ids()
        self._engine = Coroutines(handlers, host, ids, self._take_report, self._feed, self._loop.soon)
        self._opened = threading.Event()
        self._stirred_at: float | None = None  # since when the loop should look at the bench

    def start(self) -> None:
        self._bench.stir = self._stir
        super().start()
        self._opened.wait()

    def resize(self, concurrency: int) -> None:
        """Runs another number of coroutines at once from now on; those that run are finished."""
        self._concurrency = concurrency
        self._stir()

    def running(self) -> list[tuple[int, int, float]]:
        return self._engine.running()

    def stuck(self, now: float) -> int:
        stirred_at = self._stirred_at
        if stirred_at is not None and now - stirred_at >= IN_HAND_SECONDS:
            return self._concurrency  # a handler holds the loop, and nothing starts
        return sum(now - since >= IN_HAND_SECONDS for _, _, since in self._engine.running())

    def in_hand(self) -> list[Chunk]:
        return self._engine.in_hand()

    def fetch_back(self, now: float, after: float) -> list[Chunk]:  # noqa: ARG002 - the signature of all
        return []  # it takes no more than it starts

    # The worker reports the reason itself: the coroutine may take its time.
    def stop_task(self, token: int, index: int, reason: str | None) -> bool:  # noqa: ARG002
        self._loop.call(partial(self._engine.stop, token, index))
        return False

    def kill(self) -> None:
        """Cancels all coroutines; what they do then is not waited for."""
        self._loop.call(self._engine.stop_all)

    def _run(self) -> None:
        try:
            self._loop.run(self._begin, self._engine.break_off)
        finally:
            self._opened.set()

    def _begin(self) -> None:
        self._opened.set()
        self._feed()

    def _stir(self) -> None:
        """Has the loop look at the bench; any thread may call it."""
        if self._stirred_at is None:
            self._stirred_at = time.monotonic()
        self._loop.call(self._feed)

    def _feed(self) -> None:
        """Takes what there is room for; ends the loop when nothing will come any more."""
        self._stirred_at = None
        engine, bench = self._engine, self._bench
        while len(engine) < self._concurrency:
            chunk = bench.take_coroutines(self._concurrency - len(engine))
            if chunk is None:
                break
            engine.begin(chunk, bench.revoked)
        if bench.is_closed and not len(engine):
            self._loop.end()

    # The indexes are what the engine tells.
    def _take_report(self, assignment: Assignment, indexes: list[int], report: Report) -> None:  # noqa: ARG002
        self._pass_on(assignment.queue, report)
