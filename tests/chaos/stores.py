"""Injuries of what the coordinator keeps things in: its disk, its map, and its system calls."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from pathlib import Path

import zq
from tests.chaos.house import kill_hard
from tests.chaos.injuries import OTHER, Scene
from tests.chaos.shop import QUEUES
from tests.process.kitchen import wait_until

FLUSH_FAILS = "fdatasync:error=EIO"

CALLS = (
    FLUSH_FAILS, "pwrite64:error=EIO", "pwrite64:error=ENOSPC", "fdatasync:signal=KILL", "pwrite64:signal=KILL",
)  # fmt: skip
"""What becomes of the n-th call of a kind."""

PIECE_BYTES = 3000
"""Of what fills a store: a page of it. More would need gaps of more pages, and be refused before it is full."""

ENDS = (1, -9)
"""How a coordinator may end of that: in words, or killed."""


def fail_calls(scene: Scene) -> None:
    """The n-th flush or write of the coordinator fails, or kills it; it ends, or goes on, and nothing is lost."""
    house = scene.house
    assert house.coordinator is not None
    done: Counter[str] = Counter()
    for number in range(scene.count):
        what = CALLS[number % len(CALLS)]
        call, _, fate = what.partition(":")
        nth = scene.rng.randint(1, 1000 if scene.is_long else 40)
        seen = house.place / f"calls-{number}"
        kill_hard(house.coordinator)
        house.before = (
            "strace", "-D", "-qq", "-o", str(seen), "-e", f"trace={call}", "-e", f"inject={call}:{fate}:when={nth}",
        )  # fmt: skip
        victim = house.open()
        # It is called at once.
        wait_until(lambda: victim.poll() is not None or _is_injected(seen), f"call {nth} of {what}", 60.0 + nth)  # noqa: B023
        house.before = ()
        if _has_ended(victim):
            done["ended"] += 1
            if victim.returncode not in ENDS:
                scene.violations.append(f"the coordinator ended with {victim.returncode} of {what} at call {nth}")
            if scene.is_long:
                house.journal = OTHER[house.journal]
            house.open()
        else:
            done["went on"] += 1
            if what == FLUSH_FAILS and not scene.is_long:  # else a new journal may be made, which is not used yet
                scene.violations.append(f"the coordinator went on after {what} at call {nth}")
        scene.wait_for_receipt()
    scene.figures["after_the_call"] = dict(done)


def _is_injected(seen: Path) -> bool:
    return seen.exists() and "INJECTED" in seen.read_text()


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Gives a process whose call has failed the time to end, if it does."""
    try:
        process.wait(2.0)
    except subprocess.TimeoutExpired:
        return False
    return True


def fill_disk(scene: Scene) -> None:
    """Another program takes the whole disk: what was started ends, the rest is told why, and it goes on by itself."""
    disk = scene.house.disk
    assert disk is not None
    longest = 0.0
    with scene.house.client() as client:
        for _ in range(scene.count):
            scene.wait_for_receipts(50)
            with scene.house.one_at_a_time:
                disk.fill()
                _end_what_runs(scene, client, "disk")
                disk.empty()
                longest = max(longest, _wait_for_submit(scene))
    scene.figures["accepted_after_max"] = round(longest, 3)


def fill_map(scene: Scene) -> None:
    """Somebody submits until the map is full: the same, and there is room again when he takes it back."""
    longest = 0.0
    with scene.house.client() as client:
        for _ in range(scene.count):
            scene.wait_for_receipts(50)
            wait_until(lambda: _refusal(client, "bulk", *[bytes(PIECE_BYTES)] * 100), "the map to be full")
            _end_what_runs(scene, client, "store")
            client.queues.purge("bulk")
            longest = max(longest, _wait_for_submit(scene))
    scene.figures["accepted_after_max"] = round(longest, 3)


def _end_what_runs(scene: Scene, client: zq.Client, by: str) -> None:
    """Waits until somebody is refused, for the right reason, and what was started before has ended."""
    reason = wait_until(lambda: _refusal(client, "late", bytes(PIECE_BYTES)), "a refusal")
    store = client.query("status")["store"]
    if by not in reason or store["full_by"] not in (by, ""):  # what ends, and a checkpoint, can give it some room
        scene.violations.append(f"the {by} is full, and the coordinator says {store['full_by']}: {reason}")
    started = {note.id for note in scene.house.notes() if note.event == "start"}
    wait_until(lambda: started <= _ended(scene), "what runs to end")
    runs = {task.id for task in client.tasks("leased") if task.queue in QUEUES}
    wait_until(lambda: not runs & {task.id for task in client.tasks("leased")}, "what runs to be done")


def _ended(scene: Scene) -> set[str]:
    return {note.id for note in scene.house.notes() if note.event != "start"}


def _refusal(client: zq.Client, queue: str, *payloads: bytes) -> str | None:
    """Submits, and returns why it was refused, if it was."""
    try:
        client.submit_many(queue, payloads)
    except zq.BusyError as error:
        return error.reason
    return None


def _wait_for_submit(scene: Scene) -> float:
    """Waits until a submit of the load is accepted; returns the seconds that it took."""
    begun, before = time.monotonic(), len(scene.load.ledger.waits)
    wait_until(lambda: len(scene.load.ledger.waits) > before, "a submit to be accepted")
    return time.monotonic() - begun


def back_up(scene: Scene) -> None:
    """Backups while everything goes on, one of them killed; what is restored knows all that was accepted before."""
    house = scene.house
    looked_at = killed = 0
    for number in range(scene.count):
        scene.wait_for_receipts(50)
        target, restored = house.place / f"backup-{number}", house.place / f"restored-{number}"
        killed += _kill_backup(scene, target)
        with scene.load.ledger.lock:
            before = list(scene.load.ledger.accepted)
        for verb, source, to in (("backup", house.data, target), ("restore", target, restored)):
            if code := house.start(verb, str(source), "--to", str(to)).wait(60.0):
                scene.violations.append(f"zq {verb} {source} ended with {code}")
                return
        with zq.Coordinator(restored) as coordinator, zq.Client(coordinator.address) as client:
            lost = [id for id in before if client.status(id).state == "unknown"]
        looked_at += len(before)
        scene.violations += [f"{id} was accepted before a backup, and is not in it" for id in lost[:5]]
    scene.figures |= {"backups_killed": killed, "looked_at": looked_at}


def _kill_backup(scene: Scene, target: Path) -> bool:
    """Kills a backup at any moment of its life; what is there then is whole, or does not have the name."""
    process = scene.house.start("backup", str(scene.house.data), "--to", str(target))
    time.sleep(scene.rng.uniform(0.0, 0.6))
    if process.poll() is None:
        kill_hard(process)
    if target.exists():  # it was quick enough
        target.rename(target.with_name(f"{target.name}-first"))
    return process.returncode != 0
