"""What a worker holds of one lease."""

from __future__ import annotations

from zq.wire.messages import Assignment


class Hand:
    """One lease in hand."""

    __slots__ = ("assignment", "open")

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.open = (1 << assignment.tasks) - 1  # bit i: task lo + i is not settled

    def mask(self, lo: int, hi: int) -> int:
        """Returns the open tasks among the indexes lo <= index < hi."""
        first = self.assignment.lo
        lo, hi = max(lo - first, 0), hi - first
        return self.open & ((1 << hi) - 1) >> lo << lo if hi > lo else 0
