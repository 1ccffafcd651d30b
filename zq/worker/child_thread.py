"""What runners with a child process share: the process, the pipes to it, and the memory in which it notes what runs.

A child is started with its thread, and has imported its handlers before the first task is taken
(`zq.worker.child_start`); one that ends is started again at once, with what is on disk then. When that fails, it is
tried again after longer and longer pauses, and the worker gives back what it holds meanwhile (`zq.worker.run`).

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
import time
import weakref
from collections.abc import Collection, Iterable, Iterator
from typing import BinaryIO, NamedTuple, Protocol

from zq.errors import RemoteProtocolError
from zq.processes.children import end_child, kill_group, restart_pause, start_child
from zq.processes.copies import watch
from zq.processes.frames import FrameReader, write_frame
from zq.processes.machine import resident_bytes
from zq.task import Task
from zq.wire.batch import slice_tasks
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.messages import Assign, Assignment, Cancelled, Progress, Release, Settle, ToCoordinator
from zq.worker.bench import CHUNK_TASKS_MAX
from zq.worker.child_start import CannotStartError, Source, wait_ready
from zq.worker.runner import Chunk
from zq.worker.thread_runner import RunnerHost, RunnerThread

log = logging.getLogger(__name__)

PLACE = struct.Struct("qqd")
"""Token, index and start of a task in the shared memory; index -1 when there is none. In the machine's own order and at
places that its words fit, so that each of the three is written in one piece: the other process reads while it is.
"""

VISIBLE_AFTER = 0.001
"""Seconds after which what one process wrote to the shared memory is there for the other: a thousand times what a
processor may keep a write to itself.
"""

IN_HANDLER_PROCESS = threading.Event()
"""Set in a child process that runs handlers, where the worker that they were found by is a copy that does not run."""


GOES_ON, ENDED, ENDED_WORN = range(3)
"""What the number of a `settle` means between a child and its worker: whether the chunk has ended, and whether the
child, too, should end, since its memory is over the limit.
"""

START_SLOW = 1.0
"""Seconds after which a child that is started again is not waited for with tasks in hand."""

PAUSE_LOOK_INTERVAL = 0.05
"""Seconds between two looks whether a child is still wanted, while none can be started."""


# In the worker.


class ChildHost(RunnerHost, Protocol):
    """For whom runners with children run tasks."""

    def note_child(self, source: Source | None = None) -> None:
        """Looks at whether children are ready, which has changed.

        Args:
            source: what a new child has imported.
        """


class ChildOptions(NamedTuple):
    """How the children of a worker are started, and when they are replaced.

    Attributes:
        spec: where a child finds the worker with its handlers: `module:attribute` or `path.py:attribute`.
        queues: that it must have handlers of.
        stdout: descriptor to which plain functions print; None: standard error.
        tasks_max: that one child runs; None: any number.
        memory_bytes_max: that a child may have in memory after a task; None: any number.
    """

    spec: str
    queues: Collection[str]
    stdout: int | None = None
    tasks_max: int | None = None
    memory_bytes_max: int | None = None


class ChildThread(RunnerThread):
    """A thread that has its tasks run by a child process, which it starts before it takes the first of them.

    Attributes:
        failures: children in a row that were of no use.
        was_ready: whether a child of it ever was ready.
        problem: why its last child was of no use; None when it was, or when one is ready now.
    """

    def __init__(self, host: ChildHost, name: str, options: ChildOptions, module: str, places: int) -> None:
        """Makes a runner that is not started.

        Args:
            host: as of `RunnerThread`.
            name: as of `RunnerThread`.
            options: for its children.
            module: of this room, which the child runs.
            places: in the shared memory.
        """
        super().__init__(host, name)
        self.failures = 0
        self.was_ready = False
        self.problem: CannotStartError | None = None
        self._child_host = host
        self._options = options
        self._module = module
        self._places = places
        self._begun_at: float | None = None  # when a child was started that is not ready yet (monotonic)
        self._tasks = 0  # that the child was given
        self._is_worn = False  # whether the child has said that its memory is over the limit
        self._has_reported = False  # whether tasks have ended in the child
        self._is_killed = False  # by the end of the worker
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()  # guards _process between killer and runner; never held while a pipe is written
        self._readers: weakref.WeakKeyDictionary[subprocess.Popen[bytes], FrameReader] = weakref.WeakKeyDictionary()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the runner
        self._file.truncate(PLACE.size * places)
        self._page = mmap.mmap(self._file.fileno(), PLACE.size * places)
        self._clear_page()

    def kill(self) -> None:
        """Ends the child at once, and what it has started; what ran there goes back with all that the worker has."""
        self._is_killed = True
        self._kill_child()

    def _kill_child(self) -> None:
        with self._lock:
            if self._process is not None:
                kill_group(self._process)

    def _clear_page(self) -> None:
        for place in range(self._places):
            PLACE.pack_into(self._page, place * PLACE.size, 0, -1, 0.0)

    def is_able(self, now: float) -> bool:
        """Whether tasks for it may be held: a child that is only started again, after it was used, will be ready
        soon.
        """
        is_late = self._begun_at is not None and now - self._begun_at > START_SLOW
        return self.was_ready and self.problem is None and not is_late

    def _live_child(self) -> subprocess.Popen[bytes] | None:
        """Returns the child, started again and again until one is ready; None when nothing is to be run any more."""
        while not self._is_unwanted():
            process = self._process
            if process is not None:
                return process
            try:
                return self._start_child()
            except CannotStartError as why:
                if not self._is_unwanted():
                    self._note_failure(why)
                    self._pause()
        return self._process

    def _is_unwanted(self) -> bool:
        return self._bench.is_closed

    def _start_child(self) -> subprocess.Popen[bytes]:
        """Starts a child, and waits until it is ready.

        Raises:
            CannotStartError: it cannot be, or is not wanted any more.
        """
        options, page = self._options, self._file.fileno()
        with self._lock:
            self._clear_page()
            self._tasks, self._is_worn, self._has_reported = 0, False, False
            self._begun_at = time.monotonic()
            try:
                process = start_child(
                    self._module,
                    *(options.spec, str(page), str(options.memory_bytes_max or 0)),
                    stdout=options.stdout,
                    pass_fds=(page,),
                )
            except OSError as error:
                raise CannotStartError(f"no process can be started: {error}") from error
        assert process.stdout is not None
        reader = self._readers[process] = FrameReader(process.stdout, lambda: process.poll() is not None)
        try:
            source = wait_ready(process, reader, options.queues, self._is_unwanted)
        except CannotStartError:
            end_child(process, patience=0)
            raise
        with self._lock:
            self._process = process
        self.was_ready, self.problem, self._begun_at = True, None, None
        self._child_host.note_child(source)
        return process

    @property
    def _tasks_left(self) -> int:
        """How many tasks more the child may be given."""
        most = self._options.tasks_max
        return CHUNK_TASKS_MAX if most is None else most - self._tasks

    def _retire(self) -> None:
        """Lets a child go that has ended all that it was given; the next one starts while it ends."""
        with self._lock:
            process, self._process, self._is_worn = self._process, None, False
        if process is not None and process.stdin is not None:
            threading.Thread(target=end_child, args=(process,), name="zq-retired", daemon=True).start()

    def _note_failure(self, why: CannotStartError) -> None:
        self.failures += 1
        self.problem = why
        if self.was_ready or not why.is_told:
            log.error("a child process cannot work, and is started again: %s", why)
        self._child_host.note_child()

    def _pause(self) -> None:
        """Waits before the next child is started."""
        until = time.monotonic() + restart_pause(self.failures)
        while time.monotonic() < until and not self._is_unwanted():
            time.sleep(PAUSE_LOOK_INTERVAL)

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
    """What the child says to the worker; handlers may report progress from threads of their own.

    Args:
        target: the pipe to the worker.
        memory_bytes_max: above which the child should end, 0 for none.
    """

    def __init__(self, target: BinaryIO, memory_bytes_max: int) -> None:
        IN_HANDLER_PROCESS.set()
        self._target = target
        self._target_lock = threading.Lock()
        self._memory_bytes_max = memory_bytes_max
        self._is_mute = False
        watch(self)

    def is_worn(self) -> bool:
        """Whether the memory of this process is over the limit."""
        return 0 < self._memory_bytes_max < resident_bytes()

    def become_copy(self) -> None:
        self._is_mute = True

    def send(self, message: ToCoordinator) -> None:
        if self._is_mute:
            return
        with self._target_lock:
            write_frame(self._target, encode(message))

    def note_progress(self, task: Task, fraction: float) -> None:
        self.send(Progress(task.token, task.index, fraction))
