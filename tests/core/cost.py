"""What a message costs, counted: the calls of functions that a turn makes, in Python and in C. It is no time, so it is
the same on a busy machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.core.desk import Desk

Message = tuple[bytes, Any]

TURNS_MAX = 100_000
"""Turns after which work that goes on from turn to turn should be over."""

BURST = 4
"""Times the work of a portion that one turn may do: what comes before and after it is there, too."""


def calls_of(action: Callable[[], object]) -> int:
    """Returns how many functions an action calls."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def cost_of(desk: Desk, *messages: Message) -> int:
    """Returns the calls of the one turn in which messages come."""
    return calls_of(lambda: desk.turn(*messages))


def largest_cost_of(desk: Desk, *messages: Message) -> int:
    """Returns the most calls of the turn in which messages come, and of those that carry on with what they began."""
    costs = [cost_of(desk, *messages)]
    while desk.machine.next_at(desk.clocks()) <= desk.now:
        costs.append(cost_of(desk))
        assert len(costs) < TURNS_MAX, "it goes on for ever"
    return max(costs)


def finish(desk: Desk, *messages: Message) -> list[Message]:
    """Takes a turn with messages, and those that carry on with what they began; returns what is sent."""
    sent = desk.turn(*messages)
    for _ in range(TURNS_MAX):
        if desk.machine.next_at(desk.clocks()) > desk.now:
            return sent
        sent += desk.turn()
    raise AssertionError("it goes on for ever")
