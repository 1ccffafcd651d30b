"""Workloads in which somebody waits for each task."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from statistics import quantiles
from typing import Any

import floor
from flow import QUEUE, THREADS, Row, Scale, payload_of
from rig import POLL_INTERVAL, Meter, Rig

import zq

PULL_TASKS = 100

PULLERS = 8

PACE = 100
"""Tasks in a batch of the load in the background."""


def percentiles(taken: list[float]) -> tuple[float, float]:
    """Returns p50 and p99."""
    cuts = quantiles(taken, n=100)
    return cuts[49], cuts[98]


def timed(call: Callable[[], Any], seconds: float) -> list[float]:
    """Repeats a call for a time; returns how long each took."""
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 20:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return taken


def one_at_a_time(scale: Scale) -> Iterator[Row]:
    """Receipts, and results on an idle system, against commits and round trips measured in between."""
    payload = payload_of(scale.size)
    with Rig() as rig:
        rig.add_worker("result", QUEUE)
        client = rig.client
        timed(lambda: client.submit("unattended", payload), 0.2)
        bare = _bare_seconds(scale)
        with rig.measure() as meter:
            receipts = timed(lambda: client.submit("unattended", payload), scale.seconds)
        bare = (bare + _bare_seconds(scale)) / 2
        p50, p99 = percentiles(receipts)
        notes = {"p50 ms": p50 * 1e3, "p99 ms": p99 * 1e3, "floor ms": bare * 1e3}
        yield Row(
            "one at a time: receipt",
            1 / p50,
            "commit + round trip",
            p50 / bare,
            "<= 1.4",
            meter.usage,
            len(receipts),
            notes,
        )
        timed(lambda: client.submit(QUEUE, payload).result(10.0), 0.2)
        bare = _bare_seconds(scale)
        with rig.measure() as meter:
            ends = timed(lambda: client.submit(QUEUE, payload).result(10.0), scale.seconds)
        bare = bare + _bare_seconds(scale)  # twice the mean of the two
        p50, p99 = percentiles(ends)
        notes = {"p50 ms": p50 * 1e3, "p99 ms": p99 * 1e3, "floor ms": bare * 1e3}
        yield Row(
            "one at a time: result",
            1 / p50,
            "twice the same",
            p50 / bare,
            "<= 1.4",
            meter.usage,
            len(ends),
            notes,
        )


def _bare_seconds(scale: Scale) -> float:
    return floor.measure_commits(2, scale.seconds / 4) + floor.measure_round_trip(scale.seconds / 4)


def threads(scale: Scale) -> Iterator[Row]:
    """16 threads that submit one task after the other."""
    payload = payload_of(scale.size)
    with Rig() as rig:
        rig.add_worker("nothing", QUEUE)

        def submit_for_a_time(seconds: float) -> list[float]:
            return timed(lambda: rig.client.submit(QUEUE, payload), seconds)

        def submit_all(seconds: float) -> list[float]:
            with ThreadPoolExecutor(THREADS) as pool:
                return [one for part in pool.map(submit_for_a_time, [seconds] * THREADS) for one in part]

        warm = submit_all(0.3)
        with rig.measure() as meter:
            taken = submit_all(scale.seconds)
            rig.wait_done(len(warm) + len(taken))
    hand_over = floor.measure_hand_over(THREADS, scale.seconds / 2)
    yield _singles_row(f"{THREADS} threads, single submits", taken, meter, scale, hand_over)


def coroutines(scale: Scale) -> Iterator[Row]:
    """16 asyncio tasks that submit one task after the other."""
    payload = payload_of(scale.size)
    with Rig() as rig:
        rig.add_worker("nothing", QUEUE)

        async def submit_for_a_time(client: zq.AsyncClient, seconds: float) -> list[float]:
            taken: list[float] = []
            until = time.perf_counter() + seconds
            while (started := time.perf_counter()) < until:
                await client.submit(QUEUE, payload)
                taken.append(time.perf_counter() - started)
            return taken

        async def submit_all(seconds: float) -> list[float]:
            async with zq.AsyncClient(rig.address) as client:
                parts = await asyncio.gather(*(submit_for_a_time(client, seconds) for _ in range(THREADS)))
            return [one for part in parts for one in part]

        warm = asyncio.run(submit_all(0.3))
        with rig.measure() as meter:
            taken = asyncio.run(submit_all(scale.seconds))
            rig.wait_done(len(warm) + len(taken))
    yield _singles_row(f"{THREADS} asyncio tasks, single submits", taken, meter, scale, math.inf)


def _singles_row(name: str, taken: list[float], meter: Meter, scale: Scale, hand_over: float) -> Row:
    """Compares with what 16 callers could reach: each waits for a commit and a round trip, and threads for a hand-over
    in between.
    """
    ceiling = min(THREADS / _bare_seconds(scale), hand_over)
    rate = len(taken) / meter.usage.seconds
    p50, p99 = percentiles(taken)
    notes: dict[str, float | str] = {"p50 ms": p50 * 1e3, "p99 ms": p99 * 1e3, "floor tasks/s": ceiling}
    floor_name = "16 / (commit + round trip)" if ceiling < hand_over else "hand-over to a thread"
    return Row(name, rate, floor_name, rate / ceiling, "60,000/s", meter.usage, len(taken), notes)


def pulls(scale: Scale) -> Iterator[Row]:
    """Pull consumers: asyncio tasks that take up to 100 tasks at once, and complete each."""
    tasks = scale.tasks(50_000)
    with Rig() as rig:
        rig.client.submit_many(QUEUE, repeat(payload_of(scale.size), tasks), batch_size=100)

        async def consume(client: zq.AsyncClient) -> int:
            done = 0
            while pulled := await client.pull(QUEUE, max_tasks=PULL_TASKS):
                await asyncio.gather(*(task.done() for task in pulled))
                done += len(pulled)
            return done

        async def consume_all() -> int:
            async with zq.AsyncClient(rig.address) as client:
                return sum(await asyncio.gather(*(consume(client) for _ in range(PULLERS))))

        with rig.measure() as meter:
            done = asyncio.run(consume_all())
        if done != tasks:
            raise RuntimeError(f"expected {tasks} tasks pulled, got {done}")
    yield Row(f"{PULLERS} pullers", tasks / meter.usage.seconds, usage=meter.usage, tasks=tasks)


def under_load(scale: Scale) -> Iterator[Row]:
    """Receipts of single tasks while batches come at half of the rate that the system can carry."""
    payload = payload_of(scale.size)
    with Rig() as rig:
        rig.add_worker("nothing", QUEUE)
        tasks = scale.tasks(300_000)
        started = time.perf_counter()
        rig.client.submit_many(QUEUE, repeat(payload, tasks), batch_size=PACE)
        rig.wait_done(tasks)
        most = tasks / (time.perf_counter() - started)
        is_over = threading.Event()
        submitted = 0

        def load() -> None:
            nonlocal submitted
            begun = time.perf_counter()
            with zq.Client(rig.address) as client:
                while not is_over.is_set():
                    due = int((time.perf_counter() - begun) * most / 2) - submitted
                    if due >= PACE:
                        client.submit_many(QUEUE, repeat(payload, due), batch_size=PACE)
                        submitted += due
                    else:
                        time.sleep(POLL_INTERVAL / 5)

        thread = threading.Thread(target=load)
        thread.start()
        with rig.measure() as meter:
            before = submitted
            taken = timed(lambda: rig.client.submit(QUEUE, payload), scale.seconds)
            rate = (submitted - before) / scale.seconds
        is_over.set()
        thread.join()
    p50, p99 = percentiles(taken)
    notes: dict[str, float | str] = {"p50 ms": p50 * 1e3, "p99 ms": p99 * 1e3, "most tasks/s": most}
    yield Row("receipts at half of the rate", rate, aim="p99 < 10 ms", usage=meter.usage, notes=notes)


def churn(scale: Scale) -> Iterator[Row]:
    """Receipts one at a time with a worker, for long: the last tenth against the first."""
    payload = payload_of(scale.size)
    seconds = scale.seconds * 20
    with Rig("--keep-seconds", "5", "--keep-seconds-min", "5") as rig:
        rig.add_worker("nothing", QUEUE)
        taken: list[float] = []
        with rig.measure() as meter:
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                rig.client.submit_many(QUEUE, repeat(payload, 1000), batch_size=10)
                taken += timed(lambda: rig.client.submit(QUEUE, payload), 0.0)
        disk = rig.disk_bytes
    tenth = len(taken) // 10
    first, last = percentiles(taken[tenth : 2 * tenth])[0], percentiles(taken[-tenth:])[0]
    notes: dict[str, float | str] = {
        "first ms": first * 1e3,
        "last ms": last * 1e3,
        "s": seconds,
        "disk MB": disk / 1e6,
    }
    yield Row("churn: last receipts", 1 / last, "first receipts", last / first, "<= 1.2", meter.usage, notes=notes)
