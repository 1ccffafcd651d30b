"""What is left of those who wait no longer: waits that time out, and pulls whose clients are killed.

Both are to cost the same however often they have happened, and leave nothing. The rows have the first and the last part
of each, to compare.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import zmq
from flow import QUEUE, Row, Scale
from rig import Rig, Usage

import zq
from zq.wire.codec import encode
from zq.wire.messages import Pull

PORTIONS = 10

POLL_TIMEOUT = 0.0005
"""Seconds: of a web server that looks whether a task has ended."""

PULLERS, REAL_PULLERS = 50, 3
"""Killed in a round: connections in all, and how many of them are processes of their own."""

STOPPED_PULLERS = 1
"""Of the processes of a round, those that are stopped before they are killed: nothing tells that they are dead."""

PULL_LEASE = 5.0

PULLER = """
import sys, zq
with zq.Client(sys.argv[1]) as client:
    client.ping()
    print("ready", flush=True)
    client.pull(sys.argv[2], wait=600, lease=float(sys.argv[3]))
"""


def waits(scale: Scale) -> Iterator[Row]:
    """Looks again and again for the result of a task by its id, and gives up each time."""
    polls = scale.tasks(10_000) // PORTIONS
    for name, poll in (("polled by id", _poll), ("polled by awaiting", _poll_awaiting)):
        with Rig() as rig:
            id = rig.client.submit("unattended", None).id
            poll(rig, id, 200)
            memory = [rig.rss_bytes()]
            used = []
            for _ in range(PORTIONS):
                with rig.measure() as meter:
                    poll(rig, id, polls)
                used.append(meter.usage)
                memory.append(rig.rss_bytes())
        yield _compared(f"{polls * PORTIONS:,} given-up waits, {name}", used, polls, memory)


def _poll(rig: Rig, id: str, count: int) -> None:
    for _ in range(count):
        with contextlib.suppress(zq.TimedOutError):
            rig.client.result(id, timeout=POLL_TIMEOUT)


def _poll_awaiting(rig: Rig, id: str, count: int) -> None:
    async def poll() -> None:
        async with zq.AsyncClient(rig.address) as client:
            for _ in range(count):
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(client.result(id), POLL_TIMEOUT)

    asyncio.run(poll())


def pullers(scale: Scale) -> Iterator[Row]:
    """Kills clients while they wait for a task, submits as many tasks, and looks who gets them: there is a worker with
    nothing to do. Most clients are sockets of this process, which are closed without a word, and of which the
    coordinator knows no more than of killed ones; some are processes that are killed, and some of these are stopped
    before, so that not even their connection ends.
    """
    rounds = max(2, scale.tasks(1000) // PULLERS)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    used = []
    with Rig() as rig:
        rig.add_worker("nothing", QUEUE)
        memory = [rig.rss_bytes()]
        for _ in range(rounds):
            children = [_start_puller(rig) for _ in range(REAL_PULLERS)]
            sockets = [_pulling(context, rig, number) for number in range(PULLERS - REAL_PULLERS)]
            rig.client.ping()
            _kill(children, sockets)
            with rig.measure() as meter:
                rig.client.submit_many(QUEUE, [None] * PULLERS, batch_size=1, on_lost="cancel", max_attempts=1)
                rig.drain()
            for child in children:
                child.kill()  # those that were stopped
                child.communicate()
            used.append(meter.usage)
            memory.append(rig.rss_bytes())
        status, counts = rig.status(), rig.client.queues.show(QUEUE)
    context.term()
    row = _compared(f"{rounds * PULLERS:,} killed pullers", used, PULLERS, memory)
    ends = {"done": counts.done, "cancelled": counts.cancelled, "leases that nobody has": status["leased"]}
    slowest = max(one.seconds for one in used)
    yield row._replace(notes={**row.notes, **ends, "s until all were done, at most": slowest})


def _start_puller(rig: Rig) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", PULLER, rig.address, QUEUE, str(PULL_LEASE)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    return child


def _pulling(context: zmq.Context[zmq.Socket[bytes]], rig: Rig, number: int) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.linger = 0
    socket.connect(rig.address)
    socket.send(encode(Pull(1, f"puller-{number}-{os.urandom(4).hex()}", QUEUE, 1, 60.0, PULL_LEASE)))
    return socket


def _kill(children: list[subprocess.Popen[bytes]], sockets: list[zmq.Socket[bytes]]) -> None:
    time.sleep(0.3)  # they have said that they pull, and the coordinator has heard it
    for number, child in enumerate(children):
        os.kill(child.pid, signal.SIGSTOP if number < STOPPED_PULLERS else signal.SIGKILL)
    for socket in sockets:
        socket.close(0)


def _compared(name: str, used: list[Usage], each: int, memory: list[int]) -> Row:
    first, last = used[0], used[-1]
    middle = memory[len(memory) // 2]
    notes: dict[str, float | str] = {
        "client ms each, first": first.client_cpu / each * 1e3,
        "client ms each, last": last.client_cpu / each * 1e3,
        "coordinator ms each, first": first.coordinator_cpu / each * 1e3,
        "coordinator ms each, last": last.coordinator_cpu / each * 1e3,
        "coordinator MB at start, middle, end": ", ".join(
            f"{one / 1e6:.1f}" for one in (memory[0], middle, memory[-1])
        ),
    }
    return Row(name, aim="flat", notes=notes)
