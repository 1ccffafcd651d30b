"""Rows of the plan of faults that are no chaos of one coordinator, and the table of all of them:
`python -m tests.plan --rows 15,21 --seed 1` prints a line of JSON for each run and ends with 1 if one is bad;
`python -m tests.plan --table FILE ...` puts lines, these and those of others, into docs/guarantees.md.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.plan import table
from tests.plan.rows import ROWS, Line


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(prog="python -m tests.plan")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"in turn [default: {','.join(ROWS)}]")
    parser.add_argument("--nightly", action="store_true", help="longer runs")
    parser.add_argument("--size", type=int, help="of each run, in what the row counts [default: that of the row]")
    parser.add_argument("--seed", type=int, default=None, help="of what is drawn [default: another each time]")
    parser.add_argument("--folder", type=Path, help="in which they work [default: that for temporary files]")
    parser.add_argument("--table", type=Path, nargs="*", help="lines to put into the documentation, and no runs")
    arguments = parser.parse_args()
    if arguments.table is not None:
        table.renew(arguments.table)
        return
    logging.disable(logging.WARNING)  # what clients say while nobody answers
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    lines = [_run(number, seed, arguments) for number in arguments.rows.split(",")]
    sys.exit(0 if all(line["ok"] for line in lines) else 1)


def _run(number: str, seed: int, arguments: argparse.Namespace) -> Line:
    row = ROWS[number]
    size = arguments.size or (row.nightly if arguments.nightly else row.once)
    place = Path(tempfile.mkdtemp(prefix="zq-plan-", dir=arguments.folder))
    try:
        line = row.run(seed, size, place)
    except Exception:  # it is what the line has to say
        line = {"row": number, "seed": seed, "ok": False, "violations": [traceback.format_exc()]}
    print(json.dumps(line), flush=True)
    if line["ok"]:
        shutil.rmtree(place, ignore_errors=True)
    else:
        print(f"the run is kept in {place}", file=sys.stderr)
    return line


if __name__ == "__main__":
    main()
