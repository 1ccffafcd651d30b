"""The simulated coordinator process, and one run of everything under one seed.

The process turns as the real shell does: it drains, lets the coordinator take its turn, and sends. It can crash at
every point of that: after each message, before the commit, at each point of it, and between the commit and the sending;
and while it starts, rests and stops. What was not committed is lost then. A turn may also fail by a fault of the
program, upon which the books are read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.simulation.deadlines import Clocks, check_deadlines
from tests.simulation.disk import Crash, Disk, FlushError
from tests.simulation.fates import check_clock, check_expiry, check_fates, check_hand_out, check_schedules, check_unique
from tests.simulation.glutton import GLUTTON, LIMITS, Glutton, check_accounts
from tests.simulation.hands import HandCheck
from tests.simulation.invariants import check_books, check_grants
from tests.simulation.ledger import Ledger, Violation
from tests.simulation.limits import LimitCheck
from tests.simulation.lineage import COMPLAINTS, JOINED, check_joined
from tests.simulation.lives import Lives
from tests.simulation.measured import Measured
from tests.simulation.order import OrderCheck
from tests.simulation.peers import Customer, Worker
from tests.simulation.policies import PolicyCheck
from tests.simulation.recounted import check_recount
from tests.simulation.session_worker import SessionWorker
from tests.simulation.set_back import check_set_back
from tests.simulation.shares import QUEUES, ShareCheck
from tests.simulation.shell import Came, ProgramFaultError, Shell
from tests.simulation.steered import HELM, Steered
from tests.simulation.stranger import Stranger, check_names, fenced, live_names
from tests.simulation.timelines import check_traces
from tests.simulation.visitors import Visitors
from tests.simulation.watching import EYE, Eye
from tests.simulation.world import WALL_OFFSET, Connection, World
from zq.core.coordinator import Machine
from zq.core.counters import EPOCH_SHIFT
from zq.core.insight.queries import answer
from zq.core.options import CoordinatorOptions
from zq.core.state.batch import bits
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Holder
from zq.core.state.step import Step
from zq.core.storage import Store
from zq.core.tables import GROUPS, SCHEDULES, schedule_bounds, unpack
from zq.core.tasks.groups import OPEN, read_row
from zq.core.tasks.schedules import FIRE_MAX, ScheduleRow
from zq.errors import StoreCorruptError, StoreFullError
from zq.task import task_id
from zq.wire.messages import (
    Assign,
    Assignment,
    Beat,
    Done,
    Goodbye,
    Heartbeat,
    Hello,
    Options,
    Receipt,
    Settle,
    Submit,
    Tasks,
)
from zq.wire.retry import RetryPolicy

TURN_SECONDS = 0.1
RESUME_TURN = 130
"""Of the healed time: pauses that were still on their way have come, and nobody looks yet whether all has drained."""

FULL_CHECK_EVERY = 8
"""Turns between two checks of the whole store against the books; grants and counts are checked in each."""


class Cook(Machine):
    """The coordinator as it is, which shows the kitchen each step at its end, before the commit."""

    def __init__(self, kitchen: Kitchen, before: Machine | None) -> None:
        super().__init__(kitchen.options, kitchen.world.clocks(), kitchen.disk, before=before)
        self._kitchen = kitchen

    def _tick(self, step: Step) -> None:
        super()._tick(step)
        self._kitchen.look_at(step)


class Kitchen:
    """The coordinator's process."""

    def __init__(self, world: World, ledger: Ledger, disk: Disk) -> None:
        self.world = world
        self.ledger = ledger
        self.disk = disk
        self.options = CoordinatorOptions(
            suspect_after=3.0, gone_after=6.0, idle_beats_max=1 if world.seed % 2 else 200, max_attempts=3, keep_seconds=1e6, keep_seconds_min=1e6,
            retry=RetryPolicy.full_jitter(0.5, largest=2.0), queue_tasks_max=world.rng.choice((30, 1000)), peer_limits=LIMITS, assign=world.rng.choice(("least-loaded", "hash")),
        )  # fmt: skip
        self.inbox: list[Came] = []
        self.machine: Cook | None = None
        self.last: Step  # of the machine
        self.received: list[Came] = []  # in it
        self.workers_before: dict[str, Holder] = {}
        self.leases_before = 0  # the number of the last one
        self.turns = 0
        self.before_step: tuple[dict[tuple[str, str], list[str]], dict[str, None]] | None  # lines and stored batches
        self.is_at_commit = False  # whether the step is whole, and being committed
        self.is_in_doubt = False  # whether the last step has happened
        self.doubted: list[Any] = []  # what was received in it, and nobody has looked what became of it
        self.fired: dict[str, int] = {}  # how often each schedule has fired
        self.ticked_wall = 0.0  # at the last tick
        self.latest_wall = 0.0  # that the machine has seen
        self.limits = LimitCheck()
        self.order = OrderCheck()
        self.shares = ShareCheck()
        self.policies = PolicyCheck(ledger, self.state_of)
        self.lives = Lives()
        self.measured = Measured()
        self.acknowledges_early = False  # planted fault
        self.heard: dict[bytes, float] = {}  # by connection
        self.visitors = Visitors(world, ledger, self.heard)
        self.stranger = Stranger(world, world.rng.randrange(1 << 32))
        self.handled: list[Any] = []  # what was received in the step, as far as its connection was there
        self.unreachable: list[bytes] = []  # connections to which something could not be sent
        self.undelivered: list[int] = []
        self.peers: dict[str, bytes] = {}  # by worker, its last connection
        self.turned_at = 0.0
        self.shell = Shell(self)
        world.deliver_to_coordinator = self.deliver
        self.boot()

    @property
    def store(self) -> Store:
        return self.disk.store

    def boot(self) -> None:
        """Starts the process on what the disk has."""
        self.inbox.clear()
        self.unreachable = []
        try:
            self.disk.open()
            self.dispel_doubt()
            self.shell.open_books()
        except (Crash, FlushError):
            self.crash()
        except StoreFullError:  # its process ends with these words, and is started again
            self.world.note("no room to start")
            self.crash()

    def dispel_doubt(self) -> None:
        """Takes the last step for one that has happened, or has not, when the process ended in its commit."""
        if not self.is_in_doubt:
            return
        self.is_in_doubt = False
        if self.disk.has_lost_turn:
            self.take_step_back()
        else:
            self.doubted = [message for _, message in self.received]
            self.shares.note_accepted(self.last.outbox)

    def take_step_back(self) -> None:
        """Forgets what was noted of a step that has never happened."""
        self.measured.take_back()
        if self.before_step is not None:
            self.ledger.lines, self.ledger.stored = self.before_step
            self.before_step = None

    def make_machine(self, before: Machine | None) -> Cook:
        """Reads the books, as the shell does at a start and after a turn that has failed."""
        self.disk.is_read = True
        try:
            self.machine = Cook(self, before)
        finally:
            self.disk.is_read = False
        self.has_turned = False
        self.disk.mark()
        self.measured.watch(self.machine.books)
        self.booted_at = self.turned_at = self.world.now
        self.eye = Eye()
        self.glutton = Glutton(self.disk.tables)
        self.steered = Steered(self.world)
        return self.machine

    def crash(self) -> None:
        """Ends the process: memory, unsent messages and connections are gone. It is started again after a while."""
        self.machine = None
        self.disk.crash()
        for connection in list(self.world.connections.values()):
            self.world.close(connection)
        self.world.after(self.world.rng.choice((0.1, 1.0, 8.0)), self.boot)

    def deliver(self, connection: Connection, message: Any) -> None:
        if self.machine is not None:
            self.inbox.append(Came(connection, message))

    def turn(self) -> None:
        """One turn of the shell's loop."""
        self.disk.space.act()
        machine = self.machine
        self.disk.damaged.act(self.disk.tables, None if machine is None else machine.books, self.ledger)
        if machine is None or self.world.strikes("stall"):
            return
        if self.disk.may(self.disk.stops):
            self.stop()
            return
        self.turns += 1
        self.received, self.inbox = self.inbox, []
        self.answer_beats(machine)
        try:
            self.shell.turn(self.received)
        except (Crash, FlushError, ProgramFaultError):  # the last, when not even a refusal could be said
            self.is_in_doubt = (
                self.is_at_commit and self.disk.is_in_doubt
            )  # else it was in that of what is brought back
            self.crash()
            return
        if self.has_turned and self.disk.space.is_calm:
            self.check_deadlines()
        if self.has_turned and self.turns % FULL_CHECK_EVERY == 0:
            self.check()
        self.rest()

    def step(self, received: list[Came], *, is_alone: bool) -> None:
        """Lets the machine take a turn, checks it, and sends what it hands out.

        Raises: as the machine does; nothing of the turn is left then.
        """
        machine = self.machine
        assert machine is not None
        self.received = received
        self.workers_before = dict(machine.books.workers)
        self.leases_before = machine.books.lease_number
        self.undelivered = self.find_undelivered(machine.books)
        named, fenced_before = live_names(machine.books, self.unreachable), fenced(machine.books)
        self.is_at_commit, self.before_step = False, None
        self.measured.note_turn()
        try:
            outbox = self.take_turn(machine, is_alone=is_alone)
        except (Crash, FlushError):
            if not self.is_at_commit:
                self.take_step_back()
            raise
        except (ProgramFaultError, StoreFullError, StoreCorruptError) as error:
            self.world.note("fault" if isinstance(error, ProgramFaultError) else f"turn with {type(error).__name__}")
            self.take_step_back()
            self.disk.check_aborted()
            raise
        self.turned_at, self.unreachable, self.has_turned = self.world.now, [], True
        check_names(machine.books, named, fenced_before)
        messages = [*self.doubted, *(message for _, message in self.received)]
        self.doubted = []
        self.limits.check(machine.books, self.last, messages)
        self.shares.check(machine.books, self.last, messages)
        self.disk.mark()
        self.may_crash()
        if not self.acknowledges_early:
            self.send(outbox)

    def take_turn(self, machine: Cook, *, is_alone: bool) -> list[tuple[bytes, Any]]:
        self.disk.is_read = True
        try:
            return machine.turn(self.world.clocks(), self.messages(machine.books, is_alone=is_alone), self.unreachable)
        finally:
            self.disk.is_read = False
            if self.disk.space.has_refused:  # a commit, which has left nothing
                self.is_at_commit = False

    def note_unfit(self, message: Any) -> None:
        """Checks what somebody is told whose message did not fit the store."""
        self.disk.space.check_unfit(message.text)

    def rest(self) -> None:
        """Lets the store do what nobody waits for."""
        try:
            self.disk.rest(self.world.now)
        except (Crash, FlushError):
            self.crash()

    def stop(self) -> None:
        """Ends the process in order."""
        self.world.note("stop")
        try:
            self.disk.close()
        except Crash:
            pass
        self.crash()

    def answer_beats(self, machine: Machine) -> None:
        """Takes beats that need no turn, as the shell does up to the first message that does."""
        while self.received and isinstance(beat := self.received[0][1], Heartbeat) and not beat.held:
            connection = self.received[0][0]
            if not connection.is_open or not machine.note_beat(self.world.now, connection.peer):
                break
            worker = machine.books.peers[connection.peer]
            if worker.leases or worker.life is not Life.LIVE:
                raise Violation(
                    f"a beat of {worker.name} needs a turn: it is {worker.life}, with {len(worker.leases)} leases"
                )
            self.heard[connection.peer] = self.world.now
            takes_intervals = worker.takes_intervals
            if beat.number or not takes_intervals:
                idle_interval = machine.idle_interval if takes_intervals else 0.0
                self.send([(connection.peer, Beat(beat.number, machine.books.epoch, (), idle_interval))])
            del self.received[0]

    def find_undelivered(self, books: Books) -> list[int]:
        """Returns the tokens of what was granted to workers in the last step, and could not be sent."""
        gone = [books.peers[peer] for peer in self.unreachable if peer in books.peers]
        leases = [lease for worker in gone for lease in worker.leases.values()]
        return [lease.token for lease in leases if lease.granted_at == self.turned_at]

    def may_crash(self) -> None:
        """Ends the process here, if this seed wants it."""
        if self.world.strikes("crash"):
            raise Crash

    def messages(self, books: Books, *, is_alone: bool) -> Iterator[tuple[bytes, Any]]:
        """Yields what the machine receives in a turn; it may crash after each."""
        self.handled = []
        self.disk.space.begin_turn(is_full=self.disk.tables.is_full)
        if not is_alone:
            yield from self.eye.look(books)
            yield from self.glutton.say()
            yield from self.steered.say(books)
        for connection, message in self.received:
            self.heard[connection.peer] = self.world.now
            if connection.is_open:
                self.handled.append(message)
                self.steered.hear(books, connection.peer, message)
                yield connection.peer, message
            self.may_crash()

    def look_at(self, step: Step) -> None:
        """Checks a step that is about to be committed, and lets it crash."""
        assert self.machine is not None
        self.disk.is_read = False  # not by the coordinator
        books = self.machine.books
        self.last = step
        self.disk.space.check(is_full=self.disk.tables.is_full)
        self.disk.space.check_refusals(step.outbox, self.received)
        if self.disk.space.was_spent:
            self.note_forgotten(step)
        self.eye.check(books, step)
        self.steered.check(books, step)
        self.ticked_wall = step.wall
        self.latest_wall = max(self.latest_wall, step.wall)
        self.before_step = {key: list(line) for key, line in self.ledger.lines.items()}, dict(self.ledger.stored)
        self.note_order(step, self.received)
        self.check_hand_outs(self.leases_before, step)
        check_grants(books, self.world.now)
        check_accounts(books)
        self.check_deaths(self.workers_before, self.received)
        leaving = {token for departure in books.departed for token in departure.holder.leases}
        if kept := [token for token in self.undelivered if token in books.leases and token not in leaving]:
            raise Violation(f"leases {kept} could not be delivered to their worker, and are kept")
        has_stalled = self.world.now - self.turned_at > self.options.heartbeat_interval
        self.visitors.check(books, step, self.handled, self.unreachable, stalled=has_stalled)
        if self.acknowledges_early:
            self.send(step.outbox)
        try:
            self.may_crash()
            if self.disk.may(self.disk.fails_in_turns):
                self.disk.note_before()
                raise ProgramFaultError("a mistake of this program, when its turn is all but over")
        except (Crash, ProgramFaultError):
            self.take_step_back()
            raise
        self.is_at_commit = self.disk.is_read = True

    def note_forgotten(self, step: Step) -> None:
        """Notes what ended in a step that had no room to say so."""
        ledger = self.ledger
        for entry in ledger.entries.values():
            is_stored = entry.is_accepted or entry.id.partition("#")[0] in ledger.stored
            is_open = entry.outcome in (None, "dead")  # a dead letter may still be purged
            if is_stored and is_open and self.state_of(step, entry.id) == "unknown":
                ledger.forgotten.add(entry.id)

    def note_order(self, step: Step, inbox: list[Came]) -> None:
        """Checks that what was leased in this step is next in the line of its key."""
        assert self.machine is not None
        books = self.machine.books
        self.forget_moved(step)
        batches = [batch for _, message in inbox if isinstance(message, Submit) for batch in message.batches]
        accepted = {one.id for _, message in step.outbox if isinstance(message, Receipt) for one in message.accepted}
        for batch in batches:
            key, size = batch.options.key, len(batch.ends) >> 2
            if batch.id not in accepted or batch.id in self.ledger.stored:
                continue
            self.ledger.stored[batch.id] = None
            self.disk.space.check_accepted(batch.id, is_full=self.disk.tables.is_full)
            if batch.options.ordered and key is not None and self.is_due(batch.options):
                ids = [task_id(batch.id, size, i) for i in range(size)]
                if not any(self.is_gone(step, batch.queue, id) for id in ids):
                    self.ledger.line_up(batch.queue, key, ids)
        for lease in books.leases.values():
            of, options = lease.batch, lease.batch.options
            if options.ordered and options.key is not None and lease.granted_at == step.now:
                about = lease.holder.about
                takes_runs = about is not None and about.takes_runs and not of.is_solo
                most = lease.holder.run_max if takes_runs else 1
                if lease.mask.bit_count() > most and lease.token > books.epoch << EPOCH_SHIFT | self.leases_before:
                    raise Violation(f"a run of {of.own_id} is leased to {lease.holder.name}, which takes none")
                ids = [of.task_id(i + of.first) for i in bits(lease.mask)]
                queue = of.queue.name
                self.ledger.start_in_order(queue, options.key, ids, partial(self.is_gone, step, queue))
        for done in [one for _, message in inbox if isinstance(message, Settle) for one in message.done]:
            self.check_order_of_ends(step, done)

    def check_order_of_ends(self, step: Step, done: Done) -> None:
        """Checks that what was done is not before another of its key that has not ended."""
        for (queue, key), line in self.ledger.lines.items():
            for at, id in enumerate(line):
                if id.partition("#")[0] == done.id and self.state_of(step, id) == "done":
                    before = [one for one in line[:at] if not self.is_gone(step, queue, one)]
                    if before:
                        raise Violation(f"{id} of key {key} was done before {before} had ended")

    def state_of(self, step: Step, id: str) -> str:
        assert self.machine is not None
        return str(answer(self.machine.books, step, "task", {"id": id})["state"])

    def forget_moved(self, step: Step) -> None:
        """Takes what is moved away out of its line: if it comes back, others may have the turn."""
        assert self.machine is not None
        for one in self.machine.books.operations.values():
            if one.kind == "move" and one.finished_time in (None, step.wall):
                for (queue, _), line in self.ledger.lines.items():
                    if queue == one.queue:
                        line[:] = [id for id in line if not self.is_gone(step, queue, id)]

    def is_due(self, options: Options) -> bool:
        return not options.delay and (options.at is None or options.at <= self.ticked_wall)

    def is_gone(self, step: Step, queue: str, id: str) -> bool:
        """Whether a task has ended, or was moved to another queue."""
        assert self.machine is not None
        if id in self.ledger.forgotten:
            return True
        row = answer(self.machine.books, step, "task", {"id": id})
        return row["state"] not in ("waiting", "scheduled", "leased", "unknown") or row.get("queue", queue) != queue

    def check_hand_outs(self, before: int, step: Step) -> None:
        """Checks the leases that were granted since the number `before`."""
        assert self.machine is not None
        books = self.machine.books
        numbers = range(before + 1, books.lease_number + 1)
        found = [books.leases.get(books.epoch << EPOCH_SHIFT | number) for number in numbers]
        granted = [lease for lease in found if lease is not None]
        for lease in granted:
            check_hand_out(lease, step.wall, self.latest_wall)
        self.order.check(books, step, granted)
        self.policies.check(step, granted, is_thorough=self.turns % FULL_CHECK_EVERY == 0)

    def has_schedules(self) -> bool:
        if self.machine is None:
            return True
        tx = self.store.begin()
        found = any(True for _ in tx.scan(SCHEDULES))
        tx.abort()
        return found

    def check_fired(self, tx: Any) -> None:
        """Checks that a schedule fires no more often in a step than it should."""
        for _, value in tx.scan(SCHEDULES, *schedule_bounds()):
            row = ScheduleRow(*unpack(value))
            id = str(row.created_time)
            before = self.fired.get(id, 0)
            if row.fired - before > (1 if row.catch_up != "all" else FIRE_MAX):
                raise Violation(f"a schedule that catches up {row.catch_up} fired {row.fired - before} times at once")
            self.fired[id] = row.fired

    def check_deaths(self, before: dict[str, Holder], inbox: list[Came]) -> None:
        """Checks that nobody was buried who was heard of a short time ago, whatever the wall clock does."""
        assert self.machine is not None
        left = {message.name for _, message in inbox if isinstance(message, Hello | Goodbye)}
        for name, worker in before.items():
            heard = self.heard.get(worker.peer or b"")
            is_buried = name not in self.machine.books.workers and name not in left
            if is_buried and heard is not None and self.world.now - heard < self.options.gone_after / 2:
                raise Violation(f"{name} was buried {self.world.now - heard:.1f} s after it was heard")
        for name, worker in self.machine.books.workers.items():
            self.peers[name] = worker.peer or self.peers.get(name, b"")
            silence = self.world.now - max(self.heard.get(self.peers[name], 0.0), self.booted_at)
            if silence > 3 * self.options.gone_after:
                raise Violation(f"{name} is still believed alive after {silence:.1f} s of silence")

    def check_deadlines(self) -> None:
        """Checks that the shell would wake in time for whatever is due next."""
        assert self.machine is not None
        now = self.world.clocks()
        tx = self.store.begin()
        check_deadlines(self.machine.books, tx, Clocks(*now, self.latest_wall), self.machine.next_at(now))
        tx.abort()

    def check(self) -> None:
        if self.machine is not None:
            tx = self.store.begin()
            check_books(self.machine.books, tx)
            self.lives.check(self.machine.books, tx, self.ledger.forgotten | self.ledger.hurt)
            check_fates(self.machine.books, tx, has_history=not self.disk.space.was_ever_short)
            self.measured.check(tx)
            check_unique(self.machine.books, tx)
            if self.disk.space.is_calm:
                check_schedules(self.machine.books, tx, self.ticked_wall)
                check_expiry(self.machine.books, tx, self.ticked_wall)
            check_clock(self.machine.books, tx, self.ticked_wall)
            check_set_back(self.machine.books, tx, self.ticked_wall)
            if self.turns % (8 * FULL_CHECK_EVERY) == 0:
                check_recount(self.options, tx, self.world.clocks())
            tx.abort()

    def check_groups_ended(self) -> None:
        """Checks, when everything is drained, that no group waits for anything."""
        tx = self.store.begin()
        for key, value in tx.scan(GROUPS):
            row = read_row(key.decode(), value)
            if row.state == OPEN:
                raise Violation(f"group {row.id} still waits for {row.outstanding} of its members")
        tx.abort()

    def check_named(self) -> None:
        """Checks, when everything is drained, that all that was damaged is named, and counted."""
        assert self.machine is not None
        self.disk.damaged.check_named(self.disk.tables, self.shell.told.damages)

    def check_operations_ended(self, begun: list[str]) -> None:
        """Checks, when everything is drained, that what was begun on whole queues has come to its end."""
        assert self.machine is not None
        states = {one.id: one.state for one in self.machine.books.operations.values()}
        for id in begun:
            if states.get(id) != "done":
                raise Violation(f"operation {id} was begun and is {states.get(id, 'forgotten')}")

    def check_traces(self) -> None:
        """Checks, when everything is drained, what can be seen of each task."""
        assert self.machine is not None
        tx = self.store.begin()
        is_whole = not self.disk.space.was_ever_short  # in which history is not written
        check_traces(self.machine.books, tx, self.world.clocks(), self.ledger, is_whole=is_whole)
        tx.abort()

    def send(self, outbox: list[tuple[bytes, Any]]) -> None:
        for peer, message in outbox:
            if isinstance(message, Assign | Tasks):
                for assignment in message.assignments:
                    self.note_grant(assignment)
            elif isinstance(message, Beat):
                check_idle_interval(message, self.options)
            connection = self.world.connections.get(peer)
            if connection is not None:
                connection.send_down(message)
            elif peer not in (EYE, GLUTTON, HELM) and self.world.noticed_at[peer] <= self.world.now:
                self.unreachable.append(peer)

    def note_grant(self, assignment: Assignment) -> None:
        headers = assignment.options.headers or {}
        if assignment.id.startswith("zq.notice."):
            self.ledger.notice(assignment.id, headers["zq-id"])
        entry = self.ledger.entries.get(assignment.id)
        if entry is not None and entry.policy is not None:
            check_joined(assignment.id, assignment.blob, entry.policy)
            self.ledger.join(assignment.id, assignment.blob)
        for i in range(len(assignment.ends) >> 2):
            self.ledger.grant(task_id(assignment.id, assignment.size, assignment.lo + i), assignment.token)


def check_idle_interval(beat: Beat, options: CoordinatorOptions) -> None:
    """Whoever beats as it is told may be late by an interval, and is not suspect."""
    if beat.idle_interval and beat.idle_interval + options.heartbeat_interval > options.suspect_after:
        raise Violation(f"a worker is told to beat every {beat.idle_interval} s, and would be suspect")


@dataclass
class Report:
    """What one run did."""

    seed: int
    events: int
    turns: int
    tasks: int
    done: int
    happened: dict[str, int] = field(default_factory=dict)
    trace: tuple[Any, ...] = ()


def run(seed: int, *, orders: int = 6, plant: str | None = None) -> Report:
    """Runs one seed: a stormy time, then healing and draining, then the books against the ledger.

    Raises:
        Violation: with the seed in its text, which replays the run exactly.
    """
    world = World(seed)
    ledger = Ledger()
    ledger.has_replays = world.has_replays
    kitchen = Kitchen(world, ledger, Disk(world, seed))
    customers = [Customer(world, ledger, name) for name in ("ann", "bob")]
    queues = ("pizza", "pasta", "boxes", *QUEUES, JOINED, COMPLAINTS)
    workers: list[Worker | SessionWorker] = [Worker(world, ledger, f"shop-{i}", queues) for i in range(2)]
    workers += [SessionWorker(world, ledger, f"house-{i}", queues) for i in range(2)]
    _plant(plant, kitchen, customers)
    try:
        _storm(world, kitchen, customers, workers, orders)
        _heal_and_drain(world, kitchen, customers, workers, ledger)
    except Exception as error:  # whatever breaks, the seed is what one needs to see it again
        raise Violation(f"seed {seed}: {type(error).__name__}: {error}") from error
    done = sum(1 for entry in ledger.entries.values() if entry.outcome == "done")
    trace = tuple(sorted((entry.id, entry.outcome, tuple(entry.tokens)) for entry in ledger.entries.values()))
    return Report(seed, world.events, kitchen.turns, len(ledger.entries), done, world.happened, trace)


def _plant(plant: str | None, kitchen: Kitchen, customers: list[Customer]) -> None:
    kitchen.acknowledges_early = plant == "ack before commit"
    kitchen.disk.deletes_early = plant == "delete before commit"
    for customer in customers:
        customer.gives_new_id = plant == "resend with new id"
        customer.takes_silence_for_refusal = plant == "nak after timeout"


def _storm(
    world: World, kitchen: Kitchen, customers: list[Customer], workers: list[Worker | SessionWorker], orders: int
) -> None:
    """Everybody acts, and everything goes wrong that this seed drew."""
    rng = world.rng
    for i in range(orders * 8):
        world.run(world.now + rng.choice((0.05, 0.3, 0.8)))
        if world.strikes("partition"):
            world.partition_until = world.now + rng.choice((1.0, 9.0))
        if world.strikes("jump"):
            world.wall_offset += rng.choice((-3600.0, -2.0, 2.0, 3600.0))
        customer = rng.choice(customers)
        if i % 4 == 0:
            customer.order()
        if i % 16 == 2 and not world.has_replays:
            customer.open_group()
        if i % 16 == 7:
            customer.cancel_something()
        if i % 16 == 11:
            customer.pull()
        if i % 16 == 5:
            customer.bury_something()
        if i % 16 == 6:
            customer.schedule()
        if i % 4 == 1 and world.has_replays:
            customer.wake_the_dead()
        if i % 8 == 3:
            customer.set_a_queue()
        if i % 8 == 5:
            customer.publish()
        if i % 16 == 14 and rng.random() < 0.5:
            customer.operate()
        if i % 3 == 0:
            kitchen.visitors.visit()
        _act(world, kitchen, customers, workers)


def _act(world: World, kitchen: Kitchen, customers: list[Customer], workers: list[Worker | SessionWorker]) -> None:
    for customer in customers:
        customer.act()
    for worker in workers:
        worker.act()
    kitchen.visitors.act()
    kitchen.stranger.act(None if kitchen.machine is None else kitchen.machine.books)
    kitchen.turn()


def _heal_and_drain(
    world: World, kitchen: Kitchen, customers: list[Customer], workers: list[Worker | SessionWorker], ledger: Ledger
) -> None:
    """Nothing goes wrong any more; everything accepted must end within simulated minutes."""
    world.is_healed = True
    kitchen.visitors.heal()
    hands = HandCheck(workers, world.now, kitchen.options.gone_after)
    for _ in range(1000):
        if not any(customer.unanswered for customer in customers):
            if not kitchen.has_schedules():
                break
            for customer in customers:  # again, if a message that made one was late
                customer.forget_schedule()
        world.run(world.now + 0.1)
        _act(world, kitchen, customers, workers)
    else:
        raise Violation("schedules cannot be forgotten")
    world.wall_offset = WALL_OFFSET + 1e5  # a clock that stays an hour behind keeps delayed tasks waiting for an hour
    for worker in workers:
        worker.paused_until = 0.0
    for i in range(900):
        world.run(world.now + (0.1 if i < 300 else 0.5))
        if i == RESUME_TURN:
            for name in ("pizza", "pasta"):
                rate = world.rng.choice((None, 20.0))  # not one that keeps everybody waiting for minutes
                customers[0].set_queue(name, {"paused": False, "draining": False, "rate": rate, "key_rate": rate})
        _act(world, kitchen, customers, workers)
        if kitchen.machine is not None:
            hands.check(kitchen.machine.books, world.now)
        if i > RESUME_TURN and i % 20 == 0 and _is_drained(kitchen, customers, workers):
            break
    for customer in customers:
        if customer.unanswered:
            raise Violation(f"{customer.name} never got an answer to {list(customer.unanswered.values())[:1]}")
    for worker in workers:
        if isinstance(worker, SessionWorker) and (worker.session.hands or not worker.session.is_settled):
            raise Violation(f"{worker.name} still has leases in hand: {sorted(worker.session.hands)}")
    ledger.check_drained()
    kitchen.check()
    kitchen.check_groups_ended()
    kitchen.check_operations_ended([id for customer in customers for id in customer.operations])
    kitchen.check_traces()
    kitchen.check_named()
    assert kitchen.machine is not None
    for queue in kitchen.machine.books.queues.values():
        if kitchen.machine.books.replays:
            raise Violation(f"these replays never ended: {sorted(kitchen.machine.books.replays)}")
        if queue.unfinished:
            raise Violation(f"queue {queue.name} has {queue.unfinished} tasks that never ended")


def _is_drained(kitchen: Kitchen, customers: list[Customer], workers: list[Worker | SessionWorker]) -> bool:
    if any(isinstance(worker, SessionWorker) and worker.session.hands for worker in workers):
        return False
    if (
        kitchen.machine is None
        or kitchen.machine.books.replays
        or any(customer.unanswered or customer.submitted for customer in customers)
    ):
        return False
    return not any(queue.unfinished for queue in kitchen.machine.books.queues.values())
