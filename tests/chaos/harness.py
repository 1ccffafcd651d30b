"""A run: a house, its load, an injury, and the verdict, which is one line of JSON."""

from __future__ import annotations

import json
import random
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zq
from tests.chaos.house import House, settle
from tests.chaos.injuries import Scene
from tests.chaos.load import SCHEDULES, Load, set_up
from tests.chaos.rows import Row
from tests.chaos.verdict import Case, Verdict, judge
from tests.process.kitchen import wait_until


def run(
    rows: Sequence[Row],
    seed: int,
    place: Path,
    counts: Sequence[int],
    *,
    journal: str = "on",
    is_long: bool = False,
    plant: str | None = None,
) -> list[dict[str, Any]]:
    """Makes one run, and returns a line for each of its rows.

    Args:
        rows: what is done, all of it at the same time.
        place: an empty folder.
        counts: injuries of each row.
        journal: with which the coordinator begins, "on" or "off".
        is_long: whether it is one of a long night.
        plant: a fault that the coordinator is to have.
    """
    begun = time.monotonic()
    house = House(place, journal, plant)
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
            list(pool.map(_injure, rows, scenes))
        verdict = _judge(house, load)
    finally:
        house.close()
        around.close()
    seconds = round(time.monotonic() - begun, 1)
    return [_line_of(row, seed, journal, seconds, scene, verdict) for row, scene in zip(rows, scenes, strict=True)]


def _injure(row: Row, scene: Scene) -> None:
    try:
        row.injure(scene)
    except Exception:  # it is part of the verdict, which has more to say
        scene.violations.append(traceback.format_exc())


def _judge(house: House, load: Load) -> Verdict:
    try:
        final = settle(house, load.ledger)
    except Exception:  # the same
        return Verdict({"acknowledged": load.ledger.acknowledgements}, [traceback.format_exc()])
    verdict = judge(Case(load.ledger, house.notes(), final))
    verdict.violations += house.close_down()
    return verdict


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
