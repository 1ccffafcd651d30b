"""The worker of the chaos: a handler for each thing that is promised, and notes of all that they do."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zq
from tests.chaos import notes

worker = zq.Worker()


def made_of(payload: int) -> int:
    """What a part of a group is worth."""
    return 3 * payload + 1


def noted(handle: Callable[[zq.Task], Any]) -> Callable[[zq.Task], Any]:
    """Returns a handler that notes its start and its end, or that it failed; what it made stands in the note."""

    def run(task: zq.Task) -> Any:
        notes.write("start", task.queue, task.id, task.token)
        try:
            made = handle(task)
        except (zq.Retry, zq.Bury):
            notes.write("fail", task.queue, task.id, task.token)
            raise
        notes.write("end", task.queue, task.id, task.token, json.dumps(made))
        return made

    return run


@worker.task("orders")
@noted
def bake(task: zq.Task) -> int:
    """Bakes; some have to be tried twice. Returns the token under which it did."""
    _work(task)
    if task.payload.get("fails", 0) >= task.attempt:
        raise zq.Retry(0.01, "the oven is cold")
    return task.token


@worker.task("lines")
@noted
def bake_in_line(task: zq.Task) -> int:
    _work(task)
    return task.token


@worker.task("alone")
@noted
def bake_alone(task: zq.Task) -> int:
    _work(task)
    return task.token


@worker.task("relay")
@noted
def bake_and_send(task: zq.Task) -> int:
    """Sends what it has baked, under the token with which it did."""
    _work(task)
    task.forward("sink", {"of": task.id, "token": task.token})
    return task.token


@worker.task("sink")
@noted
def receive(task: zq.Task) -> Any:
    return task.payload


@worker.task("parts")
@noted
def make_part(task: zq.Task) -> int:
    _work(task)
    if task.payload["bad"]:
        raise zq.Bury("a bad part")
    return made_of(task.payload["n"])


@worker.task("boxes")
@noted
def put_together(task: zq.Task) -> Any:
    return task.payload


@worker.task("trees")
@noted
def grow(task: zq.Task) -> int:
    """Opens a group in the place of itself."""
    _work(task)
    members = [{"n": task.payload["n"] + i, "bad": False, "seconds": 0.0} for i in range(3)]
    task.group(members, queue="parts", callback="sums")
    return 0


@worker.task("sums")
@noted
def add(task: zq.Task) -> int:
    return sum(task.payload)


@worker.task("news-1")
@worker.task("news-2")
@worker.task("news-3")
@noted
def read_news(task: zq.Task) -> Any:
    return task.topic


@worker.task("brittle")
@noted
def break_once(task: zq.Task) -> int:
    """Breaks the first time, whatever became of it then."""
    mark = Path(os.environ[notes.LEDGER]).parent / "broken" / task.id
    if not mark.exists():
        mark.touch()
        raise zq.Bury("it breaks")
    return task.token


@worker.task("complaints")
@noted
def hear(task: zq.Task) -> Any:
    return task.headers.get("zq-id", "")


@worker.task("ticks")
@noted
def tick(task: zq.Task) -> int:
    return task.token


@worker.task("slow")
@noted
def bake_until_called_off(task: zq.Task) -> int:
    """Bakes until it is cancelled, or long enough."""
    give_up_at = time.monotonic() + task.payload["seconds"]
    while not task.cancelled and time.monotonic() < give_up_at:
        time.sleep(0.005)
    return task.token


@worker.task("poison")
@noted
def die(task: zq.Task) -> None:
    """Takes its process with it, in each way that there is."""
    match task.payload["how"]:
        case "exit":
            os._exit(7)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "kill":  # as a machine does that is out of memory
            os.kill(os.getpid(), signal.SIGKILL)
        case "endless":
            while True:
                pass


QUEUES = frozenset(worker.handlers)
"""Which this worker works for; all else that there is belongs to those who pull and to pipelines."""


def _work(task: zq.Task) -> None:
    if seconds := task.payload.get("seconds"):
        time.sleep(seconds)
