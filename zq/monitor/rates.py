"""Counters that grow, as what happened a second.

A counter may begin again, because whoever counts was started anew: what is less than before is no rate below zero, but
a new beginning, from which the next rate is taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

_WINDOW = 5.0
"""Seconds over which a rate is smoothed: short enough to see a change at once, long enough to be read."""


class Rates:
    """Rates of many counters, fed with what they said at successive times.

    Not for several threads.

    Args:
        window: seconds over which rates are smoothed, more than 0.
    """

    def __init__(self, window: float = _WINDOW) -> None:
        if not window > 0:
            raise ValueError(f"window must be more than 0 seconds, got {window!r}")
        self._window = window
        self._samples: dict[str, deque[tuple[float, float]]] = {}

    def feed(self, time: float, counters: Mapping[str, float]) -> dict[str, float]:
        """Takes what the counters say now, and returns the rate of each one that has been seen before.

        Args:
            time: seconds, on any clock that is the same for all calls; one that goes back begins anew.
            counters: all of them, by name; those that are missing are forgotten.

        Returns:
            per second, by name; names that are new, or began again, have no rate yet and are missing.
        """
        before, self._samples = self._samples, {}
        rates = {}
        for name, value in counters.items():
            samples = before.get(name)
            if samples is None or time <= samples[-1][0] or value < samples[-1][1]:
                samples = deque()
            samples.append((time, value))
            while len(samples) > 2 and samples[1][0] <= time - self._window:
                samples.popleft()
            self._samples[name] = samples
            first_time, first_value = samples[0]
            if time > first_time:
                rates[name] = (value - first_value) / (time - first_time)
        return rates
