"""A program that runs a durable pipeline and notes every result in a file: `python -m tests.patterns.caller NOTES COUNT
RUN_ID GRADE PLACE THREADS`. Killed, it is started again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from patterns import gather, scatter, stage
from patterns.run.settings import RunOptions

SECONDS = 0.002


@stage(workers=2, flat=True)
def twins(number: int) -> list[list[int]]:
    """Each number becomes two items: both have to come back, once each."""
    _work(number)
    return [[number, 0], [number, 1]]


def halves(pair: list[int]) -> list[list[int]]:
    return [[*pair, 0], [*pair, 1]]


@stage
def pass_on(part: list[int]) -> list[int]:
    _work(part[0])
    return part


def join(parts: list[list[int]]) -> list[int]:
    """Returns number, twin, and how many parts there were."""
    assert all(part[:2] == parts[0][:2] for part in parts), parts
    return [*parts[0][:2], len(parts)]


pipeline = (twins | scatter(halves) | pass_on | gather(join)).named("twins")


def _work(number: int) -> None:
    """Takes a moment, so that kills hit somebody at work."""
    from threading import Event

    Event().wait(SECONDS * (number % 3))


def source(count: int) -> Iterator[int]:
    yield from range(count)


def main() -> None:
    notes, count, run_id, grade, place, threads = sys.argv[1:]
    options: RunOptions = {"run_id": run_id, "quiet": True, "lease": 0.5, "threads": threads == "threads"}
    if grade == "embedded":
        options["data"] = place
    else:
        options["address"] = place
    with Path(notes).open("ab") as file:
        for number, twin, parts in pipeline.run(source(int(count)), **options):
            file.write(b"%d %d %d\n" % (number, twin, parts))
            file.flush()
        file.write(b"end\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
