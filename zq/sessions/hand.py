"""What a worker holds of one lease."""

from __future__ import annotations

from collections.abc import Mapping

from zq.wire.messages import Assignment, Failed


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


def end_of_failure(failed: Failed, hands: Mapping[int, Hand]) -> int:
    """Returns the index behind what a failure takes out of hand: of ordered tasks all that stands behind the one that
    failed, which goes first when it is tried again (protocol 3.5).
    """
    hand = hands.get(failed.token)
    return failed.index + 1 if hand is None or not hand.assignment.options.ordered else hand.assignment.hi
