"""Runs handlers in child processes: one busy, crashed or hung handler harms nothing but its own task, and can be
killed.

Each `ChildRunner` is a thread of the worker with one child process. The thread sends a chunk, the child answers with
`settle` messages, whose number says whether it goes on, and before the last with a `release` of what it did not start
because it was stopped. When the child dies, the task that was running is charged, those that had ended are reported or
run again, the others go back on the bench.
"""

from __future__ import annotations

import logging
import mmap
import os
import subprocess
import threading
import time
from typing import BinaryIO

from zq.processes.birth import become_child, open_pipes, read_frames
from zq.processes.children import end_child, kill_child
from zq.processes.exits import describe_exit
from zq.processes.logs import configure_log_as_parent
from zq.task import Task
from zq.wire.codec import decode_from_coordinator
from zq.wire.messages import Assign, Failed, Release, Settle, Span
from zq.worker.bench import IN_HAND_SECONDS
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


# In the worker.


class ChildRunner(ChildThread):
    """A thread that has its chunks run by a child process."""

    def __init__(self, host: ChildHost, options: ChildOptions) -> None:
        super().__init__(host, "zq-child", options, __name__, PLACES)
        self._stop: tuple[int, int, str | None] | None = None  # the task for which the child is killed, and why
        # Guarded by _lock:
        self._chunk: Chunk | None = None  # the child's, without what was fetched back of it
        self._chunk_begun_at = 0.0
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
        return int(self._chunk is not None and self._takes_longer(now, IN_HAND_SECONDS))

    def _takes_longer(self, now: float, seconds: float) -> bool:
        """Whether the child takes longer for its chunk than it should."""
        if seconds > 0 and now < self._chunk_begun_at + BEGIN_PATIENCE and self._read_page()[0] == 0:
            return False
        return now >= self._chunk_begun_at + seconds

    def in_hand(self) -> list[Chunk]:
        chunk = self._chunk
        return [] if chunk is None else [chunk]

    def fetch_back(self, now: float, after: float) -> list[Chunk]:
        """Takes two calls: the first stops the child, the second, when that is visible, sees how far it has come."""
        if self._chunk is None or not self._takes_longer(now, after):
            return []
        with self._lock:
            chunk = self._chunk
            if chunk is None or chunk.hi == chunk.lo:
                return []
            if self._stopped_at is None:
                self._stopped_at = time.monotonic()
                self._page[STOP_PLACE * PLACE.size] = 1
                return []
            if time.monotonic() - self._stopped_at < VISIBLE_AFTER:
                return []
            token, index, _ = self._read_page()
            if token == 0:  # it has not come to any of it
                self._chunk = chunk._replace(hi=chunk.lo)
                return [chunk]
            if token != chunk.assignment.token or not chunk.lo <= index < chunk.hi - 1:
                return []  # between two tasks: it stops by itself, and says where
            self._chunk = chunk._replace(hi=index + 1)
            return [chunk._replace(lo=index + 1)]

    def _read_page(self) -> tuple[int, int, float]:
        token, index, since = PLACE.unpack_from(self._page)
        return token, index, since

    def _run(self) -> None:
        try:
            while (process := self._live_child()) is not None:
                chunk = self._bench.take(self._tasks_left)
                if chunk is None:
                    return
                if process.poll() is not None:
                    self._bench.put_back(chunk)
                    self._note_idle_death(process)
                else:
                    self._run_chunk(process, chunk)
                if self._is_worn or self._tasks_left <= 0:
                    self._retire()
        finally:
            self._end_child()
            self._file.close()

    def _run_chunk(self, process: subprocess.Popen[bytes], chunk: Chunk) -> None:
        """Has a chunk run by the child."""
        assignment, lo, hi = chunk
        revoked = self._bench.revoked.get(assignment.token, ())
        while lo < hi and lo in revoked:
            lo += 1
        if lo == hi:
            self._host.report(Report([], [], 0, 0.0))
            return
        ended: set[int] = set()
        started_at = time.monotonic()
        self._tasks += hi - lo
        if self._ask(process, Chunk(assignment, lo, hi), ended):
            self.failures = 0
            return
        # What was taken away is not put back; it is forgotten when the chunk is not in hand any more.
        ended |= self._bench.revoked.get(assignment.token, set()) - {self._read_page()[1]}
        left = self._end_chunk() or Chunk(assignment, lo, hi)
        self._note_death(process, left, ended, time.monotonic() - started_at)

    def _begin_chunk(self, chunk: Chunk) -> None:
        """Lets the child start tasks, which waits for them."""
        with self._lock:
            self._page[STOP_PLACE * PLACE.size] = 0
            PLACE.pack_into(self._page, 0, 0, -1, 0.0)  # no token: it has not come to any
            self._chunk, self._chunk_begun_at, self._stopped_at = chunk, time.monotonic(), None

    def _end_chunk(self) -> Chunk | None:
        """Returns the chunk that is over, without what was fetched back of it."""
        with self._lock:
            chunk, self._chunk = self._chunk, None
            return chunk

    def _ask(self, process: subprocess.Popen[bytes], chunk: Chunk, ended: set[int]) -> bool:
        """Sends a chunk and passes its reports on; False when the child died."""
        part = part_of(chunk.assignment, chunk.lo, chunk.hi)
        self._begin_chunk(chunk)
        asked_at = self._chunk_begun_at
        if not self._write(process, Assign((part,))):
            return False
        stopped_at = chunk.hi
        for message in self._answers(process):
            if isinstance(message, Release):
                stopped_at = message.spans[0].lo
            else:
                tasks = sum(one.hi - one.lo for one in message.done) + len(message.failed)
                for one in message.done:
                    ended.update(range(one.lo, one.hi))
                ended.update(failed.index for failed in message.failed)
                now = time.monotonic()
                over = self._end_chunk() if message.number != GOES_ON else None  # before it is told that it has ended
                self._pass_on(part.queue, Report(list(message.done), list(message.failed), tasks, now - asked_at))
                asked_at = now
                if message.number != GOES_ON:
                    self._is_worn = message.number == ENDED_WORN
                    if over is not None and stopped_at < over.hi:
                        self._bench.put_back(over._replace(lo=stopped_at))
                    return True
        return False

    def _note_idle_death(self, process: subprocess.Popen[bytes]) -> None:
        log.warning("child process %s while it had nothing to do; it is started again", describe_exit(process.wait()))
        self._end_child()

    def _note_death(self, process: subprocess.Popen[bytes], chunk: Chunk, ended: set[int], seconds: float) -> None:
        """Charges the task that ran, and puts the others back."""
        assignment, lo, hi = chunk
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
        is_at_task = token == assignment.token and lo <= index < hi and index not in ended
        if is_at_task:
            error: str | None = f"the child process that ran it {how}"
            if stop is not None and stop[:2] == (token, index):
                error = stop[2]
            if error is not None:
                failed.append(Failed(token, assignment.id, index, error, None, False))
            if stop is not None and stop[:2] == (token, index):
                why = "it was cancelled" if error is None else f"it {error}"
                log.info("the child process at a task of queue %s was ended: %s", assignment.queue, why)
            else:
                log.warning("child process %s at a task of queue %s; it is started again", how, assignment.queue)
        is_of_use = is_at_task or bool(ended)
        ended.add(index)
        if not (failed and assignment.options.ordered):  # else all of it has gone with the one that failed
            self._put_back(assignment, [index for index in range(lo, hi) if index not in ended])
        if not self._bench.is_closed or failed:
            self._host.report(Report([], failed, len(failed), seconds))
        if is_of_use:
            self.failures = 0
        else:
            self._note_failure(CannotStartError(f"it {how} before it ran anything"))
            self._pause()


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
    configure_log_as_parent()
    for frame in read_frames(source):
        message = decode_from_coordinator(frame)
        assert isinstance(message, Assign)
        (part,) = message.assignments
        stopped_at = runner.run(
            Chunk(part, part.lo, part.hi),
            {},
            lambda report: owner.send(Settle(GOES_ON, None, tuple(report.done), tuple(report.failed))),
        )
        if stopped_at < part.hi:
            owner.send(Release(0, None, (Span(part.token, stopped_at, part.hi),)))
        owner.send(Settle(ENDED_WORN if owner.is_worn() else ENDED, None, (), ()))
