"""What a link says of a silence: once when nothing is heard of a coordinator that is asked, and once at its end."""

from __future__ import annotations

import logging
from math import inf

logger = logging.getLogger(__name__)

QUIET_TOLD = 2.0
"""Seconds without an answer that are worth a word in the log."""

STALL = 1.0
"""Seconds that a look may be late; what is later says that this process stood still, and nothing of the other one."""


class Silence:
    """The silence of one coordinator; for the link's thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._since: float | None = None  # when the first thing was asked to which nothing was heard (monotonic)
        self._told_at: float | None = None  # since when it is silent, if that was told
        self._is_known = False  # whether anything was ever heard
        self._looked_at = inf

    def heard(self, now: float) -> None:
        """Something was heard."""
        if self._told_at is not None:
            seconds = now - self._told_at
            if self._is_known:
                logger.warning("%s is heard again, after %.0f s", self._address, seconds)
            else:
                logger.warning("connected to %s, after %.0f s", self._address, seconds)
        self._is_known = True
        self._since = self._told_at = None

    def look(self, now: float, *, is_asking: bool) -> None:
        """Tells a silence, if an answer is waited for."""
        was_late, self._looked_at = now > max(self._looked_at, self.next_at()) + STALL, now
        if not is_asking:
            self._since = None
        elif self._since is None or was_late:
            self._since = now
        elif self._told_at is None and now >= self._since + QUIET_TOLD:
            self._told_at = self._since
            if self._is_known:
                logger.warning("no answer from %s for %.0f s; trying on", self._address, now - self._since)
            else:
                logger.warning("no answer yet from %s; trying on", self._address)

    def next_at(self) -> float:
        """Returns when there may be something to tell (monotonic), or infinity."""
        return inf if self._since is None or self._told_at is not None else self._since + QUIET_TOLD
