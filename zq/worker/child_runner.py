"""Runs handlers in child processes: one busy, crashed or hung handler harms nothing but its own task, and can be
killed.

Each `ChildRunner` is a thread of the worker with one child process. The thread sends *work*, a chunk or several small
ones; the child answers with `settle` messages, whose number says whether it goes on, and before the last with a
`release` of what it did not start because it was stopped. When the child dies, the task that was running is charged,
those that had ended are reported or run again, the others go back on the bench.
"""

from __future__ import annotations

import logging
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

from zq.processes.birth import become_child, open_pipes, read_frames
from zq.processes.children import end_child, kill_child
from zq.processes.exits import describe_exit
from zq.processes.logs import configure_log_as_parent
from zq.task import Task
from zq.wire.codec import decode_from_coordinator
from zq.wire.messages import Assign, Assignment, Failed, Release, Settle, Span
from zq.worker.bench import IN_HAND_SECONDS, SOME_CHUNKS_MAX
from zq.worker.child_start import CannotStartError, begin
from zq.worker.child_thread import (
    ENDED,
    ENDED_WORN,
    GOES_ON,
    PLACE,
    VISIBLE_AFTER,
    ChildHost,
    ChildOptions,
    ChildThread,
    ChildVoice,
    part_of,
)
from zq.worker.harvest import Report
from zq.worker.runner import Chunk, Runner, Slot, new_ids
from zq.worker.thread_runner import Reports

log = logging.getLogger(__name__)

CANCEL_PLACE = 3
"""In the shared memory, of the task that is cancelled; the one that runs is in place 0, in another cache line, since
another process writes it.
"""

STOP_PLACE = CANCEL_PLACE + 3
"""In the shared memory, of the stop of the child's slot, one byte: the child reads it before each task, so nobody
writes beside it.
"""

PLACES = STOP_PLACE + 1

CANCEL_GRACE = 2.0
"""Seconds that a handler has to notice `task.cancelled` and end by itself, before its process is killed."""


BEGIN_PATIENCE = 2.0
"""Seconds that a child has to come to the first task of its chunk: a busy machine may not let it run before."""


REPORT_LATEST = 0.02
"""Seconds after which the end of a task is said although the work it came with has not ended."""

LIGHT_BYTES_MAX = (2 << 20) // SOME_CHUNKS_MAX
"""Results in a report that waits for others."""


# In the worker.


class ChildRunner(ChildThread):
    """A thread that has its chunks run by a child process."""

    def __init__(self, host: ChildHost, options: ChildOptions) -> None:
        super().__init__(host, "zq-child", options, __name__, PLACES)
        self._stop: tuple[int, int, str | None] | None = None  # the task for which the child is killed, and why
        # Guarded by _lock:
        self._work: list[Chunk] = []  # the child's, without what was fetched back of it
        self._work_begun_at = 0.0
        self._stopped_at: float | None = None  # when the child was told to start nothing more of it

    def stop_task(self, token: int, index: int, reason: str | None) -> bool:
        """Kills the child if it is at this task, one that was cancelled after a grace; what had ended before is
        kept.
        """
        with self._lock:
            if self._process is None or self._read_page()[:2] != (token, index):
                return False
            if reason is None:
                PLACE.pack_into(self._page, CANCEL_PLACE * PLACE.size, token, index, 0.0)
                timer = threading.Timer(CANCEL_GRACE, self._kill_at, (token, index))
                timer.name, timer.daemon = "zq-grace", True
                timer.start()
                return True
            self._stop = (token, index, reason)
            kill_child(self._process)
            return True

    def _kill_at(self, token: int, index: int) -> None:
        """Kills the child if it is still at a task."""
        with self._lock:
            if self._process is not None and self._read_page()[:2] == (token, index):
                self._stop = (token, index, None)
                kill_child(self._process)

    def running(self) -> list[tuple[int, int, float]]:
        token, index, since = self._read_page()
        return [(token, index, since)] if index >= 0 else []

    def stuck(self, now: float) -> int:
        return int(bool(self._work) and self._takes_longer(now, IN_HAND_SECONDS))

    def _takes_longer(self, now: float, seconds: float) -> bool:
        """Whether the child takes longer for its work than it should."""
        if seconds > 0 and now < self._work_begun_at + BEGIN_PATIENCE and self._read_page()[0] == 0:
            return False
        return now >= self._work_begun_at + seconds

    def in_hand(self) -> list[Chunk]:
        return self._work

    def fetch_back(self, now: float, after: float) -> list[Chunk]:
        """Takes two calls: the first stops the child, the second, when that is visible, sees how far it has come."""
        if not self._work or not self._takes_longer(now, after):
            return []
        with self._lock:
            work = self._work
            if not work or work[-1].hi == work[-1].lo:
                return []
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                self._page[STOP_PLACE * PLACE.size] = 1
                return []
            if time.monotonic() - self._stopped_at < VISIBLE_AFTER:
                return []
            token, index, _ = self._read_page()
            if token == 0:  # it has not come to any of it
                self._work = [work[0]._replace(hi=work[0].lo)]
                return work
            for at, chunk in enumerate(work):
                if chunk.assignment.token == token and chunk.lo <= index < chunk.hi:
                    self._work = [*work[:at], chunk._replace(hi=index + 1)]
                    rest = chunk._replace(lo=index + 1)
                    return work[at + 1 :] if rest.lo == rest.hi else [rest, *work[at + 1 :]]
            return []  # between two tasks: it stops by itself, and says where

    def _read_page(self) -> tuple[int, int, float]:
        token, index, since = PLACE.unpack_from(self._page)
        return token, index, since

    def _run(self) -> None:
        try:
            while (process := self._live_child()) is not None:
                work = self._bench.take_some(self._tasks_left)
                if not work:
                    return
                if process.poll() is not None:
                    for chunk in reversed(work):
                        self._bench.put_back(chunk)
                    self._note_idle_death(process)
                else:
                    self._run_work(process, work)
                if self._is_worn or self._tasks_left <= 0:
                    self._retire()
        finally:
            self._end_child()
            self._file.close()

    def _run_work(self, process: subprocess.Popen[bytes], taken: list[Chunk]) -> None:
        """Has chunks of one queue run by the child."""
        revoked = self._bench.revoked
        work = [one for chunk in taken for one in _without(chunk, revoked.get(chunk.assignment.token, ()))]
        if not work:
            self._host.report(Report([], [], 0, 0.0))
            return
        ended: set[tuple[int, int]] = set()
        started_at = time.monotonic()
        self._tasks += sum(chunk.hi - chunk.lo for chunk in work)
        if self._ask(process, work, ended):
            self.failures = 0
            return
        at = self._read_page()[:2]
        ended |= self._bench.all_revoked() - {at}  # what was taken away is not put back
        self._note_death(process, self._end_work(), ended, time.monotonic() - started_at)

    def _begin_work(self, work: list[Chunk]) -> None:
        """Lets the child start tasks, which waits for them."""
        with self._lock:
            self._page[STOP_PLACE * PLACE.size] = 0
            PLACE.pack_into(self._page, 0, 0, -1, 0.0)  # no token: it has not come to any
            self._work, self._work_begun_at, self._stopped_at = work, time.monotonic(), None

    def _end_work(self) -> list[Chunk]:
        """Returns the work that is over, without what was fetched back of it."""
        with self._lock:
            work, self._work = self._work, []
            return work

    def _ask(self, process: subprocess.Popen[bytes], work: list[Chunk], ended: set[tuple[int, int]]) -> bool:
        """Sends work and passes its reports on; False when the child died."""
        parts = tuple(part_of(assignment, lo, hi) for assignment, lo, hi in work)
        self._begin_work(work)
        asked_at = self._work_begun_at
        if not self._write(process, Assign(parts)):
            return False
        unstarted: tuple[Span, ...] = ()
        for message in self._answers(process):
            if isinstance(message, Release):
                unstarted = message.spans
                continue
            tasks = sum(one.hi - one.lo for one in message.done) + len(message.failed)
            for one in message.done:
                ended.update((one.token, index) for index in range(one.lo, one.hi))
            ended.update((failed.token, failed.index) for failed in message.failed)
            now = time.monotonic()
            over = self._end_work() if message.number != GOES_ON else []  # before it is told that it has ended
            report = Report(list(message.done), list(message.failed), tasks, now - asked_at)
            self._bench.measure(parts[0].queue, report, is_first=not self._has_reported)
            self._has_reported = self._has_reported or tasks > 0
            self._host.report(report)
            asked_at = now
            if message.number != GOES_ON:
                self._is_worn = message.number == ENDED_WORN
                for chunk in reversed(over if unstarted else []):
                    self._put_back_of(chunk, unstarted)
                return True
        return False

    def _put_back_of(self, chunk: Chunk, spans: Iterable[Span]) -> None:
        """Puts back what is in spans, as the child has them, and was not fetched back."""
        for token, lo, hi in spans:
            if token == chunk.assignment.token and lo < chunk.hi and hi > chunk.lo:
                self._bench.put_back(chunk._replace(lo=max(lo, chunk.lo), hi=min(hi, chunk.hi)))

    def _note_idle_death(self, process: subprocess.Popen[bytes]) -> None:
        log.warning("child process %s while it had nothing to do; it is started again", describe_exit(process.wait()))
        self._end_child()

    def _note_death(
        self, process: subprocess.Popen[bytes], work: list[Chunk], ended: set[tuple[int, int]], seconds: float
    ) -> None:
        """Charges the task that ran, and puts the others back."""
        token, index, _ = self._read_page()
        with self._lock:
            self._clear_page()
            stop, self._stop = self._stop, None
            self._process = None
        how = describe_exit(process.wait())
        end_child(process)
        if self._is_killed:
            return
        failed: list[Failed] = []
        charged = next((one for one, lo, hi in work if one.token == token and lo <= index < hi), None)
        if charged is not None and (token, index) not in ended:
            error: str | None = f"the child process that ran it {how}"
            if stop is not None and stop[:2] == (token, index):
                error = stop[2]
                why = "it was cancelled" if error is None else f"it {error}"
                log.info("the child process at a task of queue %s was ended: %s", charged.queue, why)
            else:
                log.warning("child process %s at a task of queue %s; it is started again", how, charged.queue)
            if error is not None:
                failed.append(Failed(token, charged.id, index, error, None, False))
        else:
            charged = None
        is_of_use = charged is not None or bool(ended)
        ended.add((token, index))
        for assignment, lo, hi in reversed(work):
            if not (failed and assignment is charged and assignment.options.ordered):  # else all of it has gone with it
                self._put_back(assignment, [index for index in range(lo, hi) if (assignment.token, index) not in ended])
        if not self._bench.is_closed or failed:
            self._host.report(Report([], failed, len(failed), seconds))
        if is_of_use:
            self.failures = 0
        else:
            self._note_failure(CannotStartError(f"it {how} before it ran anything"))
            self._pause()


def _without(chunk: Chunk, revoked: Collection[int]) -> Iterator[Chunk]:
    """Yields a chunk without what is revoked at its beginning; what is behind that the worker does not report."""
    lo = chunk.lo
    while lo < chunk.hi and lo in revoked:
        lo += 1
    if lo < chunk.hi:
        yield chunk._replace(lo=lo)


# In the child.


class _PageSlot(Slot):
    """A slot whose writes are seen by the worker, even after a crash."""

    __slots__ = ("_page",)

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        super().__init__()
        self.stops, self.stop_at = page, STOP_PLACE * PLACE.size

    @property
    def index(self) -> int:
        return int(PLACE.unpack_from(self._page)[1])

    @index.setter
    def index(self, value: int) -> None:
        PLACE.pack_into(self._page, 0, self.token, value, self.since)


class _ChildOwner(ChildVoice):
    """Passes progress to the worker, and hears from it what is cancelled."""

    def __init__(self, target: BinaryIO, memory_bytes_max: int, page: mmap.mmap) -> None:
        super().__init__(target, memory_bytes_max)
        self._page = page

    def is_cancelled(self, task: Task) -> bool:
        token, index, _ = PLACE.unpack_from(self._page, CANCEL_PLACE * PLACE.size)
        return (token, index) == (task.token, task.index)


def main() -> None:
    """Runs chunks from standard input until it ends."""
    prints, spec, descriptor, memory_bytes_max = become_child()
    source, target = open_pipes(prints)
    page = mmap.mmap(int(descriptor), PLACE.size * PLACES)
    os.close(int(descriptor))
    owner = _ChildOwner(target, int(memory_bytes_max), page)
    runner = Runner(begin(spec, target), owner, new_ids(), _PageSlot(page))
    gathered = _Gathered(owner, runner)
    configure_log_as_parent()
    for frame in read_frames(source):
        message = decode_from_coordinator(frame)
        assert isinstance(message, Assign)
        _run_parts(runner, gathered, message.assignments)


def _run_parts(runner: Runner, gathered: _Gathered, parts: Sequence[Assignment]) -> None:
    """Runs what came together, until it is stopped; says what has ended, and at last that all has."""
    last = len(parts) - 1
    for at, part in enumerate(parts):
        is_alone = at == last and part.tasks == 1
        if not is_alone:
            gathered.watch()
        stopped_at = runner.run(Chunk(part, part.lo, part.hi), {}, gathered.add_last if is_alone else gathered.add)
        if stopped_at < part.hi:
            behind = [Span(one.token, one.lo, one.hi) for one in parts[at + 1 :]]
            gathered.end([Span(part.token, stopped_at, part.hi), *behind])
            return
    gathered.end([])


class _Gathered:
    """What has ended of some work: it is said together, and soon, for the task behind it may take its time."""

    def __init__(self, owner: ChildVoice, runner: Runner) -> None:
        self._owner = owner
        self._runner = runner
        self._lock = threading.Lock()  # held while something is said
        self._number = GOES_ON
        self._reports = Reports("", self._tell)
        self._is_some = threading.Event()
        self._flusher: threading.Thread | None = None  # not before there is something for it: handlers may fork

    def watch(self) -> None:
        """Has what ends from now on said soon, whatever runs behind it."""
        if not self._is_some.is_set():
            self._is_some.set()
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_late, name="zq-reports", daemon=True)
            self._flusher.start()

    def add(self, report: Report) -> None:
        """Takes the report of tasks behind which there may be others."""
        self.add_last(report)
        self.watch()

    def add_last(self, report: Report) -> None:
        """Takes the report of a task behind which there is nothing."""
        with self._lock:
            if _is_light(report):
                self._reports.add(report)
            else:
                self._reports.flush()
                self._tell("", report)

    def end(self, unstarted: Sequence[Span]) -> None:
        """Says that the work is over, but for what was not started."""
        with self._lock:
            if unstarted:
                self._owner.send(Release(0, None, tuple(unstarted)))
            self._number = ENDED_WORN if self._owner.is_worn() else ENDED
            if not self._reports.flush():
                self._tell("", Report([], [], 0, 0.0))
            self._number = GOES_ON

    def _tell(self, _: str, report: Report) -> None:
        self._owner.send(Settle(self._number, None, tuple(report.done), tuple(report.failed)))

    def _flush_late(self) -> None:
        while self._is_some.wait():
            self._is_some.clear()
            time.sleep(REPORT_LATEST)
            with self._lock, suppress(OSError):  # of the pipe: whoever reads it has gone, which the main thread finds
                early = self._runner.take_early()
                self._reports.flush()
                if early is not None:
                    self._tell("", early)
            if self._runner.is_at_quick_task:
                self._is_some.set()  # when that ends it need not say so, and the one behind it may take its time


def _is_light(report: Report) -> bool:
    """Whether as many reports as there may be at once fit a frame."""
    if report.failed or any(one.forwards or one.groups for one in report.done):
        return False
    return sum(len(one.ends) + len(one.blob) for one in report.done) <= LIGHT_BYTES_MAX
