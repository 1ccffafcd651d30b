"""Records a coordinator and rebuilds what power cuts could have left of its directory:
`python -m tests.images --images 2000 --seed 1`; stops at the first broken promise, and keeps the recording.
`python -m tests.images --damage 1000 --seed 1` damages a directory instead, and keeps the images that break one.
The last line of either is a JSON object; of each kind of damage it has how many there were, and how many were noticed.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.images.building import Found, check_images, quick_place, show_mistake
from tests.images.damaged import check_damages, make_wholes
from tests.images.mistakes import MISTAKES
from tests.images.recording import missing, record
from tests.simulation.ledger import Violation

VIOLATIONS_MAX = 20
"""After which no more images are damaged."""


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
        sys.exit(not _damage(arguments.damage, arguments.seed))
    if (reason := missing()) is not None:
        sys.exit(reason)
    if arguments.mistakes:
        for mistake in MISTAKES:
            with tempfile.TemporaryDirectory() as scratch:
                print(f"{mistake}: {show_mistake(Path(scratch), mistake, arguments.seed)}", flush=True)
        return
    place = arguments.recording or Path(tempfile.mkdtemp(prefix="zq-images-"))
    sys.exit(not _images(place, arguments))


def _damage(images: int, seed: int) -> bool:
    place = Path(tempfile.mkdtemp(prefix="zq-damage-", dir=quick_place()))
    started = time.perf_counter()
    found = check_damages(make_wholes(place), place / "image", images, seed, violations_max=VIOLATIONS_MAX)
    for violation in found.violations:
        print(violation, file=sys.stderr)
    if found.violations:
        print(f"these images, and the whole ones, are in {place}", file=sys.stderr)
    else:
        shutil.rmtree(place)
    told = {
        "row": 5, "name": "damage images", "seed": seed, "seconds": round(time.perf_counter() - started, 1),
        "images": found.images, "kinds": {kind: [count, found.bitten[kind]] for kind, count in found.kinds.items()},
        "bitten": found.bitten.total(), "refused": found.refused.total(), "lost_and_named": found.lost_rows,
        "violations": len(found.violations), "ok": not found.violations,
    }  # fmt: skip
    print(json.dumps(told))
    return not found.violations


def _images(place: Path, arguments: argparse.Namespace) -> bool:
    started = time.perf_counter()
    if arguments.recording is None:
        record(place, arguments.seed, arguments.size, arguments.mistake)
    print(
        f"recorded in {time.perf_counter() - started:.1f} s; the recording is in {place}", file=sys.stderr, flush=True
    )
    found, violation = Found(), ""
    try:
        found = check_images(place, arguments.images, arguments.seed)
    except Violation as broken:
        violation = str(broken)
        print(violation, file=sys.stderr)
    told = {
        "row": 5, "name": "crash images", "seed": arguments.seed, "seconds": round(time.perf_counter() - started, 1),
        "images": found.images, "places": found.places, "kinds": dict(found.kinds.most_common()), "acked": found.acked,
        "violations": int(bool(violation)), "ok": not violation and found.images == arguments.images,
    }  # fmt: skip
    print(json.dumps(told))
    return not violation


if __name__ == "__main__":
    main()
