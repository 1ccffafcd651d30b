"""What a run that stands still says: once why, and again when the reason is another one.

Nothing is asked while results come. When none has come for a while, the coordinator is asked `why` the first task of
each stage waits; what will pass by itself (somebody is at it, or others go first) is not worth a word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress

import zq
from patterns.durable.parcels import stage_queue
from patterns.work.plan import Plan

log = logging.getLogger(__name__)

STILL_SECONDS = 2.0
"""Seconds without anything after which it is asked why."""

TOLD_CODES = frozenset(("no-worker", "paused"))
"""Reasons that somebody has to do something about."""


class Stillness:
    """Looks for what keeps a run from going on; it belongs to the caller's thread."""

    def __init__(self, client: zq.Client, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        """Makes a look-out over the stages of a plan.

        Args:
            clock: monotonic seconds.
        """
        self._client = client
        self._plan = plan
        self._clock = clock
        self._ask_at = clock() + STILL_SECONDS
        self._told: dict[str, str] = {}  # the reason by stage, as it was told

    def look(self, *, is_moving: bool) -> None:
        """Says what holds the run up, if nothing has moved for a while."""
        now = self._clock()
        if is_moving:
            self._ask_at = now + STILL_SECONDS
        elif now >= self._ask_at:
            self._ask_at = now + STILL_SECONDS
            with suppress(zq.ZqError):  # what ends the run is met by it, and what its key may not ask is not missed
                self._ask()

    def _ask(self) -> None:
        reasons = {node.name: self._reason(stage_queue(self._plan, node)) for node in self._plan.working}
        for stage, reason in reasons.items():
            if reason is None:
                if self._told.pop(stage, None) is not None:
                    log.warning("stage %s of pipeline %s goes on", stage, self._plan.name)
            elif self._told.get(stage) != reason.code:
                self._told[stage] = reason.code
                log.warning("stage %s of pipeline %s waits: %s", stage, self._plan.name, reason.text)

    def _reason(self, queue: str) -> zq.Reason | None:
        """Returns why the first task of a queue waits, if somebody has to do something about it."""
        waiting = next((task.id for task in self._client.tasks("waiting", queue=queue, limit=1)), None)
        if waiting is None:
            return None
        reason = self._client.why(waiting)
        return reason if reason.code in TOLD_CODES else None
