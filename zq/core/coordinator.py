"""The coordinator as a pure machine: messages and time in, messages out, everything that matters in the transaction.

Theory of operation. A shell owns the sockets and the clock and turns in a loop:

    sleep until coordinator.next_at(now), or until something comes
    send(coordinator.turn(now, messages))

A *turn* is the one way to do anything, and this is the only place that knows its order: a transaction of the store is
begun; each message that has come is received; what is due is done and what can be assigned is assigned; the transaction
is committed, one flush for all of it; and only when the commit has returned is what may be sent handed out (protocol
6.1). Nothing else in here waits, and nothing sleeps, logs or looks at a clock. When a turn raises, its commit too, the
machine is to be thrown away: what is in memory may be ahead of the disk, and nothing that rests on it was handed out. A
new one reads the books again.

Invariants, which the simulation checks after each step:
- a task that was accepted is in exactly one of pending, scheduled, dead, or has ended;
- a task has at most one lease, and its tokens rise;
- a worker holds at most its credit;
- the counters of a queue are the counts of its tasks.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, assert_never

from zq.core import clocks
from zq.core.accounts import BusyRequestError
from zq.core.admin import chores, commands
from zq.core.arguments import InvalidRequestError
from zq.core.insight import following, queries, waits
from zq.core.measures import rolling
from zq.core.measures.steps import FINE_SECONDS
from zq.core.opening import read_books
from zq.core.options import NO_CALENDAR, Calendar, CoordinatorOptions, Now
from zq.core.recount import Recount
from zq.core.rights.guard import Guard
from zq.core.state.books import Books
from zq.core.state.holder import Peer
from zq.core.state.leases import Holder
from zq.core.state.step import Step
from zq.core.storage import Store
from zq.core.tasks import (
    admission,
    assignment,
    dead_letters,
    follow_up,
    liveness,
    publishing,
    pulls,
    schedules,
    settling,
)
from zq.core.upkeep import MESSAGES_LEAVE, Cramp, Upkeep, check_room
from zq.wire.messages import (
    Answer,
    Cancel,
    Command,
    Confirm,
    Error,
    Extend,
    Follow,
    FromCoordinator,
    Goodbye,
    Heartbeat,
    Hello,
    Open,
    OtherFromClient,
    Ping,
    Pong,
    Progress,
    Publish,
    Pull,
    Query,
    Receipt,
    Release,
    Schedule,
    Settle,
    Started,
    Submit,
    ToCoordinator,
    Wait,
    Withdraw,
)
from zq.wire.steering import About


class Machine:
    """One coordinator over one store. Not thread-safe: its shell's one thread calls it.

    Attributes:
        unsaid: what was committed and not said yet when the last turn began, which may have failed.
    """

    def __init__(
        self,
        options: CoordinatorOptions,
        now: Now,
        store: Store,
        about: Callable[[], dict[str, Any]] = dict,
        calendar: Calendar = NO_CALENDAR,
        guard: Guard | None = None,
        before: "Machine | None" = None,
    ) -> None:
        """Reads the books, and raises the epoch on disk before anything else can happen.

        Args:
            options: how it behaves.
            now: both clocks.
            store: where everything is that must survive; nobody else writes to it.
            about: what the shell has to add to the answer to the query `status`.
            calendar: what the shell knows about cron expressions and time zones.
            guard: what keys may do, and whose the connections are; None: everybody may do everything.
            before: the machine in whose place it comes: what did not fit the store stays known, what was counted is
                counted on, and what it was about to say is said.
        """
        self.options = options
        self._about = about
        self._store = store
        self._guard = guard
        self._ticked_at = now.monotonic
        tx = store.begin()
        try:
            recount = Recount(tx, now.wall)
            has_recounted = recount.run()
            self.books: Books = read_books(options, now, tx)
            if has_recounted:
                recount.end_groups(self.books, Step(now, tx))
            dead_letters.read_replays(self.books, Step(now, tx))
            self.books.schedules = schedules.count(Step(now, tx))
            self.books.save(tx)
        except BaseException:
            tx.abort()
            raise
        tx.commit()
        self.recounted = recount.notes  # what was found when something had been set aside, in words
        self.damaged, self.righted = recount.remains.damaged, recount.remains.righted  # rows, in all lives
        self.books.calendar = calendar
        self.cramp: Cramp = Cramp() if before is None else before.cramp
        self.unsaid: list[tuple[Peer, Receipt]] = []
        if before is not None:
            self.books.counters.update(before.books.counters)
            self.books.waits.unhurried.say_soon(now.monotonic, before.unsaid)
        if guard is not None:
            guard.attach(self.books)
        self._upkeep = Upkeep(self.books, self.cramp)
        self._run: admission.SubmitRun | None = None  # of this turn: submits that are answered and not stored yet

    def turn(
        self,
        now: Now,
        messages: Iterable[tuple[Peer, ToCoordinator | Error]] = (),
        unreachable: Collection[Peer] = (),
        outbox: list[tuple[Peer, FromCoordinator]] | None = None,
        slow: Collection[Peer] = (),
    ) -> list[tuple[Peer, FromCoordinator]]:
        """Takes one turn, and returns what is to be sent: it may be, for the commit has returned.

        Args:
            now: both clocks.
            messages: what has come, with its connection, decoded and checked; an Error instead of a message that could
                not be read is the answer to it.
            unreachable: connections to which something could not be sent.
            outbox: an empty list which is filled while the messages are taken, so that whoever hands them in may stop
                when the answers are many; it is what is returned.
            slow: connections that have much to read, whose workers get no more tasks until they have read some.

        Raises:
            StoreError: of the store; StoreFullError when not even its reserve has room.
        """
        self._run, self._upkeep.is_at_commit = None, False
        self.unsaid = self.books.waits.unhurried.receipts
        tx = self._store.begin()
        try:
            step, room = Step(now, tx), tx.room_bytes
            clocks.note_clock(self.books, step)
            if outbox is not None:
                step.outbox = outbox
            if self.books.waits.unhurried.has_settled:
                step.outbox += self.books.waits.unhurried.take_settled()
            if step.now - self._ticked_at > 2 * self.options.heartbeat_interval:
                liveness.excuse_idleness(self.books, step.now)
            if unreachable:
                self._take_back(step, unreachable)
            if self.books.unsure:
                self.books.unsure.clear()  # what was sent in the last step could be sent
            if self._guard is None:
                for peer, message in messages:
                    if self.books.waits.unhurried.has_receipts:
                        step.outbox += self.books.waits.unhurried.take_receipts(peer)
                    self._receive(step, peer, message)
                self._store_run(step)
            else:
                self._receive_guarded(self._guard, step, messages)
            if tx.is_full:
                check_room(step, room, MESSAGES_LEAVE)
            if unreachable:  # after their last words, by which they may have confirmed what they pulled
                pulls.disconnected(self.books, step, *unreachable)
                for peer in unreachable:
                    self.books.accounts.forget(peer)
            if slow or self.books.loaded:
                assignment.note_slow(self.books, slow)
            self._tick(step)
        except BaseException:
            tx.abort()
            raise
        tx.commit()
        return step.outbox

    def _take_back(self, step: Step, unreachable: Collection[Peer]) -> None:
        """Takes back what was sent in the last step to connections that did not take it."""
        for peer in unreachable:
            liveness.take_back_undelivered(self.books, step, peer, self._ticked_at)
            liveness.disconnected(self.books, step.wall, peer)
        pulls.take_back_unsure(self.books, step, set(unreachable))

    def note_beat(self, now: float, peer: Peer) -> Holder | None:
        """Notes a heartbeat that lists no lease, outside of a turn, of which there is one in each half of the heartbeat
        interval nevertheless; returns the worker, if it changes nothing of it but when it was heard (monotonic), so
        that it is to be answered by its number and the epoch, or not at all. Else it is for a turn, as any message.
        """
        worker = self.books.peers.get(peer)
        if worker is None or self._guard is not None or peer in self.books.guests:
            return None
        return worker if not self.books.waits.unhurried.has_settled and worker.beat_idle(now) else None

    @property
    def idle_interval(self) -> float:
        """Seconds between the beats of workers that have nothing in hand (protocol 3.6); 0: as always."""
        return self.options.idle_interval(len(self.books.peers))

    def forget_watchers(self, peers: Iterable[Peer]) -> None:
        """Forgets who watches events by connections that have ended. Workers and what was pulled are only suspect by
        that: their silence counts, or that something cannot be delivered.
        """
        for peer in peers:
            following.forget_peer(self.books, peer)

    def blame(self, now: Now) -> bool:
        """Notes what did not fit the store in a turn that raised StoreFullError; returns whether it was due by itself,
        and not a message.
        """
        return self._upkeep.blame(now.monotonic)

    def next_at(self, now: Now) -> float:
        """Returns the monotonic time of the next turn that has something to do, at the earliest now, or infinity."""
        if self._guard is not None and self._guard.is_asking:
            return now.monotonic
        return self._upkeep.next_at(now)

    # A turn.

    def _receive_guarded(
        self, guard: Guard, step: Step, messages: Iterable[tuple[Peer, ToCoordinator | Error]]
    ) -> None:
        guard.begin(self.books, step)
        for peer, message in messages:
            guard.note_replaced(self.books, step, peer)
            step.outbox += self.books.waits.unhurried.take_receipts(peer)
            guard.receive(self.books, step, peer, message, self._receive_alone)

    def _receive_alone(self, step: Step, peer: Peer, message: ToCoordinator | Error) -> None:
        """Handles one message whole, so that what looks at its effect sees it."""
        self._receive(step, peer, message)
        self._store_run(step)

    def _store_run(self, step: Step) -> None:
        """Stores the submits that were left to be stored together."""
        run, self._run = self._run, None
        if run is not None:
            run.store(self.books, step)

    def _receive(self, step: Step, peer: Peer, message: ToCoordinator | Error) -> None:
        """Handles one message from a connection; nothing but a submit is handled before all submits are stored."""
        if self._run is not None and type(message) is not Submit:
            self._store_run(step)
        books = self.books
        step.peer = peer
        sender = books.peers.get(peer)
        if sender is not None:
            liveness.note_life(books, step, sender)
        guest = books.guests.get(peer)
        if guest is not None:
            guest.heard_at = step.now
        match message:
            case Settle():
                if sender is None and message.credit is not None:
                    self._say_hello(step, peer)
                elif step.tx.is_spent:
                    books.count("limit store")
                    self._refuse(step, peer, message.number, BusyRequestError(step.tx.why_full))
                else:
                    settling.settle(books, step, peer, sender, message)
            case Submit():  # as early as this, for it is one of those that come most
                self._run = admission.submit(books, step, peer, message, self._run)
            case Wait():
                refusal = waits.wait(books, step, peer, message)
                if refusal is not None:
                    self._refuse(step, peer, *refusal)
            case Ping():
                step.outbox += books.waits.unhurried.take_of(peer)
                step.send(peer, Pong(message.request, books.epoch))
            case Release():
                if sender is None and message.credit is not None:
                    self._say_hello(step, peer)
                else:
                    settling.release(books, step, peer, sender, message)
            case Hello():
                try:
                    liveness.hello(books, step, peer, message)
                except BusyRequestError as error:
                    self._refuse(step, peer, None, error)
            case Goodbye() if sender is None and liveness.goodbye_of_the_gone(books, step, message):
                pass
            case Heartbeat() | Started() | Progress() | About() | Goodbye():
                if sender is None:
                    self._say_hello(step, peer)
                else:
                    self._receive_from_worker(step, sender, message)
            case Error(code=code):
                books.count(f"error {code}")
                step.send(peer, message)
            case _:
                self._receive_from_client(step, peer, message)
        if step.ended or step.notices:
            follow_up.follow_up(books, step)

    def _tick(self, step: Step) -> None:
        """Does what is due, assigns, and makes the step ready for its commit."""
        books = self.books
        step.peer = None
        if step.now - self._ticked_at > self.options.heartbeat_interval:
            self._excuse_stall(step)
        books.cramped = self.cramp.level
        self._upkeep.carry_out(step)
        for queue in books.changed:
            queue.measure_rate(step.now)
        if books.waits.entries:
            waits.tell(books, step)
        if books.changed and (history := books.deadlines.history).when > step.wall + FINE_SECONDS:
            history.when = rolling.end_of_step(step.wall)
        books.measures.history.commits += 1
        if books.events is not None:
            following.flush(books, step)
        books.save(step.tx)
        self._ticked_at = step.now
        self._upkeep.is_at_commit = True

    # Messages.

    def _receive_from_worker(
        self, step: Step, worker: Holder, message: Heartbeat | Started | Progress | About | Goodbye
    ) -> None:
        books = self.books
        match message:
            case Heartbeat():
                step.outbox += books.waits.unhurried.take_of(worker.peer or b"")
                liveness.heartbeat(books, step, worker, message)
            case Started():
                liveness.note_held(books, step, worker, message.held)
            case Progress(token, index, fraction):
                lease = worker.leases.get(token)
                if lease is not None and lease.mask & lease.batch.span_mask(index, index + 1):
                    lease.progress[index] = fraction
                    books.waits.note_progress(lease.batch.id, index, fraction)
            case About():
                liveness.note_about(books, worker, message)
            case Goodbye():
                liveness.goodbye(books, step, worker, message)
            case _:
                assert_never(message)

    def _receive_from_client(self, step: Step, peer: Peer, message: OtherFromClient) -> None:
        books = self.books
        match message:
            case Open():
                admission.open_group(books, step, peer, message)
            case Schedule(request):
                self._answer(step, peer, request, lambda: schedules.define(books, step, message))
            case Publish():
                publishing.publish(books, step, peer, message)
            case Pull():
                pulls.pull(books, step, peer, message)
            case Cancel(request, id, is_again):
                chores.cancel(books, step, (peer, request), id, is_again=is_again)
            case Query(request, what, arguments):
                self._answer(step, peer, request, lambda: self._query(step, what, arguments))
            case Command(request, verb, arguments):
                step.asker = (peer, request)
                self._answer(step, peer, request, lambda: commands.carry_out(books, step, verb, arguments))
            case Withdraw(requests):
                pulls.withdraw(books, step, peer, requests)
            case Confirm():
                pulls.confirm(books, step, peer, message)
            case Follow():
                following.follow(books, step, peer, message)
            case Extend(request):
                step.send(peer, Answer(request, settling.extend(books, step, peer, message)))
            case _:
                assert_never(message)

    def _query(self, step: Step, what: str, arguments: dict[str, Any]) -> Any:
        value = queries.answer(self.books, step, what, arguments)
        return {**self._about(), **value} if what == "status" else value

    def _answer(self, step: Step, peer: Peer, request: int, ask: Callable[[], Any]) -> None:
        try:
            value = ask()
        except InvalidRequestError as error:
            self._refuse(step, peer, request, error)
        else:
            if value is not commands.LATER:
                step.send(peer, Answer(request, value))

    def _refuse(self, step: Step, peer: Peer, request: int | None, error: InvalidRequestError) -> None:
        self.books.count(f"error {error.code}")
        step.send(peer, Error(request, error.code, str(error)))

    def _say_hello(self, step: Step, peer: Peer) -> None:
        self.books.count("error say-hello")
        step.send(peer, Error(None, "say-hello", "expected hello first on this connection"))

    def _excuse_stall(self, step: Step) -> None:
        """When this machine itself stood still for longer than a heartbeat, nobody is blamed for that time."""
        liveness.excuse_stall(self.books, step.now, step.now - self._ticked_at - self.options.heartbeat_interval)
