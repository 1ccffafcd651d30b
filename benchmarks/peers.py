"""zq beside what a Python programmer would use as a queue instead, in the same run, each task on disk before its
receipt: Redis streams (`appendfsync always`) and PostgreSQL (`fsync` and `synchronous_commit` on), by redis-py and
psycopg.

`python benchmarks --only peers [--seconds 3] [--repeat 3]`. What is not installed is left out and named: of Debian
`redis-server` and `postgresql`, of the package index `redis` and `psycopg[binary]`. zq is measured twice, with its
journal and without. Everybody listens on this machine by TCP; the order of the systems changes from round to round.

Each does what its users would do. Redis: XADD, for results XREADGROUP, then XACK, XDEL and RPUSH to a list of the
task's own in one MULTI, on which the caller waits by BLPOP. PostgreSQL: one INSERT each, for a batch of 100 one with
unnest; for results DELETE .. FOR UPDATE SKIP LOCKED, then the result in the same transaction with a NOTIFY, on which
the caller listens. Both sides are told by a notice; nobody polls.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import floor
import msgpack
from flow import Row, Scale, payload_of
from latency import percentiles, timed
from peer_systems import SYSTEMS, Caller, Meanwhile, System

BATCH = 100
"""Tasks in a batch."""

WARM_UP = 0.2
"""Seconds before each measurement, at most as many as are measured."""

DRIVERS = {"16 threads": 16, "64 threads": 64}

COROUTINES = 16


class Figure(NamedTuple):
    """What one system did in one round of a workload."""

    tasks: int
    seconds: float
    taken: list[float]  # seconds, of each call
    client_cpu: float  # seconds, as the other two
    server_cpu: float
    worker_cpu: float
    written_bytes: int  # that the server handed to the disk


def peers(scale: Scale) -> Iterator[Row]:
    """Every workload on every system that is here, in rounds whose order changes."""
    here = []
    for system in SYSTEMS:
        lacking = system.missing()
        if lacking is None:
            here.append(system)
        else:
            print(f"          {system.name}: not measured, {lacking} is missing", file=sys.stderr)
    found: dict[str, dict[str, list[Figure]]] = {}
    flushes, trips = [], []
    for turn in range(scale.repeat):
        flushes.append(floor.measure_flush(scale.seconds / 4))
        trips.append(floor.measure_round_trip(scale.seconds / 4))
        shift = turn % len(here)
        for system in here[shift:] + here[:shift]:
            for workload, figure in _measure(system, scale):
                found.setdefault(workload, {}).setdefault(system.name, []).append(figure)
    bare = statistics.median(flushes) + statistics.median(trips)
    yield _bare_row(scale, bare)
    for workload, systems in found.items():
        for name, figures in systems.items():
            yield _row(workload, name, figures, bare)


def _measure(system: System, scale: Scale) -> Iterator[tuple[str, Figure]]:
    payload = msgpack.packb(payload_of(scale.size))
    with system.start() as running:
        caller = running.caller()
        yield "receipt, one caller", _calls(running, partial(caller.submit, payload), scale.seconds)
        yield f"batches of {BATCH}, one caller", _batches(running, caller, [payload] * BATCH, scale.seconds)
        for name, threads in DRIVERS.items():
            yield f"receipts, {name}", _threads(running, payload, threads, scale.seconds)
        yield f"receipts, {COROUTINES} coroutines", asyncio.run(_coroutines(running, payload, scale.seconds))
        caller.close()
    with system.start() as running:
        running.add_worker()
        caller = running.caller()
        yield "result, one caller", _calls(running, partial(caller.request, payload), scale.seconds)
        caller.close()


def _calls(running: Meanwhile, call: Callable[[], Any], seconds: float) -> Figure:
    timed(call, min(WARM_UP, seconds))
    with running.measure() as meter:
        taken = timed(call, seconds)
    return meter.figure(Figure, len(taken), taken)


def _batches(running: Meanwhile, caller: Caller, payloads: list[bytes], seconds: float) -> Figure:
    """Batches one after the other in one call, of as many as a second's worth takes."""
    caller.submit_many(payloads * 10, BATCH)
    rounds, taken = 0, []
    with running.measure() as meter:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            started = time.perf_counter()
            caller.submit_many(payloads * 100, BATCH)
            taken.append(time.perf_counter() - started)
            rounds += 1
    return meter.figure(Figure, rounds * 100 * len(payloads), taken * 2)


def _threads(running: Meanwhile, payload: bytes, count: int, seconds: float) -> Figure:
    callers = running.callers(count)

    def submit_for_a_time(caller: Caller, seconds: float) -> list[float]:
        return timed(lambda: caller.submit(payload), seconds)

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(submit_for_a_time, callers, [min(WARM_UP, seconds)] * count))
        with running.measure() as meter:
            taken = [one for part in pool.map(submit_for_a_time, callers, [seconds] * count) for one in part]
    for caller in set(callers):
        caller.close()
    return meter.figure(Figure, len(taken), taken)


async def _coroutines(running: Meanwhile, payload: bytes, seconds: float) -> Figure:
    async def submit_for_a_time(submit: Callable[[bytes], Awaitable[Any]], seconds: float) -> list[float]:
        taken: list[float] = []
        until = time.perf_counter() + seconds
        while (started := time.perf_counter()) < until:
            await submit(payload)
            taken.append(time.perf_counter() - started)
        return taken

    async with running.async_callers(COROUTINES) as submits:
        await asyncio.gather(*(submit_for_a_time(one, min(WARM_UP, seconds)) for one in submits))
        with running.measure() as meter:
            parts = await asyncio.gather(*(submit_for_a_time(one, seconds) for one in submits))
    taken = [one for part in parts for one in part]
    return meter.figure(Figure, len(taken), taken)


def _bare_row(scale: Scale, bare: float) -> Row:
    """What a receipt costs where nothing is done about it but to write, flush and answer."""
    p50, p99 = percentiles(floor.time_durable_answers(scale.seconds))
    notes: dict[str, float | str] = {"p50 us": p50 * 1e6, "p99 us": p99 * 1e6}
    return Row("receipt, one caller: bare sockets", 1 / p50, "flush + round trip", p50 / bare, "<= 1.6", notes=notes)


def _row(workload: str, name: str, figures: list[Figure], bare: float) -> Row:
    def middle(of: Callable[[Figure], float]) -> float:
        return statistics.median(map(of, figures))

    def per_task(of: Callable[[Figure], float]) -> float:
        return middle(lambda one: of(one) / one.tasks * 1e6)

    p50 = middle(lambda one: percentiles(one.taken)[0])
    p99 = middle(lambda one: percentiles(one.taken)[1])
    notes: dict[str, float | str] = {
        "p50 us": p50 * 1e6,
        "p99 us": p99 * 1e6,
        "CPU us: client": per_task(lambda one: one.client_cpu),
        "server": per_task(lambda one: one.server_cpu),
        "worker": per_task(lambda one: one.worker_cpu),
        "bytes to disk": middle(lambda one: one.written_bytes / one.tasks),
        "of": f"{len(figures)}",
    }
    rate = middle(lambda one: one.tasks / one.seconds)
    if "batches" in workload:
        del notes["p50 us"], notes["p99 us"]
    if not workload.startswith("receipt, one"):
        return Row(f"{workload}: {name}", rate, notes=notes)
    return Row(f"{workload}: {name}", rate, "flush + round trip", p50 / bare, "<= 1.6", notes=notes)


if __name__ == "__main__":
    raise SystemExit(f"run it as `python {Path(__file__).parent.name} --only peers`")
