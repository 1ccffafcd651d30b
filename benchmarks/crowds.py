"""Workloads with much of something: tasks that wait, and workers that have nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from heapq import heappush, heapreplace
from itertools import repeat

import zmq
from flow import QUEUE, Row, Scale, payload_of
from latency import percentiles, timed
from rig import Rig

from zq.sessions.worker import WorkerSession
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import Heartbeat
from zq.wire.steering import About

URGENT_PRIORITY = 9

IDLE_WORKERS = 1000

IDLE_SETTLE_SECONDS = 4.0
"""In which they come one after the other, and then learn how often to beat."""

ANSWER_SECONDS = 0.05
"""After which an answer that a worker has asked for is looked for."""


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


class IdleWorker:
    """A worker that never has anything in hand: what its session says, by a socket of its own."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str, number: int) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(address)
        self.beats = 0
        self._session = WorkerSession(f"idle-{number}", "only", (QUEUE,), 1, lambda: ())
        self._session.tell(About("here", number, 0, 1, is_draining=False, trouble=None))
        self._session.connected(time.monotonic())

    def act(self) -> float:
        """Hears what has come, says what is due, and returns when to do so again (monotonic)."""
        now, session = time.monotonic(), self._session
        while self.socket.poll(0):
            session.receive(now, decode_from_coordinator(self.socket.recv()))
        session.tick(now)
        for message in session.take_outbox():
            self.beats += isinstance(message, Heartbeat)
            self.socket.send(encode(message))
        return now + ANSWER_SECONDS if session.is_asking else session.next_at()


def idle_workers(scale: Scale) -> Iterator[Row]:
    """1,000 connected workers that only beat: what their liveness costs the coordinator.

    They are sockets of this process: a thousand real ones would be what is measured, on a small machine.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.max_sockets = 2 * IDLE_WORKERS
    workers: list[IdleWorker] = []
    due: list[tuple[float, int]] = []

    def beat_for(seconds: float) -> None:
        until = time.monotonic() + seconds
        while due[0][0] < until:
            at, number = due[0]
            time.sleep(max(0.0, at - time.monotonic()))
            heapreplace(due, (workers[number].act(), number))

    with Rig() as rig:
        for number in range(IDLE_WORKERS):
            workers.append(IdleWorker(context, rig.address, number))
            heappush(due, (0.0, number))
            beat_for(IDLE_SETTLE_SECONDS / IDLE_WORKERS)
        beat_for(IDLE_SETTLE_SECONDS)
        before = sum(worker.beats for worker in workers)
        with rig.measure() as meter:
            beat_for(max(scale.seconds, IDLE_SETTLE_SECONDS))
        beats = sum(worker.beats for worker in workers) - before
        live = sum(row["state"] == "live" for row in rig.client.query("workers"))
        receipts = timed(lambda: rig.client.submit("unattended", {}), 0.2)
        notes: dict[str, float | str] = {
            "beats/s": beats / meter.usage.seconds,
            "live": live,
            "receipt p50 ms": percentiles(receipts)[0] * 1e3,
        }
        share = meter.usage.coordinator_cpu / meter.usage.seconds
        yield Row("1,000 idle workers", floor="one core", ratio=share, aim="<= 0.04", usage=meter.usage, notes=notes)
        for worker in workers:
            worker.socket.close()
    context.term()
