"""Real processes under every injury of the plan, with the figures of the suite; `python -m tests.chaos --nightly` goes
on for longer. The seed and what was found are printed.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.harness import line, run
from tests.chaos.rows import ROWS

TOGETHER = {"7+8": "off", "9": "on", "10": "off", "11": "on", "11b": "off", "13+20": "on", "14": "off", "19": "on"}
"""What is run at once, and the journal with which the coordinator begins; kills of it take the other one in turn."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("which", TOGETHER)
def test_every_promise_holds(which: str, tmp_path: Path) -> None:
    rows = [ROWS[number] for number in which.split("+")]
    for row in rows:
        if (reason := row.missing()) is not None:
            pytest.skip(reason)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")

    found = run(rows, seed, tmp_path, [row.usual for row in rows], journal=TOGETHER[which])

    for one in found:
        print(line(one))
    assert [one["violations"] for one in found if not one["ok"]] == []


def test_every_row_is_run() -> None:
    assert {number for which in TOGETHER for number in which.split("+")} == ROWS.keys()
