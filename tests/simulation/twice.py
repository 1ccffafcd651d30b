"""The same seeds in two processes, in which strings have other hashes: a seed replays exactly."""

from __future__ import annotations

import os
import subprocess
import sys

HASH_SEEDS = ("1", "2")

_PROGRAM = (
    "import sys\nfrom tests.simulation.kitchen import run\nfor seed in range(*map(int, sys.argv[1:])): print(run(seed))"
)


def differing_seeds(first: int, count: int) -> list[int]:
    """Runs seeds twice, at the same time; returns those whose traces differ.

    Raises:
        ValueError: not all of them have a trace.
    """
    command = [sys.executable, "-c", _PROGRAM, str(first), str(first + count)]
    processes = [
        subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, stdout=subprocess.PIPE, text=True)
        for hash_seed in HASH_SEEDS
    ]
    one, other = (process.communicate()[0].splitlines() for process in processes)
    if len(one) != count or len(other) != count:
        raise ValueError(f"expected {count} traces of each, got {len(one)} and {len(other)}")
    return [first + at for at, pair in enumerate(zip(one, other, strict=True)) if len(set(pair)) > 1]
