"""Calls a second of a trivial function through `zq.Executor.map` and `concurrent.futures.ProcessPoolExecutor.map`.

python benchmarks/executor_map.py [--calls 500000] [--processes 2] [--rounds 3] [--json]

Both map the same numbers, without chunks and in chunks of 1,000; the rounds take turns, so that a busy neighbour harms
all alike, and the best of each is shown. The processes are started before the clock is. The standard library keeps what
is called in memory; here it is on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor

import zq

PLAIN_SHARE = 20
"""Of the calls, those of the standard library without chunks, which would take minutes."""


def touch(number: int) -> int:
    return number


def rate(executor: Executor, calls: int, chunksize: int) -> float:
    """Returns calls a second, from the first submit to the last result."""
    began_at = time.perf_counter()
    got = sum(1 for _ in executor.map(touch, range(calls), chunksize=chunksize))
    assert got == calls, f"{got} results of {calls}"
    return calls / (time.perf_counter() - began_at)


def measure(calls: int, processes: int, rounds: int) -> dict[str, float]:
    """Returns the best rate of each."""
    best: dict[str, float] = {}
    with ProcessPoolExecutor(processes) as standard:
        list(standard.map(touch, range(100)))  # it forks, which is safe before there are other threads only
        with zq.Executor(max_workers=processes) as ours:
            list(ours.map(touch, range(100)))
            for _ in range(rounds):
                for name, executor, chunksize, share in (
                    ("standard library, plain", standard, 1, PLAIN_SHARE),
                    ("zq, plain", ours, 1, 1),
                    ("standard library, chunks of 1000", standard, 1000, 1),
                    ("zq, chunks of 1000", ours, 1000, 1),
                ):
                    best[name] = max(best.get(name, 0.0), rate(executor, calls // share, chunksize))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures maps of a trivial function.")
    parser.add_argument("--calls", type=int, default=500_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    best = measure(arguments.calls, arguments.processes, arguments.rounds)
    plain = best["zq, plain"] / best["standard library, plain"]
    chunks = best["zq, chunks of 1000"] / best["standard library, chunks of 1000"]
    if arguments.json:
        figures = {"cpus": os.cpu_count(), "python": sys.version.split()[0], "calls": arguments.calls}
        print(json.dumps({**figures, "rates": best, "plain_by_standard": plain, "chunks_by_standard": chunks}))
        return
    for name, value in best.items():
        print(f"{value:12,.0f} calls/s  {name}")
    print(f"zq / standard library: plain {plain:.1f}, in chunks {chunks:.2f}")


if __name__ == "__main__":
    main()
