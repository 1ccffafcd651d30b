"""The session of a run of a worker: that of the protocol, with what the run does before each tick and wants to hear."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Protocol

from zq.handling.hooks import everywhere, note_received, note_settled
from zq.processes.pulse import Pulse
from zq.sessions.worker import WorkerSession
from zq.wire.messages import Assignment, Done, Failed, Welcome
from zq.worker.crew import RunSettings
from zq.worker.failure_log import FailureLog
from zq.worker.runner import random_incarnation

log = logging.getLogger(__name__)


class SessionWatcher(Protocol):
    """The run, as its session sees it."""

    failures: FailureLog
    next_look_at: float
    pulse: Pulse

    def look(self, now: float) -> None: ...

    def take_in(self, now: float) -> None: ...

    def note_welcome(self) -> None: ...

    def running(self) -> Iterable[tuple[int, int, float]]: ...

    def wake(self) -> None: ...


class RunSession(WorkerSession):
    """The session of a worker, with the worker's own look at its runners before each tick."""

    def __init__(self, run: SessionWatcher, settings: RunSettings, concurrency: int) -> None:
        queues = tuple(settings.handlers)
        super().__init__(settings.name, random_incarnation(), queues, concurrency, run.running)
        self._run = run
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

    def tick(self, now: float) -> None:
        self._run.look(now)
        if now >= (pulse := self._run.pulse).next_at:
            pulse.beat(now, f"{'' if self.is_welcome else 'not '}connected, {len(self.hands)} leases in hand")
        super().tick(now)
        self._run.take_in(now)
        if self.name_is_taken and not self._is_told:
            self._is_told = True
            log.warning("worker %s waits for its name: %s", self.name, self.name_is_taken)

    def next_at(self) -> float:
        return min(super().next_at(), self._run.next_look_at, self._run.pulse.next_at)

    def failed(self, error: Exception) -> None:
        super().failed(error)  # by a refusal, too
        self._run.wake()
