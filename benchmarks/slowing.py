"""The workload in which tasks turn slow: what workers hold because the tasks before were short has to reach whoever is
idle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from flow import Row, Scale
from naps import COROUTINE_QUEUE, PLAIN_QUEUE
from rig import Rig

WORKERS = 4
SHORT_TASKS = 40_000
LONG_TASKS = 200
LONG_SECONDS = 0.1
URGENT_PRIORITY = 9

KINDS = (
    ("child processes", PLAIN_QUEUE, ("--processes", "1")),
    ("threads", PLAIN_QUEUE, ("--concurrency", "1")),
    ("coroutines", COROUTINE_QUEUE, ("--concurrency", "1")),
    ("coroutines in a child", COROUTINE_QUEUE, ("--processes", "1")),
)


def slowing(scale: Scale) -> Iterator[Row]:
    """Gives long tasks, and an urgent one behind them, to workers of one slot that had short ones before, and to fresh
    ones.
    """
    for kind, queue, options in KINDS:
        runs = [[_run(queue, options, short) for _ in range(scale.repeat)] for short in (0, scale.tasks(SHORT_TASKS))]
        (fresh, _), (after, urgent) = ([median(column) for column in zip(*run, strict=True)] for run in runs)
        notes: dict[str, float | str] = {"s": after, "s fresh": fresh, "s until the urgent one starts": urgent}
        yield Row(
            f"tasks turn slow: {kind}", floor="fresh workers", ratio=after / fresh, aim="<= 1.3, 1 s", notes=notes
        )


def _run(queue: str, options: tuple[str, ...], short: int) -> tuple[float, float]:
    """Returns the seconds that the long tasks took, and until the urgent one started."""
    with Rig() as rig:
        for number in range(WORKERS):
            rig.serve("naps.py:worker", f"naps-{number}", *options)
        client = rig.client
        client.submit_many(queue, [0.0] * WORKERS)  # processes start with their first task
        rig.wait_done(WORKERS)
        if short:
            client.submit_many(queue, [0.0] * short, batch_size=100)
            rig.wait_done(WORKERS + short)
        began = time.perf_counter()
        client.submit_many(queue, [LONG_SECONDS] * LONG_TASKS, batch_size=100)
        urgent_at = time.monotonic()
        urgent = client.submit(queue, LONG_SECONDS, priority=URGENT_PRIORITY)
        rig.wait_done(WORKERS + short + LONG_TASKS + 1)
        seconds = time.perf_counter() - began
        return seconds, urgent.result(60.0) - urgent_at
