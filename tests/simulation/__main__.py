"""Runs many seeds: `python -m tests.simulation --seeds 300000 --from 0`; stops at the first broken promise and prints
its seed. `--effects 10 --pairs 1000` ends the coordinator at each point of ten short scripts, and at pairs of them.
"""

import argparse
import json
import random
import time

from tests.simulation.effects import count_points, end_at
from tests.simulation.kitchen import run


def main() -> None:
    """Parses the command line, runs, and prints what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds [default: 2000]")
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed [default: 0]")
    parser.add_argument("--effects", type=int, metavar="SEEDS", help="instead: end at each point of so many scripts")
    parser.add_argument("--pairs", type=int, default=0, help="of points, drawn, for each script [default: 0]")
    arguments = parser.parse_args()
    if arguments.effects is not None:
        for seed in range(arguments.first, arguments.first + arguments.effects):
            print(json.dumps(_end_everywhere(seed, arguments.pairs)), flush=True)
        return
    started = time.perf_counter()
    events = tasks = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        report = run(seed)
        events += report.events + report.turns
        tasks += report.tasks
    seconds = time.perf_counter() - started
    print(
        f"{arguments.seeds} seeds, {events} events, {tasks} tasks, {events / seconds:.0f} events a second, 0 violations"
    )


def _end_everywhere(seed: int, pairs: int) -> dict[str, object]:
    """Ends at each point of a script, and at pairs of them, and returns what was done; a violation is raised."""
    started, count, rng = time.perf_counter(), count_points(seed), random.Random(seed)
    for number in range(1, count + 1):
        end_at(seed, number)
    drawn = [sorted((rng.randint(1, count), rng.randint(1, 2 * count))) for _ in range(pairs)]
    twice = sum(len(end_at(seed, *pair)[1].hit) == 2 for pair in drawn)
    return {
        "row": "4", "name": "a crash at every effect", "seed": seed, "seconds": round(time.perf_counter() - started, 1),
        "injuries": count, "pairs": twice, "lost": 0, "twice": 0, "stale_accepted": 0, "ok": True,
    }  # fmt: skip


if __name__ == "__main__":
    main()
