"""An honest caller beside one hostile peer at a time: what the caller notices, and what the coordinator keeps of it.

The store is large: a million tasks, 100,000 queues, 10,000 schedules, dead letters with long reasons. The caller
submits one task after the other, each durable before the next. Each row compares its latencies while a peer is hostile
with those just before, in the same run: on few cores the peer's own work takes time, too.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import attackers
from flow import Row, Scale
from rig import Rig

import zq
from zq.wire.messages import Submit

SECONDS = 3.0
"""Of each hostile peer."""

BATCH = 1000

DEAD_BATCHES = 30

REASON = "r" * 16_000


class Seen(NamedTuple):
    """What an honest caller saw for a while."""

    rate: float  # submits a second
    p50: float  # seconds
    p99: float
    worst: float


def attacked(scale: Scale) -> Iterator[Row]:
    """Plays each hostile peer for a few seconds, one after the other, against one coordinator."""
    chosen = os.environ.get("ZQ_ATTACKS", "")
    names = [name for name in (*attackers.MESSAGES, *attackers.PEERS) if chosen in name]
    with Rig() as rig:
        _fill(rig, scale)
        _watch(rig, 1.0)
        for name in names:
            yield _one(rig, name, scale)


def _fill(rig: Rig, scale: Scale) -> None:
    client = rig.client
    for queue in ("big", "big2"):
        client.submit_many(queue, [None] * scale.tasks(500_000), batch_size=BATCH)
    client.submit("large", b"x" * 1_000_000, id="large")
    client.submit("large", None, id="first")
    dealer = attackers.Dealer(rig.address)
    for number in range(DEAD_BATCHES):
        tasks = attackers.many_tasks("graves", BATCH)._replace(id=f"b{number}")
        dealer.send(Submit(number, (tasks,)))
        dealer.socket.recv()
        client.dead.bury(f"b{number}", REASON)
    queues, schedules = scale.tasks(100_000, 100), scale.tasks(10_000, 100)
    for half in (range(queues // 2), range(queues // 2, queues)):  # one peer may not make as many
        asyncio.run(_fill_queues(rig.address, half))
    asyncio.run(_fill_schedules(rig.address, schedules))


async def _fill_queues(address: str, numbers: range) -> None:
    async with zq.AsyncClient(address, timeout=120.0) as client:
        for first in range(0, len(numbers), BATCH):
            await asyncio.gather(*(client.submit(f"c{one}", None) for one in numbers[first : first + BATCH]))


async def _fill_schedules(address: str, count: int) -> None:
    async with zq.AsyncClient(address, timeout=120.0) as client:
        for first in range(0, count, 100):
            await asyncio.gather(
                *(client.schedules.define(f"daily-{first + one}", "slots", None, every=86_400.0) for one in range(100))
            )


def _watch(rig: Rig, seconds: float) -> Seen:
    """Submits one task after the other for a while."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while (began_at := time.perf_counter()) < until:
        rig.client.submit("honest", None)
        took.append(time.perf_counter() - began_at)
    took.sort()
    return Seen(len(took) / seconds, took[len(took) // 2], took[len(took) * 99 // 100], took[-1])


def _one(rig: Rig, name: str, scale: Scale) -> Row:
    seconds = min(SECONDS, max(scale.seconds, 0.5))
    command = [sys.executable, str(Path(attackers.__file__)), rig.address, name, str(seconds)]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert peer.stdin is not None
    assert peer.stdout is not None
    peer.stdout.readline()
    before, memory, descriptors = _watch(rig, 1.0), rig.rss_bytes(), _descriptors(rig)
    with rig.measure() as meter:
        peer.stdin.write("\n")
        peer.stdin.flush()
        during = _watch(rig, seconds)
    most = _descriptors(rig)
    said = peer.communicate()[0].strip()
    time.sleep(0.5)
    after = _watch(rig, 1.0)
    notes: dict[str, float | str] = {
        "p50 before, during, after, ms": _three(before.p50, during.p50, after.p50),
        "p99": _three(before.p99, during.p99, after.p99),
        "worst": _three(before.worst, during.worst, after.worst),
        "rate of before, %": during.rate / before.rate * 100,
        "MB before, most, after": f"{memory / 1e6:.0f}, {meter.usage.rss_bytes / 1e6:.0f}, {rig.rss_bytes() / 1e6:.0f}",
        "descriptors": f"{descriptors}, {most}, {_descriptors(rig)}",
    }
    if said:
        notes["said"] = said
    return Row(name, during.rate, "before, p99", during.p99 / before.p99, "<= 2, < 50 ms", notes=notes)


def _three(*seconds: float) -> str:
    return ", ".join(f"{one * 1e3:.1f}" for one in seconds)


def _descriptors(rig: Rig) -> int:
    return sum(1 for _ in Path(f"/proc/{rig.pid}/fd").iterdir())
