"""Workers as a program sees them: `client.workers.list()`."""

from __future__ import annotations

from dataclasses import dataclass

from zq.client.browsing import rows
from zq.client.calls import Calls, Face
from zq.client.driving import AsyncDriver, Call, Driver, understood
from zq.client.insight import values_of


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


class Workers(Face[Driver]):
    """The workers of a coordinator; any thread may use it while its client is open.

    All raise UnreachableError, TimedOutError and ClosedError as `Client.submit`.
    """

    __slots__ = ()

    def list(self) -> list[WorkerStatus]:
        """Returns the workers, by name."""
        return self._run(_list(self._calls))


class AsyncWorkers(Face[AsyncDriver]):
    """The workers of a coordinator, awaited; as `Workers`."""

    __slots__ = ()

    async def list(self) -> list[WorkerStatus]:
        """As `Workers.list`."""
        return await self._run(_list(self._calls))


@understood
def _list(calls: Calls) -> Call[list[WorkerStatus]]:
    return values_of(WorkerStatus, (yield from rows(calls, "workers", {})))
