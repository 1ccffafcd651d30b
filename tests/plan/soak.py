"""A long life at half a load, with every slow injury now and then (row 26).

One house lives through many rounds. Each has clients of its own that use everything at once, a few injuries, and a
verdict of its own when all that it had is worked off; so the coordinator may forget what earlier ones had, as it does
in the long run. Between two rounds everything is calm: what the processes hold then must not grow. In the first quarter
the coordinator is killed, too; after another one, in which it fills up to what it keeps, its memory is watched.
"""

from __future__ import annotations

import os
import random
import statistics
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import zq
from tests.chaos import machines
from tests.chaos.house import House, settle
from tests.chaos.injuries import Scene
from tests.chaos.ledger import Ledger
from tests.chaos.load import PAUSE, SCHEDULES, Load, set_up
from tests.chaos.verdict import Case, Verdict, judge
from tests.plan.lasting import LASTING, kill_coordinator
from tests.process.kitchen import wait_until
from tests.surroundings.disks import small_disk

ROUND_SECONDS: Final = 40.0

KEEP_SECONDS: Final = 300.0
"""For which the coordinator knows what has ended: longer than a round and its verdict. A machine that takes longer than
this for them has a round that cannot be judged, and is told apart.
"""

DISK_MIB: Final = 256

RUNS: Final = "/runs/"
"""In the names of the queues of a pipeline's run, which are there until they are deleted."""

BETWEEN: Final = (3.0, 9.0)
"""Seconds between two injuries, at least and at most."""

WORKERS: Final = {"shop-1": 2, "shop-2": 2, "shop-steady": 1}
"""Child processes of each worker; the last one is never injured, and is watched."""

GROWTH_MIB_MAX: Final = 2.0
"""Of memory that comes and goes; what is more than this in a time may be no more than 1 MB an hour."""


class Look(NamedTuple):
    """What a process holds."""

    memory_mib: float
    descriptors: int
    threads: int


class Calm(NamedTuple):
    """A look at everything between two rounds."""

    at: float
    coordinator: Look
    worker: Look
    file_mib: float


def soak(seed: int, minutes: float, place: Path) -> dict[str, Any]:
    """Lives for so many minutes, in an empty folder; returns a line. The journal is on for even seeds."""
    house = House(place, ("on", "off")[seed % 2])
    around = ExitStack()
    try:
        around.enter_context(machines.behind_a_proxy(house))
        if machines.no_disks() is None:
            house.disk = around.enter_context(small_disk("tmpfs", place, mib=DISK_MIB))
            house.data = house.disk.path / "orders.zq"
        life = _Life(house, seed, minutes)
        life.begin()
        while life.goes_on:
            life.live_a_round()
        return life.end()
    finally:
        house.close()
        around.close()


class _Life:
    def __init__(self, house: House, seed: int, minutes: float) -> None:
        self.house = house
        self.seed = seed
        self.rng = random.Random(seed)
        self.begun = time.monotonic()
        self.until = self.begun + 60.0 * minutes
        self.rounds = self.unjudged = 0
        self.pause = 0.0  # the first round goes as fast as it can
        self.rate_max = 0.0
        self.rates: list[float] = []
        self.figures: Counter[str] = Counter()
        self.bit: Counter[str] = Counter()
        self.calms: list[Calm] = []
        self.steady_since = 0.0
        self.violations: list[str] = []
        self.known: frozenset[str] = frozenset()  # ids of earlier rounds
        self.ever_done: Mapping[str, int] = {}

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until and not self.violations

    def begin(self) -> None:
        """Opens the house."""
        self.house.options += ("--keep-seconds", f"{KEEP_SECONDS}", "--keep-seconds-min", f"{KEEP_SECONDS}")
        self.house.open()
        for name, children in WORKERS.items():
            self.house.hire(name, children)
        with self.house.client() as client:
            wait_until(lambda: len(client.workers.list()) == len(WORKERS), "the workers")

    def live_a_round(self) -> None:
        """Clients, injuries, verdict, and a look at what is held when all is calm."""
        self.rounds += 1
        begun = time.monotonic()
        load = Load(self.house.address, self.seed + self.rounds, prefix=f"{self.rounds}-", pause=self.pause)
        scene = Scene(self.house, load, self.rng, 1)
        try:
            with self.house.client() as client:
                set_up(client, load.ledger, {f"{self.rounds}-{name}": how for name, how in SCHEDULES.items()})
            with load:
                self._injure(scene)
            verdict = self._judge(load.ledger)
        except Exception:  # it is what the line has to say
            verdict = Verdict({}, [traceback.format_exc()])
        if time.monotonic() > begun + KEEP_SECONDS:
            verdict = Verdict({}, [])
            self.unjudged += 1
        self.violations += scene.violations + verdict.violations
        self.figures.update(verdict.figures)
        if not self.violations:
            self._look()

    def _injure(self, scene: Scene) -> None:
        begun, ledger = time.monotonic(), scene.load.ledger
        if self.rounds > 1:
            while time.monotonic() < begun + ROUND_SECONDS:
                time.sleep(self.rng.uniform(*BETWEEN))
                self._injure_once(scene)
        else:
            time.sleep(ROUND_SECONDS)
        rate = ledger.acknowledgements / (time.monotonic() - begun)
        if self.rounds == 1:
            self.rate_max, self.pause = rate, 4 * PAUSE
        else:
            self.rates.append(rate)
            self.pause = min(1.0, max(0.01, self.pause * rate / (self.rate_max / 2)))

    def _injure_once(self, scene: Scene) -> None:
        is_young = time.monotonic() < self.begun + (self.until - self.begun) / 4
        if is_young and self.rng.random() < 0.2:
            kill_coordinator(scene)
            self.bit["coordinator killed"] += 1
            return
        name = self.rng.choice(sorted(LASTING if self.house.disk is not None else LASTING.keys() - {"disk filled"}))
        LASTING[name](scene)
        self.bit[name] += 1
        scene.wait_for_receipt()

    def _judge(self, ledger: Ledger) -> Verdict:
        house = self.house
        final = settle(house, ledger, self.known)
        notes = [note for note in house.notes() if note.id not in self.known]
        counted = {queue: count - self.ever_done.get(queue, 0) for queue, count in final.ever_done.items()}
        self.ever_done = final.ever_done
        self.known |= frozenset(final.states) | {note.id for note in notes}
        for file in house.ledger.iterdir():
            file.unlink()
        with house.client() as client:
            _tidy_up(client, ledger)
        return judge(Case(ledger, notes, replace(final, ever_done=counted)))

    def _look(self) -> None:
        coordinator = self.house.coordinator
        assert coordinator is not None
        is_old = time.monotonic() > self.begun + (self.until - self.begun) / 2
        least = min((calm.coordinator.descriptors for calm in self.calms[-5:]), default=0)
        for _ in range(100):  # those of cut connections go when their time is over
            if look_at(coordinator.pid).descriptors <= least:
                break
            time.sleep(0.1)
        steady = self.house.children_of("shop-steady")
        self.calms.append(
            Calm(
                time.monotonic(),
                look_at(coordinator.pid),
                look_at(steady[0] if steady else self.house.workers["shop-steady"].pid),
                (self.house.data / "data.mdb").stat().st_size / (1 << 20),
            )
        )
        if is_old and not self.steady_since:
            self.steady_since = time.monotonic()

    def end(self) -> dict[str, Any]:
        """Ends the house; returns the line."""
        self.violations += self.house.close_down()
        steady = [calm for calm in self.calms if self.steady_since and calm.at >= self.steady_since]
        held = _held(steady) if len(steady) >= 3 else {}
        self.violations += grown(steady) if len(steady) >= 3 else ["it was too short to see what grows"]
        return {
            "row": "26",
            "name": "a long life with slow injuries",
            "seed": self.seed,
            "journal": self.house.journal,
            "seconds": round(time.monotonic() - self.begun, 1),
            "rounds": self.rounds,
            "unjudged": self.unjudged,
            "injuries": self.bit.total(),
            "kinds": dict(self.bit),
            "rate_max": round(self.rate_max, 1),
            "rate": round(statistics.mean(self.rates), 1) if self.rates else 0.0,
            **self.figures,
            **held,
            "ok": not self.violations and self.unjudged <= self.rounds // 10,
            **({"violations": self.violations[:20]} if self.violations else {}),
        }


def _tidy_up(client: zq.Client, ledger: Ledger) -> None:
    """Takes away what stays until somebody does: a replay of the next round would find dead letters of this one."""
    while client.dead.purge():
        pass
    for name in ledger.schedules:
        client.schedules.delete(name)
    for row in client.queues.list():
        if RUNS in row.name:
            client.queues.delete(row.name)


def look_at(pid: int) -> Look:
    """Returns what a process holds now."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count
    return Look(round(int(fields["VmRSS"].split()[0]) / 1024, 2), descriptors, int(fields["Threads"]))


def _thirds(steady: list[Calm]) -> tuple[list[Calm], list[Calm]]:
    third = max(1, len(steady) // 3)
    return steady[:third], steady[-third:]


def _held(steady: list[Calm]) -> dict[str, Any]:
    first, last = _thirds(steady)
    hours = (steady[-1].at - steady[0].at) / 3600.0
    return {
        "steady_minutes": round(60 * hours, 1),
        "memory_mib": [first[0].coordinator.memory_mib, last[-1].coordinator.memory_mib],
        "memory_mib_per_hour": round(_slope([(calm.at, calm.coordinator.memory_mib) for calm in steady]), 2),
        "worker_memory_mib": [first[0].worker.memory_mib, last[-1].worker.memory_mib],
        "descriptors": [first[0].coordinator.descriptors, last[-1].coordinator.descriptors],
        "threads": [first[0].coordinator.threads, last[-1].coordinator.threads],
        "file_mib": [round(first[0].file_mib, 1), round(last[-1].file_mib, 1)],
    }


def _slope(points: list[tuple[float, float]]) -> float:
    """Returns the median of the slopes between any two points, an hour (Theil and Sen)."""
    slopes = [(other - one) / (then - now) for i, (now, one) in enumerate(points) for then, other in points[i + 1 :]]
    return 3600.0 * statistics.median(slopes)


def grown(steady: list[Calm]) -> list[str]:
    """Returns what grew though nobody has more to do than before."""
    first, last = _thirds(steady)
    hours = (steady[-1].at - steady[0].at) / 3600.0
    found = []
    for who in ("coordinator", "worker"):
        before, after = ([getattr(calm, who) for calm in part] for part in (first, last))
        grown = statistics.median(look.memory_mib for look in after) - statistics.median(
            look.memory_mib for look in before
        )
        if grown > max(GROWTH_MIB_MAX, hours):
            found.append(f"the memory of the {who} has grown by {grown:.1f} MiB in {hours:.2f} hours")
        for what in ("descriptors", "threads"):
            if min(getattr(look, what) for look in after) > max(getattr(look, what) for look in before):
                found.append(f"the {what} of the {who} grow")
    if min(calm.file_mib for calm in last) > 1.25 * max(calm.file_mib for calm in first):
        found.append("the data file grows")
    return found
