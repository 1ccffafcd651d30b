"""The coordinator ends at exactly one point of a short script, each in turn, or at two: after each message, before the
commit, at each point of it, between the commit and the sending, while it starts, rests and stops. Nothing else fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from tests.simulation.disk import Crash, Disk
from tests.simulation.kitchen import Report, run
from tests.simulation.world import Faults, World

ORDERS = 1
"""Of the script: about sixty events, with an order, a group, a pull, a schedule, a cancel, a publication."""


class Points:
    """Counts the points at which the process may end, and ends it at some of them.

    Attributes:
        passed: points so far.
        hit: those at which it has ended.
    """

    def __init__(self, wanted: frozenset[int]) -> None:
        self.passed = 0
        self.hit: list[int] = []
        self._wanted = wanted

    def strike(self, world: World) -> bool:
        """Whether the process ends here."""
        if world.is_healed:
            return False
        self.passed += 1
        if self.passed not in self._wanted:
            return False
        self.hit.append(self.passed)
        world.note("crash")
        return True


@contextmanager
def ending_at(*wanted: int) -> Iterator[Points]:
    """Has what is run end at these points, counted from 1, and at no other."""
    points = Points(frozenset(wanted))
    real = World.strikes

    def strikes(world: World, fault: str) -> bool:
        return points.strike(world) if fault == "crash" else real(world, fault)

    def point(disk: Disk, *, before: bool, after: bool) -> None:
        if points.strike(disk.world):
            disk.world.note("crash in a commit")
            disk.note_doubt(before=before, after=after)
            raise Crash

    with (
        patch.object(World, "strikes", strikes),
        patch.object(Disk, "point", point),
        patch.object(Disk, "may", lambda disk, share: False),
        patch.object(Faults, "draw", staticmethod(lambda rng: Faults(delay=0.001))),
    ):
        yield points


def count_points(seed: int) -> int:
    """Returns how many points the script of a seed has when nothing ends."""
    with ending_at() as points:
        run(seed, orders=ORDERS)
    return points.passed


def end_at(seed: int, *wanted: int) -> tuple[Report, Points]:
    """Runs the script of a seed with ends at these points; raises Violation, as `run` does."""
    with ending_at(*wanted) as points:
        report = run(seed, orders=ORDERS)
    return report, points
