"""What a worker is told from afar, and what it says of itself (protocol 3.4).

Whoever steers a worker sees what came of it in what the worker says next: whether it drains, how many tasks it runs at
once, why its children cannot start.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from zq.sessions.worker import WorkerSession
from zq.wire.steering import HOST_CHARS_MAX, TROUBLE_CHARS_MAX, About, Steer
from zq.worker.bench import Bench
from zq.worker.crew import WorkerCrew

log = logging.getLogger(__name__)

HOST: Final = socket.gethostname()[:HOST_CHARS_MAX]


class Helm:
    """Steers one run of a worker; but for `note_change`, used in turns of the link only."""

    def __init__(self, session: WorkerSession, bench: Bench, crew: WorkerCrew, stop: Callable[[], None]) -> None:
        """Makes a helm.

        Args:
            session: by which it is told, and tells.
            bench: that it lets drain.
            crew: that it resizes.
            stop: has the run end, without waiting.
        """
        self._session = session
        self._bench = bench
        self._crew = crew
        self._stop = stop
        self._is_ending = False
        self._is_changed = True

    def note_change(self, *, is_ending: bool = False) -> None:
        """Something is to be said: of the children, or that the run ends."""
        self._is_ending = self._is_ending or is_ending
        self._is_changed = True

    def look(self, credit: Callable[[], int]) -> None:
        """Does what was told, and says what has changed.

        Args:
            credit: how many tasks to hold.
        """
        for steer in self._session.take_steers():
            self._obey(steer, credit)
            self._is_changed = True
        if self._is_changed:
            self._is_changed = False
            self._session.tell(self._about())

    def _obey(self, steer: Steer, credit: Callable[[], int]) -> None:
        session, bench = self._session, self._bench
        what = steer.action if steer.size is None else f"{steer.action} to {steer.size}"
        log.info("worker %s is told from afar to %s", session.name, what)
        if self._is_ending:
            return
        match steer.action:
            case "drain":
                session.release(bench.drain(), 0)
            case "resume":
                bench.resume()
                session.release([], credit())
            case "stop":
                self._stop()
            case "resize" if steer.size is not None:
                self._crew.resize(steer.size)
                session.release([], credit())

    def _about(self) -> About:
        children, slots = self._crew.children, self._crew.slots
        trouble = None if children is None else children.trouble()
        return About(
            HOST,
            os.getpid(),
            0 if children is None else slots.plain,
            slots.plain + slots.coroutines,
            self._is_ending or self._bench.is_draining,
            None if trouble is None else in_a_line(trouble)[:TROUBLE_CHARS_MAX],
            takes_runs=not slots.coroutines,
        )


def in_a_line(text: str) -> str:
    """Returns a text without the lines between its first and its last one, which are a traceback."""
    lines = text.splitlines()
    return text if len(lines) < 2 else f"{lines[0]} {lines[-1]}"
