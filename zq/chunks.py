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
from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX, MESSAGE_BATCHES_MAX, TEXT_CHARS_MAX
from zq.wire.messages import Assignment, Batch, Done, Failed, Options

REPORT_AFTER = 0.01
"""Seconds of work after which a report goes out."""

REPORT_BYTES = 4 << 20
"""Results, forwards and error texts after which a report goes out: a quarter of a frame."""

TASK_BYTES_MAX = 4 << 20
"""Bytes that one task may return and forward: with a report and a settle that are almost full it still fits in a frame."""

FORWARD_BATCHES_MAX = MESSAGE_BATCHES_MAX // 2
"""Batches that one task may forward, and after which a report goes out: so a completion never has more than it may."""

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
            except BaseException as error:  # sys.exit in a handler, too, is that handler's failure
                self._fail(_failure(assignment, index, data, error))
            now = clock()
            if now - self._started_at >= REPORT_AFTER or self._is_full:
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
        self._forwards: list[_Forward] = []
        self._failed: list[Failed] = []
        self._bytes = 0  # of results, forwards and error texts
        self._batches_max = 0  # that the forwards make at most

    @property
    def _is_full(self) -> bool:
        return self._bytes >= REPORT_BYTES or self._batches_max >= FORWARD_BATCHES_MAX

    def _fail(self, failed: Failed) -> None:
        self._failed.append(failed)
        self._bytes += len(failed.error)

    def _open_run(self, index: int) -> None:
        self._done += (index, index + 1)
        self._hi = index + 1

    def _add_with_result(self, task: Task, result: Any) -> None:
        """Notes a task that returned or forwarded something; what cannot be encoded is the handler's failure."""
        index = task.index
        packed = b"" if result is None else self._packer.pack(result)
        forwards = [
            _Forward(index, queue, options, self._packer.pack(payload))
            for queue, options, payload in task.forwards or ()
        ]
        batches, size = 0, len(packed)
        for batch in _gather(forwards):
            batches += 1
            size += batch.size + 4 * len(batch.payloads) + _header_bytes(batch.options)
        if batches > FORWARD_BATCHES_MAX or size > TASK_BYTES_MAX:
            raise PayloadTooLargeError(
                f"a task returned and forwarded {size} bytes in {batches} batches of one queue and the same options, "
                f"the limits are {TASK_BYTES_MAX} bytes and {FORWARD_BATCHES_MAX} batches"
            )
        if self._hi == index and self._done:
            self._hi = self._done[-1] = index + 1
        else:
            self._open_run(index)
        if packed:
            self._results[index] = packed
        self._bytes += size
        self._batches_max += batches
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
        """Makes batches of what the tasks of a run forwarded."""
        gathered = _gather([forward for forward in self._forwards if lo <= forward.source < hi])
        return tuple(
            Batch(self._ids.next(), batch.queue, batch.options, *pack_payloads(batch.payloads)) for batch in gathered
        )


class _Forward(NamedTuple):
    """A task that a handler forwarded."""

    source: int  # index of the task that was handled
    queue: str
    options: Options
    payload: bytes


class _Gathered:
    """Forwarded tasks that become one batch."""

    __slots__ = ("options", "payloads", "queue", "size")

    def __init__(self, queue: str, options: Options) -> None:
        self.queue = queue
        self.options = options
        self.payloads: list[bytes] = []
        self.size = 0


def _gather(forwards: list[_Forward]) -> list[_Gathered]:
    """Gathers neighbours in a queue that have the same options, so that each queue gets its tasks in order."""
    found: list[_Gathered] = []
    newest: dict[str, _Gathered] = {}
    for _, queue, options, payload in forwards:
        batch = newest.get(queue)
        if (
            batch is None
            or batch.options != options
            or len(batch.payloads) == BATCH_TASKS_MAX
            or batch.size + len(payload) > BATCH_BYTES_MAX
        ):
            batch = newest[queue] = _Gathered(queue, options)
            found.append(batch)
        batch.payloads.append(payload)
        batch.size += len(payload)
    return found


def _header_bytes(options: Options) -> int:
    """Returns how long the headers are at most: a character takes up to four bytes."""
    return sum(4 * (len(name) + len(text)) for name, text in (options.headers or {}).items())


def _failure(assignment: Assignment, index: int, data: bytes, error: BaseException) -> Failed:
    is_final = False
    try:
        decode_payload(data)
    except ValueError:
        is_final = True  # it would fail for ever
    text = _cut("".join(traceback.format_exception(error)[-8:]), TEXT_CHARS_MAX // 2, keep_end=True)
    try:
        summary = f"{type(error).__name__}: {error}"
    except Exception:  # its __str__ is the handler's code as well
        summary = f"{type(error).__name__}, whose text cannot be made"
    if isinstance(error, PayloadTooLargeError):
        summary = f"the result cannot be sent: {summary}"
    summary = _cut(summary, TEXT_CHARS_MAX - 1 - TEXT_CHARS_MAX // 2)
    return Failed(assignment.token, assignment.id, index, f"{summary}\n{text}", None, is_final)


def _cut(text: str, most: int, *, keep_end: bool = False) -> str:
    """Returns a text that UTF-8 can hold (surrogates are escaped), cut to so many bytes."""
    data = text.encode(errors="backslashreplace")
    return (data[-most:] if keep_end else data[:most]).decode(errors="ignore")
