"""More frames than the suite plays: `python -m tests.fuzz decoder|machine|sockets|coverage`; prints what it did as one
line of JSON, and the seed with what broke.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from tests.fuzz import coverage, play
from tests.fuzz.siege import besiege


def main() -> None:
    """Plays what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("what", choices=("decoder", "machine", "sockets", "coverage"))
    parser.add_argument("--frames", type=int, default=200_000, help="how many frames [default: 200000]")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="the first seed [default: any]")
    parser.add_argument("--seconds", type=int, default=60, help="of coverage [default: 60]")
    parser.add_argument(
        "--found", type=Path, default=Path("found"), help="where coverage puts what breaks [default: found]"
    )
    arguments = parser.parse_args()
    if arguments.what == "coverage":
        coverage.run(arguments.seconds, arguments.seed, arguments.found)
    started = time.perf_counter()
    if arguments.what == "sockets":
        with tempfile.TemporaryDirectory() as directory:
            did = besiege(Path(directory), arguments.seed, arguments.frames)._asdict()
    else:
        did = (play.play_decoder if arguments.what == "decoder" else play.play_machine)(
            arguments.seed, arguments.frames
        )._asdict()
    print(
        json.dumps(
            {"what": arguments.what, "seed": arguments.seed, **did, "seconds": round(time.perf_counter() - started, 1)}
        )
    )


if __name__ == "__main__":
    main()
