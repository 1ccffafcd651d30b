"""Real processes under every injury of the plan, with the figures of the suite; `python -m tests.chaos --nightly` goes
on for longer. The seed and what was found are printed.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.harness import line, run
from tests.chaos.planted import PLANTS
from tests.chaos.rows import ROWS

TOGETHER = {"7+8": "off", "9+11b+28": "on", "10+12": "off", "11+19": "on", "13+14+20": "on"}
"""What is run at once, and the journal with which the coordinator begins; kills of it take the other one in turn."""

LONG_ONLY = {"6", "7b", "12b"}
"""Rows of long runs; the suite has tests without a load in their place, in tests/store and tests/images."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("which", TOGETHER)
def test_every_promise_holds(which: str, tmp_path: Path) -> None:
    missing = {number: ROWS[number].missing() for number in which.split("+")}
    rows = [ROWS[number] for number, reason in missing.items() if reason is None]
    reasons = "; ".join(f"row {number}: {reason}" for number, reason in missing.items() if reason is not None)
    if not rows:
        pytest.skip(reasons)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")

    found = run(rows, seed, tmp_path, [row.usual for row in rows], journal=TOGETHER[which])

    for one in found:
        print(line(one))
    assert [one["violations"] for one in found if not one["ok"]] == []
    if reasons:
        pytest.skip(f"all else is well; {reasons}")


@pytest.mark.parametrize("name", PLANTS)
def test_fault_that_is_planted_has_its_place_and_a_row_that_is_to_see_it(name: str) -> None:
    plant = PLANTS[name]

    assert callable(getattr(plant.owner, plant.name))
    assert plant.row in ROWS


def test_every_row_is_run() -> None:
    assert {number for which in TOGETHER for number in which.split("+")} | LONG_ONLY == ROWS.keys()
