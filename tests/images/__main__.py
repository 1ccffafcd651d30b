"""Records a coordinator and rebuilds what power cuts could have left of its directory:
`python -m tests.images --images 2000 --seed 1`; stops at the first broken promise, and keeps the recording.
`python -m tests.images --damage 1000 --seed 1` damages a directory instead, and keeps the first image that breaks one.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.images.building import check_images, show_mistake
from tests.images.damaged import check_damages, make_wholes
from tests.images.mistakes import MISTAKES
from tests.images.recording import missing, record
from tests.simulation.ledger import Violation


def main() -> None:
    """Parses the command line, records, checks, and prints what it did."""
    parser = argparse.ArgumentParser(prog="python -m tests.images")
    parser.add_argument("--images", type=int, default=2000, help="how many [default: 2000]")
    parser.add_argument("--damage", type=int, help="how many images of damage, in the place of power cuts")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn [default: 0]")
    parser.add_argument("--size", type=int, default=1, help="how much is recorded [default: 1]")
    parser.add_argument("--mistake", action="append", default=[], help="see tests.images.mistakes")
    parser.add_argument("--recording", type=Path, help="folder of one that was kept [default: make one]")
    parser.add_argument("--mistakes", action="store_true", help="make each of them, and show it in an image")
    arguments = parser.parse_args()
    if arguments.damage is not None:
        _damage(arguments.damage, arguments.seed)
        return
    if (reason := missing()) is not None:
        sys.exit(reason)
    if arguments.mistakes:
        for mistake in MISTAKES:
            with tempfile.TemporaryDirectory() as scratch:
                print(f"{mistake}: {show_mistake(Path(scratch), mistake, arguments.seed)}", flush=True)
        return
    place = arguments.recording or Path(tempfile.mkdtemp(prefix="zq-images-"))
    started = time.perf_counter()
    if arguments.recording is None:
        record(place, arguments.seed, arguments.size, arguments.mistake)
    recorded = time.perf_counter()
    print(f"recorded in {recorded - started:.1f} s; the recording is in {place}", flush=True)
    found = check_images(place, arguments.images, arguments.seed)
    for kind, count in found.kinds.most_common():
        print(f"{count:6} {kind}")
    print(f"{found.images} images of {found.places} places in {time.perf_counter() - recorded:.1f} s, 0 violations")


def _damage(images: int, seed: int) -> None:
    place = Path(tempfile.mkdtemp(prefix="zq-damage-"))
    started = time.perf_counter()
    row = {"row": "damage", "name": "damage images", "seed": seed}
    try:
        found = check_damages(make_wholes(place), place / "image", images, seed)
    except Violation as violation:
        print(f"{violation}\nthe image is in {place / 'image'}, the whole ones are beside it", file=sys.stderr)
        print(json.dumps({**row, "seconds": round(time.perf_counter() - started, 1), "ok": False}))
        sys.exit(1)
    for kind, count in found.kinds.most_common():
        print(f"{count:6} {kind}, {found.bitten[kind]} of them in what was in use")
    seconds = round(time.perf_counter() - started, 1)
    told = {
        "images": images,
        "injuries": found.bitten.total(),
        "refused": found.refused,
        "lost_and_named": found.lost_rows,
    }
    print(json.dumps({**row, "seconds": seconds, **told, "ok": True}))


if __name__ == "__main__":
    main()
