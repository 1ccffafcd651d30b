"""Asks a coordinator for what a view shows, and has done what its keys order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zq.cli.live.trends import Detail, Inspected, ShownRow, Snapshot, Trends
from zq.cli.live.view import Order
from zq.errors import RemoteProtocolError

if TYPE_CHECKING:
    from zq.client.async_client import AsyncClient

ROWS_MAX = 2000
"""Queues, or workers, that are asked for: more cannot be looked over; the filter is for what is shown."""

VISIBLE_MAX = 60
"""Queues that are asked for whether they are paused: as many as a large screen shows."""

_TASKS_MAX = 50
"""Tasks that are shown of a queue, of those that run and of those that wait."""


class AnswerSource:
    """What a view knows, refreshed. For one event loop."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._trends = Trends()
        self._tells_failures = True

    async def snapshot(self, names: Sequence[str], subject: Inspected | None) -> Snapshot:
        """Asks for everything.

        Args:
            names: of the queues that are on the screen.
            subject: what is looked at closely.

        Raises:
            UnreachableError, TimedOutError: the coordinator does not answer.
            ZqError: it refuses.
        """
        query = self._client.query
        status, queues, workers, failures, detail = await asyncio.gather(
            query("status"),
            query("queues", limit=ROWS_MAX),
            query("workers", limit=ROWS_MAX),
            self._failures(),
            self._detail(subject),
        )
        flow, flows = self._trends.feed(time.monotonic(), status, queues)
        return Snapshot(
            status.get("time") or time.time(),
            status,
            tuple(await self._with_policies(queues, names)),
            tuple(workers),
            failures,
            flow,
            flows,
            detail,
        )

    async def _failures(self) -> tuple[ShownRow, ...] | None:
        if not self._tells_failures:
            return None
        try:
            return tuple(await self._client.query("failures", limit=100))
        except RemoteProtocolError:  # an older coordinator, which does not know the question
            self._tells_failures = False
            return None

    async def _with_policies(self, queues: list[ShownRow], names: Sequence[str]) -> list[ShownRow]:
        """Adds to the queues on the screen what a list of queues does not say: whether they are paused."""
        shown = {row["name"] for row in queues} & set(names[:VISIBLE_MAX])
        found = await asyncio.gather(*(self._queue(name) for name in shown))
        details = {row["name"]: row for row in found if row is not None}
        return [{**row, **details.get(row["name"], {})} for row in queues]

    async def _queue(self, name: str) -> ShownRow | None:
        try:
            row: ShownRow = await self._client.query("queue", queue=name)
        except RemoteProtocolError:  # deleted in the meantime
            return None
        return row

    async def _detail(self, subject: Inspected | None) -> Detail | None:
        if subject is None:
            return None
        try:
            match subject.kind:
                case "queue":
                    return await self._queue_detail(subject)
                case "worker":
                    return await self._worker_detail(subject)
                case _:
                    return await self._task_detail(subject)
        except RemoteProtocolError as error:
            return Detail(subject, {}, error=str(error))

    async def _queue_detail(self, subject: Inspected) -> Detail:
        fields, leased, waiting = await asyncio.gather(
            self._timed_queue(subject.id),
            self._tasks(queue=subject.id, state="leased"),
            self._tasks(queue=subject.id, state="waiting"),
        )
        return Detail(subject, fields, (*leased, *waiting))

    async def _timed_queue(self, name: str) -> Any:
        try:
            return await self._client.query("queue", queue=name, with_times=True)
        except RemoteProtocolError:  # an older coordinator
            return await self._client.query("queue", queue=name)

    async def _tasks(self, **filters: str) -> list[ShownRow]:
        """Returns the tasks of one page: what is beyond it is too much to be looked over."""
        page = await self._client.query("tasks", limit=_TASKS_MAX, **filters)
        return list(page["rows"])

    async def _worker_detail(self, subject: Inspected) -> Detail:
        workers = await self._client.query("workers", limit=ROWS_MAX)
        row = next((one for one in workers if one["name"] == subject.id), None)
        if row is None:
            return Detail(subject, {}, error="it is gone: its tasks are with others, or will be")
        tasks = row.get("tasks")
        if tasks is None:  # an older coordinator, which does not say what a worker has
            tasks = await self._tasks(worker=subject.id, state="leased")
        return Detail(subject, row, tuple(tasks))

    async def _task_detail(self, subject: Inspected) -> Detail:
        query = self._client.query
        fields, events, why = await asyncio.gather(
            query("task", id=subject.id), query("trace", id=subject.id), query("why", id=subject.id)
        )
        return Detail(subject, {**fields, "why": why.get("text")}, events=tuple(events))

    async def carry_out(self, order: Order) -> str:
        """Does what was ordered; returns what to say. Raises ZqError."""
        client, name = self._client, order.name
        match order.verb:
            case "pause":
                await client.queues.pause(name)
                return f"queue {name} is paused: r resumes it"
            case "resume":
                await client.queues.resume(name)
                return f"queue {name} goes on"
            case "drain":
                await client.queues.drain(name)
                return f"queue {name} drains: r takes that back"
            case "drain-worker":
                await client.command("steer-worker", name=name, action="drain")
                return f"worker {name} drains: r takes that back"
            case "resume-worker":
                await client.command("steer-worker", name=name, action="resume")
                return f"worker {name} takes tasks again"
            case "cancel":
                return f"task {name} is cancelled" if await client.cancel(name) else f"task {name} has ended"
            case "retry":
                is_back = await client.dead.replay(name)
                return f"task {name} waits again" if is_back else f"task {name} is not a dead letter"
            case "quit":
                return ""
