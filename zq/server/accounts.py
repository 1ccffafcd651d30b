"""What a connection may still cost: pure counts over a clock that is told to them."""

from __future__ import annotations

RATE_BURST_SECONDS = 4.0
"""Seconds of a rate that may come at once: a program that wakes up has gathered some."""

EXCESS_SECONDS = 10.0
"""Seconds of a rate by which it may be exceeded, refusals counted, before the connection ends."""

SHARE = 0.05
"""Of the time of a coordinator, what one connection gets for messages that are expensive, and all such together, while
others have something to say: one of 20 ms then comes among a hundred that are answered in two.
"""

DEBT_GRACE = 0.05
"""Seconds of debt with which nobody is held back: whoever asks something large now and then notices nothing."""

DEBT_MAX = 0.5
"""Seconds of debt at most, so that nobody is held back for longer than ten seconds, whatever it has cost."""


class Rate:
    """So many a second, over some seconds: a bucket of tokens that may be overdrawn, and then refuses.

    Attributes:
        left: tokens. Whoever takes one a message, which is often, does it here, and asks `refill` only below 0.
    """

    __slots__ = ("_at", "_rate", "left")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self.left = rate * RATE_BURST_SECONDS
        self._at = now

    def take(self, count: int, now: float) -> bool:
        """Takes so many, and returns whether they were there. What is refused counts, too: it has to slow down."""
        self.left -= count
        return self.left >= 0 or self.refill(now)

    def refill(self, now: float) -> bool:
        """Adds what time has brought, and returns whether what was taken was there."""
        self.left = min(self.left + (now - self._at) * self._rate, self._rate * RATE_BURST_SECONDS)
        self._at = now
        return self.left >= 0

    def take_rate(self, rate: float, now: float) -> None:
        """Goes on with another rate from now on."""
        self.refill(now)
        self._rate = rate
        self.left = min(self.left, rate * RATE_BURST_SECONDS)

    @property
    def wait(self) -> float:
        """Seconds after which the next one is there."""
        return max(0.0, -self.left / self._rate)

    @property
    def is_far_exceeded(self) -> bool:
        """Whether it goes on and on, whatever it is told."""
        return self.left < -EXCESS_SECONDS * self._rate


class Debt:
    """Seconds that were taken beyond what is everybody's; time pays for them."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def add(self, seconds: float, now: float) -> None:
        self._seconds = min(self._left(now) + seconds, DEBT_MAX)
        self._at = now

    def is_due(self, now: float) -> bool:
        """Whether there is so much of it that it has to wait."""
        return self._seconds > DEBT_GRACE and self._left(now) > DEBT_GRACE

    def _left(self, now: float) -> float:
        return max(0.0, self._seconds - (now - self._at) * SHARE)
