"""Workers as a program sees them: `client.workers.list()`, `.drain(name)` and their like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zq.client.browsing import rows
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import value_of, values_of
from zq.submit_options import check_count, check_name
from zq.wire.steering import WORKER_SIZE_MAX, SteerAction


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task that a worker holds."""

    id: str
    queue: str
    started_time: float | None  # wall, seconds since 1970; None: it has not said that it started it


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker as the coordinator sees it."""

    name: str
    state: str  # "live", "suspect" (missed beats), "stuck" (holds tasks idly) or "absent" (from before a restart)
    queues: tuple[str, ...]  # that it takes from
    credit: int  # how many more tasks it is willing to hold
    held: int  # tasks that it has, whether they have started or not
    running: int  # of these, the ones that have started
    heard_ago: float  # seconds since anything came from it
    connected_for: float | None  # seconds; None while it is not connected
    done: int  # tasks that it has completed, since it or the coordinator was started
    tasks: tuple[HeldTask, ...] = ()  # of those that it holds at most 20, the ones that have started first
    concurrency: int | None = None  # tasks that it runs at once
    processes: int | None = None  # child processes that run plain functions; 0: threads do. None, as below: not told
    host: str | None = None  # the name of its machine
    pid: int | None = None
    is_draining: bool = False  # it takes no more until it is resumed, or ends
    trouble: str | None = None  # why it cannot work at the moment: its child processes cannot start


class Workers(Face[Driver]):
    """The workers of a coordinator; any thread may use it while its client is open.

    A worker is told once, where it is connected at the moment, and decides for itself: what came of it is in its next
    status, mostly within a few milliseconds. All raise RemoteProtocolError for what the coordinator refuses (a worker
    that is not there or not connected, say), and UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def list(self) -> list[WorkerStatus]:
        """Returns the workers, by name."""
        return self._run(_list(self._calls))

    def drain(self, name: str) -> WorkerStatus:
        """Has a worker finish what runs, give back what has not started, and take no more until it is resumed; it stays
        connected. Returns its status of before.
        """
        return self._run(_steer(self._calls, name, "drain"))

    def resume(self, name: str) -> WorkerStatus:
        """Has a worker that drains take tasks again. Returns its status of before."""
        return self._run(_steer(self._calls, name, "resume"))

    def stop(self, name: str) -> WorkerStatus:
        """Has a worker drain and end, as SIGTERM does: a process of `zq worker` exits with 0. Returns its status of
        before.
        """
        return self._run(_steer(self._calls, name, "stop"))

    def resize(self, name: str, size: int) -> WorkerStatus:
        """Has a worker run more or fewer tasks at once, until it ends: child processes, if it has some, else threads
        and coroutines. What runs is finished first. Returns its status of before.

        Args:
            size: child processes, or threads and coroutines; 1 to 1000.
        """
        return self._run(_steer(self._calls, name, "resize", size))


class AsyncWorkers(Face[AsyncDriver]):
    """The workers of a coordinator, awaited; as `Workers`."""

    __slots__ = ()

    async def list(self) -> list[WorkerStatus]:
        """As `Workers.list`."""
        return await self._run(_list(self._calls))

    async def drain(self, name: str) -> WorkerStatus:
        """As `Workers.drain`."""
        return await self._run(_steer(self._calls, name, "drain"))

    async def resume(self, name: str) -> WorkerStatus:
        """As `Workers.resume`."""
        return await self._run(_steer(self._calls, name, "resume"))

    async def stop(self, name: str) -> WorkerStatus:
        """As `Workers.stop`."""
        return await self._run(_steer(self._calls, name, "stop"))

    async def resize(self, name: str, size: int) -> WorkerStatus:
        """As `Workers.resize`."""
        return await self._run(_steer(self._calls, name, "resize", size))


@understood
def _list(calls: Calls) -> Call[list[WorkerStatus]]:
    return [_status_of(row) for row in (yield from rows(calls, "workers", {}))]


@understood
def _steer(calls: Calls, name: str, action: SteerAction, size: int | None = None) -> Call[WorkerStatus]:
    arguments: dict[str, Any] = {"name": check_name("name", name), "action": action}
    if size is not None:
        arguments["size"] = check_count("size", size, 1, WORKER_SIZE_MAX)
    return _status_of((yield from calls.command("steer-worker", arguments)))


def _status_of(row: Mapping[str, Any]) -> WorkerStatus:
    return value_of(WorkerStatus, {**row, "tasks": values_of(HeldTask, row.get("tasks") or ())})
