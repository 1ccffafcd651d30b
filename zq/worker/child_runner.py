"""Runs handlers in child processes: one busy, crashed or hung handler harms nothing but its own task, and can be
killed.

Each `ChildRunner` is a thread of the worker with one child process. They speak the wire protocol over two pipes: the
thread sends a chunk as `assign`, the child answers with `settle` messages, number 0 while it goes on and number 1 with
the last. What runs is in a page of shared memory, where it can be read when the child is dead: the task that was
running is charged, those that had ended are reported or run again, the others go back on the bench.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from zq.errors import RemoteProtocolError
from zq.processes.children import become_child, end_child, open_pipes, restart_pause, start_child
from zq.processes.exits import describe_exit
from zq.processes.frames import read_frame, write_frame
from zq.processes.references import load_handlers
from zq.sessions.ids import IdMaker, make_prefix
from zq.task import Task
from zq.wire.batch import slice_tasks
from zq.wire.codec import decode_for_coordinator, decode_from_coordinator, encode
from zq.wire.messages import Assign, Failed, Progress, Settle
from zq.worker.bench import Bench
from zq.worker.harvest import Report
from zq.worker.runner import Chunk, Runner, Slot

log = logging.getLogger(__name__)

PAGE = struct.Struct("<qqd")
"""Token, index and start of the running task."""

CANCEL = struct.Struct("<qq")
CANCEL_OFFSET = 64
"""Token and index of the task that is cancelled, behind the running one: in another cache line, since another process
writes it.
"""

CANCEL_GRACE = 2.0
"""Seconds that a handler has to notice `task.cancelled` and end by itself, before its process is killed."""


# In the worker.


class ChildRunner:
    """A thread that has its chunks run by a child process."""

    def __init__(
        self,
        bench: Bench,
        spec: str,
        report: Callable[[Report], None],
        progress: Callable[[Progress], None],
        stdout: int | None = None,
    ) -> None:
        """Makes a runner; the child starts with the first chunk.

        Args:
            bench: from which it takes chunks.
            spec: where the child finds the worker with its handlers: `module:attribute` or `path.py:attribute`.
            report: takes what has ended.
            progress: takes what handlers report meanwhile.
            stdout: descriptor to which handlers print; None: standard error.
        """
        self._bench = bench
        self._spec = spec
        self._stdout = stdout
        self._report = report
        self._progress = progress
        self.thread = threading.Thread(target=self._run, name="zq-child", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # guards _process and _stop between killer and runner
        self._stop: tuple[int, int, str | None] | None = None
        self._failures = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the runner
        self._file.truncate(mmap.PAGESIZE)
        self._page = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        self._clear_page()

    def start(self) -> None:
        self.thread.start()

    def join(self, timeout: float) -> None:
        self.thread.join(timeout)

    def kill(self) -> None:
        """Ends the child at once."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def stop_task(self, token: int, index: int, reason: str | None) -> bool:
        """Kills the child if it is at this task, one that was cancelled after a grace; what had ended before is
        kept.
        """
        with self._lock:
            if self._process is None or self._read_page()[:2] != (token, index):
                return False
            if reason is None:
                CANCEL.pack_into(self._page, CANCEL_OFFSET, token, index)
                timer = threading.Timer(CANCEL_GRACE, self._kill_at, (token, index))
                timer.name, timer.daemon = "zq-grace", True
                timer.start()
                return True
            self._stop = (token, index, reason)
            self._process.kill()
            return True

    def _kill_at(self, token: int, index: int) -> None:
        """Kills the child if it is still at a task."""
        with self._lock:
            if self._process is not None and self._read_page()[:2] == (token, index):
                self._stop = (token, index, None)
                self._process.kill()

    def running(self) -> list[tuple[int, int, float]]:
        token, index, since = self._read_page()
        return [(token, index, since)] if index >= 0 else []

    def _read_page(self) -> tuple[int, int, float]:
        token, index, since = PAGE.unpack_from(self._page)
        return token, index, since

    def _clear_page(self) -> None:
        PAGE.pack_into(self._page, 0, 0, -1, 0.0)
        CANCEL.pack_into(self._page, CANCEL_OFFSET, 0, -1)

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
            self._report(Report([], [], 0, 0.0))
            return
        first = assignment.lo
        ends, blob = slice_tasks(assignment.ends, assignment.blob, lo - first, hi - first)
        part = assignment._replace(lo=lo, ends=ends, blob=blob)
        ended: set[int] = set()
        started_at = time.monotonic()
        process = self._start_child()
        if process is not None and self._ask(process, part, ended):
            self._failures = 0
            return
        self._note_death(process, Chunk(assignment, lo, hi), ended, time.monotonic() - started_at)

    def _ask(self, process: subprocess.Popen[bytes], part: Any, ended: set[int]) -> bool:
        """Sends a chunk and passes its reports on; False when the child died."""
        assert process.stdin is not None
        assert process.stdout is not None
        asked_at = time.monotonic()
        try:
            write_frame(process.stdin, encode(Assign((part,))))
            while (frame := read_frame(process.stdout)) is not None:
                message = decode_for_coordinator(frame)
                if isinstance(message, Progress):
                    self._progress(message)
                elif isinstance(message, Settle):
                    tasks = sum(one.hi - one.lo for one in message.done) + len(message.failed)
                    for one in message.done:
                        ended.update(range(one.lo, one.hi))
                    ended.update(failed.index for failed in message.failed)
                    now = time.monotonic()
                    report = Report(list(message.done), list(message.failed), tasks, now - asked_at)
                    asked_at = now
                    self._bench.measure(part.queue, report)
                    self._report(report)
                    if message.number == 1:
                        return True
        except OSError:
            pass  # the pipe broke: it died, which the caller looks into
        except (ValueError, RemoteProtocolError):
            log.exception("a child process sent what cannot be read; it is ended")
            process.kill()
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
            is_stopped = stop is not None and stop[:2] == (token, index)
            error = stop[2] if is_stopped and stop is not None else f"the child process that ran it {how}"
            if error is not None:
                failed.append(Failed(token, assignment.id, index, error, None, False))
            ended.add(index)
            log.warning("child process %s at a task of queue %s; it is started again", how, assignment.queue)
        else:
            self._failures += 1
            log.error("child process %s before it ran anything; it is started again", how)
        for left in falling_runs([i for i in range(lo, hi) if i not in ended][::-1]):
            self._bench.put_back(Chunk(assignment, *left))
        if not self._bench.is_closed or failed:
            self._report(Report([], failed, len(failed), seconds))
        if not is_at_task:
            time.sleep(restart_pause(self._failures))

    def _start_child(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return self._process
            self._clear_page()
            page = self._file.fileno()
            self._process = start_runner(__name__, self._spec, str(page), page=page, stdout=self._stdout)
            return self._process

    def _end_child(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            end_child(process)


def start_runner(module: str, *arguments: str, page: int, stdout: int | None = None) -> subprocess.Popen[bytes] | None:
    """Starts a module of this room as a child; None, and a line in the log, when that fails.

    Args:
        module: its name.
        arguments: for it.
        page: descriptor of the shared memory.
        stdout: descriptor to which handlers print; None: standard error.
    """
    try:
        return start_child(module, *arguments, stdout=stdout, pass_fds=(page,))
    except OSError:
        log.exception("cannot start a child process")
        return None


def falling_runs(indexes: list[int]) -> list[tuple[int, int]]:
    """Returns runs (lo, hi) of falling indexes, the last first, so that putting each in front restores the order."""
    found: list[tuple[int, int]] = []
    for index in indexes:
        if found and found[-1][0] == index + 1:
            found[-1] = (index, found[-1][1])
        else:
            found.append((index, index + 1))
    return found


# In the child.


class _PageSlot(Slot):
    """A slot whose writes are seen by the worker, even after a crash."""

    __slots__ = ("_page", "_since", "_token")

    def __init__(self, page: mmap.mmap) -> None:
        self._page = page
        self._since = 0.0
        self._token = 0

    @property
    def token(self) -> int:
        return self._token

    @token.setter
    def token(self, value: int) -> None:
        self._token = value

    @property
    def since(self) -> float:
        return self._since

    @since.setter
    def since(self, value: float) -> None:
        self._since = value

    @property
    def index(self) -> int:
        return int(PAGE.unpack_from(self._page)[1])

    @index.setter
    def index(self, value: int) -> None:
        PAGE.pack_into(self._page, 0, self._token, value, self._since)


class _ChildOwner:
    """Passes progress to the worker, and hears from it what is cancelled."""

    def __init__(self, send: Callable[[Any], None], page: mmap.mmap) -> None:
        self._send = send
        self._page = page

    def note_progress(self, task: Task, fraction: float) -> None:
        self._send(Progress(task.token, task.index, fraction))

    def is_cancelled(self, task: Task) -> bool:
        found: tuple[int, int] = CANCEL.unpack_from(self._page, CANCEL_OFFSET)
        return found == (task.token, task.index)


def main() -> None:
    """Runs chunks from standard input until it ends."""
    prints, spec, descriptor = become_child()
    source, target = open_pipes(prints)
    page = mmap.mmap(int(descriptor), mmap.PAGESIZE)
    lock = threading.Lock()

    def send(message: Any) -> None:
        with lock:
            write_frame(target, encode(message))

    ids = IdMaker(make_prefix(int.from_bytes(os.urandom(8), "little")))
    runner = Runner(load_handlers(spec), _ChildOwner(send, page), ids, _PageSlot(page))
    while (frame := read_frame(source)) is not None:
        message = decode_from_coordinator(frame)
        assert isinstance(message, Assign)
        (part,) = message.assignments
        hi = part.hi
        runner.run(
            Chunk(part, part.lo, hi), {}, lambda report: send(Settle(0, None, tuple(report.done), tuple(report.failed)))
        )
        send(Settle(1, None, (), ()))


if __name__ == "__main__":
    main()
