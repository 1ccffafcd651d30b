"""What has ended of a lease and is not reported yet: gathers completions, results, forwards and failures, and makes the
report of them.

What ends in a row becomes one completion; a failure stands alone.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from zq.errors import ConversionError, PayloadTooLargeError
from zq.handling.raised import cut, summary_of, text_of, trace_of
from zq.sessions.forwards import Forward, gather_forwards
from zq.sessions.ids import IdMaker
from zq.submit_options import check_seconds
from zq.task import Bury, Retry, Task
from zq.wire.batch import PayloadPacker, decode_payload, pack_payload, pack_payloads
from zq.wire.limits import MESSAGE_BATCHES_MAX, TEXT_CHARS_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Assignment, Batch, Done, Failed, Group, Options
from zq.wire.options import header_bytes

REPORT_BYTES = 4 << 20
"""Results, forwards and error texts after which a report goes out: a quarter of a frame."""

TASK_BYTES_MAX = 4 << 20
"""Bytes that one task may return and forward: with a report and a settle that are almost full it still fits in a
frame.
"""

FORWARD_BATCHES_MAX = MESSAGE_BATCHES_MAX // 2
"""Batches that one task may forward, and after which a report goes out: so a completion never has more than it may."""

WEIGHT = 0.3
"""Of the newest report in the average seconds per task."""

TRACE_ENTRIES_MAX = 8
"""Of a traceback that goes with the failure of a task, the last: calls in it, and headings."""


class Report(NamedTuple):
    """What has ended of a chunk, and how long it took."""

    done: list[Done]
    failed: list[Failed]
    tasks: int
    seconds: float


class TaskSeconds(dict[str, float]):
    """How long a task takes on average, by queue, as reports tell."""

    __slots__ = ("_unsure",)

    def __init__(self) -> None:
        super().__init__()
        self._unsure: set[str] = set()  # queues of which there were first reports only

    def learn(self, queue: str, seconds: float, *, is_first: bool) -> float | None:
        """Takes in what a report says, and returns the average; None when it says nothing new.

        Args:
            queue: from which the tasks were.
            seconds: that each of them took.
            is_first: whether it is the first of a process, in which the handler has imported what it needs: that says
                little of other tasks, and counts only until there is another report.
        """
        known = self.get(queue)
        if is_first:
            if known is not None and queue not in self._unsure:
                return None
            self._unsure.add(queue)
        elif queue in self._unsure:
            self._unsure.discard(queue)
            known = None
        average = self[queue] = seconds if known is None else known + WEIGHT * (seconds - known)
        return average


class Harvest:
    """What has ended of one lease since the last report.

    Attributes:
        hi: where the last run of tasks that ended well ends, -1 when there is none; `zq.worker.runner` lengthens it
            itself, since that is the hot path.
        taking: held while a report is taken; one thread notes what ends, and another may take early what it has noted.
    """

    __slots__ = (
        "_batches_max",
        "_bytes",
        "_failed",
        "_forwards",
        "_groups",
        "_ids",
        "_packer",
        "_results",
        "_runs",
        "_told",
        "hi",
        "taking",
    )

    def __init__(self, ids: IdMaker) -> None:
        self._ids = ids  # for what is forwarded
        self._packer = PayloadPacker()
        self.taking = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets what was noted."""
        self._runs: list[int] = []  # pairs lo, hi; the last hi is only true in `hi`
        self.hi = -1
        self._results: dict[int, bytes] = {}
        self._forwards: list[Forward] = []
        self._groups: list[tuple[int, Group]] = []  # each with the index of the task that opens it
        self._failed: list[Failed] = []
        self._told = -1  # what is before this index was taken early
        self._bytes = 0  # of results, forwards and error texts
        self._batches_max = 0  # that the forwards make at most

    @property
    def is_full(self) -> bool:
        """Whether it should be reported before anything else is noted."""
        return self._bytes >= REPORT_BYTES or self._batches_max >= FORWARD_BATCHES_MAX

    def fail(self, assignment: Assignment, index: int, data: bytes, error: BaseException) -> None:
        """Notes a task whose handler raised, or whose result cannot be sent."""
        failed = failure(assignment, index, data, error)
        self._failed.append(failed)
        self._bytes += len(failed.error)

    def add(self, task: Task, result: Any) -> None:
        """Notes a task that ended well.

        Raises:
            TypeError, PayloadTooLargeError: its result or what it forwarded cannot be sent; nothing is noted.
        """
        if result is not None or task.forwards is not None:
            self.add_with_result(task, result)
        else:
            self.open_run(task.index)

    def open_run(self, index: int) -> None:
        """Notes a task without result: at the end of the run before it, or as the first of another."""
        if self.hi != index:
            self._close_run()
            self._runs += (index, index + 1)
        self.hi = index + 1

    def _close_run(self) -> None:
        if self.hi > 0:
            self._runs[-1] = self.hi

    def add_with_result(self, task: Task, result: Any) -> bool:
        """Notes a task that returned or forwarded something; what cannot be encoded is the handler's failure.

        Returns:
            As `is_full`.
        """
        index = task.index
        packed = b"" if result is None else self._packer.pack(result)
        if task.forwards is None:
            self.open_run(index)
            self._bytes += len(packed)
        elif (asked := task.lone_forward) is None or not self._add_lone_forward(index, asked, len(packed)):
            self._add_forwards(task, packed)
        if packed:
            self._results[index] = packed
        return self._bytes >= REPORT_BYTES or self._batches_max >= FORWARD_BATCHES_MAX

    def _add_forwards(self, task: Task, packed: bytes) -> None:
        index = task.index
        forwards = [
            Forward(index, queue, options, self._packer.pack(payload))
            for queue, options, payload in task.forwards or ()
        ]
        groups = task.groups
        batches, size = len(groups), len(packed)
        for group in groups:
            size += header_bytes(group.options)
        if len(forwards) == 1:  # no need to gather it
            batches += 1
            size += len(forwards[0].payload) + 4 + header_bytes(forwards[0].options)
        else:
            for batch in gather_forwards(forwards):
                batches += 1
                size += batch.size + 4 * len(batch.payloads) + header_bytes(batch.options)
        if batches > FORWARD_BATCHES_MAX or size > TASK_BYTES_MAX:
            raise PayloadTooLargeError(
                f"a task returned and forwarded {size} bytes in {batches} batches of one queue and the same options, "
                f"the limits are {TASK_BYTES_MAX} bytes and {FORWARD_BATCHES_MAX} batches"
            )
        if task.member_of is not None:  # it may be replaced in its group, which is said of it alone
            self._close_run()
            self._runs += (index, index + 1)
            self.hi = -1
        else:
            self.open_run(index)
        for group in groups:
            self._groups.append((index, group))
        self._bytes += size
        self._batches_max += batches
        self._forwards += forwards

    def _add_lone_forward(self, index: int, asked: tuple[str, Options, Any], size: int) -> bool:
        """Notes what a task of no group forwarded, if it is one task and nothing else; False when it is too large.

        It is what stages of pipelines do, and a fifth cheaper than the rest, with decoding the payload and calling the
        handler.
        """
        queue, options, payload = asked
        data = self._packer.pack(payload)
        size += len(data) + 4
        if options is not DEFAULT_OPTIONS:
            size += header_bytes(options)
        if size > TASK_BYTES_MAX:
            return False
        if self.hi == index:
            self.hi = index + 1
        else:
            self.open_run(index)
        self._bytes += size
        self._batches_max += 1
        self._forwards.append(tuple.__new__(Forward, (index, queue, options, data)))  # a third of what Forward() takes
        return True

    def take_report(self, assignment: Assignment, tasks: int, seconds: float) -> Report:
        """Returns the report of all that was noted and not taken early, and forgets it."""
        with self.taking:
            self._close_run()
            failed, runs, told = self._failed, self._runs, self._told
            if told >= 0:
                failed = [one for one in failed if one.index >= told]
                runs = _clip(runs, told, max(runs, default=0))
            if len(runs) == 2:
                done = [self._completion(assignment, runs[0], runs[1])]
            else:
                ends = iter(runs)
                done = [self._completion(assignment, lo, hi) for lo, hi in zip(ends, ends, strict=True)]
            self.reset()
        report: Report = tuple.__new__(Report, (done, failed, tasks, seconds))
        return report

    def take_early(self, assignment: Assignment, index: int) -> Report | None:
        """Returns the report of what was noted of the tasks before an index, without their number and time, which come
        with the next one; None when there is nothing. For another thread, which holds `taking`, while the first is at
        the task of this index, or behind it: what that notes meanwhile is of no earlier one.
        """
        hi = self.hi  # before the runs: one that is lengthened meanwhile is too short here, and one that is new is cut
        runs = list(self._runs)
        if hi > 0 and runs:
            runs[-1] = hi
        told, self._told = self._told, index
        failed = [one for one in list(self._failed) if told <= one.index < index]
        ends = iter(_clip(runs, told, index))
        done = [self._completion(assignment, lo, hi) for lo, hi in zip(ends, ends, strict=True)]
        return Report(done, failed, 0, 0.0) if done or failed else None

    def _completion(self, assignment: Assignment, lo: int, hi: int) -> Done:
        ends, blob = b"", b""
        if self._results:
            if hi - lo == 1:
                ends, blob = pack_payload(self._results.get(lo, b""))
            else:
                ends, blob = pack_payloads([self._results.get(index, b"") for index in range(lo, hi)])
            if not blob:
                ends = b""
        forwards = self._batches(lo, hi) if self._forwards else ()
        groups = tuple(group for index, group in list(self._groups) if lo <= index < hi) if self._groups else ()
        done: Done = tuple.__new__(Done, (assignment.token, assignment.id, lo, hi, ends, blob, forwards, groups))
        return done

    def _batches(self, lo: int, hi: int) -> tuple[Batch, ...]:
        """Makes batches of what the tasks of a run forwarded."""
        forwards = self._forwards
        if len(self._runs) > 2 or self._told >= 0:  # else all of them are of the one run
            forwards = [forward for forward in list(forwards) if lo <= forward.source < hi]
        gathered = gather_forwards(forwards)
        return tuple(
            Batch(self._ids.next(), batch.queue, batch.options, *pack_payloads(batch.payloads)) for batch in gathered
        )


def _clip(runs: list[int], lo: int, hi: int) -> list[int]:
    """Returns the parts of runs, pairs of where each begins and ends, between two indexes."""
    ends = iter(runs)
    parts = [(max(start, lo), min(end, hi)) for start, end in zip(ends, ends, strict=True)]
    return [at for start, end in parts if start < end for at in (start, end)]


def failure(assignment: Assignment, index: int, data: bytes, error: BaseException) -> Failed:
    """Returns the failure to report for what a handler raised; raises nothing, whatever that is."""
    kind = type(error)  # what it says of itself, by `__class__`, may be anything
    if issubclass(kind, Retry | Bury):  # the handler has decided: its reason says it all
        is_final = issubclass(kind, Bury)
        return Failed(
            assignment.token, assignment.id, index, _reason(error), None if is_final else _retry_in(error), is_final
        )
    is_final = issubclass(kind, ConversionError)  # the same payload will not fit the next time either
    try:
        decode_payload(data)
    except Exception as problem:
        is_final = is_final or isinstance(problem, ValueError)  # it would fail for ever
    trace = trace_of(error, TEXT_CHARS_MAX // 2, TRACE_ENTRIES_MAX)
    summary = summary_of(error, TEXT_CHARS_MAX)
    if issubclass(kind, PayloadTooLargeError):
        summary = f"the result cannot be sent: {summary}"
    summary = cut(summary, TEXT_CHARS_MAX - 1 - TEXT_CHARS_MAX // 2)
    return Failed(assignment.token, assignment.id, index, f"{summary}\n{trace}", None, is_final)


def _reason(error: BaseException) -> str:
    """Returns the reason of a handler that has decided; that may be an exception, or anything, or missing."""
    try:
        reason = error.reason  # type: ignore[attr-defined] # set by the constructor, which a subclass need not call
    except BaseException:
        return summary_of(error, TEXT_CHARS_MAX)
    if issubclass(type(reason), BaseException):
        return summary_of(reason, TEXT_CHARS_MAX)
    return text_of(reason, TEXT_CHARS_MAX)


def _retry_in(error: BaseException) -> float | None:
    """Returns after how many seconds a handler wants to be called again; None, as the retry policy says, when it does
    not say.
    """
    try:
        return check_seconds("retry_in", error.retry_in)  # type: ignore[attr-defined] # as `reason`
    except BaseException:
        return None
