"""The client that awaits: the calls of `zq.client.client`, over a session that the event loop drives itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Self, Unpack

from zq.client import browsing, insight
from zq.client.awaiting import Awaiting
from zq.client.browsing import StateFilter, TaskFilters, payload, query, search
from zq.client.calls import Calls
from zq.client.driving import AsyncDriver, Connection
from zq.client.events import AsyncEventStream
from zq.client.flow import Entry, entry_of, unless_refused
from zq.client.group import AsyncGroup, submit_group
from zq.client.hooking.client_face import ClientFace
from zq.client.insight import FailureRow, FlowRow, HistoryRow, HistoryStep, Reason, TaskEvent, TaskStatus
from zq.client.publications import PublishReceipt, PublishReceipts, publish_many, publish_one
from zq.client.pulled import AsyncPulledTask, read_handle, settle_together
from zq.client.receipt import AsyncReceipt, Receipts, outcome_of
from zq.sockets.loop_link import EventLoopLink
from zq.submit_options import Policy, SubmitOptions
from zq.wire.limits import BATCH_TASKS_MAX

if TYPE_CHECKING:  # loaded when they are asked for: most programs need few of them, if any
    from zq.client.dead_letters import AsyncDeadLetters
    from zq.client.namespaces import AsyncNamespaces
    from zq.client.queues import AsyncQueues
    from zq.client.schedules import AsyncSchedules
    from zq.client.topics import AsyncTopics
    from zq.client.workers import AsyncWorkers


class AsyncClient(ClientFace[AsyncDriver]):
    """A connection to a coordinator for coroutines of any event loop; an async context manager closes it.

    Arguments, results and errors are those of `zq.Client`. Cancelling an await gives up the waiting only: a submit
    that was under way may still be stored, and tasks that come for a cancelled pull go back.
    """

    _entry: Entry | None = None  # of the last submit

    @staticmethod
    def _make_link(*arguments: Any) -> Connection:
        return EventLoopLink(*arguments)

    def _make_driver(self, calls: Calls) -> AsyncDriver:
        return Awaiting(calls.abandon)

    @property
    def queues(self) -> AsyncQueues:
        """Queues: look at them, set policies, pause, drain, purge, move and delete them; as `zq.Client.queues`."""
        from zq.client.queues import AsyncQueues

        return AsyncQueues(self._calls, self._run)

    @property
    def dead(self) -> AsyncDeadLetters:
        """Dead letters: look at them, replay, bury and purge them; as `zq.Client.dead`."""
        from zq.client.dead_letters import AsyncDeadLetters

        return AsyncDeadLetters(self._calls, self._run)

    @property
    def schedules(self) -> AsyncSchedules:
        """Recurring tasks: define, look at, change, pause and delete them; as `zq.Client.schedules`."""
        from zq.client.schedules import AsyncSchedules

        return AsyncSchedules(self._calls, self._run)

    @property
    def topics(self) -> AsyncTopics:
        """Bindings of queues to topics: make, match, list and end them; as `zq.Client.topics`."""
        from zq.client.topics import AsyncTopics

        return AsyncTopics(self._calls, self._run)

    @property
    def namespaces(self) -> AsyncNamespaces:
        """Namespaces: look at them, and limit them; as `zq.Client.namespaces`."""
        from zq.client.namespaces import AsyncNamespaces

        return AsyncNamespaces(self._calls, self._run)

    @property
    def workers(self) -> AsyncWorkers:
        """Workers: look at them; as `zq.Client.workers`."""
        from zq.client.workers import AsyncWorkers

        return AsyncWorkers(self._calls, self._run)

    async def submit(
        self, queue: str, payload: Any, *, id: str | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncReceipt:
        """Submits a task; as `zq.Client.submit`."""
        calls, run = self._calls, self._run
        if id is None and type(calls) is Calls and isinstance(run, Awaiting) and "unique" not in options:
            outcome, index, accepted = await run.submit(calls, queue, payload, options)
        else:
            outcome, index, accepted = await run(calls.submit(queue, payload, id, options))
        entry = self._entry
        if entry is None or entry.outcome is not outcome:  # those that came together share one
            entry = self._entry = entry_of(outcome, accepted)
        return AsyncReceipt(calls, run, entry, index)

    async def submit_many(
        self,
        queue: str,
        payloads: Iterable[Any],
        *,
        batch_size: int = BATCH_TASKS_MAX,
        **options: Unpack[SubmitOptions],
    ) -> Receipts[AsyncReceipt]:
        """Submits many tasks with the same options; as `zq.Client.submit_many`."""
        entries, refusal = await self._run(self._calls.submit_many(queue, payloads, batch_size, options))
        return unless_refused(Receipts(self._make_receipt, entries), refusal)

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        id: str | None = None,
        is_mandatory: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> PublishReceipt[AsyncReceipt]:
        """Publishes to a topic; as `zq.Client.publish`."""
        call = publish_one(self._calls, topic, payload, id, options, is_mandatory=is_mandatory)
        return PublishReceipts(self._make_receipt, [await self._run(call)])[0]

    async def publish_many(
        self,
        topic: str,
        payloads: Iterable[Any],
        *,
        batch_size: int = BATCH_TASKS_MAX,
        is_mandatory: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> PublishReceipts[AsyncReceipt]:
        """Publishes many payloads to one topic; as `zq.Client.publish_many`."""
        call = publish_many(self._calls, topic, payloads, batch_size, options, is_mandatory=is_mandatory)
        stored, refusal = await self._run(call)
        return unless_refused(PublishReceipts(self._make_receipt, stored), refusal)

    async def pull(
        self, queue: str, *, max_tasks: int = 1, wait: float = 0.0, lease: float = 30.0
    ) -> list[AsyncPulledTask]:
        """Takes tasks to work on here; as `zq.Client.pull`."""
        tasks = await self._run(self._calls.pull(queue, max_tasks, wait, lease))
        return [AsyncPulledTask(self._calls, self._run, *task) for task in tasks]

    def pulled(self, handle: str) -> AsyncPulledTask:
        """Returns a task that was pulled by any client, by its handle; as `zq.Client.pulled`."""
        return AsyncPulledTask(self._calls, self._run, *read_handle(handle))

    async def settle(
        self,
        done: Iterable[AsyncPulledTask | tuple[AsyncPulledTask, Any]] = (),
        failed: Iterable[tuple[AsyncPulledTask, str | BaseException]] = (),
        *,
        is_whole: bool = False,
    ) -> list[AsyncPulledTask]:
        """Ends several pulled tasks in one message and one transaction; as `zq.Client.settle`."""
        return await self._run(settle_together(self._calls, done, failed, is_whole=is_whole))

    async def group(
        self,
        members: Iterable[Any],
        *,
        queue: str | None = None,
        callback: str | tuple[str, SubmitOptions] | None = None,
        policy: Policy = "all",
        skips_none: bool = False,
        id: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncGroup:
        """Opens a group and submits its members; as `zq.Client.group`."""
        found = await self._run(submit_group(self._calls, id, members, queue, callback, policy, skips_none, options))
        return AsyncGroup(self._calls, self._run, found)

    async def request(self, queue: str, payload: Any, timeout: float, /, **options: Unpack[SubmitOptions]) -> Any:
        """Submits a task and waits for its result; as `zq.Client.request`."""
        return await self._run(self._calls.request(queue, payload, timeout, options))

    async def result(self, id: str, timeout: float | None = None) -> Any:
        """Waits for a task to end, by its id; as `zq.Client.result`."""
        outcome, index = outcome_of(id)
        return await self._run(self._calls.result(outcome, index, timeout))

    async def status(self, id: str) -> TaskStatus:
        """Returns what the coordinator knows of a task; as `zq.Client.status`."""
        return await self._run(insight.status(self._calls, id))

    async def why(self, id: str) -> Reason:
        """Returns why a task does not run now; as `zq.Client.why`."""
        return await self._run(insight.why(self._calls, id))

    async def trace(self, id: str) -> tuple[TaskEvent, ...]:
        """Returns everything that has happened to a task, or a batch; as `zq.Client.trace`."""
        return await self._run(insight.trace(self._calls, id))

    async def history(
        self, queue: str | None = None, *, step: HistoryStep = 10, since: float | None = None
    ) -> list[HistoryRow]:
        """Returns what was counted, step by step; as `zq.Client.history`."""
        return await self._run(browsing.history(self._calls, queue, step, since))

    async def flows(self) -> list[FlowRow]:
        """Returns which ways tasks took from queue to queue; as `zq.Client.flows`."""
        return await self._run(browsing.flows(self._calls))

    async def failures(self, queue: str | None = None, *, limit: int = 100) -> list[FailureRow]:
        """Returns the attempts that failed last, newest first; as `zq.Client.failures`."""
        return await self._run(browsing.failures(self._calls, queue, limit))

    async def tasks(
        self, state: StateFilter = "waiting", *, limit: int | None = None, **filters: Unpack[TaskFilters]
    ) -> AsyncIterator[TaskStatus]:
        """Looks for tasks; as `zq.Client.tasks`, for `async for`."""
        found = search(state, limit=limit, **filters)
        for call in found.pages(self._calls):
            for task in await self._run(call):
                yield task

    async def payload(self, id: str) -> Any:
        """Returns the payload of a task; as `zq.Client.payload`."""
        return await self._run(payload(self._calls, id))

    def events(
        self, queue: str | None = None, kinds: Iterable[str] | None = None, *, timeout: float | None = None
    ) -> AsyncEventStream:
        """Follows what happens, for `async for` and `async with`; as `zq.Client.events`."""
        return AsyncEventStream(self._calls, self._run, queue, kinds, timeout)

    async def cancel(self, id: str) -> int:
        """Cancels a task, or all tasks of a batch; as `zq.Client.cancel`."""
        return await self._run(self._calls.cancel(id))

    async def query(self, what: str, **arguments: Any) -> Any:
        """Returns the answer to a query; as `zq.Client.query`."""
        return await self._run(query(self._calls, what, arguments))

    async def command(self, verb: str, **arguments: Any) -> Any:
        """Returns the answer to a command; as `zq.Client.command`."""
        return await self._run(self._calls.command(verb, arguments))

    async def ping(self) -> float:
        """Returns the seconds that the coordinator took to answer; as `zq.Client.ping`."""
        return await self._run(self._calls.ping())

    async def close(self, timeout: float = 5.0) -> None:
        """Ends the connection; calls that still wait raise ClosedError."""
        await asyncio.to_thread(self._calls.close, timeout)

    def close_now(self, timeout: float = 5.0) -> None:
        """Ends the connection as `close` does, for callers that are no coroutine; blocks until it has ended."""
        self._calls.close(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def _make_receipt(self, entry: Entry, index: int) -> AsyncReceipt:
        return AsyncReceipt(self._calls, self._run, entry, index)
