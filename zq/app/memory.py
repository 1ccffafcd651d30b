"""An app on a coordinator in memory, in virtual time: for tests that neither sleep nor leave anything behind.

Everything is the real thing but the sockets, the threads and the clock: the machine of `zq.core.coordinator` over the
memory store, the sessions of client and worker, every message through the codec, the loop of `zq.worker.runner` that
calls handlers. What passes for the network is a list, and a turn of the coordinator is taken whenever something is
said.

Time stands still unless it is asked to pass: by `advance`, or by waiting (a `result`, a `pull` with a wait), which lets
it jump from one moment at which something is due to the next. Handlers take no virtual time.

Invariants: between two calls from outside nothing is on its way; no handler runs but within `run_pending` and what
calls it; the worker has credit only there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from math import inf
from sys import float_info
from typing import Any, TypeVar

from zq.client.async_client import AsyncClient
from zq.client.calls import Calls
from zq.client.client import Client
from zq.client.driving import AsyncDriver, Call, Driver, Medium
from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.tables import TABLES
from zq.errors import ClosedError, TimedOutError, ZqError
from zq.server.calendar import CALENDAR
from zq.sessions.client import ClientSession
from zq.sessions.ids import IdMaker, make_prefix
from zq.sessions.session import Session
from zq.sessions.worker import WorkerSession
from zq.store.memory import MemoryStore
from zq.submit_options import check_patience
from zq.task import Task
from zq.wire.codec import decode_for_coordinator, decode_from_coordinator, encode, encode_answer
from zq.wire.limits import PAYLOAD_BYTES_MAX
from zq.wire.namespaces import Namespace, check_namespace
from zq.worker.harvest import Report
from zq.worker.loop_runner import is_coroutine_handler
from zq.worker.runner import Chunk, Handler, Runner, Slot, run_coroutine

T = TypeVar("T")

START_TIME = 1_767_225_600.0
"""The first of January 2026, midnight in UTC: any moment will do, as long as it is always the same."""

OPTIONS = CoordinatorOptions(heartbeat_interval=3600.0, suspect_after=4 * 3600.0, gone_after=24 * 3600.0)
"""Nobody dies in here, so hearts may beat slowly: a year of virtual time costs nine thousand of them."""

PATIENCE = 30 * 24 * 3600.0
"""Virtual seconds for which a wait without timeout goes on, when nothing says that it is in vain."""

STEP_MIN = 0.001
"""Seconds by which time moves at least, so that a rounding of the two clocks cannot hold it up."""

TURNS_MAX = 100_000
"""Turns without any time passing, after which something is wrong with this program."""

WORKER = b"worker"


class Memory:
    """A coordinator, a worker of the app's tasks, and clients, all in memory. Its methods belong to one thread at a
    time.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        options: CoordinatorOptions = OPTIONS,
        start_time: float = START_TIME,
        payload_bytes_max: int = PAYLOAD_BYTES_MAX,
        namespace: str | None = None,
    ) -> None:
        """Makes a world without tasks.

        Args:
            handlers: of an app, by queue; those that it gets later are run, too.
            options: of the coordinator; heartbeats cost turns, so the default has long ones.
            start_time: wall time at which it begins, in seconds since 1970.
            payload_bytes_max: limit of its clients for one encoded payload.
            namespace: of all clients and the worker; None for none.
        """
        self._handlers = handlers
        self._payload_bytes_max = payload_bytes_max
        self._start_time = start_time
        self._now = 0.0
        self._store = MemoryStore(TABLES)
        self._lock = threading.RLock()  # guards the machines: a handler may submit from a thread of its own
        self._machine = Machine(options, self._clocks(), self._store, self._about, CALENDAR)
        self._gone: list[bytes] = []  # connections of which the coordinator has not heard yet that they are closed
        self._namespace = check_namespace(namespace) if namespace else None  # of all clients and the worker
        self._namespaces: dict[bytes, Namespace] = {}  # by connection: each remembers what it has asked
        self._sessions: dict[bytes, Session] = {}
        self._worker: WorkerSession | None = None
        self._revoked: dict[int, set[int]] = {}
        self._is_handling = False
        self._context = copy_context()  # the tasks have copies of it, as those of a worker that is started now
        self._runner = Runner({}, self, IdMaker("memory"), Slot())
        calls, async_calls = self._make_calls(), self._make_calls()
        self.client = Client.over(calls, self._run(calls))
        self.async_client = AsyncClient.over(async_calls, self._async_run(async_calls))

    # Time.

    @property
    def time(self) -> float:
        """The virtual wall clock, in seconds since 1970."""
        return self._start_time + self._now

    def clock(self) -> float:
        """Returns virtual monotonic seconds."""
        return self._now

    def _clocks(self) -> Now:
        return Now(self._now, self.time)

    def advance(self, seconds: float) -> int:
        """Lets time pass; as `App.advance`."""
        if not 0 <= check_patience("seconds", seconds) <= float_info.max:
            raise ValueError(f"expected seconds from 0, got {seconds}")
        self._check_not_handling("advance")
        end = self._now + seconds
        count = self.run_pending()
        while (at := self._next_at()) <= end:
            self._now = at
            count += self.run_pending()
        self._now = end
        return count + self.run_pending()

    def _next_at(self) -> float:
        """Returns when something is due next, always a little later than now. Clients are not asked: they only ping."""
        at = self._machine.next_at(self._clocks())
        if self._worker is not None:
            at = min(at, self._worker.next_at())
        return max(at, self._now + STEP_MIN)

    # Handling.

    def run_pending(self, tasks_max: int | None = None) -> int:
        """Runs what is due; as `App.run_pending`."""
        self._check_not_handling("run_pending")
        self._hire()
        worker = self._worker
        if worker is None:
            self._settle()
            return 0
        count = 0
        try:
            while tasks_max is None or count < tasks_max:
                worker.release([], 1)
                self._settle()
                chunks = [Chunk(one, one.lo, one.hi) for one in worker.take_arrivals()]
                if not chunks:
                    break
                for chunk in chunks:
                    count += self._handle(worker, chunk)
        finally:
            worker.release([], 0)
            self._settle()
        return count

    def _handle(self, worker: WorkerSession, chunk: Chunk) -> int:
        """Runs one chunk, which is one task unless the coordinator was asked for more; returns how many were
        started.
        """
        reports: list[Report] = []
        self._is_handling = True
        try:
            self._runner.run(chunk, self._revoked, reports.append)
        finally:
            self._is_handling = False
        gone = self._revoked.pop(chunk.assignment.token, set())
        done = [one for report in reports for one in report.done if one.lo not in gone]
        failed = [one for report in reports for one in report.failed if one.index not in gone]
        worker.finish(done, failed, 0)
        self._settle()
        return chunk.hi - chunk.lo

    def _hire(self) -> None:
        """Gives the coordinator a worker for the queues that the app has now."""
        queues = tuple(self._handlers)
        if not queues or (self._worker is not None and self._worker.queues == queues):
            return
        if self._worker is not None:
            self._worker.goodbye()
            self._settle()
        handlers = {
            queue: _blocking(handler) if is_coroutine_handler(handler) else handler
            for queue, handler in self._handlers.items()
        }
        self._runner = self._context.run(Runner, handlers, self, IdMaker(f"memory{len(queues)}"), Slot())
        worker = self._worker = WorkerSession("memory", f"memory-{len(queues)}", queues, 1, tuple)
        worker.credit = 0
        worker.connected(self._now)
        self._attach(WORKER, worker)
        self._settle()

    def _check_not_handling(self, what: str) -> None:
        if self._is_handling:
            raise ZqError(
                f"a handler cannot {what}: no other task runs before it has ended; use task.forward, or split it"
            )

    def note_progress(self, task: Task, fraction: float) -> None:
        """Called by tasks."""
        if self._worker is not None:
            self._worker.progress(task.token, task.index, fraction)
            self._settle()

    def is_cancelled(self, task: Task) -> bool:
        """Called by tasks."""
        return task.index in self._revoked.get(task.token, ())

    # The coordinator.

    def _attach(self, peer: bytes, session: Session) -> None:
        """Lets a session speak over a connection of its own."""
        self._sessions[peer] = session
        if self._namespace is not None:
            self._namespaces[peer] = Namespace(self._namespace)

    def connect(self, session: ClientSession) -> _Line:
        """Makes the connection of a client; see `zq.client.calls.Calls`."""
        peer = b"client-%d" % len(self._sessions)
        self._attach(peer, session)
        session.connected(self._now)
        return _Line(self, peer, session)

    def _make_calls(self) -> Calls:
        """Returns the calls of a client that has just connected."""
        prefix = make_prefix(len(self._sessions) + 1)
        medium = Medium(self.connect, self.clock, prefix)
        return Calls("ipc://memory", payload_bytes_max=self._payload_bytes_max, medium=medium)

    def disconnect(self, peer: bytes) -> None:
        with self._lock:
            self._sessions.pop(peer, None)
            self._namespaces.pop(peer, None)
            self._gone.append(peer)

    def say(self, function: Callable[[], None]) -> None:
        """Lets a session be told something, and carries all messages that follow from it."""
        with self._lock:
            function()
            self._settle()

    def _settle(self) -> None:
        """Takes turns until nobody has anything to say and nothing is due."""
        with self._lock:
            for _ in range(TURNS_MAX):
                messages = [
                    (peer, one) for peer, session in list(self._sessions.items()) for one in self._said(session)
                ]
                if not messages and self._machine.next_at(self._clocks()) > self._now:
                    break
                if not self._turn(messages) and not messages:
                    break  # what is due cannot be done now
            else:
                raise AssertionError("the coordinator and its peers find no end")
            if self._worker is not None:
                for token, lo, hi in self._worker.take_revoked():
                    self._revoked.setdefault(token, set()).update(range(lo, hi))

    def _said(self, session: Session) -> list[Any]:
        """Returns what a session has to say; its clock comes after its mouth, so that a wait of no time gets its
        answer.
        """
        messages = session.take_outbox()
        if not messages:
            session.tick(self._now)
            messages = session.take_outbox()
        return messages

    def _turn(self, messages: list[tuple[bytes, Any]]) -> int:
        """One turn of the coordinator; returns how many messages it has sent."""
        carried = []
        for peer, message in messages:
            namespace = self._namespaces.get(peer)
            sent = message if namespace is None else namespace.into(message)
            carried.append((peer, decode_for_coordinator(encode(sent))))
        gone, self._gone = self._gone, []
        outbox = self._machine.turn(self._clocks(), carried, gone)
        for peer, answer in outbox:
            session = self._sessions.get(peer)
            if session is not None:
                heard, namespace = decode_from_coordinator(encode_answer(answer)), self._namespaces.get(peer)
                session.receive(self._now, heard if namespace is None else namespace.out_of(heard))
        return len(outbox)

    def _about(self) -> dict[str, Any]:
        return {"store": self._store.info()._asdict()}

    # Waiting.

    def _run(self, calls: Calls) -> Driver:
        """Returns what carries out the calls of a client; waiting lets time pass."""

        def run(call: Call[T], /) -> T:
            return self._drive(calls, call)

        return run

    def _async_run(self, calls: Calls) -> AsyncDriver:
        """Returns the same for a client that awaits: its calls have ended when they are awaited."""

        async def run(call: Call[T], /) -> T:
            return self._drive(calls, call)

        return run

    def _drive(self, calls: Calls, call: Call[T]) -> T:
        try:
            ask = next(call)
            while True:
                reply = _MemoryReply()
                try:
                    ask.start(reply)
                    self._wait(reply, ask.deadline)
                    if reply.error is not None:
                        raise reply.error
                except Exception as error:
                    if reply.error is None:
                        calls.abandon(ask, reply)
                    ask = call.throw(error)
                else:
                    ask = call.send(reply.value)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _wait(self, reply: _MemoryReply, deadline: float) -> None:
        if reply.is_over:
            return
        self._check_not_handling("wait for another task")
        give_up_at = min(deadline, self._now + PATIENCE)
        self.run_pending()
        while not reply.is_over:
            at = self._next_at()
            if deadline == inf and (at > give_up_at or not self._has_work()):
                raise TimedOutError(
                    "it has not ended, and nothing that is due could end it; is there a task function for its queue?"
                )
            self._now = min(at, deadline)
            self.run_pending()

    def _has_work(self) -> bool:
        """Returns whether anything waits, is leased, or will be due."""
        queues = self._machine.books.queues.values()
        return any(queue.total_waiting or queue.leased or queue.scheduled for queue in queues)


class _Line:
    """The connection of a client; see `zq.client.driving.Connection`."""

    def __init__(self, world: Memory, peer: bytes, session: ClientSession) -> None:
        self.address = "ipc://memory"
        self.is_over = False
        self._world = world
        self._peer = peer
        self._session = session

    def call(self, function: Callable[[], None]) -> None:
        if self.is_over:
            raise ClosedError("the connection is closed")
        self._world.say(function)

    def close(self, timeout: float = 5.0) -> None:  # noqa: ARG002 - the protocol's signature
        self.is_over = True
        self._session.failed(ClosedError("the connection was closed"))
        self._world.disconnect(self._peer)


class _MemoryReply:
    """The end of a call; see `zq.sessions.outcomes.Reply`."""

    __slots__ = ("error", "is_over", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self.is_over = False

    def resolve(self, value: Any) -> None:
        self.value = value
        self.is_over = True

    def reject(self, error: Exception) -> None:
        self.error = error
        self.is_over = True


def _blocking(handler: Handler) -> Handler:
    """Returns a coroutine handler as one that is called."""
    return lambda task: run_coroutine(handler(task))
