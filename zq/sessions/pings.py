"""Whether a client's coordinator lives: pings while anybody waits for anything, and what their silence means."""

from __future__ import annotations

from math import inf

PING_INTERVAL = 1.0
"""Seconds between pings while something is outstanding."""

SILENCE_FIRST, SILENCE_MAX = 3.0, 12.0
"""Seconds that a ping stays unanswered before the connection is made anew; doubled each time in a row."""

ANSWER_MIN = 0.1
"""Seconds in which nothing need be heard: who waits for less is told that there was no answer in that time."""


class Pings:
    """The pings of one session.

    Attributes:
        number: of the last one.
    """

    def __init__(self) -> None:
        self.number = 0
        self._heard_at = -inf
        self._pinged_at = -inf
        self._silent_since: float | None = None  # when the first of the unanswered pings went out
        self._silence = SILENCE_FIRST

    def connected(self) -> None:
        """On a new connection nothing was said."""
        self._pinged_at = -inf
        self._silent_since = None

    def heard(self, now: float) -> None:
        """Anything came."""
        self._heard_at = now
        self._silent_since = None
        self._silence = SILENCE_FIRST

    def heard_beside(self, at: float) -> None:
        """Something had come at that time, or later, which somebody else took."""
        self._heard_at = max(self._heard_at, at)

    def rest(self) -> None:
        """Nobody waits."""
        self._silent_since = None

    def is_lost(self, now: float) -> bool:
        """Whether the connection is to be given up; the next one is given up less soon."""
        if self._silent_since is None or now < self._silent_since + self._silence:
            return False
        self._silence = min(2 * self._silence, SILENCE_MAX)
        self._silent_since = None
        return True

    def is_due(self, now: float) -> bool:
        """Whether another ping is to be sent."""
        return now >= self._pinged_at + PING_INTERVAL

    def sent(self, now: float, number: int) -> None:
        """Another was sent."""
        self.number = number
        self._pinged_at = now
        if self._silent_since is None:
            self._silent_since = now

    def next_at(self) -> float:
        """Returns when something is due while anybody waits."""
        due_at = self._pinged_at + PING_INTERVAL
        return due_at if self._silent_since is None else min(due_at, self._silent_since + self._silence)

    def is_unreachable(self, now: float, asked_at: float) -> bool:
        """Whether nothing was heard for so long that who has waited since `asked_at` is to be told so."""
        if self._silent_since is not None and now >= self._silent_since + PING_INTERVAL:
            return True
        return self._heard_at < asked_at and now >= asked_at + ANSWER_MIN
