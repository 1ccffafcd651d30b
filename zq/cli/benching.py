"""What `zq bench` does: a coordinator and a worker in processes of their own, and this process as the client."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from typing import Any, NamedTuple

from zq.client import Client
from zq.errors import UnreachableError, ZqError
from zq.task import Task
from zq.worker import Worker

QUEUE = "zq-bench"

START_PATIENCE = 10.0
"""Seconds for a process to start."""

POLL_INTERVAL = 0.005

worker = Worker("tcp://127.0.0.1:7700", name="zq-bench")
"""What the worker process runs; its address comes from the command line."""


@worker.task(QUEUE)
def handle(task: Task) -> None:
    """Does nothing: what is measured is everything around it."""


class Plan(NamedTuple):
    """Parameters of a measurement; counts are of tasks, `size` is in bytes."""

    tasks: int
    batch: int
    size: int
    single: int
    processes: int
    address: str | None


def measure(plan: Plan) -> dict[str, Any]:
    """Runs the measurement and returns parameters and figures; rates are tasks a second, latencies seconds."""
    with ExitStack() as stack:
        address = plan.address or stack.enter_context(_coordinator())
        stack.enter_context(_process("worker", "zq.cli.benching:worker", "--processes", str(plan.processes), "--address", address))
        client = stack.enter_context(Client(address, timeout=60.0))
        _wait_for_worker(client)
        before = _done(client)
        figures = {**plan._asdict(), "address": address, "cores": os.cpu_count()}
        figures |= _measure_batches(client, plan, before)
        if plan.single:
            figures |= _measure_singles(client, plan)
        _wait_done(client, before + plan.tasks + plan.single)
        status = client.query("status")
        figures["done"] = _done(client) - before
        figures["commits"] = status["commits"]
    return figures


def _measure_batches(client: Client, plan: Plan, before: int) -> dict[str, Any]:
    payload = b"x" * max(1, plan.size - 2)  # msgpack adds two bytes
    started = time.perf_counter()
    client.submit_many(QUEUE, (payload for _ in range(plan.tasks)), batch_size=plan.batch)
    accepted = time.perf_counter() - started
    _wait_done(client, before + plan.tasks)
    ended = time.perf_counter() - started
    return {"accepted_per_second": round(plan.tasks / accepted), "done_per_second": round(plan.tasks / ended)}


def _measure_singles(client: Client, plan: Plan) -> dict[str, Any]:
    payload = b"x" * max(1, plan.size - 2)
    latencies = []
    for _ in range(plan.single):
        started = time.perf_counter()
        client.submit(QUEUE, payload)
        latencies.append(time.perf_counter() - started)
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return {
        "single_per_second": round(plan.single / sum(latencies)),
        "receipt_p50": round(cuts[49], 6),
        "receipt_p99": round(cuts[98], 6),
    }


def _done(client: Client) -> int:
    return next((int(row["done"]) for row in client.query("queues") if row["name"] == QUEUE), 0)


def _wait_done(client: Client, count: int) -> None:
    while _done(client) < count:
        time.sleep(POLL_INTERVAL)


def _wait_for_worker(client: Client) -> None:
    give_up_at = time.monotonic() + START_PATIENCE
    while not client.query("workers"):
        if time.monotonic() > give_up_at:
            raise ZqError("the worker process did not start")
        time.sleep(POLL_INTERVAL)


@contextmanager
def _coordinator() -> Iterator[str]:
    """Runs a coordinator on a directory that is removed afterwards; yields its address."""
    with tempfile.TemporaryDirectory(prefix="zq-bench-") as directory:
        address = f"ipc://{directory}/socket"
        with _process("coordinator", "--data", f"{directory}/data", "--bind", address):
            with Client(address, timeout=START_PATIENCE) as client:
                try:
                    client.ping()
                except UnreachableError as error:
                    raise ZqError("the coordinator process did not start") from error
            yield address


@contextmanager
def _process(*arguments: str) -> Iterator[None]:
    command = [sys.executable, "-m", "zq.cli", *arguments, "--log-level", "warning"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def text(figures: dict[str, Any]) -> str:
    """Returns the figures for people."""
    lines = [
        f"{figures['tasks']} tasks of {figures['size']} bytes in batches of {figures['batch']}, {figures['cores']} cores, fsync on",
        f"accepted          {figures['accepted_per_second']:>10,} tasks/s",
        f"done, end to end  {figures['done_per_second']:>10,} tasks/s",
    ]
    if "receipt_p50" in figures:
        lines += [
            f"one at a time     {figures['single_per_second']:>10,} tasks/s  ({figures['single']} tasks)",
            f"receipt           p50 {figures['receipt_p50'] * 1000:.2f} ms, p99 {figures['receipt_p99'] * 1000:.2f} ms",
        ]
    lines.append(f"commits           {figures['commits']:>10,}")
    return "\n".join(lines)
