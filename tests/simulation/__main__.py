"""Runs many seeds: `python -m tests.simulation --seeds 300000 --from 0`; stops at the first broken promise and prints
its seed.
"""

import argparse
import time

from tests.simulation.kitchen import run


def main() -> None:
    """Parses the command line, runs, and prints what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds [default: 2000]")
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed [default: 0]")
    arguments = parser.parse_args()
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


if __name__ == "__main__":
    main()
