"""A crash at one point of a short script after the other: none of them breaks a promise.
`python -m tests.simulation --effects 10 --pairs 1000` ends at every point, and at pairs of them.
"""

import pytest

from tests.simulation.effects import count_points, end_at

SEEDS = (0, 2)
"""Of the scripts."""

STEP = 3
"""From point to point: for all of them the suite has not the time."""


@pytest.mark.parametrize("seed", SEEDS)
def test_crash_at_a_point_of_a_script_breaks_no_promise(seed: int) -> None:
    count = count_points(seed)
    kinds: set[str] = set()
    for number in range(1 + seed % STEP, count + 1, STEP):
        report, points = end_at(seed, number)
        assert points.hit == [number], f"the process did not end at point {number} of {count}"
        kinds |= report.happened.keys()

    print(f"{count} points")
    assert count > 60
    assert {"crash", "crash in a commit"} <= kinds
