"""Runs handlers in threads of the worker's process.

`RunnerThread` is what every runner is to the worker, those with a child process (`zq.worker.child_thread`) or an event
loop (`zq.worker.loop_runner`), too.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from zq.handling.raised import LOGGED_BYTES_MAX, summary_of, trace_of
from zq.task import Task, TaskOwner
from zq.wire.limits import TEXT_CHARS_MAX
from zq.wire.messages import Progress
from zq.worker.bench import IN_HAND_SECONDS, Bench
from zq.worker.harvest import Report
from zq.worker.runner import REPORT_AFTER, Chunk, Handler, Runner, Slot, new_ids

log = logging.getLogger(__name__)

PROGRESS_INTERVAL = 0.1
"""Seconds between two reports of progress; those in between are skipped."""

PACED_TASKS_MAX = 1000
"""Tasks of which it is known when they last reported."""


class RunnerHost(TaskOwner, Protocol):
    """For whom runners run tasks: one run of a worker, as they see it; they call it from their own threads."""

    @property
    def bench(self) -> Bench: ...

    def report(self, report: Report) -> None:
        """Takes what has ended."""

    def lead(self) -> bool:
        """Waits for what comes to the bench, in the place of another thread; returns whether that can be."""

    def leave(self) -> None:
        """Leaves it to that thread to wait for what comes, if this one has."""

    def pass_progress(self, message: Progress) -> None:
        """Takes what a handler in a child process reports meanwhile."""


class RunnerThread(ABC):
    """A thread that takes chunks from a bench; it ends when the bench is closed and its chunk is done.

    Attributes:
        fault: in words, what is not a handler's and has ended it before; None when nothing has.
    """

    def __init__(self, host: RunnerHost, name: str) -> None:
        """Makes a runner that is not started.

        Args:
            host: whose bench it takes from.
            name: of the thread, for debuggers.
        """
        self._host = host
        self._bench = host.bench
        self.fault: str | None = None
        self._has_begun = False
        self.thread = threading.Thread(target=self._live, name=name, daemon=True)

    def start(self) -> None:
        self.thread.start()

    @abstractmethod
    def running(self) -> list[tuple[int, int, float]]:
        """Returns token, index and start (monotonic seconds) of the tasks that run now; any thread may ask."""

    @abstractmethod
    def stop_task(self, token: int, index: int, reason: str | None) -> bool:
        """Stops a task if it is running here; called in a turn of the link, so it must not wait.

        Returns:
            True when the runner reports the failure itself, with this reason (None reports nothing). False when it is
            not running here, or when it was only asked to stop, or cannot be stopped: the caller reports, and what the
            task still does is ignored.
        """

    @abstractmethod
    def fetch_back(self, now: float, after: float) -> list[Chunk]:
        """Takes away what it has not started of work that takes longer than it should; called in a turn of the link,
        again and again, so it must not wait.

        Args:
            now: monotonic seconds.
            after: seconds of work after which the rest goes back.

        Returns:
            What it will not start any more, in order; the caller puts it back.
        """

    def ended_before(self, now: float) -> list[Report]:  # noqa: ARG002 - the signature of all
        """Returns what has ended before a task that takes its time, and would be reported only behind it; called in a
        turn of the link. Nothing here: others say so themselves.
        """
        return []

    @abstractmethod
    def stuck(self, now: float) -> int:
        """Returns how many of its slots have been at their work for IN_HAND_SECONDS; called in a turn of the link."""

    @abstractmethod
    def in_hand(self) -> Iterable[Chunk]:
        """Returns what it has taken and not put back or reported; any thread may ask."""

    @abstractmethod
    def kill(self) -> None:
        """Ends it at once if it can."""

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended; one that is just being started has an ident already and is not alive yet."""
        return self._has_begun and not self.thread.is_alive()

    def _live(self) -> None:
        self._has_begun = True
        try:
            self._run()
        except BaseException as error:  # a fault of the worker's own: a handler's ends nothing but its task
            log.error("a thread that runs handlers ends by a fault\n%s", trace_of(error, LOGGED_BYTES_MAX))
            self.fault = summary_of(error, TEXT_CHARS_MAX // 2)

    @abstractmethod
    def _run(self) -> None:
        """What the thread does."""

    def _pass_on(self, queue: str, report: Report) -> None:
        self._bench.measure(queue, report)
        self._host.report(report)


class ThreadRunner(RunnerThread):
    """Runs handlers in a thread of this process. Python cannot stop a thread: a task that is taken away runs on, and
    its end is ignored.
    """

    def __init__(self, host: RunnerHost, handlers: Mapping[str, Handler]) -> None:
        super().__init__(host, "zq-handler")
        self._slot = Slot()
        self._stops = [0]
        self._slot.stops = self._stops
        self._runner = Runner(handlers, host, new_ids(), self._slot)
        self._lock = threading.Lock()  # guards the chunk against `fetch_back`; taken once for each
        self._chunk: Chunk | None = None  # the one that runs, without what was fetched back of it
        self._next: deque[Chunk] = deque()
        self._begun_at = 0.0
        self._gathered = Reports("", self._pass_on)
        self._queue = ""  # of the chunk that runs alone

    def running(self) -> list[tuple[int, int, float]]:
        slot = self._slot
        token, index, since = slot.token, slot.index, slot.since
        return [(token, index, since)] if index >= 0 else []

    def stop_task(self, token: int, index: int, reason: str | None) -> bool:  # noqa: ARG002 - the signature of all
        return False

    def kill(self) -> None:
        """Cannot be done; the thread is a daemon and ends with the process."""

    def stuck(self, now: float) -> int:
        return int(self._chunk is not None and now - self._begun_at >= IN_HAND_SECONDS)

    def in_hand(self) -> list[Chunk]:
        with self._lock:
            return [*([] if self._chunk is None else [self._chunk]), *self._next]

    def ended_before(self, now: float) -> list[Report]:
        if self._slot.index < 0 or now - self._slot.since < REPORT_AFTER:
            return []
        early = self._runner.take_early()
        gathered = self._gathered
        reports = gathered.take()
        for report in reports:
            self._bench.measure(gathered.queue, report)
        return reports if early is None else [*reports, early]

    def fetch_back(self, now: float, after: float) -> list[Chunk]:
        if self._chunk is None or now - self._begun_at < after:
            return []
        with self._lock:
            chunk = self._chunk
            if chunk is None:
                return []
            self._stops[0] = 1  # before the index is read: see `zq.worker.runner`
            index = self._slot.index
            behind = list(self._next)
            self._next.clear()
            if chunk.lo <= index < chunk.hi - 1:
                behind.insert(0, chunk._replace(lo=index + 1))
                self._chunk = chunk._replace(hi=index + 1)
            return behind

    def _run(self) -> None:
        try:
            self._run_all()
        finally:
            self._host.leave()

    def _run_all(self) -> None:
        bench = self._bench
        while chunks := bench.take_some(wait=self._host.lead):
            self._stops[0] = 0
            self._begun_at = time.monotonic()
            if len(chunks) == 1:  # of which nothing is to be gathered
                self._run_chunk(chunks[0])
                continue
            gathered = self._gathered = Reports(chunks[0].assignment.queue, self._pass_on)
            self._next = deque(chunks)
            try:
                stopped_at = 0
                while (chunk := self._advance(stopped_at)) is not None:
                    stopped_at = self._runner.run(chunk, bench.revoked, gathered.add)
            finally:  # a fault of the runner itself ends this thread, and what had ended before is still true
                gathered.flush()

    def _run_chunk(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._queue = chunk.assignment.queue
        stopped_at = self._runner.run(chunk, self._bench.revoked, self._report)
        self._advance(stopped_at)  # it knows what was fetched back meanwhile

    def _report(self, report: Report) -> None:
        self._pass_on(self._queue, report)

    def _advance(self, stopped_at: int) -> Chunk | None:
        """Puts back what was not run of the chunk that is over, and returns the next."""
        with self._lock:
            over, self._chunk = self._chunk, self._next.popleft() if self._next else None
            if over is not None and stopped_at < over.hi:
                self._bench.put_back(over._replace(lo=stopped_at))
            return self._chunk


class Reports:
    """The reports of several chunks of a queue, passed on as one, but not later than after REPORT_AFTER seconds of
    work. Any thread may take them before.
    """

    __slots__ = ("_lock", "_pass_on", "_reports", "_seconds", "queue")

    def __init__(self, queue: str, pass_on: Callable[[str, Report], None]) -> None:
        self.queue = queue
        self._pass_on = pass_on
        self._lock = threading.Lock()  # guards what follows
        self._reports: list[Report] = []
        self._seconds = 0.0

    def add(self, report: Report) -> None:
        with self._lock:
            self._reports.append(report)
            self._seconds += report.seconds
        if self._seconds >= REPORT_AFTER:
            self.flush()

    def flush(self) -> bool:
        """Passes on what there is; returns whether there was anything."""
        reports = self.take()
        if len(reports) == 1:
            self._pass_on(self.queue, reports[0])
        elif reports:
            done = [one for report in reports for one in report.done]
            failed = [one for report in reports for one in report.failed]
            tasks, seconds = sum(report.tasks for report in reports), sum(report.seconds for report in reports)
            self._pass_on(self.queue, Report(done, failed, tasks, seconds))
        return bool(reports)

    def take(self) -> list[Report]:
        """Takes what there is, without passing it on."""
        with self._lock:
            reports = self._reports
            self._reports, self._seconds = [], 0.0
            return reports


class ProgressPace:
    """When progress is worth a message; any thread may ask."""

    def __init__(self) -> None:
        self._told: dict[tuple[int, int], float] = {}  # by token and index: when (monotonic)

    def is_due(self, task: Task) -> bool:
        """Whether the progress of a task is to be told now; then the next one is not for a while."""
        now = time.monotonic()
        at = (task.token, task.index)
        if now - self._told.get(at, 0.0) < PROGRESS_INTERVAL:
            return False
        if len(self._told) > PACED_TASKS_MAX:
            self._told.clear()
        self._told[at] = now
        return True
