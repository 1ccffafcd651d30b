"""One run of a worker, from start to stop: what stands between its session, its runners and whoever waits for it.

Three kinds of threads. The link's thread talks to the coordinator and beats on time, whatever handlers do; it looks at
the runners before each tick. Runners (threads, event loops, or threads with a child process each) take chunks from the
bench and run them. The caller of `Worker.run` waits, and decides when to drain.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Protocol

from zq.errors import ClosedError, RunnerBrokenError
from zq.sessions.worker import WorkerSession
from zq.sockets.link import Link
from zq.task import Task
from zq.wire.messages import Failed, Progress, Span
from zq.wire.namespaces import Namespace
from zq.worker.bench import Bench
from zq.worker.child_runner import ChildRunner
from zq.worker.harvest import Report
from zq.worker.loop_child_runner import CoroutineChildRunner
from zq.worker.loop_runner import LoopRunner, is_coroutine_handler
from zq.worker.runner import Handler, random_prefix
from zq.worker.thread_runner import RunnerThread, ThreadRunner

BURST_IDLE = 0.5
"""Seconds without a task after which a worker in burst mode ends."""

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of progress; those in between are skipped."""

SETTLE_PATIENCE = 10.0
"""Seconds that a draining worker waits for the answer to its last reports."""

HASTE = 0.2
"""Seconds that a worker that is to end at once waits for each of its runners: a killed child's last report is worth as
much.
"""

RUNNING_LOOK_INTERVAL = 0.02
"""Seconds between two looks at what runs, while something does."""


class RunSettings(Protocol):
    """What a run needs to know of its worker, which says what each means; it is read when the run is made."""

    address: str
    namespace: Namespace | None
    name: str
    handlers: dict[str, Handler]
    concurrency: int
    coroutines: int
    child_stdout: int | None


class _WatchingSession(WorkerSession):
    """The session of a worker, with the worker's own look at its runners before each tick."""

    def __init__(self, run: WorkerRun, name: str, queues: tuple[str, ...], concurrency: int) -> None:
        super().__init__(name, random_prefix(), queues, concurrency, run.running)
        self._run = run

    def tick(self, now: float) -> None:
        self._run.look(now)
        super().tick(now)

    def next_at(self) -> float:
        return min(super().next_at(), self._run.next_look_at)

    def failed(self, error: Exception) -> None:
        super().failed(error)
        self._run.wake()


class WorkerRun:
    """One run of a worker, from start to stop."""

    def __init__(self, settings: RunSettings, spec: str | None) -> None:
        """Makes a run that is not started.

        Args:
            spec: where child processes find the handlers; None: they run in this process.
        """
        handlers = settings.handlers
        coroutine_queues = frozenset(queue for queue, one in handlers.items() if is_coroutine_handler(one))
        threads = settings.concurrency if len(coroutine_queues) < len(handlers) else 0
        coroutines = settings.coroutines if coroutine_queues else 0
        self.bench = Bench(threads + coroutines, coroutine_queues)
        self.next_look_at = float("inf")
        self.session: WorkerSession = _WatchingSession(self, settings.name, tuple(handlers), threads + coroutines)
        self._link = Link(settings.address, self.session, f"zq-{settings.name}", settings.namespace)
        self._reports: list[Report] = []
        self._lock = threading.Lock()  # guards _reports
        self._event = threading.Event()
        self.failure: RunnerBrokenError | None = None
        self._is_stopping = False
        self._is_hasty = False
        self._told: dict[tuple[int, int], float] = {}  # progress, by task
        self._overdue: set[tuple[int, int]] = set()
        self._busy_at = time.monotonic()
        self.runners: list[RunnerThread] = []
        for _ in range(threads):
            self.runners.append(
                ThreadRunner(self, handlers) if spec is None else ChildRunner(self, spec, settings.child_stdout)
            )
        if coroutines:
            self.runners.append(
                LoopRunner(self, handlers, coroutines) if spec is None else CoroutineChildRunner(self, spec, coroutines)
            )

    def start(self) -> None:
        self._link.start()
        for runner in self.runners:
            runner.start()

    def running(self) -> Iterable[tuple[int, int, float]]:
        """Tells the session what runs now."""
        overdue = self._overdue
        return [
            one
            for runner in self.runners
            if runner.thread.is_alive()
            for one in runner.running()
            if one[:2] not in overdue
        ]

    # The link's thread.

    def look(self, now: float) -> None:
        """Moves work between session and bench, and takes away what has run too long."""
        session, bench = self.session, self.bench
        with self._lock:
            reports, self._reports = self._reports, []
        if reports:
            self._settle(reports)
        arrivals = session.take_arrivals()
        if arrivals:
            self._busy_at = now
            bench.put(arrivals)
        revoked = session.take_revoked()
        if revoked:
            self._take_away(revoked)
        expired = bench.take_expired()
        if expired:
            session.release(expired, 0 if self._is_stopping else bench.credit)
        if session.failure is not None:
            self.wake()
        self._look_for_overdue(now)
        if self.failure is not None:
            self._give_back_rest()
        elif not self._is_stopping:
            self._look_for_broken()
        if session.hands:
            self._busy_at = now
            self.next_look_at = now + RUNNING_LOOK_INTERVAL
        else:
            self.next_look_at = float("inf")
            self._overdue.clear()
            if bench.revoked:
                bench.forget_revoked({token for token, _, _ in self.running()})

    def _settle(self, reports: list[Report]) -> None:
        done = [one for report in reports for one in report.done]
        failed = [one for report in reports for one in report.failed]
        revoked = self.bench.revoked
        if revoked:  # what was taken away while it ran has an end already
            failed = [one for one in failed if one.index not in revoked.get(one.token, ())]
            done = [one for one in done if one.hi - one.lo > 1 or one.lo not in revoked.get(one.token, ())]
        credit = 0 if self._is_stopping else self.bench.credit
        if done or failed:
            self.session.finish(done, failed, credit)

    def _take_away(self, spans: list[Span]) -> None:
        self.bench.revoke(spans)
        for token, lo, hi in spans:
            for runner in self.runners:
                for running_token, index, _ in runner.running():
                    if running_token == token and lo <= index < hi:
                        runner.stop_task(token, index, None)

    def _look_for_overdue(self, now: float) -> None:
        """Fails tasks that have run longer than their timeout; children are killed, coroutines cancelled, threads left
        to themselves.
        """
        for token, index, since in self.running():
            hand = self.session.hands.get(token)
            timeout = None if hand is None else hand.assignment.options.timeout
            if timeout is None or now - since < timeout or hand is None:
                continue
            self._overdue.add((token, index))
            reason = f"ran longer than its timeout of {timeout:g} s"
            for runner in self.runners:
                if runner.stop_task(token, index, reason):
                    return
            self.session.finish([], [Failed(token, hand.assignment.id, index, reason, None, False)], self.bench.credit)
            self.bench.revoke([Span(token, index, index + 1)])

    def _look_for_broken(self) -> None:
        """Ends the worker when a runner has ended by itself: the coordinator would take the worker for healthy, and the
        task for running, for ever. What ran there has failed, and all else goes back.
        """
        for runner in self.runners:
            if runner.thread.ident is not None and not runner.thread.is_alive():
                fault = runner.fault or "it ended before its time"
                reason = f"the thread that ran it ended by a fault that is not the handler's: {fault}"
                failed = [
                    Failed(token, self.session.hands[token].assignment.id, index, reason, None, False)
                    for token, index, _ in runner.running()
                    if token in self.session.hands
                ]
                if failed:
                    self.session.finish([], failed, 0)
                self.failure = RunnerBrokenError(
                    f"a thread that runs handlers ended by a fault that is not a handler's: {fault}"
                )
                self.session.release(self.bench.close(), 0)
                self.wake()
                return

    def _give_back_rest(self) -> None:
        """Gives back what a broken runner had taken and not started, once nobody else can report it."""
        with self._lock:
            is_reported = not self._reports and self.session.is_settled
        if is_reported and self.session.hands and not any(runner.thread.is_alive() for runner in self.runners):
            self.session.release(self.session.open_spans(), 0)

    # Any thread.

    def report(self, report: Report) -> None:
        """Takes a report of a runner; the link's thread is woken once for all that came since it last looked."""
        with self._lock:
            self._reports.append(report)
            is_first = len(self._reports) == 1
        if is_first:
            self._call(_nothing)

    def note_progress(self, task: Task, fraction: float) -> None:
        """Passes progress on, not too often."""
        now = time.monotonic()
        at = (task.token, task.index)
        if now - self._told.get(at, 0.0) >= PROGRESS_INTERVAL:
            if len(self._told) > 1000:
                self._told.clear()
            self._told[at] = now
            self.pass_progress(Progress(task.token, task.index, fraction))

    def pass_progress(self, message: Progress) -> None:
        self._call(lambda: self.session.progress(*message))

    def is_cancelled(self, task: Task) -> bool:
        return task.index in self.bench.revoked.get(task.token, ())

    def wake(self) -> None:
        self._event.set()

    # The thread that waits.

    def wait(self, *, burst: bool) -> None:
        """Waits until somebody asks to stop, the session fails or, in burst mode, until nothing comes any more."""
        while not self._event.wait(0.1):
            if burst and self._is_idle():
                return

    def _is_idle(self) -> bool:
        session = self.session
        return session.is_welcome and not session.hands and time.monotonic() - self._busy_at > BURST_IDLE

    def take_signals(self) -> Callable[[], None]:
        """Lets SIGTERM and SIGINT drain the worker; returns what undoes it."""
        if threading.current_thread() is not threading.main_thread():
            return _nothing

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what signal calls
            if self._event.is_set():
                self._is_hasty = True
                restore()
            self._event.set()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    def stop(self, timeout: float) -> None:
        """Drains: gives back what has not started, waits for what runs and for the coordinator's answer, says
        goodbye.
        """
        stop_at = time.monotonic() + timeout
        self._is_stopping = True
        left = self.bench.close()
        self._call(lambda: self._give_back(left))
        while any(self.running()) and time.monotonic() < stop_at and not self._is_hasty and not self._link.is_over:
            time.sleep(0.01)
        for runner in self.runners:
            if time.monotonic() >= stop_at or self._is_hasty:
                runner.kill()
            runner.thread.join(max(0.0, min(stop_at - time.monotonic(), HASTE if self._is_hasty else 3.0)))
        settle_at = time.monotonic() + (0.0 if self._is_hasty else min(SETTLE_PATIENCE, max(timeout, 0.5)))
        while not self._is_reported() and time.monotonic() < settle_at and self.session.failure is None:
            time.sleep(0.005)
        self._call(self.session.goodbye)
        self._link.close()

    def _give_back(self, spans: list[Span]) -> None:
        """Releases what was not started, and takes no more; without a connection and tasks there is nobody to tell."""
        if spans or self.session.is_welcome:
            self.session.release(spans, 0)
        else:
            self.session.finish([], [], 0)

    def _is_reported(self) -> bool:
        with self._lock:
            return not self._reports and self.session.is_settled

    def _call(self, function: Callable[[], None]) -> None:
        """Has something done on the link's thread, from any other."""
        try:
            self._link.call(function)
        except ClosedError:
            pass  # it has failed, or the worker was ended in haste: the coordinator gives the tasks to another


def _nothing() -> None:
    """Wakes the link's thread, which then looks for itself."""
