"""What it costs a coordinator to be watched: batches with no browser and with ten, in turns in one run of it.

A coordinator is one thread, so what bounds its throughput is its processor: what is compared is how much of a second of
it the same tasks take with browsers and without, pair by pair. Rates tell as much of what else the machine does, the
dashboard's own process among it, and processor for a task of how busy the coordinator was: looks are so many a second.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from flow import Order, Row, Scale, payload_of, submit
from rig import Rig, Usage, spawn

BROWSERS = 10
PAIRS = 6
"""Of stretches, unwatched and watched, in turns and each first in its turn: what else the machine does meets both."""

BATCHES = (100, 10)
WARM_UP_TASKS = 20_000
STRETCH_SECONDS_MIN = 2.0
PAGE_PATIENCE = 20.0


def watched(scale: Scale) -> Iterator[Row]:
    """Measures unwatched and watched stretches in turns, in batches of each size."""
    for batch in BATCHES:
        yield _watched_batches(scale, batch)


def _watched_batches(scale: Scale, batch: int) -> Row:
    order = Order(WARM_UP_TASKS, batch, payload_of(scale.size))
    alone: list[Usage] = []
    seen: list[Usage] = []
    with Rig() as rig, dashboard(rig.address) as place:
        rig.add_worker("nothing", *order.queues)
        usage, done = run_round(rig, order, 0)  # to warm up, and to see how many tasks take so long
        tasks = int(order.tasks / usage.seconds * max(scale.seconds, STRETCH_SECONDS_MIN)) // 1000 * 1000 + 1000
        order = order._replace(tasks=tasks)
        for number in range(PAIRS):
            for is_watched in (False, True) if number % 2 == 0 else (True, False):
                with browsers(place, BROWSERS if is_watched else 0) as count:
                    wait_for_pulses(count, BROWSERS if is_watched else 0)
                    usage, done = run_round(rig, order, done)
                (seen if is_watched else alone).append(usage)
    base, rate = (median([order.tasks / one.seconds for one in usages]) for usages in (alone, seen))
    pairs = zip(alone, seen, strict=True)
    taken = median([(other.coordinator_cpu - one.coordinator_cpu) / other.seconds for one, other in pairs])
    cpu = [median([one.coordinator_cpu / order.tasks * 1e6 for one in usages]) for usages in (alone, seen)]
    notes = {"alone tasks/s": base, "coordinator CPU us/task alone": cpu[0], "watched": cpu[1]}
    name = f"watched by {BROWSERS} browsers, batches of {batch}"
    return Row(name, rate, "its processor, unwatched", 1.0 - taken, ">= 0.95", seen[-1], order.tasks, notes)


def run_round(rig: Rig, order: Order, done: int) -> tuple[Usage, int]:
    with rig.measure() as meter:
        submit(rig, order, order.tasks)
        rig.wait_done(done + order.tasks)
    return meter.usage, done + order.tasks


@contextmanager
def dashboard(address: str) -> Iterator[tuple[str, int]]:
    """Starts a dashboard; yields where it listens."""
    process = spawn([sys.executable, "-m", "zq.cli", "dashboard", "--bind", "127.0.0.1:0", "-a", address])
    try:
        give_up_at = time.monotonic() + PAGE_PATIENCE
        while time.monotonic() < give_up_at:
            process.check()
            said = os.pread(process.log.fileno(), 4000, 0).decode(errors="replace")
            _, marker, rest = said.partition("ready on http://")
            if marker and "/" in rest:
                host, _, port = rest.partition("/")[0].rpartition(":")
                yield host, int(port)
                return
            time.sleep(0.01)
        raise RuntimeError("the dashboard did not start")
    finally:
        process.end()


@contextmanager
def browsers(place: tuple[str, int], number: int) -> Iterator[list[int]]:
    """Opens streams and reads them; yields a list of one number, the pulses that have come."""
    count, is_over = [0], threading.Event()
    sockets = [socket.create_connection(place) for _ in range(number)]

    def read() -> None:
        with selectors.DefaultSelector() as selector:
            for one in sockets:
                selector.register(one, selectors.EVENT_READ)
            while not is_over.is_set():
                for key, _ in selector.select(0.1):
                    count[0] += key.fileobj.recv(1 << 16).count(b"event: pulse")  # type: ignore[union-attr]

    for one in sockets:
        one.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {place[0]}:{place[1]}\r\n\r\n".encode())
    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield count
    finally:
        is_over.set()
        reader.join()
        for one in sockets:
            one.close()


def wait_for_pulses(count: list[int], number: int) -> None:
    """Returns when each of so many browsers has had one: what is measured next is watched."""
    give_up_at = time.monotonic() + PAGE_PATIENCE
    while count[0] < number:
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{count[0]} pulses came to {number} browsers")
        time.sleep(0.01)
