"""The rows of the plan: what is injured, how often, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

from tests.chaos import injuries, machines, networks, stores, surroundings
from tests.chaos.house import House
from tests.chaos.injuries import Injury
from tests.chaos.load import SCHEDULES
from tests.images import recording


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
    around: Callable[[House], AbstractContextManager[object]] = lambda _: nullcontext()


PATIENT = ("--heartbeat-interval", "1", "--suspect-after", "3", "--gone-after", "15")
"""Options for what must not take a worker for dead, however busy the machine is; a crowd that starts makes it so busy
that some are not heard for longer.
"""

IN_CHILDREN = {"shop-1-children": 2, "shop-2-children": 2}

ROWS = {
    row.number: row
    for row in (
        Row("6", "system calls that fail", stores.fail_calls, 10, 40, missing=recording.missing),
        Row("7", "kill -9 of the coordinator", injuries.kill_coordinator, 25, 100),
        Row("7b", "kill -9 of a coordinator with a backlog", injuries.kill_before_a_backlog, 25, 100),
        Row(
            "8",
            "kill -9 of workers and of their children",
            injuries.kill_workers,
            50,
            200,
            {"shop-1": 0, "shop-2-children": 2},
        ),
        Row("9", "workers that stand still until they are gone", injuries.make_zombies, 30, 100),
        Row(
            "10",
            "a coordinator that stands still",
            injuries.stop_coordinator,
            3,
            5,
            options=("--suspect-after", "2", "--gone-after", "2.5"),
            workers=IN_CHILDREN,
        ),
        Row("11", "faults of the network", surroundings.cut_lines, 20, 40, around=machines.behind_a_proxy),
        Row(
            "11b",
            "cables that are pulled",
            surroundings.pull_the_cable,
            3,
            10,
            around=machines.in_two_networks,
            missing=networks.no_networks,
        ),
        Row(
            "12",
            "a disk that others fill",
            stores.fill_disk,
            3,
            20,
            workers=IN_CHILDREN,
            around=machines.on_a_small_disk,
            missing=machines.no_disks,
        ),
        Row("12b", "a map that is full", stores.fill_map, 3, 5, options=("--map-mib", "32")),
        Row(
            "13",
            "a wall clock that jumps by days",
            surroundings.set_the_clock,
            12,
            60,
            workers=IN_CHILDREN,
            options=PATIENT,
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
            workers=IN_CHILDREN,
            around=machines.with_few_descriptors,
        ),
        Row(
            "19",
            "a crowd of workers and a restart",
            surroundings.restart_before_a_crowd,
            1,
            5,
            options=(*PATIENT, "--gone-after", "60"),
        ),
        Row("20", "poison", surroundings.poison, 4, 40, IN_CHILDREN),
        Row("28", "backups of what is in use", stores.back_up, 1, 10),
    )
}
