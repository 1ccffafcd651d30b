"""Runs tasks: the loop that calls handlers, the same in a thread of the worker and in a child process.

A *chunk* is some consecutive tasks of one lease. What ends in a row becomes one completion; a failure stands alone. Reports go out when the chunk ends and, in between,
every REPORT_AFTER seconds, so that a crash repeats little.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from zq.core.ids import IdMaker
from zq.errors import PayloadTooLargeError
from zq.task import Task, TaskOwner
from zq.wire.batch import PayloadPacker, decode_payload, offsets_of, pack_payloads
from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX, TEXT_CHARS_MAX
from zq.wire.messages import Assignment, Batch, Done, Failed, Options

REPORT_AFTER = 0.01
"""Seconds of work after which a report goes out."""

REPORT_BYTES = 4 << 20
"""Results and forwards after which a report goes out: a quarter of a frame."""

Handler = Callable[[Task], Any]


class Chunk(NamedTuple):
    """The tasks lo <= index < hi of a lease."""

    assignment: Assignment
    lo: int
    hi: int


class Report(NamedTuple):
    """What has ended of a chunk, and how long it took."""

    done: list[Done]
    failed: list[Failed]
    tasks: int
    seconds: float


class Slot:
    """What one runner does now; written by it, read by whoever watches it."""

    __slots__ = ("index", "since", "token")

    def __init__(self) -> None:
        self.token = 0
        self.index = -1  # of the task that runs, -1 when none does
        self.since = 0.0  # monotonic


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
        self._ids = ids
        self._slot = slot
        self._packer = PayloadPacker()
        self._hi = -1  # where the last run ends
        self._bytes = 0  # of results and forwards
        self._reset(time.monotonic())

    def run(self, chunk: Chunk, revoked: Mapping[int, set[int]], report: Callable[[Report], None]) -> None:
        """Runs a chunk; `report` is called at least once.

        Args:
            chunk: what to run.
            revoked: indexes by token that are not to be started or reported any more; it changes while this runs.
            report: takes what has ended, in order.
        """
        assignment, lo, hi = chunk
        token = assignment.token
        handler = self._handlers[assignment.queue]
        offsets = offsets_of(assignment.ends)
        blob = assignment.blob
        first = assignment.lo
        slot, owner, clock = self._slot, self._owner, time.monotonic
        start = offsets[lo - first - 1] if lo > first else 0
        now = clock()
        self._reset(now)
        slot.token = token
        for index in range(lo, hi):
            end = offsets[index - first]
            data = blob[start:end]
            start = end
            if revoked and index in revoked.get(token, ()):
                continue
            slot.since = now
            slot.index = index
            try:
                task = Task(assignment, index, decode_payload(data), owner)
                result = handler(task)
                if result is not None or task.forwards is not None:
                    self._add_with_result(task, result)
                elif self._hi == index and self._done:
                    self._hi = index + 1
                    self._done[-1] = index + 1
                else:
                    self._open_run(index)
            except Exception as error:
                self._failed.append(_failure(assignment, index, data, error))
            now = clock()
            if now - self._started_at >= REPORT_AFTER or self._bytes >= REPORT_BYTES:
                slot.index = -1
                report(self._take_report(assignment, index + 1 - lo, now))
                lo = index + 1
        slot.index = -1
        report(self._take_report(assignment, hi - lo, now))

    def _reset(self, now: float) -> None:
        self._started_at = now
        self._done: list[int] = []  # pairs lo, hi of runs that ended well
        self._hi = -1
        self._results: dict[int, bytes] = {}
        self._forwards: list[tuple[int, str, Options, bytes]] = []
        self._failed: list[Failed] = []
        self._bytes = 0

    def _open_run(self, index: int) -> None:
        self._done += (index, index + 1)
        self._hi = index + 1

    def _add_with_result(self, task: Task, result: Any) -> None:
        """Notes a task that returned or forwarded something; what cannot be encoded is the handler's failure."""
        index = task.index
        packed = b"" if result is None else self._packer.pack(result)
        forwards = [
            (index, queue, options, self._packer.pack(payload)) for queue, options, payload in task.forwards or ()
        ]
        if self._hi == index and self._done:
            self._hi = self._done[-1] = index + 1
        else:
            self._open_run(index)
        if packed:
            self._results[index] = packed
        self._bytes += len(packed) + sum(len(forward[3]) for forward in forwards)
        self._forwards += forwards

    def _take_report(self, assignment: Assignment, tasks: int, now: float) -> Report:
        runs = iter(self._done)
        done = [self._completion(assignment, lo, hi) for lo, hi in zip(runs, runs, strict=True)]
        report = Report(done, self._failed, tasks, now - self._started_at)
        self._reset(now)
        return report

    def _completion(self, assignment: Assignment, lo: int, hi: int) -> Done:
        ends, blob = b"", b""
        if self._results:
            ends, blob = pack_payloads([self._results.get(index, b"") for index in range(lo, hi)])
            if not blob:
                ends = b""
        forwards = self._batches(lo, hi) if self._forwards else ()
        return Done(assignment.token, assignment.id, lo, hi, ends, blob, forwards)

    def _batches(self, lo: int, hi: int) -> tuple[Batch, ...]:
        """Makes batches of what the tasks of a run forwarded, of neighbours with the same queue and options."""
        batches: list[Batch] = []
        group: tuple[str, Options] | None = None
        payloads: list[bytes] = []
        size = 0
        for index, queue, options, payload in self._forwards:
            if not lo <= index < hi:
                continue
            is_full = len(payloads) == BATCH_TASKS_MAX or size + len(payload) > BATCH_BYTES_MAX
            if group is not None and ((queue, options) != group or is_full):
                batches.append(Batch(self._ids.next(), *group, *pack_payloads(payloads)))
                payloads, size = [], 0
            group = (queue, options)
            payloads.append(payload)
            size += len(payload)
        if group is not None:
            batches.append(Batch(self._ids.next(), *group, *pack_payloads(payloads)))
        return tuple(batches)


def _failure(assignment: Assignment, index: int, data: bytes, error: Exception) -> Failed:
    is_final = False
    try:
        decode_payload(data)
    except ValueError:
        is_final = True  # it would fail for ever
    text = "".join(traceback.format_exception(error)[-8:])
    summary = f"{type(error).__name__}: {error}"
    if isinstance(error, PayloadTooLargeError):
        summary = f"the result cannot be sent: {summary}"
    limit = TEXT_CHARS_MAX - 1
    head = summary[: limit // 2]
    return Failed(assignment.token, assignment.id, index, f"{head}\n{text[-(limit - len(head) - 1) :]}", None, is_final)
