"""Workloads with much of something: tasks that wait, and workers that have nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import repeat

import zmq
from flow import QUEUE, Row, Scale, payload_of
from latency import percentiles, timed
from rig import Rig

from zq.wire.codec import encode
from zq.wire.messages import Heartbeat, Hello

URGENT_PRIORITY = 9


def backlog(scale: Scale, usual: int) -> Iterator[Row]:
    """Builds a backlog, restarts the coordinator, overtakes with an urgent task, drains."""
    tasks = scale.tasks(usual)
    payload = payload_of(scale.size)
    label = f"backlog of {tasks:,}"
    with Rig() as rig:
        with rig.measure() as meter:
            rig.client.submit_many(QUEUE, repeat(payload, tasks), batch_size=100)
        built = meter.usage
        disk = rig.disk_bytes
        part = disk / (tasks * scale.size)
        yield Row(f"{label}: built", tasks / built.seconds, aim="500,000/s", usage=built, tasks=tasks)
        yield Row(f"{label}: disk", floor="payload bytes", ratio=part, aim="<= 1.5", notes={"MB": disk / 1e6})
        empty = _start_seconds()
        rig.restart()
        seconds = rig.start_seconds - empty
        notes: dict[str, float | str] = {"s more than an empty one": seconds, "s in all": rig.start_seconds}
        yield Row(f"{label}: restart", aim="< 1 s", notes=notes)
        rig.add_worker("nothing", QUEUE)
        started = time.perf_counter()
        with rig.measure() as meter:
            if tasks >= 100_000:
                yield _urgent(rig, label, payload)
            urgent_seconds = time.perf_counter() - started
            rig.drain()
        used = meter.usage
        rate = tasks / used.seconds
        yield Row(
            f"{label}: drained", rate, aim="500,000/s", usage=used, tasks=tasks, notes={"s urgent": urgent_seconds}
        )


def _urgent(rig: Rig, label: str, payload: dict[str, str]) -> Row:
    """Submits urgent tasks while the backlog is worked on, one after the other, and waits for each."""
    taken = timed(lambda: rig.client.submit(QUEUE, payload, priority=URGENT_PRIORITY).result(60.0), 0.2)
    p50, p99 = percentiles(taken)
    return Row(f"{label}: urgent task done", aim="at once", notes={"p50 ms": p50 * 1e3, "p99 ms": p99 * 1e3})


def _start_seconds() -> float:
    with Rig() as rig:
        return rig.start_seconds


def idle_workers(scale: Scale) -> Iterator[Row]:
    """1,000 connected workers that only beat, once a second each: what their liveness costs the coordinator.

    They are sockets of this process that speak the worker's part of the protocol: a thousand real ones would be what is
    measured, on a small machine.
    """
    count = 1000
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.max_sockets = 2 * count
    with Rig() as rig:
        sockets = []
        for number in range(count):
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.connect(rig.address)
            socket.send(encode(Hello(f"idle-{number}", "only", (QUEUE,), 1, 1, ())))
            sockets.append(socket)
        rig.wait_until(lambda: rig.status()["workers"] == count)
        beat = 0
        with rig.measure() as meter:
            until = time.perf_counter() + max(scale.seconds, 2.0)
            begun = time.perf_counter()
            while time.perf_counter() < until:
                socket = sockets[beat % count]
                socket.send(encode(Heartbeat(beat, ())))
                beat += 1
                while socket.poll(0):
                    socket.recv()
                time.sleep(max(0.0, begun + beat / count - time.perf_counter()))
        receipts = timed(lambda: rig.client.submit("unattended", {}), 0.2)
        notes: dict[str, float | str] = {
            "beats/s": beat / meter.usage.seconds,
            "receipt p50 ms": percentiles(receipts)[0] * 1e3,
        }
        share = meter.usage.coordinator_cpu / meter.usage.seconds
        yield Row("1,000 idle workers", floor="one core", ratio=share, aim="<= 0.05", usage=meter.usage, notes=notes)
        for socket in sockets:
            socket.close()
    context.term()
