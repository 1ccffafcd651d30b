"""Runs handlers in child processes: one busy, crashed or hung handler harms nothing but its own task, and can be
killed.

Each `ChildRunner` is a thread of the worker with one child process. The thread sends a chunk, the child answers with
`settle` messages, number 0 while it goes on and number 1 with the last. When the child dies, the task that was running
is charged, those that had ended are reported or run again, the others go back on the bench.
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
from zq.processes.children import end_child, kill_child, restart_pause
from zq.processes.exits import describe_exit
from zq.processes.logs import configure_log_as_parent
from zq.processes.references import load_handlers
from zq.sessions.ids import IdMaker
from zq.task import Task
from zq.wire.codec import decode_from_coordinator
from zq.wire.messages import Assign, Assignment, Failed, Settle
from zq.worker.child_thread import PLACE, ChildThread, ChildVoice, part_of
from zq.worker.harvest import Report
from zq.worker.runner import Chunk, Runner, Slot, random_prefix
from zq.worker.thread_runner import RunnerHost

log = logging.getLogger(__name__)

CANCEL_PLACE = 3
"""In the shared memory, of the task that is cancelled; the one that runs is in place 0, in another cache line, since
another process writes it.
"""

PLACES = CANCEL_PLACE + 1

CANCEL_GRACE = 2.0
"""Seconds that a handler has to notice `task.cancelled` and end by itself, before its process is killed."""


# In the worker.


class ChildRunner(ChildThread):
    """A thread that has its chunks run by a child process."""

    def __init__(self, host: RunnerHost, spec: str, stdout: int | None) -> None:
        super().__init__(host, "zq-child", spec, PLACES, stdout)
        self._stop: tuple[int, int, str | None] | None = None  # the task for which the child is killed, and why

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

    def _read_page(self) -> tuple[int, int, float]:
        token, index, since = PLACE.unpack_from(self._page)
        return token, index, since

    def _run(self) -> None:
        try:
            while (chunk := self._bench.take()) is not None:
                self._run_chunk(chunk)
        finally:
            self._end_child()
            self._file.close()

    def _run_chunk(self, chunk: Chunk) -> None:
        """Has a chunk run, by a new child if need be."""
        assignment, lo, hi = chunk
        revoked = self._bench.revoked.get(assignment.token, ())
        while lo < hi and lo in revoked:
            lo += 1
        if lo == hi:
            self._host.report(Report([], [], 0, 0.0))
            return
        part = part_of(assignment, lo, hi)
        ended: set[int] = set()
        started_at = time.monotonic()
        process = self._process
        if process is None or process.poll() is not None:
            process = self._start_child(__name__)
        if process is not None and self._ask(process, part, ended):
            self._failures = 0
            return
        self._note_death(process, Chunk(assignment, lo, hi), ended, time.monotonic() - started_at)

    def _ask(self, process: subprocess.Popen[bytes], part: Assignment, ended: set[int]) -> bool:
        """Sends a chunk and passes its reports on; False when the child died."""
        asked_at = time.monotonic()
        if not self._write(process, Assign((part,))):
            return False
        for message in self._answers(process):
            if isinstance(message, Settle):
                tasks = sum(one.hi - one.lo for one in message.done) + len(message.failed)
                for one in message.done:
                    ended.update(range(one.lo, one.hi))
                ended.update(failed.index for failed in message.failed)
                now = time.monotonic()
                self._pass_on(part.queue, Report(list(message.done), list(message.failed), tasks, now - asked_at))
                asked_at = now
                if message.number == 1:
                    return True
        return False

    def _note_death(
        self, process: subprocess.Popen[bytes] | None, chunk: Chunk, ended: set[int], seconds: float
    ) -> None:
        """Charges the task that ran, and puts the others back."""
        assignment, lo, hi = chunk
        token, index, _ = self._read_page()
        with self._lock:
            self._clear_page()
            stop, self._stop = self._stop, None
            self._process = None
        how = "could not be started"
        if process is not None:
            how = describe_exit(process.wait())
            end_child(process)
        failed: list[Failed] = []
        is_at_task = token == assignment.token and lo <= index < hi and index not in ended
        if is_at_task:
            error: str | None = f"the child process that ran it {how}"
            if stop is not None and stop[:2] == (token, index):
                error = stop[2]
            if error is not None:
                failed.append(Failed(token, assignment.id, index, error, None, False))
            ended.add(index)
            log.warning("child process %s at a task of queue %s; it is started again", how, assignment.queue)
        else:
            self._failures += 1
            log.error("child process %s before it ran anything; it is started again", how)
        self._put_back(assignment, [index for index in range(lo, hi) if index not in ended])
        if not self._bench.is_closed or failed:
            self._host.report(Report([], failed, len(failed), seconds))
        if not is_at_task:
            time.sleep(restart_pause(self._failures))


# In the child.


class _PageSlot(Slot):
    """A slot whose writes are seen by the worker, even after a crash."""

    __slots__ = ("_page",)

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        super().__init__()

    @property
    def index(self) -> int:
        return int(PLACE.unpack_from(self._page)[1])

    @index.setter
    def index(self, value: int) -> None:
        PLACE.pack_into(self._page, 0, self.token, value, self.since)


class _ChildOwner(ChildVoice):
    """Passes progress to the worker, and hears from it what is cancelled."""

    def __init__(self, target: BinaryIO, page: mmap.mmap) -> None:
        super().__init__(target)
        self._page = page

    def is_cancelled(self, task: Task) -> bool:
        token, index, _ = PLACE.unpack_from(self._page, CANCEL_PLACE * PLACE.size)
        return (token, index) == (task.token, task.index)


def main() -> None:
    """Runs chunks from standard input until it ends."""
    prints, spec, descriptor = become_child()
    source, target = open_pipes(prints)
    page = mmap.mmap(int(descriptor), PLACE.size * PLACES)
    os.close(int(descriptor))
    owner = _ChildOwner(target, page)
    runner = Runner(load_handlers(spec), owner, IdMaker(random_prefix()), _PageSlot(page))
    configure_log_as_parent()
    for frame in read_frames(source):
        message = decode_from_coordinator(frame)
        assert isinstance(message, Assign)
        (part,) = message.assignments
        runner.run(
            Chunk(part, part.lo, part.hi),
            {},
            lambda report: owner.send(Settle(0, None, tuple(report.done), tuple(report.failed))),
        )
        owner.send(Settle(1, None, (), ()))
