"""What the machine itself can do, with bare code: LMDB commits, ZeroMQ messages, msgpack and a call. Every figure of zq
is printed as a ratio to these.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import bare
import lmdb
import msgpack
import zmq

COMMIT_RECORDS = (1, 10, 100, 1000)
"""Records of 200 bytes in one commit."""

FRAME_BYTES = (200, 20_000)

FLUSHED_BYTES = 1 << 20
"""Of the file in which records are flushed one by one."""


def measure(payload: Any, seconds: float) -> dict[str, float]:
    """Returns the floor; rates are per second, latencies in seconds.

    Args:
        payload: of a task.
        seconds: that each figure may take.
    """
    figures: dict[str, float] = {}
    for records in COMMIT_RECORDS:
        figures[f"commit of {records} records, p50 s"] = measure_commits(records, seconds)
    for size in FRAME_BYTES:
        figures[f"ZeroMQ one way, {size} bytes, frames/s"] = measure_one_way(size, seconds)
    figures["flush of a file that is there, p50 s"] = measure_flush(seconds)
    figures["ZeroMQ round trip, p50 s"] = measure_round_trip(seconds)
    figures["the two in one, p50 s"] = statistics.median(time_durable_answers(seconds))
    figures["msgpack both ways and a call, tasks/s"] = measure_tasks(payload, seconds)
    return figures


def measure_commits(records: int, seconds: float) -> float:
    """Returns the median seconds of an LMDB transaction with sync on that writes some records."""
    taken: list[float] = []
    value = b"x" * 200
    number = 0
    with tempfile.TemporaryDirectory(prefix="zq-floor-") as directory, lmdb.open(directory, map_size=4 << 30) as env:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(taken) < 20:
            started = time.perf_counter()
            with env.begin(write=True) as txn:
                for _ in range(records):
                    number += 1
                    txn.put(number.to_bytes(8, "big"), value)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def measure_flush(seconds: float) -> float:
    """Returns the median seconds of writing 600 bytes into a file that has its size and its blocks, and flushing it."""
    taken: list[float] = []
    with flushed_file() as write:
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(taken) < 20:
            started = time.perf_counter()
            write()
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


@contextmanager
def flushed_file() -> Iterator[Callable[[], None]]:
    """Yields what writes the next 600 bytes of a file that has its size and its blocks, and flushes it."""
    record = b"x" * 600
    places = cycle(range(0, FLUSHED_BYTES - len(record), len(record)))
    with tempfile.NamedTemporaryFile(prefix="zq-floor-") as file:
        file.write(b"\0" * FLUSHED_BYTES)
        file.flush()
        os.fsync(file.fileno())

        def write() -> None:
            os.pwrite(file.fileno(), record, next(places))
            os.fdatasync(file.fileno())

        yield write


def measure_one_way(size: int, seconds: float) -> float:
    """Returns the frames a second that one thread pushes to another over TCP on this machine."""
    context: zmq.Context[bare.Socket] = zmq.Context()
    pull, address = bare.bound_socket(context, zmq.PULL)
    pull.set_hwm(10_000)
    frame = b"x" * size
    is_over = threading.Event()

    def send() -> None:
        push = context.socket(zmq.PUSH)
        push.set_hwm(10_000)
        push.connect(address)
        while not is_over.is_set():
            for _ in range(100):
                push.send(frame)
        push.close(0)

    thread = threading.Thread(target=send)
    thread.start()
    pull.recv()
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(100):
            pull.recv()
        count += 100
    rate = count / (time.perf_counter() - started)
    is_over.set()
    while thread.is_alive():
        pull.poll(10) and pull.recv()
    pull.close(0)
    context.term()
    return rate


def measure_round_trip(seconds: float) -> float:
    """Returns the median seconds from a DEALER to a ROUTER in another thread and back, over TCP."""
    context: zmq.Context[bare.Socket] = zmq.Context()
    router, address = bare.bound_socket(context, zmq.ROUTER)

    def answer() -> None:
        while True:
            parts = router.recv_multipart()
            router.send_multipart(parts)
            if not parts[-1]:
                router.close(100)
                return

    thread = threading.Thread(target=answer)
    thread.start()
    dealer = bare.connected_socket(context, zmq.DEALER, address)
    taken = _time_round_trips(dealer, seconds)
    dealer.send(b"")
    thread.join()
    dealer.close(0)
    context.term()
    return statistics.median(taken)


def _time_round_trips(dealer: bare.Socket, seconds: float) -> list[float]:
    frame = b"x" * 250
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 20:
        started = time.perf_counter()
        dealer.send(frame)
        dealer.recv()
        taken.append(time.perf_counter() - started)
    return taken


def time_durable_answers(seconds: float) -> list[float]:
    """Returns the seconds of each round trip to a ROUTER in another process that writes and flushes before it answers:
    what a receipt costs where nothing is done about it.
    """
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        context: zmq.Context[bare.Socket] = zmq.Context()
        dealer = bare.connected_socket(context, zmq.DEALER, process.stdout.readline().strip())
        taken = _time_round_trips(dealer, seconds)
        dealer.send(b"")
        process.wait()
        context.destroy(linger=0)
    return taken


def _answer_durably() -> None:
    context: zmq.Context[bare.Socket] = zmq.Context()
    router, address = bare.bound_socket(context, zmq.ROUTER)
    print(address, flush=True)
    with flushed_file() as write:
        while True:
            parts = router.recv_multipart()
            if not parts[-1]:
                return
            write()
            router.send_multipart(parts)


def measure_hand_over(threads: int, seconds: float) -> float:
    """Returns the requests a second that so many threads hand to another one and wait for, with nothing done about
    them.
    """
    requests: deque[threading.Lock] = deque()
    bell = threading.Semaphore(0)
    until = time.perf_counter() + seconds
    counts: list[int] = []

    def ask() -> None:
        count = 0
        while time.perf_counter() < until:
            answer = threading.Lock()
            answer.acquire()
            requests.append(answer)
            bell.release()
            answer.acquire()
            count += 1
        counts.append(count)

    def serve() -> None:
        while len(counts) < threads:
            bell.acquire(timeout=0.1)
            while requests:
                requests.popleft().release()

    asking = [threading.Thread(target=ask) for _ in range(threads)]
    server = threading.Thread(target=serve)
    for thread in (server, *asking):
        thread.start()
    for thread in (*asking, server):
        thread.join()
    return sum(counts) / seconds


def measure_tasks(payload: Any, seconds: float) -> float:
    """Returns the tasks a second that one thread packs, unpacks and calls a function with."""
    pack, unpack = msgpack.Packer().pack, msgpack.unpackb
    count = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(1000):
            bare.nothing(unpack(pack(payload)))
        count += 1000
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    _answer_durably()
