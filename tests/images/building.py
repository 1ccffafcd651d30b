"""Rebuilds what power cuts could have left of a recorded run, and checks each."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from hashlib import blake2b
from math import sqrt
from multiprocessing import get_context
from pathlib import Path

from tests.images.checking import check_image
from tests.images.disk import Disk, Image
from tests.images.recording import Account, Recording, record, short_life
from tests.simulation.ledger import Violation

DRAWS_MAX = 8
"""Draws of an image at a place, until one has lost something and is not yet known."""

MISTAKE_IMAGES_MAX = 400
"""Of a coordinator that makes a mistake, by which it must have shown itself."""


@dataclass
class Found:
    """What was rebuilt and held; `acked` is how many acknowledged tasks were looked for, over all images."""

    images: int = 0
    places: int = 0
    acked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


def check_images(place: Path, count: int, seed: int) -> Found:
    """Checks images of a recording in a process of their own, which a broken one may end: LMDB maps its file.

    Raises:
        Violation: as `check_here`.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(check_here, Recording.of(place), count, seed).result()
        except BrokenProcessPool as error:
            raise Violation("an image ended the process that opened it") from error


def show_mistake(place: Path, mistake: str, seed: int) -> str:
    """Records a coordinator that makes a mistake, and returns how an image has shown it; fails if none does."""
    record(place, seed, mistakes=[mistake], lives=[short_life])
    try:
        found = check_images(place, MISTAKE_IMAGES_MAX, seed)
    except Violation as shown:
        return str(shown)
    raise AssertionError(f"{found.images} images did not show this mistake: {mistake}")


def check_here(recording: Recording, count: int, seed: int) -> Found:
    """Checks images, all of which have lost something, and no two of which are the same with the same account.

    Raises:
        Violation: with the place and the draw in its text; both follow from the recording and the seed.
    """
    rng = random.Random(seed)
    chosen = _choose(recording, count, rng)
    found, seen = Found(places=len(chosen)), set[bytes]()
    owed = 0  # images that no place had yet
    with tempfile.TemporaryDirectory(dir=quick_place()) as scratch:
        directory = Path(scratch) / "store.zq"
        for place, (disk, account) in enumerate(recording.play()):
            owed += chosen[place]
            while chosen[place] and owed and (image := _draw_new(disk, account, rng, seen)) is not None:
                owed -= 1
                try:
                    check_image(image, account, directory, rng)
                except Exception as error:  # whatever breaks, this is what one needs to see it again
                    text = f"image at place {place} ({image.draws}): {type(error).__name__}: {error}"
                    raise Violation(text) from error
                shutil.rmtree(directory, ignore_errors=True)
                found.images += 1
                found.acked += len(account.accepted)
                found.kinds.update(f"{name}: {draw}" for name, draw in image.draws.items())
    return found


def _choose(recording: Recording, count: int, rng: random.Random) -> Counter[int]:
    """Returns how many images are to be drawn at each place. Places at which the same files are not flushed are a kind;
    the more there are of one, the more images it has, but far from as many more.
    """
    kinds: dict[tuple[bool, tuple[str, ...]], list[int]] = {}
    for place, (disk, account) in enumerate(recording.play()):
        if not disk.is_safe:
            kinds.setdefault((account.is_open, disk.unsafe), []).append(place)
    weights = [sqrt(len(places)) for places in kinds.values()]
    return Counter(rng.choice(places) for places in rng.choices(list(kinds.values()), weights, k=count))


def _draw_new(disk: Disk, account: Account, rng: random.Random, seen: set[bytes]) -> Image | None:
    for _ in range(DRAWS_MAX):
        image = disk.draw(rng)
        if image.is_whole:
            continue
        digest = blake2b(repr((account.committed, account.begun)).encode(), digest_size=16)
        for name, content in sorted((image.files or {}).items()):
            digest.update(b"%b %d " % (name.encode(), len(content)))
            digest.update(content)
        if digest.digest() not in seen:
            seen.add(digest.digest())
            return image
    return None


def quick_place() -> str | None:
    """Returns a folder in memory, where there is one: an image needs no flush of its own."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
