"""The worker: takes tasks from a coordinator, runs their handlers, reports how they end.

Three kinds of threads. The link's thread talks to the coordinator and beats on time, whatever handlers do. Runners (threads, or threads with a child process each) take chunks from
the bench and run them. The caller of `run` waits, and decides when to drain.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeVar

from zq.children import ChildRunner
from zq.chunks import Handler, Report
from zq.core.ids import IdMaker, make_prefix
from zq.core.worker_session import WorkerSession
from zq.errors import ClosedError
from zq.handlers import Bench, RunnerThread, ThreadRunner
from zq.link import Link, resolve_address
from zq.task import Task, check_name
from zq.wire.messages import Failed, FromCoordinator, Progress, Span, ToCoordinator

log = logging.getLogger(__name__)

H = TypeVar("H", bound=Callable[[Task], Any])

BURST_IDLE = 0.5
"""Seconds without a task after which a worker in burst mode ends."""

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of progress; those in between are skipped."""

SETTLE_PATIENCE = 10.0
"""Seconds that a draining worker waits for the answer to its last reports."""

LOOK_INTERVAL = 0.02
"""Seconds between two looks at what runs, while something does."""


class Worker:
    """Runs the tasks of some queues.

    Register handlers with `task`, then `run`. All methods may be called from any thread; handlers run in threads of the worker, or in child processes of it.

    Attributes:
        name: under which it is known; a second worker of the same name takes this one's place.
        handlers: by queue.
    """

    def __init__(
        self, address: str | None = None, *, name: str | None = None, concurrency: int = 1, processes: int = 0
    ) -> None:
        """Makes a worker that is not connected yet.

        Args:
            address: of the coordinator; None takes ZQ_ADDRESS from the environment, else tcp://127.0.0.1:7700.
            name: unlike every other worker's; None makes one of host, process and chance.
            concurrency: handlers that run at once, in threads of this process.
            processes: 0, or how many child processes run the handlers instead, one task each at a time. A handler that holds the interpreter's lock for long
                silences the heartbeat of its process: give such handlers processes.

        Raises:
            ValueError: a number is out of range, or the address or name cannot be one.
        """
        self.address = resolve_address(address)
        self.name = check_name("name", name or f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}")
        if not 1 <= concurrency <= 1000:
            raise ValueError(f"expected concurrency from 1 to 1000, got {concurrency}")
        if not 0 <= processes <= 1000:
            raise ValueError(f"expected processes from 0 to 1000, got {processes}")
        self.handlers: dict[str, Handler] = {}
        self.processes = processes
        self.concurrency = processes or concurrency
        self.spec: str | None = None
        self._life: _Life | None = None

    def task(self, queue: str) -> Callable[[H], H]:
        """Returns a decorator that makes a function the handler of a queue; the function stays as it is.

        Raises:
            ValueError: the queue has a handler already, or its name cannot be one.
        """
        check_name("queue", queue)
        if queue in self.handlers:
            raise ValueError(f"queue {queue} has a handler already: {self.handlers[queue].__qualname__}")

        def register(handler: H) -> H:
            if not callable(handler):
                raise TypeError(f"expected a function as the handler of {queue}, got {type(handler).__name__}")
            self.handlers[queue] = handler
            return handler

        return register

    # Running.

    def run(self, *, burst: bool = False) -> None:
        """Works until it is stopped: by SIGTERM or SIGINT, if this is the main thread, or by `stop`.

        The first signal drains: what runs is finished, what has not started goes back. The second ends at once.

        Args:
            burst: end when nothing has come for half a second.

        Raises:
            ValueError: it has no handler, or is running.
            WorkerFencedError: another worker took its name.
        """
        life = self.start()
        restore = life.take_signals()
        try:
            life.wait(burst=burst)
        finally:
            restore()
            self.stop()
        if life.session.failure is not None and not isinstance(life.session.failure, ClosedError):
            raise life.session.failure

    def start(self) -> _Life:
        """Starts working in the background; `stop` ends it. Raises as `run`."""
        if self._life is not None:
            raise ValueError(f"worker {self.name} is running")
        if not self.handlers:
            raise ValueError(f"worker {self.name} has no handler; register one with @worker.task(queue)")
        if self.processes:
            self.spec = self.child_spec()
        self._life = _Life(self)
        self._life.start()
        return self._life

    def stop(self, timeout: float = 30.0, *, drain: bool = True) -> None:
        """Ends the work.

        Args:
            timeout: seconds to let running handlers finish; their tasks are given back when it is over.
            drain: False does not wait for them at all.
        """
        life, self._life = self._life, None
        if life is not None:
            life.stop(timeout if drain else 0.0)

    @property
    def counters(self) -> dict[str, int]:
        """Tasks by how they ended here: done, failed, stale (refused by the coordinator), cancelled."""
        return dict(self._life.session.counters) if self._life is not None else {}

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def child_spec(self) -> str:
        """Returns where a child process finds this worker.

        Raises:
            ValueError: no other process can import it.
        """
        if self.spec is not None:
            return self.spec
        for module in {handler.__module__ for handler in self.handlers.values()}:
            for name, value in vars(sys.modules[module]).items():
                if value is self:
                    file = getattr(sys.modules[module], "__file__", None)
                    return f"{Path(file).resolve()}:{name}" if module == "__main__" and file else f"{module}:{name}"
        raise ValueError(
            f"worker {self.name} has processes, so it must be a global variable of the module of its handlers: "
            "child processes import it from there"
        )


class _WorkerLink:
    """The session of a worker, with the worker's own look at its runners before each tick."""

    def __init__(self, life: _Life, session: WorkerSession) -> None:
        self._life = life
        self._session = session

    @property
    def wants_reconnect(self) -> bool:
        return self._session.wants_reconnect

    @wants_reconnect.setter
    def wants_reconnect(self, value: bool) -> None:
        self._session.wants_reconnect = value

    def connected(self, now: float) -> None:
        self._session.connected(now)

    def receive(self, now: float, message: FromCoordinator) -> None:
        self._session.receive(now, message)

    def tick(self, now: float) -> None:
        self._life.look(now)
        self._session.tick(now)

    def next_at(self) -> float:
        return min(self._session.next_at(), self._life.next_look_at)

    def take_outbox(self) -> list[ToCoordinator]:
        return self._session.take_outbox()

    def failed(self, error: Exception) -> None:
        self._session.failed(error)
        self._life.wake()


class _Life:
    """One run of a worker, from start to stop."""

    def __init__(self, worker: Worker) -> None:
        incarnation = make_prefix(int.from_bytes(os.urandom(8), "little"))
        self.bench = Bench(worker.concurrency)
        self.next_look_at = float("inf")
        self.session = WorkerSession(worker.name, incarnation, tuple(worker.handlers), worker.concurrency, self.running)
        self._link = Link(worker.address, _WorkerLink(self, self.session), f"zq-{worker.name}")
        self._reports: list[Report] = []
        self._lock = threading.Lock()  # guards _reports
        self._event = threading.Event()
        self._is_stopping = False
        self._is_hasty = False
        self._told: dict[tuple[int, int], float] = {}  # progress, by task
        self._overdue: set[tuple[int, int]] = set()
        self._busy_at = time.monotonic()
        self.runners: list[RunnerThread] = [self._make_runner(worker) for _ in range(worker.concurrency)]

    def _make_runner(self, worker: Worker) -> RunnerThread:
        if worker.processes:
            assert worker.spec is not None  # `start` has found it
            return ChildRunner(self.bench, worker.spec, self.report, self._pass_progress)
        ids = IdMaker(make_prefix(int.from_bytes(os.urandom(8), "little")))
        return ThreadRunner(self.bench, worker.handlers, self, ids, self.report)

    def start(self) -> None:
        self._link.start()
        for runner in self.runners:
            runner.start()

    def running(self) -> Iterable[tuple[int, int, float]]:
        """Tells the session what runs now."""
        found = []
        for runner in self.runners:
            if isinstance(runner, ChildRunner):
                runner.look()
            slot = runner.slot
            token, index, since = slot.token, slot.index, slot.since
            if index >= 0 and (token, index) not in self._overdue:
                found.append((token, index, since))
        return found

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
        if session.failure is not None:
            self.wake()
        self._look_for_overdue(now)
        if session.hands:
            self._busy_at = now
            self.next_look_at = now + LOOK_INTERVAL
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
                slot = runner.slot
                if slot.token == token and lo <= slot.index < hi:
                    runner.stop_task(token, slot.index, None)

    def _look_for_overdue(self, now: float) -> None:
        """Fails tasks that have run longer than their timeout; children are killed, threads are left to themselves."""
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

    # Any thread.

    def report(self, report: Report) -> None:
        """Takes a report of a runner; the link's thread is woken once for all that came since it last looked."""
        with self._lock:
            self._reports.append(report)
            is_first = len(self._reports) == 1
        if is_first:
            try:
                self._link.call(_nothing)
            except ClosedError:
                pass  # the worker was ended in haste: the coordinator gives the task to another

    def note_progress(self, task: Task, fraction: float) -> None:
        """Passes progress on, not too often."""
        now = time.monotonic()
        at = (task.token, task.index)
        if now - self._told.get(at, 0.0) >= PROGRESS_INTERVAL:
            if len(self._told) > 1000:
                self._told.clear()
            self._told[at] = now
            self._pass_progress(Progress(task.token, task.index, fraction))

    def _pass_progress(self, message: Progress) -> None:
        try:
            self._link.call(lambda: self.session.progress(*message))
        except ClosedError:
            pass  # nobody is interested any more

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
            self._event.set()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        return restore

    def stop(self, timeout: float) -> None:
        """Drains: gives back what has not started, waits for what runs and for the coordinator's answer, says goodbye."""
        stop_at = time.monotonic() + timeout
        self._is_stopping = True
        left = self.bench.close()
        self._call(lambda: self.session.release(left, 0))
        while any(self.running()) and time.monotonic() < stop_at and not self._is_hasty and not self._link.is_over:
            time.sleep(0.01)
        for runner in self.runners:
            if time.monotonic() >= stop_at or self._is_hasty:
                runner.kill()
            runner.join(max(0.0, min(stop_at - time.monotonic(), 3.0)))
        settle_at = time.monotonic() + (0.0 if self._is_hasty else min(SETTLE_PATIENCE, max(timeout, 0.5)))
        while not self._is_reported() and time.monotonic() < settle_at and self.session.failure is None:
            time.sleep(0.005)
        self._call(self.session.goodbye)
        self._link.close()

    def _is_reported(self) -> bool:
        with self._lock:
            return not self._reports and self.session.is_settled

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._link.call(function)
        except ClosedError:
            pass  # the link has failed: there is nobody to tell


def _nothing() -> None:
    """Wakes the link's thread, which then looks for itself."""
