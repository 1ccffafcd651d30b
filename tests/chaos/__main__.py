"""The long runs: `python -m tests.chaos --nightly --seed 1 --minutes 30 --rows 7,8` prints a line of JSON for each run
and ends with 1 if anything was violated. Without `--nightly` each row is run once, with the figures of the suite.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.harness import line, run
from tests.chaos.planted import PLANTS
from tests.chaos.rows import ROWS


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--nightly", action="store_true", help="go on until the minutes are over, with longer runs")
    parser.add_argument("--seed", type=int, default=None, help="of what is drawn [default: another each time]")
    parser.add_argument("--minutes", type=float, default=30.0, help="of a nightly run [default: 30]")
    parser.add_argument(
        "--rows", default=",".join(ROWS), help=f"in turn, or at once, as in 7+8,9 [default: {','.join(ROWS)}]"
    )
    parser.add_argument("--count", type=int, help="injuries of each run [default: that of the row]")
    parser.add_argument("--share", type=float, default=1.0, help="of the injuries that a row has [default: 1]")
    parser.add_argument("--journal", choices=("on", "off"), help="with which it begins [default: on and off in turn]")
    parser.add_argument("--plants", action="store_true", help="let each planted fault be found, and do nothing else")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)  # what clients say while nobody answers
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    if arguments.plants:
        sys.exit(0 if all([_find(name, seed) for name in PLANTS]) else 1)  # noqa: C419 - each is looked for
    is_well = True
    for turn, which in _plan(arguments):
        is_well &= _one(arguments, seed + turn, turn, which)  # all of them, whatever was found
    sys.exit(0 if is_well else 1)


def _find(name: str, seed: int) -> bool:
    plant = PLANTS[name]
    row = ROWS[plant.row]
    if (reason := row.missing()) is not None:
        print(line({"plant": name, "row": plant.row, "skipped": reason}), flush=True)
        return True
    with tempfile.TemporaryDirectory(prefix="zq-chaos-", ignore_cleanup_errors=True) as place:
        (found,) = run([row], seed, Path(place), [plant.injuries], plant=name)
    seen = [text.strip().rpartition("\n")[2] for text in found.get("violations", [])]
    print(line({"plant": name, "row": plant.row, "seed": seed, "caught": bool(seen), "seen": seen[:2]}), flush=True)
    return bool(seen)


def _plan(arguments: argparse.Namespace) -> Iterator[tuple[int, str]]:
    give_up_at = time.monotonic() + 60.0 * arguments.minutes
    for turn in itertools.count():
        for which in arguments.rows.split(","):
            if arguments.nightly and time.monotonic() > give_up_at:
                return
            yield turn, which
        if not arguments.nightly:
            return


def _one(arguments: argparse.Namespace, seed: int, turn: int, which: str) -> bool:
    rows = [ROWS[number] for number in which.split("+")]
    if reasons := [row.missing() for row in rows if row.missing() is not None]:
        print(line({"row": which, "skipped": reasons}), flush=True)
        return True
    place = Path(tempfile.mkdtemp(prefix="zq-chaos-"))
    usual = [row.shift if arguments.nightly else row.usual for row in rows]
    counts = [arguments.count or max(1, round(arguments.share * count)) for count in usual]
    lines = run(
        rows, seed, place, counts, journal=arguments.journal or ("on", "off")[turn % 2], is_long=arguments.nightly
    )
    for found in lines:
        print(line(found), flush=True)
    is_well = all(found["ok"] for found in lines)
    if is_well:
        shutil.rmtree(place)
    else:
        print(f"the run is kept in {place}", file=sys.stderr)
    return is_well


if __name__ == "__main__":
    main()
