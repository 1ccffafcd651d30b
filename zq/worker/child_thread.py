"""What runners with a child process share: the process, the pipes to it, and the memory in which it notes what runs.

The thread and its child speak the wire protocol over two pipes: the thread sends `assign`, the child answers with
`settle` and `progress`, one of coroutines also with `release` (for what ended without a report). What runs is in
shared memory, where it can be read when the child is dead: the tasks that were running are charged, and others go
back on the bench.
"""

from __future__ import annotations

import logging
import mmap
import struct
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from zq.errors import RemoteProtocolError
from zq.processes.children import end_child, kill_group, start_child
from zq.processes.copies import watch
from zq.processes.frames import FrameReader, write_frame
from zq.task import Task
from zq.wire.batch import slice_tasks
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.messages import Assign, Assignment, Cancelled, Progress, Release, Settle, ToCoordinator
from zq.worker.runner import Chunk
from zq.worker.thread_runner import RunnerHost, RunnerThread

log = logging.getLogger(__name__)

PLACE = struct.Struct("<qqd")
"""Token, index and start of a task in the shared memory; index -1 when there is none."""


# In the worker.


class ChildThread(RunnerThread):
    """A thread that has its tasks run by a child process, which starts with the first of them."""

    def __init__(self, host: RunnerHost, name: str, spec: str, places: int, stdout: int | None = None) -> None:
        """Makes a runner that is not started.

        Args:
            host: as of `RunnerThread`.
            name: as of `RunnerThread`.
            spec: where the child finds the worker with its handlers: `module:attribute` or `path.py:attribute`.
            places: in the shared memory.
            stdout: descriptor to which handlers print; None: standard error.
        """
        super().__init__(host, name)
        self._spec = spec
        self._places = places
        self._stdout = stdout
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # guards _process between killer and runner; never held while a pipe is written
        self._readers: weakref.WeakKeyDictionary[subprocess.Popen[bytes], FrameReader] = weakref.WeakKeyDictionary()
        self._failures = 0  # children in a row that were of no use
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the runner
        self._file.truncate(PLACE.size * places)
        self._page = mmap.mmap(self._file.fileno(), PLACE.size * places)
        self._clear_page()

    def kill(self) -> None:
        """Ends the child at once, and what it has started."""
        with self._lock:
            if self._process is not None:
                kill_group(self._process)

    def _clear_page(self) -> None:
        for place in range(self._places):
            PLACE.pack_into(self._page, place * PLACE.size, 0, -1, 0.0)

    def _start_child(self, module: str, *arguments: str) -> subprocess.Popen[bytes] | None:
        """Starts a module of this room as the child; None, and a line in the log, when that fails.

        Args:
            arguments: for it, behind the spec and the descriptor of the shared memory.
        """
        page = self._file.fileno()
        with self._lock:
            self._clear_page()
            self._process = None
            try:
                process = start_child(module, self._spec, str(page), *arguments, stdout=self._stdout, pass_fds=(page,))
            except OSError:
                log.exception("cannot start a child process")
                return None
            assert process.stdout is not None
            self._readers[process] = FrameReader(process.stdout, lambda: process.poll() is not None)
            self._process = process
            return process

    def _end_child(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            end_child(process)

    def _write(self, process: subprocess.Popen[bytes], message: Assign | Cancelled) -> bool:
        """Says something to the child; False when it has died."""
        assert process.stdin is not None
        try:
            write_frame(process.stdin, encode(message))
        except (OSError, ValueError):  # nobody reads the pipe any more, or it is closed here
            return False
        return True

    def _answers(self, process: subprocess.Popen[bytes]) -> Iterator[Settle | Release]:
        """Yields what the child says of ended tasks until it dies, and passes progress on."""
        reader = self._readers[process]
        try:
            while (frame := reader.read()) is not None:
                match decode_for_coordinator(frame):
                    case Progress() as progress:
                        self._host.pass_progress(progress)
                    case Settle() | Release() as message:
                        yield message
                    case other:
                        raise ValueError(f"unexpected message {type(other).__name__}")
        except OSError:
            pass  # the pipe broke: it died, which the caller looks into
        except (ValueError, RemoteProtocolError):
            log.exception("a child process sent what cannot be read; it is ended")
            process.kill()

    def _put_back(self, assignment: Assignment, indexes: Iterable[int]) -> None:
        for lo, hi in falling_runs(indexes):
            self._bench.put_back(Chunk(assignment, lo, hi))


def part_of(assignment: Assignment, lo: int, hi: int) -> Assignment:
    """Returns the tasks lo <= index < hi of an assignment, as one."""
    ends, blob = slice_tasks(assignment.ends, assignment.blob, lo - assignment.lo, hi - assignment.lo)
    return assignment._replace(lo=lo, ends=ends, blob=blob)


def falling_runs(indexes: Iterable[int]) -> list[tuple[int, int]]:
    """Returns runs (lo, hi) of indexes, the last first, so that putting each in front restores the order."""
    found: list[tuple[int, int]] = []
    for index in sorted(indexes, reverse=True):
        if found and found[-1][0] == index + 1:
            found[-1] = (index, found[-1][1])
        else:
            found.append((index, index + 1))
    return found


# In the child.


class ChildVoice:
    """What the child says to the worker; handlers may report progress from threads of their own."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._target_lock = threading.Lock()
        self._is_mute = False
        watch(self)

    def become_copy(self) -> None:
        self._is_mute = True

    def send(self, message: ToCoordinator) -> None:
        if self._is_mute:
            return
        with self._target_lock:
            write_frame(self._target, encode(message))

    def note_progress(self, task: Task, fraction: float) -> None:
        self.send(Progress(task.token, task.index, fraction))
