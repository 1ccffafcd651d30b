"""The session of a run of a worker: that of the protocol, with what the run does before each tick and wants to hear;
and what goes between it and the bench in the turns of a link, reports there and tasks back.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from typing import Protocol

from zq.handling.hooks import everywhere, note_received, note_settled
from zq.processes.pulse import Pulse
from zq.sessions.worker import WorkerSession
from zq.wire.messages import Assignment, Done, Failed, Welcome
from zq.worker.bench import Bench
from zq.worker.crew import RunSettings
from zq.worker.failure_log import FailureLog
from zq.worker.harvest import Report
from zq.worker.runner import random_incarnation

log = logging.getLogger(__name__)


RUNNING_LOOK_INTERVAL = 0.02
"""Seconds between two looks at what runs, while something does: a thousand reports a second need none each."""


class SessionWatcher(Protocol):
    """The run, as its session sees it."""

    failures: FailureLog
    pulse: Pulse
    bench: Bench

    @property
    def credit(self) -> int: ...

    def look(self, now: float) -> None: ...

    def note_welcome(self) -> None: ...

    def running(self) -> Iterable[tuple[int, int, float]]: ...

    def wake(self) -> None: ...


class RunSession(WorkerSession):
    """The session of a worker, with the worker's own look at its runners before each tick.

    Attributes:
        next_look_at: when the run looks at its runners again (monotonic).
        busy_at: when there was something to do (monotonic).
    """

    def __init__(self, run: SessionWatcher, settings: RunSettings, concurrency: int) -> None:
        queues = tuple(settings.handlers)
        super().__init__(settings.name, random_incarnation(), queues, concurrency, run.running)
        self._run = run
        self._bench = run.bench
        self._ended: deque[Report] = deque()  # which runners have reported, and the session does not know yet
        self.next_look_at = inf
        self.busy_at = time.monotonic()
        self._middleware = (*everywhere, *settings.middleware)
        self._is_told = False  # that it waits for its name

    def finish(self, done: list[Done], failed: list[Failed], credit: int) -> None:
        if failed:
            self._run.failures.note(failed, self.hands)
        super().finish(done, failed, credit)
        if self._middleware:
            note_settled(self._middleware, "", sum(one.hi - one.lo for one in done) + len(failed), 0.0)

    def take_arrivals(self) -> list[Assignment]:
        arrivals = super().take_arrivals()
        if arrivals and self._middleware:
            for one in arrivals:
                note_received(self._middleware, one.queue, one.hi - one.lo, 0.0)
        return arrivals

    def _note_welcome(self, now: float, welcome: Welcome) -> None:
        super()._note_welcome(now, welcome)
        self._run.note_welcome()

    # What a link calls for those who have something to say, or work on what comes; see `zq.sockets.led_link`.

    def report(self, report: Report) -> None:
        """Takes what has ended, from any thread, until `say`."""
        self._ended.append(report)

    def say(self) -> None:
        """Reports what has ended."""
        ended = self._ended
        while ended:
            reports = [ended.popleft() for _ in range(len(ended))]
            self.settle(reports)

    def settle(self, reports: list[Report]) -> None:
        """Reports what has ended, but for what was taken away while it ran, and has an end already."""
        done = [one for report in reports for one in report.done]
        failed = [one for report in reports for one in report.failed]
        revoked = self._bench.revoked
        if revoked:
            failed = [one for one in failed if one.index not in revoked.get(one.token, ())]
            done = [one for one in done if one.hi - one.lo > 1 or one.lo not in revoked.get(one.token, ())]
        if done or failed:
            self.finish(done, failed, self._run.credit)

    @property
    def is_reported(self) -> bool:
        """Whether all that has ended was reported, and every report has been answered."""
        return not self._ended and self.is_settled

    def hear(self, now: float) -> bool:
        """Puts on the bench what has come, and does what is due if that was more than tasks and plain answers; returns
        whether it was.
        """
        is_stirred = self.is_stirred
        if is_stirred:
            self.tick(now)
        elif self._arrivals:
            self._note_arrivals(now)
        if self._arrivals:
            self._bench.put(self.take_arrivals())
        return is_stirred

    def what_rests(self) -> Callable[[], None]:
        """Returns what puts on the bench what has come: behind a turn of the link's thread, since whoever it wakes
        needs the interpreter, and soon a turn of its own.
        """
        return partial(self._bench.put, self.take_arrivals()) if self._arrivals else _nothing

    def is_done(self) -> bool:
        return self._bench.is_stirred

    def _note_arrivals(self, now: float) -> None:
        self.busy_at = now
        self.next_look_at = now if self._bench.is_draining else min(self.next_look_at, now + RUNNING_LOOK_INTERVAL)

    def tick(self, now: float) -> None:
        self._run.look(now)
        if now >= (pulse := self._run.pulse).next_at:
            pulse.beat(now, f"{'' if self.is_welcome else 'not '}connected, {len(self.hands)} leases in hand")
        super().tick(now)
        if self._arrivals:
            self._note_arrivals(now)
        if self.name_is_taken and not self._is_told:
            self._is_told = True
            log.warning("worker %s waits for its name: %s", self.name, self.name_is_taken)

    def next_at(self) -> float:
        return min(super().next_at(), self.next_look_at, self._run.pulse.next_at)

    def failed(self, error: Exception) -> None:
        super().failed(error)  # by a refusal, too
        self._run.wake()


def _nothing() -> None:
    """Nothing has come."""
