"""The stores beside their twin in memory, for long: `python -m tests.store --nightly --seed 1` plays 20,000 games of 50
steps with each, `--examples` and `--steps` say how many else; a line of JSON for each, and 1 as its status if one
differed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.store.behaviour import SameBehaviour
from tests.store.test_journaled import InMemory, OnDisk
from tests.store.test_store import LmdbBehaviour

KINDS: dict[str, type[SameBehaviour]] = {
    "LMDB": LmdbBehaviour,
    "LMDB with a journal": OnDisk,
    "memory with a journal": InMemory,
}

USUAL, NIGHTLY = 300, 20_000
"""Games."""


def main() -> None:
    """Parses the command line, plays, and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.store")
    parser.add_argument("--nightly", action="store_true", help=f"{NIGHTLY} games of each, and not {USUAL}")
    parser.add_argument("--seed", type=int, help="of what is drawn [default: another each time]")
    parser.add_argument("--examples", type=int, help="games of each, instead")
    parser.add_argument("--steps", type=int, default=50, help="of a game, at most [default: 50]")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    games = arguments.examples or (NIGHTLY if arguments.nightly else USUAL)
    is_well = True
    for kind in KINDS:
        line = _play(kind, seed, games, arguments.steps)
        print(json.dumps(line), flush=True)
        is_well &= bool(line["ok"])
    sys.exit(0 if is_well else 1)


def _play(kind: str, seed: int, games: int, steps: int) -> dict[str, object]:
    started = time.perf_counter()
    played = taken = 0

    class Counted(KINDS[kind]):  # type: ignore[misc, valid-type]
        def check_invariants(self, *arguments: object, **named: object) -> None:
            nonlocal taken
            taken += 1
            super().check_invariants(*arguments, **named)

        def teardown(self) -> None:
            nonlocal played
            played += 1
            super().teardown()
            shutil.rmtree(self.directory, ignore_errors=True)

    difference = ""
    with tempfile.TemporaryDirectory(prefix="zq-store-") as place:
        os.environ["ZQ_TEST_STORE"] = place
        options = settings(
            max_examples=games, stateful_step_count=steps, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )  # fmt: skip
        try:
            run_state_machine_as_test(hypothesis.seed(seed)(Counted), settings=options)
        except Exception as error:  # whatever differs, the seed is what one needs to see it again
            difference = f"{type(error).__name__}: {error}"
    return {
        "row": "24", "name": f"the store in memory against {kind}", "seed": seed,
        "seconds": round(time.perf_counter() - started, 1), "games": played, "steps": taken,
        "violations": [difference] if difference else [], "ok": not difference and played >= games,
    }  # fmt: skip


if __name__ == "__main__":
    main()
