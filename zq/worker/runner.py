"""Runs tasks: the loop that calls handlers, the same in a thread of the worker and in a child process.

A *chunk* is some consecutive tasks of one lease. What ends in a row becomes one completion; a failure stands alone.
Reports go out when the chunk ends and, in between, every REPORT_AFTER seconds, so that a crash repeats little.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from zq.handling.contexts import FreshContexts, Work, end_copy
from zq.sessions.ids import IdMaker, make_prefix
from zq.task import Task, TaskOwner
from zq.wire.batch import decode_payload, offsets_of
from zq.wire.messages import Assignment
from zq.worker.harvest import Harvest, Report

REPORT_AFTER = 0.01
"""Seconds of work after which a report goes out."""

Handler = Callable[[Task], Any]


def random_prefix() -> str:
    """Returns a prefix of ids that nobody else has."""
    return make_prefix(int.from_bytes(os.urandom(8), "little"))


class Chunk(NamedTuple):
    """The tasks lo <= index < hi of a lease."""

    assignment: Assignment
    lo: int
    hi: int


class Slot:
    """What one runner does now; written by it, read by whoever watches it."""

    __slots__ = ("index", "since", "token")

    def __init__(self) -> None:
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

    def run(self, chunk: Chunk, revoked: Mapping[int, set[int]], report: Callable[[Report], None]) -> None:
        """Runs a chunk, each of its tasks in a fresh context; `report` is called at least once.

        Args:
            chunk: what to run.
            revoked: indexes by token that are not to be started or reported any more; it changes while this runs.
            report: takes what has ended, in order.
        """
        self._contexts.drive(self._work(chunk, revoked, report))

    def _work(self, chunk: Chunk, revoked: Mapping[int, set[int]], report: Callable[[Report], None]) -> Work[None]:
        context = yield
        assignment, lo, hi = chunk
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
                    harvest.add_with_result(task, result)
                    is_full = harvest.is_full
                elif harvest.hi == index:
                    harvest.hi = index + 1
                else:
                    harvest.open_run(index)
            except BaseException as error:  # sys.exit in a handler, too, is that handler's failure
                end_copy(error)
                harvest.fail(assignment, index, data, error)
                is_full = harvest.is_full
            if context:
                context = yield
            now = clock()
            if is_full or now - reported_at >= REPORT_AFTER:
                slot.index = -1
                report(harvest.take_report(assignment, index + 1 - lo, now - reported_at))
                reported_at = now
                is_full = False
                lo = index + 1
        slot.index = -1
        report(harvest.take_report(assignment, hi - lo, now - reported_at))
