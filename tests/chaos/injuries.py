"""What is done to the processes of a run while its clients go on. Each injury looks whether it bit: one that hit
nothing is a failed run.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zq
from tests.chaos import notes
from tests.chaos.house import House, kill_hard, state_of, worked
from tests.chaos.load import Load
from tests.process.kitchen import wait_until

WORKERS_OF_KILLED = 5
"""Of so many that are killed one is a worker, and the others are its children, which are started again sooner."""

BACKLOG, BATCH = 100_000, 1000

RECEIPT_SECONDS_MAX = 1.0

BUSY = 1.5
"""Processes that want to run on each processor, from which on seconds say nothing about the coordinator."""

GANG = 10
"""Workers of a process that is stopped."""

BLAMED = re.compile(rb"worker shop-\S+: gone")
"""Line of the log of the coordinator."""

OTHER = {"on": "off", "off": "on"}


@dataclass
class Scene:
    """What an injury is done to, and what it found out.

    Attributes:
        count: how many injuries are asked for.
        figures: what goes into the line of the run.
        violations: what should not have happened.
    """

    house: House
    load: Load
    rng: random.Random
    count: int
    is_long: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def note(self, receipt: zq.Receipt) -> zq.Receipt:
        """Notes a task that the injury itself has submitted."""
        self.load.ledger.accept(receipt.id, "orders")
        return receipt

    def wait_for_receipt(self) -> float:
        """Waits until something more is acknowledged; returns the seconds that it took."""
        begun, before = time.monotonic(), self.load.ledger.acknowledgements
        wait_until(lambda: self.load.ledger.acknowledgements > before, "a receipt")
        return time.monotonic() - begun

    def wait_for_receipts(self, count: int) -> None:
        """Waits until so many more are acknowledged, so that there is something to be hurt."""
        before = self.load.ledger.acknowledgements
        wait_until(lambda: self.load.ledger.acknowledgements >= before + count, f"{count} receipts")

    def wait_for_work(self) -> None:
        """Waits until a handler does something more."""
        before = notes.count(self.house.ledger)
        wait_until(lambda: notes.count(self.house.ledger) > before, "a task that starts")


Injury = Callable[[Scene], None]


def kill_coordinator(scene: Scene) -> None:
    """kill -9 of the coordinator, at random; a second one on its directory is refused each time, and the journal is
    taken up and left.
    """
    waits, ticks = [], []
    refused = 0
    kills = cycle = 0
    while kills < scene.count:
        scene.wait_for_receipt()
        time.sleep(scene.rng.uniform(0.0, 0.2))
        refused += _second_one_is_refused(scene, as_process=scene.is_long or cycle % 10 == 0)
        if scene.is_long and cycle % 3 == 2:
            scene.house.journal = OTHER[scene.house.journal]
        scene.house.open_again()
        kills, cycle = kills + 1, cycle + 1
        if kills < scene.count and scene.rng.random() < 0.2:  # in its recovery
            time.sleep(scene.rng.uniform(0.0, 0.4))
            scene.house.open_again()
            kills += 1
        waits.append(scene.wait_for_receipt())
        assert scene.house.coordinator is not None
        ticks.append(worked(scene.house.coordinator))
    scene.figures |= {
        "kills_in_recovery": kills - cycle,
        "second_coordinators_refused": refused,
        "first_receipt_p50": round(sorted(waits)[len(waits) // 2], 3),
        "first_receipt_p99": round(sorted(waits)[int(len(waits) * 0.99)], 3),
        "first_receipt_max": round(max(waits), 3),
        "first_receipt_cpu_max": round(max(ticks) / os.sysconf("SC_CLK_TCK"), 2),
    }
    if refused != cycle:
        scene.violations.append(f"of {cycle} second coordinators on the directory {refused} were refused")


def kill_before_a_backlog(scene: Scene) -> None:
    """The same while very many tasks wait; all of them are there in the end, and a receipt comes as soon as ever."""
    with scene.house.client() as client:
        for _ in range(0, BACKLOG, BATCH):
            client.submit_many("bulk", [None] * BATCH)
        kill_coordinator(scene)
        waiting = client.queues.show("bulk").waiting
    if waiting != BACKLOG:
        scene.violations.append(f"of {BACKLOG} tasks {waiting} wait after the restarts")
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    scene.figures |= {"waiting": waiting, "load": round(load, 1)}
    if load < BUSY and scene.figures["first_receipt_p99"] > RECEIPT_SECONDS_MAX:
        scene.violations.append(f"the first receipt came after more than {RECEIPT_SECONDS_MAX:g} s")


def _second_one_is_refused(scene: Scene, *, as_process: bool) -> bool:
    house = scene.house
    if as_process:
        second = house.start("coordinator", "--data", str(house.data), "--bind", f"ipc://{house.place}/second-one")
        return second.wait(60.0) == 1
    second_here = zq.Coordinator(house.data, bind=f"ipc://{house.place}/second-one")
    try:
        second_here.open()
    except zq.StoreLockedError:
        return True
    second_here.close()
    return False


def kill_workers(scene: Scene) -> None:
    """kill -9 of workers, and of the child processes in which their handlers run."""
    house = scene.house
    children = 0
    for cycle in range(scene.count):
        scene.wait_for_work()
        time.sleep(scene.rng.uniform(0.0, 0.1))
        name = scene.rng.choice(sorted(house.workers))
        found = house.children_of(name)
        if cycle % WORKERS_OF_KILLED and found:
            with contextlib.suppress(ProcessLookupError):  # replaced at this moment
                os.kill(scene.rng.choice(found), signal.SIGKILL)
                children += 1
        else:
            kill_hard(house.workers[name])
            house.hire(name, 2 if name.endswith("children") else 0)
    scene.figures["children_killed"] = children
    cut = _cut_short(scene)
    scene.figures["executions_cut"] = cut
    if not cut:
        scene.violations.append(f"{scene.count} kills have cut no task short")


def _cut_short(scene: Scene) -> int:
    """Counts executions that began and never ended."""
    ended: set[tuple[int, str, int]] = set()
    started: set[tuple[int, str, int]] = set()
    for note in scene.house.notes():
        (started if note.event == "start" else ended).add((note.pid, note.id, note.token))
    return len(started - ended)


def stand_still(process: subprocess.Popen[bytes]) -> None:
    """Stops a process, and waits until it is."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(process) == "T", "a process to stand still")


def make_zombies(scene: Scene) -> None:
    """Workers that are stopped until they count as gone, while another one has their task, and then go on."""
    house, crowd = scene.house, min(scene.count, 3 * GANG)
    gangs = [
        house.start_module("tests.chaos.crowd", "zombie", str(first), str(min(GANG, crowd - first)))
        for first in range(0, crowd, GANG)
    ]
    house.hands += gangs
    made = refused = 0
    with house.client() as client:
        while made < scene.count:
            which = range(min(crowd, scene.count - made))
            refused += _raise_the_dead(scene, client, which, gangs[: -(-len(which) // GANG)], made)
            made += len(which)
    scene.figures |= {"zombies": made, "stale_refused": refused}
    if refused != made:
        scene.violations.append(f"of {made} zombies {refused} were refused")


def _raise_the_dead(
    scene: Scene, client: zq.Client, which: range, zombies: list[subprocess.Popen[bytes]], made: int
) -> int:
    house, gate = scene.house, scene.house.place / f"gate-{made}"
    receipts = [client.submit(f"gated-{number}", {"gate": str(gate)}) for number in which]
    _wait_for_starts(scene, [receipt.id for receipt in receipts])
    # Stopped only when it has said so: what was not started goes back as if nothing had been.
    wait_until(lambda: all(_is_reported(client, receipt.id) for receipt in receipts), "the starts to be reported")
    for zombie in zombies:
        stand_still(zombie)
    tokens = {}
    for number, receipt in zip(which, receipts, strict=True):
        (task,) = client.pull(f"gated-{number}", wait=60.0, lease=60.0)
        assert task.id == receipt.id
        task.done(task.token)
        tokens[task.id] = task.token
    gate.touch()
    for zombie in zombies:
        zombie.send_signal(signal.SIGCONT)
    _wait_for_ends(scene, list(tokens))
    names = {f"zombie-{number}" for number in which}
    wait_until(lambda: names <= {row.name for row in client.workers.list()}, "the zombies to be known again")
    ends = {note.id: note.token for note in house.notes() if note.event == "end"}
    return sum(ends[id] < token == client.result(id, 60.0) for id, token in tokens.items())


def _is_reported(client: zq.Client, id: str) -> bool:
    return any(event.event == "started" for event in client.trace(id))


def _wait_for_starts(scene: Scene, ids: list[str]) -> None:
    wait_until(lambda: set(ids) <= {note.id for note in scene.house.notes()}, "the tasks to start")


def _wait_for_ends(scene: Scene, ids: list[str]) -> None:
    wait_until(
        lambda: set(ids) <= {note.id for note in scene.house.notes() if note.event == "end"}, "the zombies to finish"
    )


def stop_coordinator(scene: Scene) -> None:
    """SIGSTOP of the coordinator for longer than a worker's silence may last, the last time as when the whole machine
    pauses: no worker is taken for dead.
    """
    seconds = 10.0 if scene.is_long else 3.5
    waits: list[float] = []
    again: list[str] = []
    blamed: list[bytes] = []
    for number in range(scene.count):
        scene.wait_for_receipts(100)
        everybody = number > 0 and number == scene.count - 1
        if everybody:  # after which it is right to take back what they had not begun
            again = executed_again(scene)
        with scene.house.one_at_a_time:
            still = list(scene.house.workers.values()) if everybody else []
            waits.append(_stop_with(scene, still, seconds, blamed))
    again = again or (executed_again(scene) if scene.count == 1 else [])
    scene.violations += [f"{text.decode()} by the silence of the coordinator" for text in blamed[:5]]
    scene.violations += [f"{id} was executed again though its worker lived" for id in again[:5]]
    scene.figures |= {"stopped_seconds": seconds, "first_receipt_max": round(max(waits), 3)}
    scene.figures |= {"blamed": len(blamed), "false_deaths": len(again)}


def _stop_with(scene: Scene, others: list[subprocess.Popen[bytes]], seconds: float, blamed: list[bytes]) -> float:
    """Stops the coordinator and others; returns the seconds from its going on to the first receipt."""
    coordinator, log = scene.house.coordinator, Path(scene.house.log.name)
    assert coordinator is not None
    for one in (*others, coordinator):
        stand_still(one)
    before = worked(coordinator)
    time.sleep(seconds)
    if worked(coordinator) != before or state_of(coordinator) != "T":
        scene.violations.append("the coordinator went on though it was stopped")
    told = log.stat().st_size
    coordinator.send_signal(signal.SIGCONT)
    waited = scene.wait_for_receipt()
    with scene.house.client() as client:
        for _ in range(5):  # turns, in each of which silence counts
            client.query("status")
    for one in others:
        one.send_signal(signal.SIGCONT)
    blamed += BLAMED.findall(log.read_bytes()[told:])
    return waited


def executed_again(scene: Scene) -> list[str]:
    """Returns the tasks that were started twice, and had not failed before; those that end their process are none."""
    found: dict[str, list[str]] = {}
    for note in scene.house.notes():
        if note.queue != "poison":
            found.setdefault(note.id, []).append(note.event)
    return [id for id, events in found.items() if events.count("start") > events.count("fail") + 1]
