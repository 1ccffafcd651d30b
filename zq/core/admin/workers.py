"""Workers as answers show them, and how they are told what to do (protocol 3.4).

A worker is its own master: the coordinator passes a wish on, once, to where it is connected now, and keeps nothing of
it. What came of it the worker says itself (`about`), so its row shows what is, not what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from zq.core.arguments import InvalidRequestError, text_in
from zq.core.state.batch import bits
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Holder, Lease
from zq.core.state.step import Step
from zq.errors import short
from zq.wire.steering import STEER_ACTIONS, WORKER_SIZE_MAX, Steer, is_steer_action

SHOWN_TASKS: Final = 20
"""Tasks that the row of a worker shows, of those that it holds."""


def worker_row(worker: Holder, step: Step) -> dict[str, Any]:
    """Returns a worker as the query `workers` shows it."""
    about = worker.about
    return {
        "name": worker.name,
        "state": _state_of(worker),
        "queues": list(worker.queues),
        "credit": worker.credit,
        "held": worker.held,
        "running": sum([len(lease.started) for lease in worker.leases.values()]),
        "heard_ago": round(step.now - worker.heard_at, 3),
        "connected_for": None if worker.peer is None else round(step.now - worker.connected_at, 3),
        "done": worker.done,
        "tasks": list(islice(_tasks(worker, step), SHOWN_TASKS)),
        "concurrency": worker.concurrency,
        "processes": None if about is None else about.processes,
        "host": None if about is None else about.host,
        "pid": None if about is None else about.pid,
        "is_draining": about is not None and about.is_draining,
        "trouble": None if about is None else about.trouble,
    }


def _state_of(worker: Holder) -> str:
    is_stuck = worker.life is Life.LIVE and worker.idle_finds > 0
    return "stuck" if is_stuck else worker.life.value


def _tasks(worker: Holder, step: Step) -> Iterator[dict[str, Any]]:
    """Yields what a worker holds: first what has started, then what has not."""
    offset = step.wall - step.now
    for lease in worker.leases.values():
        for index, started_at in lease.started.items():
            yield _task(lease, index, round(started_at + offset, 3))
    for lease in worker.leases.values():
        for index in islice(_unstarted(lease), SHOWN_TASKS):
            yield _task(lease, index, None)


def _unstarted(lease: Lease) -> Iterator[int]:
    first = lease.batch.first
    return (bit + first for bit in bits(lease.mask) if bit + first not in lease.started)


def _task(lease: Lease, index: int, started_time: float | None) -> dict[str, Any]:
    batch = lease.batch
    return {"id": batch.task_id(index), "queue": batch.queue.name, "started_time": started_time}


def steer(books: Books, step: Step, arguments: dict[str, Any]) -> dict[str, Any]:
    """Tells a worker to drain, to stop, to resume, or to have another size; returns its row, as it is before that.

    Raises:
        InvalidRequestError: there is no such worker, it cannot be told, or an argument cannot be.
    """
    name, action, size = text_in(arguments, "name"), arguments.get("action"), arguments.get("size")
    if not is_steer_action(action):
        raise InvalidRequestError(f"expected action as one of {', '.join(STEER_ACTIONS)}, got {short(action)}")
    if (size is None) is (action == "resize"):
        raise InvalidRequestError(f"expected size with resize, and with nothing else, got {action} and {short(size)}")
    if size is not None and (type(size) is not int or not 1 <= size <= WORKER_SIZE_MAX):
        raise InvalidRequestError(f"expected size as a whole number from 1 to {WORKER_SIZE_MAX}, got {short(size)}")
    worker = books.workers.get(name)
    if worker is None:
        raise InvalidRequestError(f"there is no worker {short(name)}")
    if worker.peer is None:
        raise InvalidRequestError(f"worker {short(name)} is not connected now: it cannot be told")
    if worker.about is None:
        raise InvalidRequestError(f"worker {short(name)} runs an older version, which cannot be told")
    if books.events is not None:
        books.events.note("worker", None, worker=name, text=f"told to {action}{'' if size is None else f' to {size}'}")
    step.send(worker.peer, Steer(action, size))
    return worker_row(worker, step)
