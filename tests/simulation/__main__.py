"""Long runs of the simulation, each of which prints lines of JSON and ends with 1 if a promise was broken:

python -m tests.simulation --seeds 300000 --from 0     as many storms; stops at the first violation, with its seed
python -m tests.simulation --twice 100                 so many seeds, each under two hash seeds
python -m tests.simulation --plants 3                  each planted fault, looked for from three seeds on
python -m tests.simulation --effects 10 --pairs 1000   an end at each point of ten short scripts, and at pairs
"""

import argparse
import json
import random
import sys
import time
from collections import Counter

from tests.simulation import rot
from tests.simulation.effects import count_points, end_at
from tests.simulation.kitchen import run
from tests.simulation.ledger import Violation
from tests.simulation.plants import PLANTS, planted
from tests.simulation.twice import HASH_SEEDS, differing_seeds

PLANT_SEEDS_MAX = 1000
APART = 1_000_000
"""Seeds between two from which on a fault is looked for."""

Line = dict[str, object]


def main() -> None:
    """Parses the command line, runs, and prints what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds [default: 2000]")
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed [default: 0]")
    parser.add_argument("--rot", action="store_true", help="let rows rot in every seed")
    parser.add_argument("--twice", type=int, metavar="SEEDS", help="instead: run so many twice, and compare")
    parser.add_argument("--plants", type=int, metavar="TIMES", help="instead: look for each planted fault so often")
    parser.add_argument("--effects", type=int, metavar="SEEDS", help="instead: end at each point of so many scripts")
    parser.add_argument("--pairs", type=int, default=0, help="of points, drawn, for each script [default: 0]")
    arguments = parser.parse_args()
    rot.SHARE = 1.0 if arguments.rot else rot.SHARE
    first, started = arguments.first, time.perf_counter()
    if arguments.twice is not None:
        line = _twice(first, arguments.twice)
    elif arguments.plants is not None:
        line = _plants(first, arguments.plants)
    elif arguments.effects is not None:
        line = _effects(first, arguments.effects, arguments.pairs)
    else:
        line = _storms(first, arguments.seeds)
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({**line, "seed": first, "seconds": seconds}), flush=True)
    sys.exit(0 if line["ok"] else 1)


def _storms(first: int, seeds: int) -> Line:
    started = time.perf_counter()
    events = tasks = done = 0
    faults: Counter[str] = Counter()
    violation = None
    for seed in range(first, first + seeds):
        try:
            report = run(seed)
        except Violation as error:
            violation, seeds = str(error), seed - first + 1
            break
        events += report.events + report.turns
        tasks += report.tasks
        done += report.done
        faults.update(report.happened)
    return {
        "row": "1", "name": "storms of the core", "seeds": seeds, "events": events, "tasks": tasks, "done": done,
        "events_per_second": round(events / (time.perf_counter() - started)), "faults": dict(sorted(faults.items())),
        "violations": [] if violation is None else [violation], "ok": violation is None,
    }  # fmt: skip


def _twice(first: int, seeds: int) -> Line:
    differing = differing_seeds(first, seeds)
    name = "a seed replays exactly"
    return {
        "row": "2",
        "name": name,
        "seeds": seeds,
        "hash_seeds": len(HASH_SEEDS),
        "differing": differing,
        "ok": not differing,
    }


def _plants(first: int, times: int) -> Line:
    """Looks for each fault; a line of its own says in how many seeds, and how, it was caught."""
    missed: list[str] = []
    for plant in PLANTS:
        needed: list[int | None] = []
        seen = ""
        for at in range(times):
            started = first + at * APART
            needed.append(None)
            with planted(plant) as told:
                for seed in range(started, started + PLANT_SEEDS_MAX):
                    try:
                        run(seed, plant=told)
                    except Violation as caught:
                        needed[-1], seen = seed - started + 1, str(caught)[:200]
                        break
        missed += [plant] if None in needed else []
        print(json.dumps({"plant": plant, "seeds": needed, "seen": seen, "caught": None not in needed}), flush=True)
    return {
        "row": "3",
        "name": "planted faults",
        "plants": len(PLANTS),
        "times": times,
        "missed": missed,
        "ok": not missed,
    }


def _effects(first: int, scripts: int, pairs: int) -> Line:
    """Ends at each point of scripts, and at pairs of them; a violation is raised."""
    singles = twice = 0
    violation = None
    try:
        for seed in range(first, first + scripts):
            rng, count = random.Random(seed), count_points(seed)
            for number in range(1, count + 1):
                singles += len(end_at(seed, number)[1].hit)
            drawn = [sorted((rng.randint(1, count), rng.randint(1, 2 * count))) for _ in range(pairs)]
            twice += sum(len(end_at(seed, *pair)[1].hit) == 2 for pair in drawn)
    except Violation as error:
        violation = str(error)
    return {
        "row": "4", "name": "a crash at every effect", "scripts": scripts, "injuries": singles, "pairs": twice,
        "lost": 0, "twice": 0, "stale_accepted": 0, "violations": [] if violation is None else [violation],
        "ok": violation is None and singles > 0,
    }  # fmt: skip


if __name__ == "__main__":
    main()
