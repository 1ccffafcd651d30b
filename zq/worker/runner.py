"""Runs tasks: the loop that calls handlers, the same in a thread of the worker and in a child process.

A *chunk* is some consecutive tasks of one lease. What ends in a row becomes one completion; a failure stands alone.
Reports go out when the chunk ends and, in between, every REPORT_AFTER seconds, so that a crash repeats little; what
ended just before a task that takes its time, another thread takes early.

A chunk can be stopped by whoever watches the runner, while a task of it runs: what is behind that task is the
watcher's from then on, without waiting for it. The argument, which holds between threads and between processes: for
each task the runner writes its index to the slot *before* it reads the slot's stop. The watcher sets the stop, lets
the write become visible, and reads the index. A task that the runner starts nevertheless has read the stop before it
was set, so its index was written before that, and the watcher sees it or a later one: nothing behind the index that
the watcher reads is ever started. The index may be of a task that is not started either: the runner says where it
stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from zq.handling.contexts import FreshContexts, Work, end_copy
from zq.sessions.ids import IdMaker, make_prefix
from zq.task import Task, TaskOwner
from zq.wire.batch import decode_payload, offsets_of, payload_at
from zq.wire.messages import Assignment
from zq.wire.options import header_bytes
from zq.worker.harvest import Harvest, Report

REPORT_AFTER = 0.01
"""Seconds of work after which a report goes out."""

Handler = Callable[[Task], Any]


def random_prefix() -> str:
    """Returns a prefix of ids that nobody else has."""
    return make_prefix(int.from_bytes(os.urandom(8), "little"))


def random_incarnation() -> str:
    """Returns what tells a worker from others of its name, and nobody can guess: who knew it could speak for it."""
    return os.urandom(16).hex()


def new_ids() -> IdMaker:
    """Returns what makes ids that nobody else has or can guess."""
    return IdMaker(random_prefix(), random_incarnation())


class Chunk(NamedTuple):
    """The tasks lo <= index < hi of a lease."""

    assignment: Assignment
    lo: int
    hi: int


def is_run(assignment: Assignment) -> bool:
    """Whether the tasks of an assignment are to be done one after the other, by one runner."""
    return assignment.options.ordered and assignment.tasks > 1


def bytes_of(assignment: Assignment) -> int:
    """Returns the bytes of payloads and headers."""
    return len(assignment.blob) + header_bytes(assignment.options)


class Stops(Protocol):
    """Where stops stand: in a list, or in memory that another process writes."""

    def __getitem__(self, at: int, /) -> int: ...


class Slot:
    """What one runner does now; written by it, read by whoever watches it, who alone writes the stop.

    Attributes:
        stops: where it is said that no task shall be started any more.
        stop_at: the place in it: 1 there stops.
    """

    __slots__ = ("index", "since", "stop_at", "stops", "token")

    stops: Stops

    def __init__(self) -> None:
        self.stops = [0]
        self.stop_at = 0
        self.token = 0
        self.since = 0.0  # monotonic
        self.index = -1  # of the task that runs, -1 when none does; written last, when the others are true


class Runner:
    """Runs chunks one after the other, in one thread."""

    def __init__(self, handlers: Mapping[str, Handler], owner: TaskOwner, ids: IdMaker, slot: Slot) -> None:
        """Makes a runner.

        Args:
            handlers: by queue.
            owner: of the tasks, for progress and cancelling.
            ids: for what is forwarded.
            slot: where it notes what it runs.
        """
        self._handlers = handlers
        self._owner = owner
        self._slot = slot
        self._harvest = Harvest(ids)
        self._contexts = FreshContexts()
        self._assignment: Assignment | None = None  # of the chunk that runs; true while the slot has an index

    def run(self, chunk: Chunk, revoked: Mapping[int, set[int]], report: Callable[[Report], None]) -> int:
        """Runs a chunk, each of its tasks in a fresh context, until it is stopped; `report` is called at least once.

        Args:
            chunk: what to run.
            revoked: indexes by token that are not to be started or reported any more; it changes while this runs.
            report: takes what has ended, in order.

        Returns:
            The index of the first task that it did not come to; the end of the chunk when it was not stopped, and when
            an ordered task has failed: what stands behind that is not the worker's any more.
        """
        if chunk.hi - chunk.lo == 1:
            return self._run_one(chunk, revoked, report)
        return self._contexts.drive(self._work(chunk, revoked, report))

    def take_early(self) -> Report | None:
        """Returns what has ended of a chunk before the task that runs now, and is in no report yet; None when there is
        nothing. Another thread may ask, which alone does so.
        """
        harvest = self._harvest
        with harvest.taking:  # as long as it is held, the harvest is of the chunk in which a task is seen to run
            index, assignment = self._slot.index, self._assignment
            return None if index < 0 or assignment is None else harvest.take_early(assignment, index)

    @property
    def is_at_quick_task(self) -> bool:
        """Whether a task runs for less than REPORT_AFTER so far: nothing may be reported when it ends."""
        return self._slot.index >= 0 and time.monotonic() - self._slot.since < REPORT_AFTER

    def _run_one(self, chunk: Chunk, revoked: Mapping[int, set[int]], report: Callable[[Report], None]) -> int:
        """Runs a chunk of one task: what `_work` does, without what only more of them need."""
        assignment, index, hi = chunk
        token, slot, harvest = assignment.token, self._slot, self._harvest
        self._assignment = assignment
        harvest.reset()
        since = slot.since = time.monotonic()
        if revoked and index in revoked.get(token, ()):
            report(harvest.take_report(assignment, 1, 0.0))
            return hi
        slot.token = token
        slot.index = index
        if slot.stops[slot.stop_at]:  # after the index was written: see above
            slot.index = -1
            report(harvest.take_report(assignment, 0, 0.0))
            return index
        data = payload_at(assignment.ends, assignment.blob, index - assignment.lo)
        self._contexts.call(self._try_one, assignment, index, data)
        slot.index = -1
        report(harvest.take_report(assignment, 1, time.monotonic() - since))
        return hi

    def _try_one(self, assignment: Assignment, index: int, data: bytes) -> None:
        """Calls the handler of a task, in whose context this is called, and notes how that ends."""
        try:
            task = Task(assignment, index, decode_payload(data), self._owner)
            result = self._handlers[assignment.queue](task)
            if type(result) is CoroutineType:  # of a decorator that knows nothing of coroutines
                result = run_coroutine(result)
            self._harvest.add(task, result)
        except BaseException as error:  # sys.exit in a handler, too, is that handler's failure
            end_copy(error)
            self._harvest.fail(assignment, index, data, error)

    def _work(self, chunk: Chunk, revoked: Mapping[int, set[int]], report: Callable[[Report], None]) -> Work[int]:
        context = yield
        assignment, lo, hi = chunk
        self._assignment = assignment
        token = assignment.token
        handler = self._handlers[assignment.queue]
        offsets = offsets_of(assignment.ends)
        blob = assignment.blob
        first = assignment.lo
        slot, owner, clock, harvest = self._slot, self._owner, time.monotonic, self._harvest
        start = offsets[lo - first - 1] if lo > first else 0
        now = reported_at = clock()
        harvest.reset()
        is_full = False  # looked at only after what can fill it
        stops, stop_at = slot.stops, slot.stop_at
        slot.token = token
        for index in range(lo, hi):
            end = offsets[index - first]
            data = blob[start:end]
            start = end
            if revoked and index in revoked.get(token, ()):
                continue
            slot.since = now
            slot.index = index
            if stops[stop_at]:  # after the index was written: see above
                hi = index
                break
            try:
                task = Task(assignment, index, decode_payload(data), owner)
                result = handler(task)
                if result is not None or task.forwards is not None:
                    if type(result) is CoroutineType:  # of a decorator that knows nothing of coroutines
                        result = run_coroutine(result)
                    is_full = harvest.add_with_result(task, result)
                elif harvest.hi == index:
                    harvest.hi = index + 1
                else:
                    harvest.open_run(index)
            except BaseException as error:  # sys.exit in a handler, too, is that handler's failure
                end_copy(error)
                harvest.fail(assignment, index, data, error)
                is_full = harvest.is_full
                if assignment.options.ordered:  # what stands behind it goes back with it (protocol 3.5)
                    hi, is_full = index + 1, True
            if context:
                context = yield
            now = clock()
            if is_full or now - reported_at >= REPORT_AFTER:
                slot.index = -1
                report(harvest.take_report(assignment, index + 1 - lo, now - reported_at))
                reported_at = now
                is_full = False
                lo = index + 1
                if lo == hi:
                    break
        slot.index = -1
        report(harvest.take_report(assignment, hi - lo, now - reported_at))
        return chunk.hi if assignment.options.ordered and hi == index + 1 else hi


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end in a loop of its own, which has a thread of its own if this one has a loop already,
    and returns its result.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    ends: list[tuple[Any, BaseException | None]] = []

    async def live() -> None:  # how it ends is nothing for asyncio, which shows results and errors as text
        try:
            ends.append((await coroutine, None))
        except BaseException as error:
            ends.append((None, error))
        end_copy(ends[0][1])

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(live())
    else:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(FreshContexts().call, asyncio.run, live()).result()
    result, error = ends[0]
    if error is not None:
        raise error
    return result
