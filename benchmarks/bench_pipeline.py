"""Items a second through one cheap stage, and through what else one could use, all in one run on one machine.

python benchmarks/bench_pipeline.py [--items 300000] [--size 200] [--ints 1000000] [--rounds 3] [--json]

One worker process each, the same function, distinct items of 200 bytes, results counted. The rounds of all contestants
take turns, so that a busy neighbour harms all alike; the best round of each is shown. Processes are started before the
clock is.

Then small integers through two worker processes, beside `multiprocessing.Pool(2)` with several chunk sizes: what the
machinery costs where items and function cost nothing. Of these it shows medians, and the CPU of caller and workers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import zmq

from patterns import stage

POOL_CHUNKS = (100, 300, 1000, 3000, 10000)
INT_CHUNKS = (1000, 2000, 5000, 10_000, 20_000, 50_000)
WINDOW = 1000
"""Messages under way of the bare sockets."""


@stage
def touch(item: bytes) -> bytes:
    return item


@stage
def double(number: int) -> int:
    return 2 * number


@stage(workers=2)
def double_by_two(number: int) -> int:
    return 2 * number


def double_in_pool(number: int) -> int:
    return 2 * number


def touch_in_pool(item: bytes) -> bytes:
    return item


def make_items(count: int, size: int) -> Iterator[bytes]:
    """Yields distinct items: pickle sends equal objects of a chunk only once."""
    padding = bytes(size - 8)
    for number in range(count):
        yield number.to_bytes(8, "big") + padding


def rate(count: int, results: Iterator[object]) -> float:
    """Returns results a second, from the first to the last."""
    next(results)
    began_at = time.perf_counter()
    got = 1
    for _ in results:
        got += 1
    seconds = time.perf_counter() - began_at
    assert got == count, f"{got} results of {count}"
    return (count - 1) / seconds


def run_direct(count: int, size: int) -> float:
    with touch.run(make_items(count, size), quiet=True) as run:
        return rate(count, iter(run))


def run_embedded(count: int, size: int) -> float:
    """The same stage over an embedded coordinator: every item on disk."""
    with (
        tempfile.TemporaryDirectory() as folder,
        touch.run(make_items(count, size), quiet=True, data=f"{folder}/bench.zq") as run,
    ):
        return rate(count, iter(run))


def run_ordered(count: int, size: int) -> float:
    with touch.run(make_items(count, size), quiet=True, ordered=True) as run:
        return rate(count, iter(run))


def run_long(count: int) -> tuple[float, int]:
    """Runs small integers, and returns items a second and how many KiB the peak memory grew by after the first
    tenth.
    """
    early = 0
    began_at = time.perf_counter()
    for number, _ in enumerate(double.run(range(count), quiet=True)):
        if number == count // 10:
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return count / (time.perf_counter() - began_at), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - early


def run_pool(chunk: int) -> Callable[[int, int], float]:
    def run(count: int, size: int) -> float:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.map(touch_in_pool, [b"warm"])
            return rate(count, pool.imap_unordered(touch_in_pool, make_items(count, size), chunk))

    return run


class Cost(NamedTuple):
    """What a run has cost, in seconds for each million items."""

    wall: float
    caller: float
    workers: float


def cost_of(count: int, results: Iterator[object], workers: Callable[[], Iterable[int]]) -> Cost:
    """Returns the cost of a run from its first result to its last; the processes are asked for when that is there."""
    next(results)
    pids = ["self", *map(str, workers())]
    cpu = [cpu_of(pid) for pid in pids]
    began_at = time.perf_counter()
    got = 1
    for _ in results:  # the workers still live when the last has come
        got += 1
        if got == count:
            break
    wall = time.perf_counter() - began_at
    caller, *others = [cpu_of(pid) - before for pid, before in zip(pids, cpu, strict=True)]
    return Cost(*(each / count * 1e6 for each in (wall, caller, sum(others))))


def cpu_of(pid: str) -> float:
    """Returns the CPU seconds of all threads of a process."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def child_pids() -> list[int]:
    """Returns the children of this process."""
    lists = [file.read_text().split() for file in Path("/proc/self/task").glob("*/children")]
    return [int(pid) for pids in lists for pid in pids]


def ints_through_pipeline(count: int, *, ordered: bool = False) -> Cost:
    with double_by_two.run(range(count), quiet=True, ordered=ordered) as run:
        return cost_of(count, iter(run), child_pids)


def ints_through_pool(count: int, chunk: int) -> Cost:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(double_in_pool, range(100))
        pids = [process.pid for process in multiprocessing.active_children() if process.pid is not None]
        return cost_of(count, pool.imap_unordered(double_in_pool, range(count), chunk), lambda: pids)


def measure_ints(count: int, rounds: int) -> dict[str, Cost]:
    """Returns the median cost of each contestant; they take turns."""
    runs: dict[str, Callable[[], Cost]] = {
        "direct pipeline": lambda: ints_through_pipeline(count),
        "direct pipeline, ordered": lambda: ints_through_pipeline(count, ordered=True),
        **{f"multiprocessing.Pool, chunk {chunk}": partial(ints_through_pool, count, chunk) for chunk in INT_CHUNKS},
    }
    found: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return {name: Cost(*map(statistics.median, zip(*costs, strict=True))) for name, costs in found.items()}


def run_raw(count: int, size: int) -> float:
    """Bare PUSH and PULL sockets, a message for each item, in one thread at each end."""
    with tempfile.TemporaryDirectory() as folder:
        places = [f"ipc://{folder}/{name}" for name in ("in", "out")]
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        push, pull = context.socket(zmq.PUSH), context.socket(zmq.PULL)
        push.bind(places[0])
        pull.bind(places[1])
        worker = multiprocessing.get_context("spawn").Process(target=work_raw, args=(*places, count), daemon=True)
        worker.start()
        try:
            return rate(count, _exchange(push, pull, make_items(count, size)))
        finally:
            worker.join()
            context.destroy(linger=0)


def _exchange(push: zmq.Socket[bytes], pull: zmq.Socket[bytes], items: Iterator[bytes]) -> Iterator[bytes]:
    under_way = 0
    for item in items:
        push.send(touch_in_pool(item))
        under_way += 1
        while under_way >= WINDOW:
            yield pull.recv()
            under_way -= 1
            while under_way and pull.poll(0):
                yield pull.recv()
                under_way -= 1
    for _ in range(under_way):
        yield pull.recv()


def work_raw(source: str, target: str, count: int) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    pull.connect(source)
    push.connect(target)
    for _ in range(count):
        push.send(touch_in_pool(pull.recv()))
    context.destroy()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures a one-stage pipeline.")
    parser.add_argument("--items", type=int, default=300_000)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--long", type=int, default=10_000_000, help="small integers in the run that shows that memory is constant"
    )
    parser.add_argument("--ints", type=int, default=1_000_000, help="small integers, beside Pool(2)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    contestants: dict[str, tuple[Callable[[int, int], float], int]] = {
        "direct pipeline": (run_direct, 1),
        "direct pipeline, ordered": (run_ordered, 1),
        "embedded pipeline": (run_embedded, 1),
        **{f"multiprocessing.Pool, chunk {chunk}": (run_pool(chunk), 1) for chunk in POOL_CHUNKS},
        "multiprocessing.Pool, chunk 1": (run_pool(1), 10),
        "pyzmq PUSH/PULL, a message each": (run_raw, 3),
    }
    long_rate, growth_kib = run_long(arguments.long)  # first, because a peak hides all that stays below it
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(arguments.rounds):
        for name, (run, share) in contestants.items():
            rates[name].append(run(arguments.items // share, arguments.size))
    ints = measure_ints(arguments.ints, arguments.rounds)
    best_ints = min((name for name in ints if "Pool" in name), key=lambda name: ints[name].wall)
    best = {name: max(found) for name, found in rates.items()}
    best_pool = max((name for name in best if "Pool" in name), key=lambda name: best[name])
    direct = best["direct pipeline"]
    figures = {
        "items": arguments.items,
        "size": arguments.size,
        "rounds": arguments.rounds,
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "rates": {name: round(value) for name, value in best.items()},
        "best_pool": best_pool,
        "direct_by_best_pool": round(direct / best[best_pool], 2),
        "long_items": arguments.long,
        "long_rate": round(long_rate),
        "long_growth_kib": growth_kib,
        "embedded_by_direct": round(best["embedded pipeline"] / direct, 2),
        "direct_by_unchunked_pool": round(direct / best["multiprocessing.Pool, chunk 1"], 1),
        "ints": {name: cost._asdict() for name, cost in ints.items()},
        "best_ints": best_ints,
        "ints_direct_by_best_pool": round(ints[best_ints].wall / ints["direct pipeline"].wall, 2),
    }
    if arguments.json:
        print(json.dumps(figures))
        return
    for name, value in sorted(best.items(), key=lambda one: -one[1]):
        print(f"{value:12,.0f} items/s  {direct / value:6.2f} x  {name}")
    print(
        f"{arguments.long:,} small integers: {long_rate:,.0f} items/s; "
        f"the peak of the caller's memory grew by {growth_kib} KiB after the first tenth"
    )
    print(
        f"direct / best pool: {figures['direct_by_best_pool']}, direct / unchunked: {figures['direct_by_unchunked_pool']}, "
        f"embedded / direct: {figures['embedded_by_direct']}"
    )
    for name, cost in ints.items():
        print(
            f"{1e6 / cost.wall:12,.0f} ints/s  {ints[best_ints].wall / cost.wall:6.2f} x  {name}; "
            f"CPU of a million: caller {cost.caller:.2f} s, workers {cost.workers:.2f} s"
        )


if __name__ == "__main__":
    main()
