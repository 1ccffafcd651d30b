"""The client that awaits: the calls of `zq.client.client`, over the same session and the same thread for its socket."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

from zq.client.browsing import StateFilter, payload, search, statuses
from zq.client.calls import Calls, Steps, outcome_of, result_of
from zq.client.dead_letters import AsyncDeadLetters
from zq.client.events import AsyncEventStream
from zq.client.flow import Entry, entry_of
from zq.client.group import GroupBase, GroupStatus, group_status_of, submit_group
from zq.client.insight import Reason
from zq.client.namespaces import NamespaceLimits, namespace_arguments
from zq.client.publications import (
    PublishReceipt,
    PublishReceipts,
    binding_arguments,
    match_arguments,
    publish_many,
    publish_one,
)
from zq.client.pulled import PulledBase, read_handle, settle_together
from zq.client.queue_operations import AsyncQueueOperations
from zq.client.receipt import ReceiptBase, Receipts, TaskEvent, TaskStatus, events_of, status_of
from zq.client.schedules import AsyncSchedules, CatchUp, make_schedule
from zq.submit_options import Policy, SubmitOptions
from zq.wire.limits import BATCH_TASKS_MAX, PAYLOAD_BYTES_MAX
from zq.wire.policies import QueueSettings


class AsyncClient:
    """A connection to a coordinator for coroutines of any event loop; an async context manager closes it.

    Arguments, results and errors are those of `zq.Client`. Cancelling an await gives up the waiting only: a submit
    that was under way may still be stored, and tasks that come for a cancelled pull go back.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 30.0,
        name: str | None = None,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        namespace: str | None = None,
    ) -> None:
        self._calls = Calls(address, timeout, name, payload_bytes_max, namespace=namespace)
        self._mailbox: Mailbox | None = None

    @property
    def dead(self) -> AsyncDeadLetters:
        """The dead letters of the coordinator."""
        return AsyncDeadLetters(self._calls, self._run)

    @property
    def queues(self) -> AsyncQueueOperations:
        """Operations on whole queues: purge, move, drain, delete."""
        return AsyncQueueOperations(self._calls, self._run)

    @property
    def schedules(self) -> AsyncSchedules:
        """The schedules of the coordinator; `schedule` makes one."""
        return AsyncSchedules(self._calls, self._run)

    @property
    def address(self) -> str:
        """Where it connects to."""
        return self._calls.link.address

    async def submit(
        self, queue: str, payload: Any, *, id: str | None = None, **options: Unpack[SubmitOptions]
    ) -> AsyncReceipt:
        """Submits a task; as `zq.Client.submit`."""
        outcome, index, accepted = await self._run(self._calls.submit(queue, payload, id, options))
        return self._make_receipt(entry_of(outcome, accepted), index)

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
        receipts = Receipts(self._make_receipt, entries)
        if refusal is not None:
            refusal.accepted = receipts
            raise refusal
        return receipts

    async def publish(
        self,
        topic: str,
        payload: Any,
        *,
        id: str | None = None,
        mandatory: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> PublishReceipt[AsyncReceipt]:
        """Publishes to a topic; as `zq.Client.publish`."""
        steps = publish_one(self._calls, topic, payload, id, options, is_mandatory=mandatory)
        return PublishReceipts(self._make_receipt, [await self._run(steps)])[0]

    async def publish_many(
        self,
        topic: str,
        payloads: Iterable[Any],
        *,
        batch_size: int = BATCH_TASKS_MAX,
        mandatory: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> PublishReceipts[AsyncReceipt]:
        """Publishes many payloads to one topic; as `zq.Client.publish_many`."""
        steps = publish_many(self._calls, topic, payloads, batch_size, options, is_mandatory=mandatory)
        stored, refusal = await self._run(steps)
        receipts = PublishReceipts(self._make_receipt, stored)
        if refusal is not None:
            refusal.accepted = receipts
            raise refusal
        return receipts

    async def bind(self, pattern: str, queue: str, headers: Mapping[str, str] | None = None) -> bool:
        """Binds a queue to a pattern of topics; as `zq.Client.bind`."""
        arguments = binding_arguments(pattern, queue, headers)
        return bool(await self._run(self._calls.command("bind", arguments)))

    async def unbind(self, pattern: str, queue: str, headers: Mapping[str, str] | None = None) -> int:
        """Removes bindings of a queue; as `zq.Client.unbind`."""
        arguments = binding_arguments(pattern, queue, headers)
        return int(await self._run(self._calls.command("unbind", arguments)))

    async def match(self, topic: str, headers: Mapping[str, str] | None = None) -> list[str]:
        """Returns the queues that a publication would reach; as `zq.Client.match`."""
        return list(await self._run(self._calls.query("match", match_arguments(topic, headers))))

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
        whole: bool = False,
    ) -> list[AsyncPulledTask]:
        """Ends several pulled tasks in one message and one transaction; as `zq.Client.settle`."""
        stale: list[AsyncPulledTask] = await self._run(settle_together(self._calls, done, failed, whole=whole))
        return stale

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
        return status_of(id, await self._run(self._calls.query("task", {"id": id})))

    async def why(self, id: str) -> Reason:
        """Returns why a task does not run now; as `zq.Client.why`."""
        reason: Reason = await self._run(self._calls.why(id))
        return reason

    async def trace(self, id: str) -> tuple[TaskEvent, ...]:
        """Returns everything that has happened to a task, or a batch; as `zq.Client.trace`."""
        return events_of(await self._run(self._calls.query("trace", {"id": id})))

    async def tasks(
        self,
        state: StateFilter = "waiting",
        *,
        queue: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        worker: str | None = None,
        reason: str | None = None,
        older_than: float | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[TaskStatus]:
        """Looks for tasks; as `zq.Client.tasks`, for `async for`."""
        found = search(state, queue, key, headers, worker, reason, older_than, limit)
        while not found.is_over:
            for task in statuses(await self._run(found.page(self._calls))):
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
        return int(await self._run(self._calls.cancel(id)))

    async def retry(self, id: str) -> bool:
        """Puts a dead letter back into its queue; as `zq.Client.retry`."""
        return bool(await self._run(self._calls.command("retry", {"id": id})))

    async def schedule(
        self,
        name: str,
        queue: str,
        payload: Any,
        *,
        every: float | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        catch_up: CatchUp = "one",
        **options: Unpack[SubmitOptions],
    ) -> dict[str, Any]:
        """Makes a schedule; as `zq.Client.schedule`."""
        steps = make_schedule(self._calls, name, queue, payload, every, cron, timezone, catch_up, options)
        made: dict[str, Any] = await self._run(steps)
        return made

    async def bury(self, id: str, reason: str = "buried by a client") -> int:
        """Makes a dead letter of a task, or of all tasks of a batch; as `zq.Client.bury`."""
        return int(await self._run(self._calls.command("bury", {"id": id, "reason": reason})))

    async def set_queue(self, name: str, **policies: Unpack[QueueSettings]) -> dict[str, Any]:
        """Sets policies of a queue; as `zq.Client.set_queue`."""
        value: dict[str, Any] = await self._run(self._calls.set_queue(name, policies))
        return value

    async def pause_queue(self, name: str) -> dict[str, Any]:
        """Lets nothing of a queue be assigned until it is resumed, over restarts too; submits are accepted, and what
        runs goes on.
        """
        return await self.set_queue(name, paused=True)

    async def resume_queue(self, name: str) -> dict[str, Any]:
        """Lets a paused or draining queue go on."""
        return await self.set_queue(name, paused=False, draining=False)

    async def set_namespace(self, name: str, **limits: Unpack[NamespaceLimits]) -> dict[str, Any]:
        """Sets the limits of a namespace; as `zq.Client.set_namespace`."""
        arguments = namespace_arguments(name, limits)
        return dict(await self._run(self._calls.command("set-namespace", arguments)))

    async def query(self, what: str, **arguments: Any) -> Any:
        """Returns the answer to a query; as `zq.Client.query`."""
        return await self._run(self._calls.query(what, arguments))

    async def command(self, verb: str, **arguments: Any) -> Any:
        """Returns the answer to a command; as `zq.Client.command`."""
        return await self._run(self._calls.command(verb, arguments))

    async def ping(self) -> float:
        """Returns the seconds that the coordinator took to answer; as `zq.Client.ping`."""
        return float(await self._run(self._calls.ping()))

    async def close(self, timeout: float = 5.0) -> None:
        """Ends the connection; calls that still wait raise ClosedError."""
        await asyncio.to_thread(self._calls.link.close, timeout)

    def close_now(self, timeout: float = 5.0) -> None:
        """As `close`, for callers that are no coroutine; blocks until the connection has ended."""
        self._calls.link.close(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _make_receipt(self, entry: Entry, index: int) -> AsyncReceipt:
        return AsyncReceipt(self._calls, self._run, entry, index)

    async def _run(self, steps: Steps) -> Any:
        """Drives a call in the caller's event loop."""
        mailbox = self._open_mailbox()
        try:
            ask = next(steps)
            while True:
                reply = AsyncReply(mailbox)
                try:
                    ask.start(reply)
                    value = await reply.future
                except Exception as error:
                    self._calls.abandon(ask, reply)
                    ask = steps.throw(error)
                except BaseException:  # cancelled
                    self._calls.abandon(ask, reply)
                    raise
                else:
                    ask = steps.send(value)
        except StopIteration as stop:
            return stop.value

    def _open_mailbox(self) -> Mailbox:
        """Returns the mailbox of the running loop; another loop gets another."""
        loop = asyncio.get_running_loop()
        mailbox = self._mailbox
        if mailbox is None or mailbox.loop is not loop:
            mailbox = self._mailbox = Mailbox(loop)
        return mailbox


class AsyncReceipt(ReceiptBase):
    """The durable answer to the submit of one task; as `zq.Receipt`, awaited."""

    __slots__ = ()

    async def result(self, timeout: float | None = None) -> Any:
        """Waits for the task to end and returns what its handler returned; as `zq.Receipt.result`."""
        outcome = self._entry.outcome
        ended = outcome.get(self._index)
        if ended is not None:
            return result_of(outcome, self._index, ended)
        return await self._run(self._calls.result(outcome, self._index, timeout))

    async def progress(self, timeout: float | None = None) -> AsyncIterator[float]:
        """Yields how far the handler is, whenever it has reported; as `zq.Receipt.progress`."""
        seen, outcome = -1.0, self._entry.outcome
        while (told := await self._run(self._calls.progress(outcome, self._index, seen, timeout))) is not None:
            yield (seen := told)

    async def status(self) -> TaskStatus:
        """Returns what the coordinator knows of the task; as `zq.Receipt.status`."""
        return status_of(self.id, await self._run(self._calls.query("task", {"id": self.id})))

    async def cancel(self) -> bool:
        """Cancels the task; as `zq.Receipt.cancel`."""
        return bool(await self._run(self._calls.cancel(self.id)))


class AsyncPulledTask(PulledBase):
    """A task that `AsyncClient.pull` returned; as `zq.PulledTask`, awaited."""

    __slots__ = ()

    async def done(self, result: Any = None) -> None:
        """Completes the task; as `zq.PulledTask.done`."""
        await self._run(self._done(result))

    async def fail(self, error: str | BaseException, retry_in: float | None = None, final: bool = False) -> None:
        """Reports that the task failed; as `zq.PulledTask.fail`."""
        await self._run(self._fail(error, retry_in, final))

    async def release(self) -> None:
        """Gives the task back; as `zq.PulledTask.release`."""
        await self._run(self._release())

    async def extend(self, lease: float) -> None:
        """Prolongs the lease; as `zq.PulledTask.extend`."""
        await self._run(self._extend(lease))


class AsyncGroup(GroupBase):
    """A group that `AsyncClient.group` opened; as `zq.Group`, awaited."""

    __slots__ = ()

    async def result(self, timeout: float | None = None) -> Any:
        """Waits for the callback to end and returns what its handler returned; as `zq.Group.result`."""
        return await self._run(self._result(timeout))

    async def status(self) -> GroupStatus:
        """Returns what the coordinator knows of the group; as `zq.Group.status`."""
        return group_status_of(await self._run(self._calls.query("group", {"id": self.id})))

    async def cancel(self) -> int:
        """Cancels the group with its members; as `zq.Group.cancel`."""
        return int(await self._run(self._calls.cancel(self.id)))


class Mailbox:
    """Carries ends of calls from the link's thread to an event loop; what comes together wakes the loop once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._letters: deque[AsyncReply] = deque()
        self._lock = threading.Lock()
        self._is_called = False  # whether the loop will look

    def put(self, letter: AsyncReply) -> None:
        """Hands a reply over; on the link's thread."""
        with self._lock:
            self._letters.append(letter)
            if self._is_called:
                return
            self._is_called = True
        try:
            self.loop.call_soon_threadsafe(self._open)
        except RuntimeError:
            pass  # the loop is closed: nobody awaits any more

    def _open(self) -> None:
        with self._lock:
            letters, self._letters = self._letters, deque()
            self._is_called = False
        for letter in letters:
            letter.deliver()


class AsyncReply:
    """A reply that a coroutine awaits."""

    __slots__ = ("_error", "_mailbox", "future", "value")

    def __init__(self, mailbox: Mailbox) -> None:
        self.value: Any = None
        self._error: Exception | None = None
        self._mailbox = mailbox
        self.future: asyncio.Future[Any] = mailbox.loop.create_future()

    def resolve(self, value: Any) -> None:
        self.value = value
        self._mailbox.put(self)

    def reject(self, error: Exception) -> None:
        self._error = error
        self._mailbox.put(self)

    def deliver(self) -> None:
        """Ends the future; in its loop."""
        if self.future.done():
            return  # the await was cancelled
        if self._error is None:
            self.future.set_result(self.value)
        else:
            self.future.set_exception(self._error)
