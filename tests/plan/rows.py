"""The rows that are run from here: what each does, with a seed, in an empty folder, and how much of it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.fuzz import play
from tests.fuzz.frames import Frames
from tests.fuzz.siege import besiege
from tests.patterns.test_direct_deaths import test_killed_worker_sent_is_received_plus_reported_lost as kill_a_stage
from tests.plan.churn import churn
from tests.plan.overload import overload
from tests.plan.soak import soak

Line = dict[str, Any]


class PlannedRow(NamedTuple):
    """A row of the plan.

    Attributes:
        run: makes one run of a seed and a size in a folder; returns its line.
        once: the size of a run, in what `run` counts.
        nightly: of one in a long night.
    """

    run: Callable[[int, int, Path], Line]
    once: int
    nightly: int


def _timed(line: Line, begun: float, **figures: Any) -> Line:
    return {**line, "seconds": round(time.perf_counter() - begun, 1), **figures, "ok": True}


def fuzz_decoders(seed: int, frames: int, place: Path) -> Line:
    """Frames for the decoders: nothing but the typed error comes out (row 15)."""
    begun = time.perf_counter()
    played = play.play_decoder(seed, frames)
    line = {"row": "15", "name": "frames that are nearly valid", "seed": seed}
    found = _timed(line, begun, frames=played.frames, refused=played.refused, **_costliest(seed, min(frames, 20_000)))
    return {**found, "ok": found["ms_a_kib"] <= KIB_MS_MAX and found["most_mb"] <= FRAME_MB_MAX}


KIB_MS_MAX, FRAME_MB_MAX = 1.0, 1.5
"""What a frame may take: milliseconds of a processor for each KiB of it; and, up to `SMALL_BYTES`, memory."""

SMALL_BYTES = 16_384


def _costliest(seed: int, frames: int) -> Line:
    """Looks at frames one by one: the most time and memory that one takes, by its KiB."""
    source = Frames(seed)
    slowest = most = 0.0
    for number in range(frames):
        frame = source.any()
        kib = max(1.0, len(frame) / 1024)
        slowest = max(
            slowest, min(_time_of(frame) for _ in range(3)) / kib
        )  # the least: others want the processor, too
        if number % 10 == 0 and len(frame) <= SMALL_BYTES:
            most = max(most, _memory_of(frame) / 1e6)
    return {"ms_a_kib": round(slowest * 1000, 2), "most_mb": round(most, 2)}


def _time_of(frame: bytes) -> float:
    begun = time.thread_time()
    play.decode_any(frame)
    return time.thread_time() - begun


def _memory_of(frame: bytes) -> int:
    tracemalloc.start()
    try:
        play.decode_any(frame)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def fuzz_sockets(seed: int, frames: int, place: Path) -> Line:
    """Two hundred bad peers beside an honest one (row 16)."""
    begun = time.perf_counter()
    siege = besiege(place, seed, frames)
    line = _timed(
        {"row": "16", "name": "two hundred bad peers", "seed": seed},
        begun,
        pieces=siege.pieces,
        acknowledged=siege.accepted,
        lost=siege.accepted - siege.known,
        memory_mib=siege.memory_mib,
        descriptors=[siege.descriptors_before, siege.descriptors_after],
    )
    return {**line, "ok": siege.accepted == siege.known}


def attack_doors(seed: int, size: int, place: Path) -> Line:
    """Eleven attacks on four faces, over tcp and ipc (row 17)."""
    return _tests("17", "attacks on what has keys", seed, "attacks", "tests/door/test_attacks.py")


def kill_stages(seed: int, runs: int, place: Path) -> Line:
    """Direct pipelines of which a stage is killed (row 23)."""
    begun = time.perf_counter()
    for number in range(runs):
        kill_a_stage(seed + number, None)
    line = {"row": "23", "name": "stages that are killed", "seed": seed}
    return _timed(line, begun, runs=runs, injuries=runs, unaccounted=0)


def meet_the_past(seed: int, size: int, place: Path) -> Line:
    """Recorded directories and a recorded session of former versions (row 25)."""
    return _tests(
        "25", "what former versions wrote and said", seed, "checks",
        "tests/store/test_carry_over.py", "tests/wire/test_recorded.py",
    )  # fmt: skip


def _tests(row: str, name: str, seed: int, what: str, *files: str) -> Line:
    """Runs tests of the suite; their count is the figure."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    line = _timed({"row": row, "name": name, "seed": seed}, begun, **{what: counts.get("passed", 0)})
    if counts.get("skipped"):
        line["left_out"] = counts["skipped"]
    return {**line, "ok": done.returncode == 0 and counts.get("passed", 0) > 0}


def live_in_turn(seed: int, tasks: int, place: Path) -> Line:
    """First in, first out (row 21); the journal is on for even seeds."""
    return churn(seed, tasks, place, journal=seed % 2 == 0, measure=min(100_000, tasks // 2))


ROWS: Final = {
    "15": PlannedRow(fuzz_decoders, 200_000, 1_000_000),
    "16": PlannedRow(fuzz_sockets, 20_000, 200_000),
    "17": PlannedRow(attack_doors, 1, 1),
    "18": PlannedRow(overload, 30, 300),
    "21": PlannedRow(live_in_turn, 200_000, 10_000_000),
    "23": PlannedRow(kill_stages, 20, 100),
    "25": PlannedRow(meet_the_past, 1, 1),
    "26": PlannedRow(soak, 20, 120),
}
"""Sizes are frames, frames, -, seconds, tasks, runs, -, and minutes."""
