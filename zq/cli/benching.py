"""What `zq bench` does: a coordinator and a worker in processes of their own, and this process as the client.

They are children, which end with it, whatever ends it.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from typing import Any, NamedTuple

from zq.cli.arguments import TIMEOUT
from zq.cli.starting import member
from zq.client.client import Client
from zq.client.queues import QueueStatus
from zq.errors import UnreachableError, ZqError
from zq.processes.children import start_program, wait_or_kill
from zq.processes.exits import describe_exit
from zq.processes.own_folder import own_folder
from zq.task import Task
from zq.worker.worker import Worker

QUEUE_VARIABLE = "ZQ_BENCH_QUEUE"

BENCH_QUEUE = os.environ.get(QUEUE_VARIABLE) or f"zq-bench-{secrets.token_hex(4)}"
"""Each measurement has a queue of its own, which its worker gets from the environment: a coordinator with other work
can be measured, too.
"""

START_PATIENCE = 10.0
"""Seconds for a process to start."""

STALL_PATIENCE = 60.0
"""Seconds without any task done after which a measurement is given up."""

POLL_INTERVAL = 0.005

worker = Worker("tcp://127.0.0.1:7700", name=BENCH_QUEUE)
"""What the worker process runs; its address comes from the command line."""


@worker.task(BENCH_QUEUE)
def handle(task: Task) -> None:
    """Does nothing: what is measured is everything around it."""


class BenchPlan(NamedTuple):
    """Parameters of a measurement; counts are of tasks, `size` is in bytes."""

    tasks: int
    batch: int
    size: int
    single: int
    processes: int
    address: str | None


def measure(plan: BenchPlan) -> dict[str, Any]:
    """Runs the measurement and returns parameters and figures; rates are tasks a second, latencies seconds."""
    with _ended_in_order(), ExitStack() as stack:
        address = plan.address or stack.enter_context(_coordinator())
        key = None if plan.address else ""  # its own needs none
        client = stack.enter_context(Client(address, timeout=60.0, key=key))
        _check_there(address, key)  # before a worker is started that would wait for ever
        commits = client.query("status")["commits"]
        how = ("--processes", str(plan.processes), "--address", address)
        check = stack.enter_context(_process("worker", "zq.cli.benching:worker", *how, key=key))
        _wait_for_worker(client, check)
        figures = {**plan._asdict(), "address": address, "cores": os.cpu_count()}
        figures |= _measure_batches(client, plan, check)
        if plan.single:
            figures |= _measure_singles(client, plan)
        _wait_done(client, plan.tasks + plan.single, check)
        figures["done"] = _queue(client).done
        figures["commits"] = client.query("status")["commits"] - commits
    return figures


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Has signals that ask for the end do what Ctrl-C does: what was started ends, and what was made is removed."""
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _check_there(address: str, key: str | None) -> None:
    with Client(address, timeout=TIMEOUT, key=key) as client:
        client.ping()


def _measure_batches(client: Client, plan: BenchPlan, check: Callable[[], None]) -> dict[str, Any]:
    payload = b"x" * max(1, plan.size - 2)  # msgpack adds two bytes
    started = time.perf_counter()
    client.submit_many(BENCH_QUEUE, (payload for _ in range(plan.tasks)), batch_size=plan.batch)
    accepted = time.perf_counter() - started
    _wait_done(client, plan.tasks, check)
    ended = time.perf_counter() - started
    return {"accepted_per_second": round(plan.tasks / accepted), "done_per_second": round(plan.tasks / ended)}


def _measure_singles(client: Client, plan: BenchPlan) -> dict[str, Any]:
    payload = b"x" * max(1, plan.size - 2)
    latencies = []
    for _ in range(plan.single):
        started = time.perf_counter()
        client.submit(BENCH_QUEUE, payload)
        latencies.append(time.perf_counter() - started)
    cuts = quantiles(latencies, n=100) if len(latencies) > 1 else latencies * 99
    return {
        "single_per_second": round(plan.single / sum(latencies)),
        "receipt_p50": round(cuts[49], 6),
        "receipt_p99": round(cuts[98], 6),
    }


def _queue(client: Client) -> QueueStatus:
    """Returns the queue that is measured."""
    return next(queue for queue in client.queues.list() if queue.name == BENCH_QUEUE)


def _wait_done(client: Client, count: int, check: Callable[[], None]) -> None:
    known, give_up_at = -1, 0.0
    while (queue := _queue(client)).done < count:
        check()
        if queue.dead:
            raise ZqError(f"{queue.dead} tasks of the measurement failed")
        if queue.done > known:
            known, give_up_at = queue.done, time.monotonic() + STALL_PATIENCE
        elif time.monotonic() > give_up_at:
            raise ZqError(f"no task was done for {STALL_PATIENCE:.0f} s; {known} of {count} are")
        time.sleep(POLL_INTERVAL)


def _wait_for_worker(client: Client, check: Callable[[], None]) -> None:
    give_up_at = time.monotonic() + START_PATIENCE
    while not any(BENCH_QUEUE in worker.queues for worker in client.workers.list()):
        check()
        if time.monotonic() > give_up_at:
            raise ZqError("the worker process did not start")
        time.sleep(POLL_INTERVAL)


@contextmanager
def _coordinator() -> Iterator[str]:
    """Runs a coordinator on a directory that is removed afterwards; yields its address."""
    with own_folder("bench") as directory:
        address = f"ipc://{directory}/socket"
        with _process("coordinator", "--data", f"{directory}/data", "--bind", address) as check:
            with Client(address, timeout=START_PATIENCE, key="") as client:
                try:
                    client.ping()
                except UnreachableError as error:
                    check()
                    raise ZqError("the coordinator process did not start") from error
            yield address


@contextmanager
def _process(*arguments: str, key: str | None = None) -> Iterator[Callable[[], None]]:
    """Runs a command of zq; yields a function that raises, with what the process said, if it has ended."""
    environment = {**os.environ, QUEUE_VARIABLE: BENCH_QUEUE} | ({} if key is None else {"ZQ_KEY": key})
    log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process; a pipe that nobody reads would fill up
    command = (*arguments, "--log-level", "warning")
    process = start_program(member.__name__, *command, stderr=log.fileno(), environment=environment)

    def check() -> None:
        if process.poll() is not None:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()
            raise ZqError(f"the {arguments[0]} process {describe_exit(process.returncode)}: {said}")

    try:
        yield check
    finally:
        process.terminate()
        wait_or_kill(process, 10.0)
        log.close()


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
