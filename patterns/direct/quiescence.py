"""Decides that nothing moves any more in a direct pipeline, from the counters of all who take part.

After Mattern's four counters: when everybody is idle and everything sent between the living has been received, twice in
a row with the same counts, nothing was on its way in between. Messages of the dead that are still in the kernel's hands
have no counter at their sender; they show as a change of the receivers' counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from patterns.direct.control import CALLER, Counts


class Quiescence:
    """Looks at one round of counts after the other."""

    def __init__(self, after: int) -> None:
        """Starts to look.

        Args:
            after: number of the last probe that was sent before; earlier answers prove nothing.
        """
        self._after = after
        self._last: tuple[int, int] | None = None

    def observe(
        self, number: int, counts: Mapping[int, Counts], own_sent: Mapping[int, int], own_received: Mapping[int, int]
    ) -> bool:
        """Returns whether nothing moves any more.

        Args:
            number: of the probe that the counts answer.
            counts: of the living, by worker.
            own_sent: messages of the caller, by worker.
            own_received: messages that the caller got, by worker.
        """
        if number <= self._after:
            return False
        self._after = number
        if not self._is_balanced(counts, own_sent, own_received):
            self._last = None
            return False
        total = (
            sum(own_sent.values()) + sum(sum(one.sent.values()) for one in counts.values()),
            sum(own_received.values()) + sum(sum(one.received.values()) for one in counts.values()),
        )
        is_still, self._last = total == self._last, total
        return is_still

    @staticmethod
    def _is_balanced(
        counts: Mapping[int, Counts], own_sent: Mapping[int, int], own_received: Mapping[int, int]
    ) -> bool:
        for worker, one in counts.items():
            if not one.is_idle or one.received.get(CALLER, 0) != own_sent.get(worker, 0):
                return False
            if one.sent.get(CALLER, 0) != own_received.get(worker, 0):
                return False
            for target, sent in one.sent.items():
                if target in counts and counts[target].received.get(worker, 0) != sent:
                    return False
        return True
