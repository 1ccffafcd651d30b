"""What a worker's log says of tasks that failed: one line for each attempt, when the coordinator has told what becomes
of the task, with the traceback when it was the last one, or when the log is at debug.

The retry policy may be the queue's or the coordinator's, so a worker cannot know when a task is tried again: it is told
with the answer to its report (protocol 3, settled). A failure that has no answer for a while is told without.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from zq.processes.shown import printable
from zq.sessions.hand import Hand
from zq.sessions.reports import Verdict
from zq.task import task_id
from zq.wire.messages import Assignment, Failed

log = logging.getLogger(__name__)

FAILURE_PATIENCE: Final = 2.0
"""Seconds after which a failure is told although the coordinator has not answered."""

LINES_PER_SECOND_MAX: Final = 50
"""Above it failures are only counted: the log is for people, and writing it would hold up the worker."""

TRACES_PER_SECOND_MAX: Final = 5
"""Above it lines are without their traceback, which dead letters keep: those of one bug are the same, and fifty of them
a second fill a disk.
"""

SUMMARY_CHARS: Final = 300
"""Of an error in a line."""


class _Reported(NamedTuple):
    """A failure that has no answer yet."""

    assignment: Assignment
    failed: Failed
    at: float  # monotonic


class FailureLog:
    """Tells the failures of one worker; used in turns of the link."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._open: dict[tuple[int, int], _Reported] = {}  # by token and index, the oldest first
        self._second = 0
        self._lines = self._traces = 0  # in this second
        self._untold: dict[str, int] = {}  # by queue, what was only counted

    def note(self, failures: Iterable[Failed], hands: Mapping[int, Hand]) -> None:
        """Notes failures that are about to be reported."""
        now = time.monotonic()
        for failed in failures:
            hand = hands.get(failed.token)
            if hand is not None:
                self._open[failed.token, failed.index] = _Reported(hand.assignment, failed, now)

    def settle(self, verdicts: Iterable[Verdict]) -> None:
        """Tells failures of which the coordinator has told what becomes of them."""
        for verdict in verdicts:
            reported = self._open.pop((verdict.failed.token, verdict.failed.index), None)
            if reported is not None:
                self._tell(reported, *_fate(verdict))

    def look(self, now: float) -> None:
        """Tells what has waited for long, and how many failures were only counted."""
        if self._open:
            self._tell_older(
                now - FAILURE_PATIENCE, "the coordinator has not answered yet, and decides on the next try"
            )
        if self._untold and int(now) != self._second:
            counts = ", ".join(f"{count} of queue {printable(queue)}" for queue, count in self._untold.items())
            self._untold = {}
            log.warning("more tasks failed than there are lines for: %s", counts)

    def end(self) -> None:
        """Tells what has no answer, and will have none here: the worker ends."""
        self._tell_older(float("inf"), "the coordinator has not answered, and decides on the next try")

    def _tell_older(self, than: float, what_next: str) -> None:
        for place, reported in list(self._open.items()):
            if reported.at > than:
                return
            del self._open[place]
            self._tell(reported, "", what_next, True)

    def _tell(self, reported: _Reported, of: str, what_next: str, has_trace: bool) -> None:
        assignment, failed = reported.assignment, reported.failed
        if not self._has_room(assignment.queue):
            return
        summary, _, trace = failed.error.partition("\n")
        id = task_id(assignment.id, assignment.size, failed.index)
        log.warning(
            "task %s of queue %s failed (attempt %d%s): %s; %s%s",
            *(printable(id), printable(assignment.queue), assignment.attempt, of),
            *(printable(summary[:SUMMARY_CHARS]), what_next),
            f"\n{trace.rstrip()}" if trace and self._has_room_for_trace(wanted=has_trace) else "",
            extra={"task": id, "queue": assignment.queue, "worker": self._worker, "attempt": assignment.attempt},
        )

    def _has_room(self, queue: str) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines, self._traces = second, 0, 0
        self._lines += 1
        if self._lines <= LINES_PER_SECOND_MAX or log.isEnabledFor(logging.DEBUG):
            return True
        self._untold[queue] = self._untold.get(queue, 0) + 1
        return False

    def _has_room_for_trace(self, *, wanted: bool) -> bool:
        self._traces += wanted
        return log.isEnabledFor(logging.DEBUG) or (wanted and self._traces <= TRACES_PER_SECOND_MAX)


def _fate(verdict: Verdict) -> tuple[str, str, bool]:
    """Returns, of a failure, of how many attempts it was one, what comes next, and whether it was the last."""
    next_try = verdict.next_try
    if next_try is None:
        what_next = (
            "the task was not this worker's any more" if verdict.is_stale else "the coordinator decides what next"
        )
        return "", what_next, not verdict.is_stale
    of = f" of {next_try.attempts_max}"
    if next_try.delay is None:
        return of, "it is not tried again: it is a dead letter", True
    return of, "it is tried again at once" if next_try.delay == 0 else f"next try in {next_try.delay:.3g} s", False
