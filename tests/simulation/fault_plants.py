"""Faults in what is promised of policies of groups, clocks, full disks and damage; see `tests.simulation.plants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from zq.core import clocks
from zq.core.state.books import Books
from zq.core.state.step import EndedMembers, Step
from zq.core.tasks import follow_up, groups
from zq.core.tasks.groups import FAILED, GroupRow

# Policies of groups.


def _any_joins_all_that_came(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(follow_up, "_first_of", lambda members: members)


def _any_waits_for_all(patch: pytest.MonkeyPatch) -> None:
    """Looks whether one was done when all have ended."""
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.policy == "any" and members.outcome == "done" and row.outstanding > 0 and not row.stored:
            return follow_up._store(step, row, follow_up._first_of(members))
        return real(books, step, row, members) if row.policy != "any" or not row.stored else True

    patch.setattr(follow_up, "_decide", decide)


def _settled_leaves_out_failures(patch: pytest.MonkeyPatch) -> None:
    real = follow_up._store

    def store(step: Step, row: GroupRow, members: EndedMembers) -> bool:
        return members.outcome != "done" or real(step, row, members)

    patch.setattr(follow_up, "_store", store)


def _settled_fails_with_a_member(patch: pytest.MonkeyPatch) -> None:
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.policy == "settled" and members.outcome != "done":
            groups.end(books, step, row, FAILED, "a member of it has failed")
            return False
        return real(books, step, row, members)

    patch.setattr(follow_up, "_decide", decide)


def _all_goes_on_without_a_member(patch: pytest.MonkeyPatch) -> None:
    """Waits for the others of a group that has failed already."""
    real = follow_up._decide

    def decide(books: Books, step: Step, row: GroupRow, members: EndedMembers) -> bool:
        if row.policy == "all" and members.outcome != "done" and row.outstanding > 0:
            return True
        return real(books, step, row, members)

    patch.setattr(follow_up, "_decide", decide)


# Clocks that were set back.


def _delays_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clocks, "_PHASES", (lambda books, step, start: None, *clocks._PHASES[1:]))


def _times_of_schedules_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clocks, "_PHASES", (clocks._PHASES[0], lambda books, step, start: None, clocks._PHASES[2]))


def _ends_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(clocks, "_PHASES", (*clocks._PHASES[:2], lambda books, step, start: None))


def _not_noticed_at_a_start(patch: pytest.MonkeyPatch) -> None:
    def open_clock(books: Books, now: Any) -> None:
        books.deadlines.clock.offset, books.deadlines.clock.latest = now.wall - now.monotonic, now.wall

    patch.setattr("zq.core.opening.open_clock", open_clock)


FAULT_PATCHES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "group of any that joins all that came": _any_joins_all_that_came,
    "group of any that waits for all": _any_waits_for_all,
    "settled group that leaves out what failed": _settled_leaves_out_failures,
    "settled group that fails with a member": _settled_fails_with_a_member,
    "group of all that goes on without a member": _all_goes_on_without_a_member,
    "delays kept when the clock was set back": _delays_kept,
    "times of schedules kept when the clock was set back": _times_of_schedules_kept,
    "ends kept when the clock was set back": _ends_kept,
    "clock set back while it was stopped": _not_noticed_at_a_start,
}
