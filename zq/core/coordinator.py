"""The coordinator as a pure machine: messages and time in, messages out, everything that matters in the transaction.

Theory of operation. A shell owns the sockets and the clock and turns in a loop:

    step = coordinator.begin(now, tx)       # a transaction of the store
    coordinator.receive(step, peer, message)   # for each message that has come
    coordinator.tick(step)                  # what is due, then assignment
    tx.commit()                             # group commit: one flush for all of it
    send(step.outbox)                       # protocol 6.1: only now

Nothing in here waits, sleeps, logs or looks at a clock. When the commit fails, the machine is thrown away: what is in
memory may be ahead of the disk, and nothing that rests on it has been sent. A new one reads the books again.

Invariants, which the simulation checks after each step:
- a task that was accepted is in exactly one of pending, scheduled, dead, or has ended;
- a task has at most one lease, and its tokens rise;
- a worker holds at most its credit;
- the counters of a queue are the counts of its tasks.
"""

from collections.abc import Callable
from math import inf
from typing import Any, assert_never

from zq.core.admin import commands, operations
from zq.core.arguments import InvalidRequestError
from zq.core.insight import following, queries
from zq.core.opening import read_books
from zq.core.options import NO_CALENDAR, Calendar, CoordinatorOptions, Now
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.leases import Holder
from zq.core.state.outcome_waits import WaitEntry, outcome_messages
from zq.core.state.step import Step
from zq.core.storage import Transaction
from zq.core.tasks import (
    admission,
    assignment,
    dead_letters,
    expiry,
    follow_up,
    key_turns,
    liveness,
    publishing,
    pulls,
    retention,
    schedules,
    settling,
)
from zq.wire.messages import (
    Answer,
    Cancel,
    Command,
    Error,
    Extend,
    Follow,
    FromClient,
    Goodbye,
    Heartbeat,
    Hello,
    Open,
    Ping,
    Pong,
    Progress,
    Publish,
    Pull,
    Query,
    Release,
    Schedule,
    Settle,
    Started,
    Submit,
    ToCoordinator,
    Wait,
)

DUE_MAX = 1000
"""Scheduled batches that one step moves to pending."""


class Coordinator:
    """One coordinator over one store. Not thread-safe: its shell's one thread calls it."""

    def __init__(
        self,
        options: CoordinatorOptions,
        now: Now,
        tx: Transaction,
        about: Callable[[], dict[str, Any]] = dict,
        calendar: Calendar = NO_CALENDAR,
    ) -> None:
        """Reads the books; the caller commits the transaction, which raises the epoch, before anything else.

        Args:
            options: how it behaves.
            now: both clocks.
            tx: a transaction of the store.
            about: what the shell has to add to the answer to the query `status`.
            calendar: what the shell knows about cron expressions and time zones.
        """
        self.options = options
        self._about = about
        self.books: Books = read_books(options, now, tx)
        self.books.calendar = calendar
        dead_letters.read_replays(self.books, Step(now, tx))
        self._ticked_at = now.monotonic

    def begin(self, now: Now, tx: Transaction) -> Step:
        """Starts a step; every message that is received and the tick belong to it."""
        return Step(now, tx)

    def receive(self, step: Step, peer: Peer, message: ToCoordinator) -> None:
        """Handles one message from a connection; it has been decoded and checked."""
        books = self.books
        sender = books.peers.get(peer)
        if sender is not None:
            liveness.note_life(books, step, sender)
        match message:
            case Settle():
                if sender is None and message.credit is not None:
                    self._say_hello(step, peer)
                else:
                    settling.settle(books, step, peer, sender, message)
            case Release():
                if sender is None and message.credit is not None:
                    self._say_hello(step, peer)
                else:
                    settling.release(books, step, peer, sender, message)
            case Hello():
                liveness.hello(books, step, peer, message)
            case Heartbeat() | Started() | Progress() | Goodbye():
                if sender is None:
                    self._say_hello(step, peer)
                else:
                    self._receive_from_worker(step, sender, message)
            case _:
                self._receive_from_client(step, peer, message)
        if step.ended or step.notices:
            follow_up.follow_up(books, step)

    def refuse(self, step: Step, peer: Peer, code: str, text: str, request: int | None) -> None:
        """Answers a message that could not be decoded."""
        sender = self.books.peers.get(peer)
        if sender is not None:
            liveness.note_life(self.books, step, sender)
        self.books.count(f"error {code}")
        step.send(peer, Error(request, code, text))

    def disconnected(self, now: Now, peer: Peer) -> None:
        """Notes that a message could not be sent to a connection."""
        liveness.disconnected(self.books, now.wall, peer)

    def tick(self, step: Step) -> None:
        """Does what is due, assigns, and makes the step ready for its commit."""
        books = self.books
        self._excuse_stall(step)
        liveness.watch(books, step)
        for lease in books.due_alarms(step.now):
            settling.ring_alarm(books, step, lease)
        expiry.expire_due(books, step)
        admission.release_due(books, step, DUE_MAX)
        schedules.fire_due(books, step)
        if books.replays:
            dead_letters.carry_on(books, step)
        if books.operations:
            operations.carry_on(books, step)
        if step.ended or step.notices:
            follow_up.follow_up(books, step)
        key_turns.end_turns(books, step)
        if books.gated:
            assignment.ring_gates(books, step)
        assignment.assign_all(books, step)
        pulls.end_due(books, step)
        retention.forget(books, step)
        for queue in books.changed:
            queue.measure_rate(step.now)
        for peer, message in books.waits.take_messages():
            step.send(peer, message)
        following.flush(books, step)
        books.save(step.tx)
        self._ticked_at = step.now

    def next_at(self, now: Now) -> float:
        """Returns the monotonic time of the next tick that has something to do, or infinity."""
        books = self.books
        at = min(books.watch_at, books.alarms[0][0] if books.alarms else inf)
        forget_time = books.next_forget_time if books.kept else inf
        wall = min(books.next_due_time, books.next_fire_time, books.next_expiry_time, forget_time)
        at = min(at, now.monotonic + max(0.0, wall - now.wall))
        if books.operations and operations.has_work(books):
            return now.monotonic
        if books.replays:
            at = min(at, dead_letters.next_at(books))
        for queue in books.gated:
            at = min(at, inf if queue.gate is None else queue.gate.wake_at())
        return min(at, pulls.next_at(books))

    # Messages.

    def _receive_from_worker(
        self, step: Step, worker: Holder, message: Heartbeat | Started | Progress | Goodbye
    ) -> None:
        books = self.books
        match message:
            case Heartbeat():
                liveness.heartbeat(books, step, worker, message)
            case Started():
                liveness.started(books, step, worker, message)
            case Progress(token, index, fraction):
                lease = worker.leases.get(token)
                if lease is not None and lease.mask & lease.batch.span_mask(index, index + 1):
                    lease.progress[index] = fraction
                    books.waits.note_progress(lease.batch.id, index, fraction)
            case Goodbye():
                liveness.goodbye(books, step, worker, message)
            case _:
                assert_never(message)

    def _receive_from_client(self, step: Step, peer: Peer, message: FromClient) -> None:
        books = self.books
        match message:
            case Submit():
                admission.submit(books, step, peer, message)
            case Open():
                admission.open_group(books, step, peer, message)
            case Schedule(request):
                self._answer(step, peer, request, lambda: schedules.define(books, step, message))
            case Publish():
                publishing.publish(books, step, peer, message)
            case Wait(request, id, lo, hi):
                ended, missing = follow_up.ended_spans(books, step, id, lo, hi)
                for to, outcome in outcome_messages(peer, request, ended, is_last=not missing):
                    step.send(to, outcome)
                if missing:
                    books.waits.add(id, WaitEntry(peer, request, missing))
            case Pull():
                pulls.pull(books, step, peer, message)
            case Cancel(request, id):
                step.send(peer, Answer(request, follow_up.cancel(books, step, id)))
            case Query(request, what, arguments):
                self._answer(step, peer, request, lambda: self._query(step, what, arguments))
            case Command(request, verb, arguments):
                self._answer(step, peer, request, lambda: commands.carry_out(books, step, verb, arguments))
            case Follow():
                following.follow(books, step, peer, message)
            case Ping(request):
                step.send(peer, Pong(request, books.epoch))
            case Extend(request):
                step.send(peer, Answer(request, settling.extend(books, step, message)))
            case _:
                assert_never(message)

    def _query(self, step: Step, what: str, arguments: dict[str, Any]) -> Any:
        value = queries.answer(self.books, step, what, arguments)
        return {**self._about(), **value} if what == "status" else value

    def _answer(self, step: Step, peer: Peer, request: int, ask: Callable[[], Any]) -> None:
        try:
            value = ask()
        except InvalidRequestError as error:
            self.books.count("error invalid")
            step.send(peer, Error(request, "invalid", str(error)))
        else:
            step.send(peer, Answer(request, value))

    def _say_hello(self, step: Step, peer: Peer) -> None:
        self.books.count("error say-hello")
        step.send(peer, Error(None, "say-hello", "expected hello first on this connection"))

    def _excuse_stall(self, step: Step) -> None:
        """When this machine itself stood still for longer than a heartbeat, nobody is blamed for that time."""
        stall = step.now - self._ticked_at - self.options.heartbeat_interval
        if stall > 0:
            liveness.excuse_stall(self.books, stall)
