"""A crash at each effect of a short script, and at each pair: `python -m tests.simulation.effects --pairs` takes long.

An effect is whatever the process does between which it may end: a message that was handled, a step before its commit,
each point of the commit, and the sending. Nothing else goes wrong, so that it is the crash that is looked at.
"""

from __future__ import annotations

import argparse
import itertools

import pytest

from tests.simulation.disk import Crash, Disk
from tests.simulation.kitchen import run
from tests.simulation.world import Faults, World

SEED, ORDERS = 4, 1


def crash_at(numbers: tuple[int, ...], seed: int = SEED, orders: int = ORDERS) -> tuple[int, int]:
    """Runs the script and ends the process at some of its effects, by their numbers.

    Returns:
        How many effects there were before everything healed, and how many crashes.

    Raises:
        Violation: something that was promised is not so.
    """
    effects = itertools.count()
    seen, crashes = [0], [0]

    def is_hit(world: World) -> bool:
        if world.is_healed:
            return False
        seen[0] = number = next(effects)
        crashes[0] += number in numbers
        return number in numbers

    def point(disk: Disk, *, before: bool, after: bool) -> None:
        if is_hit(disk.world):
            disk.note_doubt(before=before, after=after)
            raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Faults, "draw", staticmethod(lambda rng: Faults(delay=0.02)))
        patch.setattr(World, "strikes", lambda self, fault: fault == "crash" and is_hit(self))
        patch.setattr(Disk, "may", lambda self, share: False)
        patch.setattr(Disk, "point", point)
        run(seed, orders=orders)
    return seen[0] + 1, crashes[0]


def main() -> None:
    """Parses the command line, runs, and prints what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.effects")
    parser.add_argument("--pairs", action="store_true", help="two crashes in each run")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the script [default: {SEED}]")
    arguments = parser.parse_args()
    count, _ = crash_at((), arguments.seed)
    crashes = runs = 0
    for numbers in itertools.combinations(range(count), 1 + arguments.pairs):
        crashes += crash_at(numbers, arguments.seed)[1]
        runs += 1
    print(f"seed {arguments.seed}: {count} effects, {runs} runs, {crashes} crashes, 0 violations")


if __name__ == "__main__":
    main()
