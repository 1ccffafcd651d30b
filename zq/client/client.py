"""The client that blocks: submits tasks, asks for outcomes, pulls tasks, and asks and commands its coordinator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self, Unpack

from zq.client import browsing
from zq.client.browsing import StateFilter, TaskFilters, payload, query, search
from zq.client.calls import Calls
from zq.client.driving import Blocking, Driver
from zq.client.flow import Entry, entry_of, unless_refused
from zq.client.hooking.client_face import ClientFace
from zq.client.publications import PublishReceipt, PublishReceipts, publish_many, publish_one
from zq.client.pulled import PulledTask, read_handle, settle_together
from zq.client.receipt import Receipt, Receipts, outcome_of
from zq.submit_options import Policy, SubmitOptions
from zq.wire.limits import BATCH_TASKS_MAX

if TYPE_CHECKING:  # loaded when they are asked for: most programs need few of them, if any
    from zq.client.dead_letters import DeadLetters
    from zq.client.events import EventStream
    from zq.client.group import Group
    from zq.client.insight import FailureRow, FlowRow, HistoryRow, HistoryStep, Reason, TaskEvent, TaskStatus
    from zq.client.namespaces import Namespaces
    from zq.client.queues import Queues
    from zq.client.schedules import Schedules
    from zq.client.topics import Topics
    from zq.client.workers import Workers


class Client(ClientFace[Driver]):
    """A connection to a coordinator; any thread may use it, signal handlers too, and a context manager closes it. One
    that is dropped open, with all receipts of it, warns (`ResourceWarning`) and closes itself.

    Nothing is done before the first call, which waits for the coordinator up to its timeout. A connection that breaks
    is made anew, and what was asked on it is asked again under the same number, so that nothing happens twice.

    Args:
        address: tcp://host:port or ipc://path; None takes ZQ_ADDRESS from the environment, else tcp://127.0.0.1:7700.
        timeout: seconds within which each call must be answered (waits for results and pulls come on top).
        name: shown to the coordinator; without spaces.
        payload_bytes_max: limit of one encoded payload; the coordinator has its own, which is the same by default.
        namespace: in which all names are that are given; None takes ZQ_NAMESPACE from the environment, "" is none.
        key: a `zq.Key`, or the path of its file, for a coordinator with keys; None takes the path in ZQ_KEY from the
            environment, "" is none. For a coordinator inside of this program it need not be given.
        middleware: hooks around submitting, pulling and settling; see `zq.Middleware`. None: those that are everywhere
            (`zq.telemetry`), which are nearly always none.

    A coordinator that does not let the key in, or whose own key is none of those that the key trusts, ends what waits
    with AccessDeniedError, and so does one that does not let the key do what was asked; every call may raise that.

    Raises:
        ValueError: an argument cannot be.
        KeyFileError: the key's file cannot be read, or is no key.
    """

    def _make_driver(self, calls: Calls) -> Driver:
        return Blocking(calls.abandon, None if calls.carrier is None else calls.carrier.crowd)

    @property
    def queues(self) -> Queues:
        """The queues of the coordinator: their counts and policies, and what is done to a whole one."""
        from zq.client.queues import Queues

        return Queues(self._calls, self._run)

    @property
    def dead(self) -> DeadLetters:
        """The dead letters of the coordinator."""
        from zq.client.dead_letters import DeadLetters

        return DeadLetters(self._calls, self._run)

    @property
    def schedules(self) -> Schedules:
        """The schedules of the coordinator."""
        from zq.client.schedules import Schedules

        return Schedules(self._calls, self._run)

    @property
    def topics(self) -> Topics:
        """Which queues of the coordinator get what is published."""
        from zq.client.topics import Topics

        return Topics(self._calls, self._run)

    @property
    def namespaces(self) -> Namespaces:
        """The namespaces of the coordinator."""
        from zq.client.namespaces import Namespaces

        return Namespaces(self._calls, self._run)

    @property
    def workers(self) -> Workers:
        """The workers of the coordinator."""
        from zq.client.workers import Workers

        return Workers(self._calls, self._run)

    def submit(self, queue: str, payload: Any, *, id: str | None = None, **options: Unpack[SubmitOptions]) -> Receipt:
        """Submits a task; it is on the coordinator's disk when this returns.

        Args:
            payload: anything msgpack can hold.
            id: chosen by the caller, so that the same submit is stored once, however often it is tried; None: made
                here.
            options: see `zq.SubmitOptions`.

        Raises:
            BusyError: it was not stored; try again after `retry_after`.
            InvalidTaskError: it was not stored, and never will be as it is.
            PayloadTooLargeError, TypeError, ValueError: nothing was sent.
            UnreachableError, TimedOutError: no answer in time; whether it was stored is unknown. Submit it again with
                the same `id` to know.
            ClosedError: the client is closed.
        """
        calls, run = self._calls, self._run
        if id is None and type(calls) is Calls and isinstance(run, Blocking) and "unique" not in options:
            outcome, index, accepted = run.submit(calls, queue, payload, options)
        else:
            outcome, index, accepted = run(calls.submit(queue, payload, id, options))
        return Receipt(calls, run, entry_of(outcome, accepted), index)

    def submit_many(
        self,
        queue: str,
        payloads: Iterable[Any],
        *,
        batch_size: int = BATCH_TASKS_MAX,
        **options: Unpack[SubmitOptions],
    ) -> Receipts[Receipt]:
        """Submits many tasks with the same options; all are on the coordinator's disk when this returns.

        The payloads are read as they are sent, so they may be a generator of any length. They travel and are stored
        in batches; a batch is accepted or refused as a whole.

        Args:
            payloads: each anything msgpack can hold.
            batch_size: tasks in a batch, 1 to 1,000; larger is faster.
            options: see `zq.SubmitOptions`.

        Raises:
            BusyError, InvalidTaskError: after all payloads were tried; `refused` has the positions of those that were
                not stored, `accepted` the receipts of all others.
            PayloadTooLargeError, TypeError: a payload cannot be sent; a note on the error says how many before it were
                accepted.
            ValueError: the queue or an option cannot be; nothing was sent.
            UnreachableError, TimedOutError: no answer in time; which of the later payloads were stored is unknown.
            ClosedError: the client is closed.
        """
        entries, refusal = self._run(self._calls.submit_many(queue, payloads, batch_size, options))
        return unless_refused(Receipts(self._make_receipt, entries), refusal)

    def publish(
        self,
        topic: str,
        payload: Any,
        *,
        id: str | None = None,
        is_mandatory: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> PublishReceipt[Receipt]:
        """Stores a task in every queue that is bound to a topic, in one transaction: in all of them, or in none.

        Args:
            topic: dot-separated words without wildcards.
            payload: anything msgpack can hold.
            id: as in `submit`: the same publication is stored once, however often it is tried; at most 123 bytes.
            is_mandatory: whether it is an error that no queue is bound to the topic. With False it is stored nowhere
                then, and the receipt's `queues` are empty.
            options: see `zq.SubmitOptions`; `group` and `unique` are not for publications, since it is not known how
                many tasks there will be, and one of the queues may have a task with the key already.

        Raises:
            UnroutableError: no queue is bound to the topic; nothing was stored.
            BusyError, InvalidTaskError: one of the queues refused it; nothing was stored anywhere.
            PayloadTooLargeError, TypeError, ValueError: nothing was sent.
            UnreachableError, TimedOutError, ClosedError: as `submit`.
        """
        call = publish_one(self._calls, topic, payload, id, options, is_mandatory=is_mandatory)
        return PublishReceipts(self._make_receipt, [self._run(call)])[0]

    def publish_many(
        self,
        topic: str,
        payloads: Iterable[Any],
        *,
        batch_size: int = BATCH_TASKS_MAX,
        is_mandatory: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> PublishReceipts[Receipt]:
        """Publishes many payloads to one topic with the same options, in batches; each batch is a publication of its
        own.

        Args:
            payloads: each anything msgpack can hold; read as they are sent.
            batch_size: payloads in a publication, 1 to 1,000; larger is faster.
            is_mandatory, options: as in `publish`.

        Raises:
            BusyError, InvalidTaskError: after all payloads were tried; `refused` has the positions of those that were
                not stored, `accepted` the receipts of all others.
            UnroutableError: no queue is bound to the topic (any more); `accepted` has the receipts of what was
                published before.
            PayloadTooLargeError, TypeError, ValueError, UnreachableError ...: as `submit_many`.
        """
        call = publish_many(self._calls, topic, payloads, batch_size, options, is_mandatory=is_mandatory)
        stored, refusal = self._run(call)
        return unless_refused(PublishReceipts(self._make_receipt, stored), refusal)

    def pull(self, queue: str, *, max_tasks: int = 1, wait: float = 0.0, lease: float = 30.0) -> list[PulledTask]:
        """Takes tasks to work on here; a task that is neither ended nor prolonged within its lease goes to someone
        else.

        Args:
            max_tasks: 1 to 1,000.
            wait: seconds to wait for the first task.
            lease: seconds for which the tasks are held.

        Raises:
            ValueError: an argument is out of its range.
            UnreachableError, TimedOutError, ClosedError: as `submit`; tasks that come after all go back.
        """
        tasks = self._run(self._calls.pull(queue, max_tasks, wait, lease))
        return [PulledTask(self._calls, self._run, *task) for task in tasks]

    def pulled(self, handle: str) -> PulledTask:
        """Returns a task that was pulled by any client, by its `handle`, to end it or to prolong its lease.

        Nothing is asked: what is known of it is its id and its token, its payload is None. Raises ValueError when it is
        no handle.
        """
        return PulledTask(self._calls, self._run, *read_handle(handle))

    def settle(
        self,
        done: Iterable[PulledTask | tuple[PulledTask, Any]] = (),
        failed: Iterable[tuple[PulledTask, str | BaseException]] = (),
        *,
        is_whole: bool = False,
    ) -> list[PulledTask]:
        """Ends several pulled tasks in one message and one transaction; durable on return.

        Args:
            done: tasks, or tuples of task and result; what a task forwarded is submitted as by its `done`.
            failed: tuples of task and error.
            is_whole: True: when one task is not held here any more, nothing of it all is stored.

        Returns:
            The tasks that are not held here any more: with `is_whole` nothing was stored unless the list is empty, else
            nothing of these.

        Raises:
            TypeError, PayloadTooLargeError, ValueError: something cannot be sent, or it is too much for one message.
            TimedOutError: no answer in time; whether it was stored is unknown, and it may be called again.
        """
        return self._run(settle_together(self._calls, done, failed, is_whole=is_whole))

    def group(
        self,
        members: Iterable[Any],
        *,
        queue: str | None = None,
        callback: str | tuple[str, SubmitOptions] | None = None,
        policy: Policy = "all",
        skips_none: bool = False,
        id: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Group:
        """Opens a group and submits its members; all are on the coordinator's disk when this returns.

        When the last member has ended, the coordinator makes the callback: one task whose payload is the list of their
        results, in the order of the members. It is made once, whatever is restarted meanwhile.

        Args:
            members: payloads, when `queue` is given; else tuples of queue and payload, or queue, payload and options.
            callback: its queue, or queue and options; None: the list of results is the group's own result.
            policy: "all" (a member that is not done fails the group), "any" (the first that is done completes it) or
                "settled" (the list has outcome and result, or reason, of each).
            skips_none: whether members that return None contribute nothing to the list.
            id: chosen by the caller, so that the same call, made again, opens the same group; None: made here.
            options: of all members; see `zq.SubmitOptions`.

        Raises:
            BusyError, InvalidTaskError: the group, or some of its members, were refused; a note on the error says how
                to go on.
            PayloadTooLargeError, TypeError, ValueError: nothing was sent.
            UnreachableError, TimedOutError, ClosedError: as `submit`.
        """
        from zq.client.group import Group, submit_group

        found = self._run(submit_group(self._calls, id, members, queue, callback, policy, skips_none, options))
        return Group(self._calls, self._run, found)

    def request(self, queue: str, payload: Any, timeout: float, /, **options: Unpack[SubmitOptions]) -> Any:
        """Submits a task and waits for its result: `submit` and `Receipt.result` in one.

        When the time is up the task stays: it is durable like any other. Without a receipt by then it is unknown
        whether it was stored, and the error has its `id`.

        Args:
            payload: anything msgpack can hold.
            timeout: seconds for both; given by place, since the option of that name limits how long the task may run.
            options: see `zq.SubmitOptions`.

        Raises:
            TaskFailedError, TaskCancelledError, TaskExpiredError, TimedOutError: as `Receipt.result`.
            BusyError, InvalidTaskError, PayloadTooLargeError, TypeError, ValueError ...: as `submit`.
        """
        return self._run(self._calls.request(queue, payload, timeout, options))

    def result(self, id: str, timeout: float | None = None) -> Any:
        """Waits for a task to end, by its id; as `Receipt.result`."""
        outcome, index = outcome_of(id)
        return self._run(self._calls.result(outcome, index, timeout))

    def status(self, id: str) -> TaskStatus:
        """Returns what the coordinator knows of a task; its state is `unknown` when that is nothing.

        Raises:
            ValueError: it cannot be an id.
            UnreachableError, TimedOutError, ClosedError: as `submit`.
        """
        return self._run(browsing.status(self._calls, id))

    def why(self, id: str) -> Reason:
        """Returns why a task does not run now, or that it does, or how it ended. Raises as `status`."""
        return self._run(browsing.why(self._calls, id))

    def trace(self, id: str) -> tuple[TaskEvent, ...]:
        """Returns everything that has happened to a task, or a batch, in the order of time; nothing when it is not
        known (any more). Raises as `status`.
        """
        return self._run(browsing.trace(self._calls, id))

    def history(
        self, queue: str | None = None, *, step: HistoryStep = 10, since: float | None = None
    ) -> list[HistoryRow]:
        """Returns what happened in each step of time in which something did, the oldest first; over restarts, too.

        Args:
            queue: in this one, if it was one of the 100 with most traffic in the step; None for all together.
            step: seconds, 10 (kept for an hour) or 300 (for a week).
            since: wall, seconds since 1970; None for all there is.

        Raises:
            RemoteProtocolError: there is no such queue; else as `status`.
        """
        return self._run(browsing.history(self._calls, queue, step, since))

    def flows(self) -> list[FlowRow]:
        """Returns the ways that tasks took between queues since the coordinator was started; raises as `status`."""
        return self._run(browsing.flows(self._calls))

    def failures(self, queue: str | None = None, *, limit: int = 100) -> list[FailureRow]:
        """Returns the last attempts that failed or were lost, the newest first; it remembers 100 of them since it was
        started. Raises as `status`.

        Args:
            queue: of this one; None for all.
            limit: how many at most.
        """
        return self._run(browsing.failures(self._calls, queue, limit))

    def tasks(
        self, state: StateFilter = "waiting", *, limit: int | None = None, **filters: Unpack[TaskFilters]
    ) -> Iterator[TaskStatus]:
        """Looks for tasks, which changes nothing; asks for the next page when it is wanted.

        Args:
            state: see `zq.StateFilter`.
            limit: how many at most; None for all.
            filters: see `zq.TaskFilters`; without any, all of the state.

        Raises:
            ValueError, TypeError: an argument cannot be.
            RemoteProtocolError: there is no such queue, or the state is not kept with keys and headers.
            UnreachableError, TimedOutError, ClosedError: as `submit`.
        """
        found = search(state, limit=limit, **filters)
        return (task for call in found.pages(self._calls) for task in self._run(call))

    def payload(self, id: str) -> Any:
        """Returns the payload of a task that has not ended or is dead; raises TaskUnknownError of others, and as
        `status`.
        """
        return self._run(payload(self._calls, id))

    def events(
        self, queue: str | None = None, kinds: Iterable[str] | None = None, *, timeout: float | None = None
    ) -> EventStream:
        """Follows what happens from now on: an iterator of `zq.Event`, and a context manager.

        Nothing that it tells is undone: events come after the commit. Whoever is too slow misses some, and is told how
        many by an event of the kind "dropped".

        Args:
            queue: only of this one; None for all, workers and stale reports included.
            kinds: of `zq.EVENT_KINDS`; None for all.
            timeout: seconds without an event after which the iteration ends; None for never.

        Raises:
            ValueError, TypeError: an argument cannot be.
            BusyError: too many follow the coordinator's events.
            UnreachableError, TimedOutError, ClosedError: as `submit`.
        """
        from zq.client.events import EventStream

        return EventStream(self._calls, self._run, queue, kinds, timeout)

    def cancel(self, id: str) -> int:
        """Cancels a task, or all tasks of a batch; returns how many had not ended, also when the coordinator was killed
        before it could answer. Raises as `status`.
        """
        return self._run(self._calls.cancel(id))

    def query(self, what: str, **arguments: Any) -> Any:
        """Returns the answer to a query of docs/protocol.md, section 4; of a listing a list of the rows of all pages,
        or as many as `limit` says, unless a `cursor` is named: then one page, rows and cursor.

        Raises:
            RemoteProtocolError: the coordinator does not know the query or its arguments.
            ValueError: an argument cannot be sent.
            UnreachableError, TimedOutError, ClosedError: as `submit`.
        """
        return self._run(query(self._calls, what, arguments))

    def command(self, verb: str, **arguments: Any) -> Any:
        """Returns the answer to a command of docs/protocol.md, section 4; raises as `query`."""
        return self._run(self._calls.command(verb, arguments))

    def ping(self) -> float:
        """Returns the seconds that the coordinator took to answer; raises as `submit`."""
        return self._run(self._calls.ping())

    def close(self, timeout: float = 5.0) -> None:
        """Ends the connection, and waits up to `timeout` seconds for it; calls that still wait raise ClosedError."""
        self._calls.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _make_receipt(self, entry: Entry, index: int) -> Receipt:
        return Receipt(self._calls, self._run, entry, index)
