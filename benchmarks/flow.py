"""The measurement that most workloads are made of: submit many tasks, and wait until all are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple

import bare
from rig import Rig, Usage

QUEUE = "orders"

PAYLOAD_OVERHEAD = 30
"""Bytes of a payload around its note."""

WARM_UP_PART = 20
"""Part of the tasks that is submitted before, so that processes, credit and file have their size."""


def payload_of(size: int) -> dict[str, str]:
    """Returns an order that takes so many bytes when it is encoded, or a few more."""
    return {"pizza": "margherita", "note": "x" * max(size - PAYLOAD_OVERHEAD, 0)}


THREADS = 16
"""That submit at the same time, where a call waits for each batch."""


class Scale(NamedTuple):
    """How much is measured."""

    factor: float  # by which the usual numbers of tasks are multiplied
    seconds: float  # of what is measured for a time
    repeat: int  # runs of which the median counts
    size: int  # bytes of a payload, where the workload does not say

    def tasks(self, usual: int, least: int = 1000) -> int:
        """Returns a number of tasks: whole thousands, so that batches of any size here fit."""
        return max(least, int(usual * self.factor) // least * least)


class Row(NamedTuple):
    """A line of the table."""

    name: str
    rate: float | None = None  # tasks a second
    floor: str = ""  # what `ratio` compares with
    ratio: float | None = None  # to the floor: of rates, more is better; of latencies, less is
    aim: str = ""
    usage: Usage | None = None
    tasks: int = 0
    notes: Mapping[str, float | str] = MappingProxyType({})


class Order(NamedTuple):
    """What a flow submits."""

    tasks: int
    batch: int
    payload: Any
    handler: str = "nothing"
    workers: int = 1
    finished_per_task: int = 1  # tasks that are done for each that was submitted
    options: Callable[[int], dict[str, Any]] | None = None  # of the submit of a batch, by its number
    prepare: Callable[[Rig], None] | None = None
    queues: tuple[str, ...] = (QUEUE,)


class Flow(NamedTuple):
    rate: float
    usage: Usage


def run(order: Order) -> Flow:
    """Starts a coordinator and workers, warms them up, and measures one flow."""
    with Rig() as rig:
        if order.prepare is not None:
            order.prepare(rig)
        for _ in range(order.workers):
            rig.add_worker(order.handler, *order.queues)
        warm = order.batch * max(1, order.tasks // WARM_UP_PART // order.batch)
        submit(rig, order, warm)
        rig.wait_done(warm * order.finished_per_task)
        with rig.measure() as meter:
            submit(rig, order, order.tasks)
            rig.wait_done((warm + order.tasks) * order.finished_per_task)
        return Flow(order.tasks / meter.usage.seconds, meter.usage)


def submit(rig: Rig, order: Order, tasks: int) -> None:
    """Submits in one call; batches with options of their own from several threads, since each such call waits for its
    receipt.
    """
    options = order.options
    if options is None:
        rig.client.submit_many(QUEUE, repeat(order.payload, tasks), batch_size=order.batch)
        return

    def submit_batch(number: int) -> None:
        rig.client.submit_many(QUEUE, repeat(order.payload, order.batch), batch_size=order.batch, **options(number))

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(submit_batch, range(tasks // order.batch)):
            pass


def pairs(order: Order, other: Callable[[], float], count: int) -> tuple[Flow, float, float]:
    """Runs a flow and what it is compared with in turn; returns the median flow, the median of the other, and the
    median ratio of the pairs.
    """
    others, flows = [], []
    for _ in range(count):
        others.append(other())
        flows.append(run(order))
    ratio = median(flow.rate / one for flow, one in zip(flows, others, strict=True))
    middle = sorted(flows, key=lambda flow: flow.rate)[len(flows) // 2]
    return middle, median(others), ratio


def bare_pipeline(order: Order) -> float:
    return bare.measure_pipeline(order.payload, order.tasks, order.batch)
