"""Injuries of the disk: others fill it, the store itself is full, and calls of the system on it fail."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import zq
from tests.chaos.house import House
from tests.chaos.injuries import Scene
from tests.images.recording import missing as no_faulty_calls
from tests.process.kitchen import wait_until
from tests.surroundings.disks import small_disk, why_not

__all__ = ["fail_calls", "fill_the_disk", "fill_the_map", "no_faulty_calls", "no_small_disk", "on_a_small_disk"]

DISK_MIB = 96

MAP_MIB = 32

HELD = 20
"""Tasks that are in hand when there is no room any more."""

BALLAST_BYTES = 500_000

FAULTY_CALLS = (
    ("pwrite64", "error=EIO"), ("fdatasync", "error=EIO"), ("pwrite64", "error=ENOSPC"), ("fdatasync", "error=ENOSPC"),
    ("pwrite64", "signal=KILL"), ("fdatasync", "signal=KILL"),
)  # fmt: skip

SPARED = {("pwrite64", "error=ENOSPC"): ("journal.new", "journal", "lock")}
"""Files of which a call that fails is survived, beside those of which nothing counts yet."""


# What stands around.


def no_small_disk() -> str | None:
    """Says why no disk can be mounted, if none can."""
    return why_not("tmpfs")


@contextlib.contextmanager
def on_a_small_disk(house: House) -> Iterator[None]:
    """The directory is on a disk of its own."""
    with small_disk("tmpfs", house.place, mib=DISK_MIB) as disk:
        house.disk = disk
        house.data = disk.path / "orders.zq"
        try:
            yield
        finally:
            house.close()  # nobody must be on it any more


# What is done.


def fill_the_disk(scene: Scene) -> None:
    """Others fill the disk: what runs completes, the rest is told why, a start serves, and it goes on by itself."""
    disk = scene.house.disk
    assert disk is not None
    _fill(scene, disk.fill, disk.empty, "the disk of")


def fill_the_map(scene: Scene) -> None:
    """Clients fill the store, with tasks that nobody takes, and purge them."""
    with scene.house.client() as client:

        def fill() -> None:
            with contextlib.suppress(zq.BusyError):
                while True:
                    client.submit("ballast", bytes(BALLAST_BYTES))

        _fill(scene, fill, lambda: client.queues.purge("ballast"), "the store is full")


def _fill(scene: Scene, fill: Callable[[], object], empty: Callable[[], object], reason: str) -> None:
    waits: list[float] = []
    completed = starts = 0
    with scene.house.client() as client:
        for cycle in range(scene.count):
            scene.wait_for_receipts(50)
            client.submit_many("held", range(HELD))
            held = client.pull("held", max_tasks=HELD, wait=60.0, lease=600.0)
            fill()
            wait_until(lambda: reason in (_refusal(client) or ""), f"a refusal: {reason}")
            if cycle % 2:
                scene.house.open_again()
                starts += 1
            client.settle(held)
            completed += sum(client.status(task.id).state == "done" for task in held)
            if not _refusal(client):
                scene.violations.append("something was accepted where there was no room")
            empty()
            begun = time.monotonic()
            wait_until(lambda: not _refusal(client), "room")
            waits.append(time.monotonic() - begun)
            scene.wait_for_receipt()
    scene.figures |= {
        "completed_without_room": completed, "starts_without_room": starts, "accepted_after_max": round(max(waits), 3),
    }  # fmt: skip
    if completed != HELD * scene.count:
        scene.violations.append(f"of {HELD * scene.count} running tasks {completed} were completed without room")


def _refusal(client: zq.Client) -> str | None:
    """Returns why a task is refused; None when it is accepted."""
    try:
        client.cancel(client.submit("tried", {}).id)
    except zq.BusyError as error:
        return str(error)
    return None


def fail_calls(scene: Scene) -> None:
    """Writes and flushes that fail, one in each life of the coordinator: nothing is acknowledged after it, and it ends.
    It lives on only where nothing was answered by it: when a longer journal cannot be made, or a record of the journal
    finds no room, so that the tables are committed.
    """
    house, done = scene.house, Counter[str]()
    for number in range(scene.count):
        call, fault = FAULTY_CALLS[number % len(FAULTY_CALLS)]
        which = scene.rng.randint(1, 1000 if scene.is_long else 40)
        seen = house.place / f"calls-{number}"
        inject = ("-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={which}")
        house.before = ("strace", "-D", "-f", "-qq", "-y", *inject, "-o", str(seen))
        process = _reopen(house)
        wait_until(lambda: _bitten(seen, process), f"{call} number {which} to fail by {fault}")  # noqa: B023 - now
        file = _bitten(seen, process)
        if file in SPARED.get((call, fault), ("journal.new",)):
            wait_until(lambda: process.poll() is not None or _goes_on(scene), "an end, or a receipt")  # noqa: B023 - now
        else:
            wait_until(lambda: process.poll() is not None, f"the end, after {call} of {file}")  # noqa: B023 - now
        if process.poll() == 0:
            scene.violations.append(f"the coordinator ended with 0 after {call} of {file} failed by {fault}")
        done[f"{call} {file} {fault}{' survived' if process.poll() is None else ''}"] += 1
    house.before = ()
    _reopen(house)
    scene.wait_for_receipt()
    scene.figures["faults"] = dict(done)


def _reopen(house: House) -> subprocess.Popen[bytes]:
    assert house.coordinator is not None
    return house.open_again() if house.coordinator.poll() is None else house.open()


def _bitten(seen: Path, process: subprocess.Popen[bytes]) -> str:
    """Returns of which file a call has failed; empty when none has yet."""
    if process.poll() == -signal.SIGKILL:
        return "any file"
    text = seen.read_text(errors="replace") if seen.exists() else ""
    found = re.search(r"<([^>]*)>[^\n]*\(INJECTED\)", text)
    return "" if found is None else found[1].rpartition("/")[2]


def _goes_on(scene: Scene) -> bool:
    before = scene.load.ledger.acknowledgements
    give_up_at = time.monotonic() + 1.0
    while time.monotonic() < give_up_at:
        if scene.load.ledger.acknowledgements > before:
            return True
        time.sleep(0.01)
    return False
