"""Workloads of many tasks in batches: how many a second go through from end to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from statistics import median
from typing import Any

import kitchen
from flow import QUEUE, THREADS, WARM_UP_PART, Flow, Order, Row, Scale, bare_pipeline, pairs, payload_of, run
from rig import Rig

FEW_KEYS = 1000
"""Customers whose orders carry a key."""


QUEUE_POLICIES: dict[str, dict[str, Any]] = {"hash": {"assign": "hash"}, "fair": {"fair": True}}


def batches(scale: Scale, batch: int, usual: int, aim: str) -> Iterator[Row]:
    """Batches of one size, against three bare processes with the same steps."""
    order = Order(scale.tasks(usual), batch, payload_of(scale.size))
    flow, floor, ratio = pairs(order, partial(bare_pipeline, order), scale.repeat)
    notes = {"floor tasks/s": floor}
    yield Row(f"batches of {batch}", flow.rate, "bare pipeline", ratio, aim, flow.usage, order.tasks, notes)


def payloads(scale: Scale, size: int, batch: int, usual: int) -> Iterator[Row]:
    order = Order(scale.tasks(usual, 100), batch, payload_of(size))
    flow, floor, ratio = pairs(order, partial(bare_pipeline, order), scale.repeat)
    notes = {"floor tasks/s": floor, "MB/s": flow.rate * size / 1e6}
    name = f"payloads of {size >> 10} KiB, batches of {batch}"
    yield Row(name, flow.rate, "bare pipeline", ratio, "", flow.usage, order.tasks, notes)


def _against(plain: Order, order: Order, scale: Scale, name: str, aim: str) -> Row:
    """Compares a flow with another of zq."""
    flow, base, ratio = pairs(order, lambda: run(plain).rate, scale.repeat)
    notes = {"plain tasks/s": base}
    return Row(name, flow.rate, "plain batches", ratio, aim, flow.usage, order.tasks, notes)


def results(scale: Scale) -> Iterator[Row]:
    """Handlers that return something; then also fetching every result."""
    plain = Order(scale.tasks(500_000), 100, payload_of(scale.size))
    yield _against(plain, plain._replace(handler="result"), scale, "results stored", ">= 0.5")
    rates = []
    for _ in range(scale.repeat):
        with Rig() as rig:
            rig.add_worker("result", QUEUE)
            started = time.perf_counter()
            with rig.measure() as meter:
                receipts = rig.client.submit_many(QUEUE, repeat(plain.payload, plain.tasks), batch_size=100)
                for receipt in receipts:
                    receipt.result(60.0)
            rates.append(plain.tasks / (time.perf_counter() - started))
    yield Row("results fetched one by one", median(rates), usage=meter.usage, tasks=plain.tasks)


def retries(scale: Scale) -> Iterator[Row]:
    plain = Order(scale.tasks(200_000), 100, payload_of(scale.size), options=lambda _: {"retry": "constant:0"})
    yield _against(plain, plain._replace(handler="failing"), scale, "1 % of the tasks retried", "")


def forwards(scale: Scale) -> Iterator[Row]:
    """Each task is done in one queue and forwarded to another, where it is done, too."""
    plain = Order(scale.tasks(300_000), 100, payload_of(scale.size))
    forwarding = plain._replace(handler="forward", finished_per_task=2, queues=(QUEUE, kitchen.FORWARD_TO))
    yield _against(plain, forwarding, scale, "forwarded to a second queue", ">= 0.4")


def keys(scale: Scale, policy: str) -> Iterator[Row]:
    """Batches with the key of one customer each, over two workers, in a queue that gives a key to its worker."""
    plain = Order(scale.tasks(300_000), 100, payload_of(scale.size), workers=2, options=lambda _: {})

    def prepare(rig: Rig) -> None:
        rig.client.command("set-queue", queue=QUEUE, **QUEUE_POLICIES[policy])

    keyed = plain._replace(options=lambda number: {"key": f"customer-{number % FEW_KEYS}"}, prepare=prepare)
    yield _against(plain, keyed, scale, f"keys, {policy}", ">= 0.3")


def ordered(scale: Scale) -> Iterator[Row]:
    """Orders of which each customer has one in work at a time: each task is a lease of its own, so also against batches
    of one.
    """
    plain = Order(scale.tasks(50_000), 100, payload_of(scale.size), workers=2, options=lambda _: {})
    keyed = plain._replace(options=lambda number: {"key": f"customer-{number % FEW_KEYS}", "ordered": True})
    yield _against(plain, keyed, scale, "keys, ordered", ">= 0.3")
    single = plain._replace(batch=1, options=None, workers=1)
    yield _against(single, keyed, scale, "keys, ordered, against batches of 1", "")


def workers(scale: Scale) -> Iterator[Row]:
    plain = Order(scale.tasks(500_000), 100, payload_of(scale.size))
    for count in (2, 4):
        yield _against(plain, plain._replace(workers=count), scale, f"{count} workers", "")


def queues(scale: Scale) -> Iterator[Row]:
    """Tasks spread over 10,000 queues, in batches of 10."""
    count = max(100, int(10_000 * min(scale.factor, 1.0)))
    names = tuple(f"shop-{number}" for number in range(count))
    payload = payload_of(scale.size)
    plain = Order(count * 10, 10, payload)
    base = run(plain).rate
    with Rig() as rig:
        rig.add_worker("nothing", *names)
        with rig.measure() as meter:
            _submit_to_each(rig, names, payload)
            rig.wait_done(count * 10)
    rate = count * 10 / meter.usage.seconds
    notes = {"plain tasks/s": base}
    yield Row(f"{count:,} queues", rate, "plain batches", rate / base, "", meter.usage, count * 10, notes)


def _submit_to_each(rig: Rig, names: tuple[str, ...], payload: dict[str, str]) -> None:
    def submit(name: str) -> None:
        rig.client.submit_many(name, repeat(payload, 10))

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(submit, names):
            pass


def growth(scale: Scale) -> Iterator[Row]:
    """The cost of a task behind a backlog of 10 million against one behind 10,000."""
    large = scale.tasks(10_000_000)
    tasks = scale.tasks(500_000)
    flows: list[Flow] = []
    for backlog in (10_000, large):
        flows.append(_behind(backlog, Order(tasks, 100, payload_of(scale.size))))
    small, big = (flow.usage.coordinator_cpu for flow in flows)
    notes = {"s behind 10,000": flows[0].usage.seconds, "s": flows[1].usage.seconds}
    name = f"cost behind a backlog of {large:,}"
    yield Row(name, flows[1].rate, "CPU behind 10,000", big / small, "<= 1.2", flows[1].usage, tasks, notes)


def _behind(backlog: int, order: Order) -> Flow:
    """Submits and works through a number of tasks while so many others wait: first in, first out."""
    with Rig() as rig:
        rig.client.submit_many(QUEUE, repeat(order.payload, backlog))
        warm = order.tasks // WARM_UP_PART
        rig.add_worker("nothing", QUEUE)
        rig.client.submit_many(QUEUE, repeat(order.payload, warm), batch_size=order.batch)
        done = int(rig.status()["done"])
        with rig.measure() as meter:
            rig.client.submit_many(QUEUE, repeat(order.payload, order.tasks), batch_size=order.batch)
            rig.wait_until(lambda: rig.status()["done"] >= done + order.tasks)
        return Flow(order.tasks / meter.usage.seconds, meter.usage)
