"""The program around the kinds of workers that a program hosts: it gets the name of a deed, and tells how a trial went.

python -m tests.matrix.host KIND DESCRIPTOR FOLDER
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import zq
from tests.matrix.deeds import Order, perform
from tests.matrix.shop import perform_awaited, perform_stage

RESULT_TIMEOUT = 25.0
"""Seconds after which a task has not ended, for the matrix."""

LATER_MAX = 5_000
"""Items of a lossy run behind those of the trial: more than are under way at once."""

Outcomes = dict[str, str]
"""How the tasks of a trial ended: before, odd, after, later."""

Try = Callable[[list[Order]], Outcomes]


def outcome_of(end: Callable[[], Any]) -> str:
    """Returns in words how something ended."""
    try:
        return f"done: {end()}"
    except BaseException as error:
        try:
            text = str.__getitem__(str(error), slice(100_000))
        except BaseException:
            text = "no text"
        return f"failed: {type(error).__name__}: {text}"


def executor(folder: Path) -> Try:
    calls = zq.Executor(max_workers=1)

    def try_out(orders: list[Order]) -> Outcomes:
        *first, later = orders
        futures = [calls.submit(perform, order) for order in first]
        ended = {order["place"]: _end_of(future) for order, future in zip(first, futures, strict=True)}
        return ended | {later["place"]: _end_of(calls.submit(perform, later))}

    def _end_of(future: Any) -> str:
        return outcome_of(lambda: future.result(RESULT_TIMEOUT))

    return try_out


def memory(handler: Callable[[Order], Any]) -> Try:
    app = zq.App.memory()
    app.task(queue="orders", max_attempts=1)(handler)

    def try_out(orders: list[Order]) -> Outcomes:
        *first, later = orders
        receipts = app.client.submit_many("orders", [{"order": order} for order in first], max_attempts=1)
        problem = outcome_of(app.run_pending)
        ended = {order["place"]: _end_of(receipt) for order, receipt in zip(first, receipts, strict=True)}
        if not problem.startswith("done"):
            ended["odd"] = f"run_pending {problem}"
        return ended | {later["place"]: _end_of(app.client.submit("orders", {"order": later}, max_attempts=1))}

    def _end_of(receipt: Any) -> str:
        return outcome_of(lambda: receipt.result(RESULT_TIMEOUT))

    return try_out


def stages(**options: Any) -> Try:
    def try_out(orders: list[Order]) -> Outcomes:
        ended: Outcomes = {}
        run = perform_stage.run(orders, on_error="collect", quiet=True, **options)
        with run:
            for result in run:
                place, _, text = result.partition(": ")
                ended[place] = f"done: {text}"
            for error in run.errors:
                ended[error.item["place"]] = f"failed: {error.error}"
        if run.lost:
            ended.setdefault("odd", f"lost: {run.lost}")
        return ended

    return try_out


def durable_stage(folder: Path) -> Try:
    numbers = count()

    def try_out(orders: list[Order]) -> Outcomes:
        return stages(data=folder / f"run-{next(numbers)}.zq")(orders)

    return try_out


def lossy_stage(folder: Path) -> Try:
    def try_out(orders: list[Order]) -> Outcomes:
        more: Iterator[Order] = iter(())
        if orders[1]["deed"] in ("os._exit", "SIGSEGV"):
            more = (orders[-1] for _ in range(LATER_MAX))
        return stages(allow_loss=True)([*orders, *more])

    return try_out


HOSTS: dict[str, Callable[[Path], Try]] = {
    "executor": executor,
    "memory": lambda folder: memory(perform),
    "coroutines in memory": lambda folder: memory(perform_awaited),
    "durable stage": durable_stage,
    "stage in a process": lossy_stage,
    "stage in a thread": lambda folder: stages(threads=True),
}


def main() -> None:
    kind, descriptor, folder = sys.argv[1:]
    line = socket.socket(fileno=int(descriptor))
    try_out = HOSTS[kind](Path(folder))
    with line.makefile("r") as orders:
        for text in orders:
            line.sendall(json.dumps(try_out(json.loads(text))).encode() + b"\n")


if __name__ == "__main__":
    main()
