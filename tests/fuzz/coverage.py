"""Frames that coverage finds: `python -m tests.fuzz coverage`, where atheris is installed (it is no dependency).

Each frame is fed to both decoders, and what the coordinator's lets through to a coordinator over a store in memory. A
frame that breaks something is written to the folder of found ones; mend it, and put it into the corpus, which the suite
plays from then on.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.core.desk import Desk
from tests.fuzz.frames import EXAMPLES
from tests.fuzz.play import check, check_answer, decode_any
from zq.errors import StoreError
from zq.wire.codec import decode_for_coordinator

LIFE = 500
"""Frames that one coordinator gets."""


def run(seconds: int, seed: int, found: Path) -> None:
    """Runs for so many seconds, or until something breaks; does not return."""
    atheris: Any = import_module("atheris")
    desk, seen = Desk(queue_tasks_max=100), 0

    def play(frame: bytes) -> None:
        nonlocal desk, seen
        if decode_any(frame):
            return
        seen += 1
        if seen % LIFE == 0:
            check(desk)
            desk = Desk(queue_tasks_max=100)
        try:
            sent = desk.turn((b"peer", decode_for_coordinator(frame)))
        except StoreError:
            desk.restart()
            return
        for _, message in sent:
            check_answer(message)

    found.mkdir(parents=True, exist_ok=True)
    seeds = found / "seeds"
    seeds.mkdir(exist_ok=True)
    for number, example in enumerate(EXAMPLES):
        (seeds / str(number)).write_bytes(example)
    atheris.instrument_all()
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed or 1}",
        f"-artifact_prefix={found}/",
        "-max_len=4096",
        str(seeds),
    ]
    atheris.Setup([sys.argv[0], *options], play)
    atheris.Fuzz()
