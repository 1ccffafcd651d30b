"""A run: a house, its load, an injury, and the verdict, which is one line of JSON."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import zq
from tests.chaos import disks, injuries, machines, surroundings
from tests.chaos.house import House, settle
from tests.chaos.injuries import Injury, Scene
from tests.chaos.load import SCHEDULES, Load, set_up
from tests.chaos.verdict import Case, Verdict, judge
from tests.process.kitchen import wait_until


class Row(NamedTuple):
    """A row of the plan.

    Attributes:
        number: its name for `--rows`.
        name: what it is, in words.
        injure: what is done.
        usual: how many injuries in the suite.
        shift: how many in one run of a long night, which is many runs.
        workers: name and child processes of each worker; 0: threads.
        options: of the coordinator, beside those that all have.
        without: deeds of the load that are left out.
        schedules: that the load makes.
        around: puts something around the processes.
        missing: says what is not there that it needs, if anything.
    """

    number: str
    name: str
    injure: Injury
    usual: int
    shift: int
    workers: Mapping[str, int] = {"shop-1": 0, "shop-2": 0}
    options: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    schedules: Mapping[str, tuple[str, float]] = SCHEDULES
    missing: Callable[[], str | None] = lambda: None
    around: Callable[[House], AbstractContextManager[None]] = lambda _: nullcontext()


KEEPS_ALL = ("--keep-seconds-min", "86400")
"""A full store forgets what has ended earlier, which is looked for at the end."""

ROWS = {
    row.number: row
    for row in (
        Row(
            "6",
            "calls of the system that fail",
            disks.fail_calls,
            6,
            40,
            missing=disks.no_faulty_calls,
        ),
        Row("7", "kill -9 of the coordinator", injuries.kill_coordinator, 25, 100),
        Row(
            "8",
            "kill -9 of workers and of their children",
            injuries.kill_workers,
            50,
            200,
            {"shop-1": 0, "shop-2-children": 2, "shop-3-children": 2},
        ),
        Row("9", "workers that stand still until they are gone", injuries.make_zombies, 30, 100),
        Row("10", "a coordinator that stands still", injuries.stop_coordinator, 3, 5),
        Row("11", "faults of the network", surroundings.cut_lines, 20, 40, around=machines.behind_a_proxy),
        Row(
            "11b",
            "cables that are pulled",
            surroundings.pull_the_cable,
            4,
            10,
            around=machines.in_two_networks,
            missing=machines.no_namespaces,
        ),
        Row(
            "12",
            "a disk that others fill",
            disks.fill_the_disk,
            3,
            20,
            options=KEEPS_ALL,
            around=disks.on_a_small_disk,
            missing=disks.no_small_disk,
        ),
        Row(
            "12b",
            "a store that is full",
            disks.fill_the_map,
            3,
            20,
            options=(*KEEPS_ALL, "--map-mib", str(disks.MAP_MIB)),
        ),
        Row(
            "13",
            "a wall clock that jumps by days",
            surroundings.set_the_clock,
            12,
            60,
            options=("--keep-seconds", "864000"),
            schedules={"tick-1": ("one", 1.0), "tick-2": ("skip", 1.0)},
            around=machines.with_a_clock,
            missing=machines.no_false_clock,
        ),
        Row(
            "14",
            "more connections than descriptors",
            surroundings.use_up_descriptors,
            1,
            10,
            around=machines.with_few_descriptors,
        ),
        Row(
            "19",
            "a crowd of workers and a restart",
            surroundings.restart_before_a_crowd,
            1,
            5,
            options=("--heartbeat-interval", "1", "--suspect-after", "3", "--gone-after", "15"),
        ),
        Row("20", "poison", surroundings.poison, 4, 40, {"shop-1-children": 2, "shop-2-children": 2}),
    )
}


def run(
    rows: Sequence[Row], seed: int, place: Path, counts: Sequence[int], *, journal: str = "on", is_long: bool = False
) -> list[dict[str, Any]]:
    """Makes one run, and returns a line for each of its rows.

    Args:
        rows: what is done, all of it at the same time.
        place: an empty folder.
        counts: injuries of each row.
        journal: with which the coordinator begins, "on" or "off".
        is_long: whether it is one of a long night.
    """
    begun = time.monotonic()
    house = House(place, journal)
    around = ExitStack()
    try:
        for row in rows:
            around.enter_context(row.around(house))
        load = Load(house.address, seed, without=frozenset().union(*(row.without for row in rows)))
        scenes = [
            Scene(house, load, random.Random(f"{row.number}:{seed}"), count, is_long)
            for row, count in zip(rows, counts, strict=True)
        ]
        _open(house, load, rows)
        with load, ThreadPoolExecutor(len(rows)) as pool:
            for _ in pool.map(lambda row, scene: row.injure(scene), rows, scenes):
                pass
        final = settle(house, load.ledger)
        verdict = judge(Case(load.ledger, house.notes(), final))
        verdict.violations += house.close_down()
    finally:
        house.close()
        around.close()
    seconds = round(time.monotonic() - begun, 1)
    return [_line_of(row, seed, journal, seconds, scene, verdict) for row, scene in zip(rows, scenes, strict=True)]


def _open(house: House, load: Load, rows: Sequence[Row]) -> None:
    workers = {name: children for row in rows for name, children in row.workers.items()}
    schedules = next((dict(row.schedules) for row in rows if row.schedules is not SCHEDULES), dict(SCHEDULES))
    house.options += tuple(option for row in rows for option in row.options)
    house.open()
    for name, children in workers.items():
        house.hire(name, children)
    with zq.Client(house.address, timeout=60.0) as client:
        set_up(client, load.ledger, schedules)
        wait_until(lambda: len(client.workers.list()) == len(workers), "the workers")


def _line_of(row: Row, seed: int, journal: str, seconds: float, scene: Scene, verdict: Verdict) -> dict[str, Any]:
    violations = scene.violations + verdict.violations
    return {
        "row": row.number,
        "name": row.name,
        "seed": seed,
        "journal": journal,
        "seconds": seconds,
        "injuries": scene.count,
        **verdict.figures,
        **scene.figures,
        "ok": not violations,
        **({"violations": violations[:20]} if violations else {}),
    }


def line(found: Mapping[str, Any]) -> str:
    """Returns a run as it is printed."""
    return json.dumps(found, separators=(", ", ": "))
