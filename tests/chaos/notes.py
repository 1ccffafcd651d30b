"""What the handlers note: a line for each start and each end, in a file per process, whole however it is killed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

LEDGER = "ZQ_TEST_LEDGER"
"""Variable of the environment with the folder of the notes."""


class Note(NamedTuple):
    """Something that a handler did, at a time of the clock that all processes of the machine share."""

    event: str  # "start", "end", or "fail"
    queue: str
    id: str
    token: int
    at: float
    pid: int
    detail: str = ""  # of an end, what it made or got


def write(event: str, queue: str, id: str, token: int, detail: str = "") -> None:
    """Notes something in the file of this process, with one call of the system."""
    line = f"{event} {queue} {id} {token} {time.monotonic():.6f} {detail}\n".encode()
    file = os.open(Path(os.environ[LEDGER]) / str(os.getpid()), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)


def read(folder: Path) -> list[Note]:
    """Returns all notes, those of each process in its order, all of them in the order of their times."""
    found = []
    for file in folder.iterdir():
        for line in file.read_text().splitlines():
            event, queue, id, token, at, *detail = line.split(" ", 5)
            found.append(Note(event, queue, id, int(token), float(at), int(file.name), "".join(detail)))
    return sorted(found, key=lambda note: note.at)


def count(folder: Path) -> int:
    """Returns how many bytes of notes there are: it only grows."""
    return sum(file.stat().st_size for file in folder.iterdir())
