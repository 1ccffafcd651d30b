"""A real coordinator, two hundred bad peers, and one honest client, whose every task is accounted for."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.peers import abuse, descriptors, overrun
from tests.process.kitchen import Kitchen, wait_until

TASKS = 200
"""What the honest client submits at least; it goes on for as long as the others do."""


class Siege(NamedTuple):
    """What came of it."""

    pieces: int  # sent by the bad peers
    accepted: int  # tasks of the honest client
    known: int  # of these, those that the coordinator knows afterwards
    descriptors_before: int
    descriptors_after: int
    memory_mib: int  # of the coordinator's own, afterwards


def besiege(directory: Path, seed: int, frames: int, bind: str = "tcp://127.0.0.1:*") -> Siege:
    """Plays the peers with a seed; raises when the coordinator ends, or what it still holds does not go back."""
    kitchen = Kitchen(directory)
    kitchen.address = bind
    try:
        coordinator = kitchen.start_coordinator()
        kitchen.address = wait_until(lambda: _address(directory), "the coordinator is ready")
        with kitchen.client() as client:
            client.ping()
            before = descriptors(coordinator.pid)
            done, sent = threading.Event(), [0]

            def run() -> None:
                try:
                    sent[0] = abuse(kitchen.address, seed, frames)
                    overrun(kitchen.address)
                finally:
                    done.set()

            threading.Thread(target=run).start()
            ids: list[str] = []
            while not done.is_set() or len(ids) < TASKS:
                ids.append(client.submit("honest", len(ids)).id)
            known = sum(client.status(id).state == "waiting" for id in ids)
            wait_until(lambda: descriptors(coordinator.pid) <= before, "the descriptors are given back")
            assert coordinator.poll() is None, (directory / "log").read_text()
            return Siege(sent[0], len(ids), known, before, descriptors(coordinator.pid), _memory(coordinator.pid))
    finally:
        kitchen.close()


def _address(directory: Path) -> str:
    """Returns where the coordinator says that it listens, once it does."""
    _, marker, rest = (directory / "log").read_text(errors="replace").partition("ready on ")
    return rest.partition(",")[0] if marker and "," in rest else ""


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("RssAnon"))
