"""A worker of the simulation that speaks through the real `WorkerSession`, as the shell does; its faults are those of
processes and handlers.
"""

from __future__ import annotations

from math import inf
from typing import Any

from tests.simulation.ledger import Ledger, Violation
from tests.simulation.lineage import result_of
from tests.simulation.world import PAUSES, Connection, World
from zq.sessions.worker import WorkerSession
from zq.task import task_id
from zq.wire.messages import Assignment, Done, Failed, Settle, Settled, Span
from zq.wire.steering import About
from zq.worker.bench import IN_HAND_SECONDS, Bench


class SessionWorker:
    """Runs tasks one after the other in the order in which they came; what it says is the session's."""

    def __init__(self, world: World, ledger: Ledger, name: str, queues: tuple[str, ...]) -> None:
        self.world = world
        self.ledger = ledger
        self.name = name
        self.queues = queues
        self.most = 24 if world.has_runs else world.rng.choice((1, 3, 8))  # to hold
        self.takes_runs = self.most > 1
        self.sheds = world.rng.choice((False, True))  # gives back what waits behind a long task
        self.life = 0
        self.paused_until = 0.0
        self.dead_until: float | None = None
        self.connection: Connection | None = None
        self.start()

    def start(self) -> None:
        """Begins a life: memory is empty."""
        self.life += 1
        self.paused_until = 0.0
        self.dead_until = None
        self.inbox: list[Any] = []
        self.assignments: dict[int, Assignment] = {}
        self.bench = self.new_bench()
        self.running: tuple[Assignment, int, float, float] | None = None  # task, since, until
        self.revoked: set[tuple[int, int]] = set()
        self.expires_at: dict[int, float] = {}  # by token
        self.said: dict[int, Settle] = {}
        self.session = WorkerSession(self.name, f"{self.name}-{self.life}", self.queues, 1, self.runs)
        self.session.credit = self.credit
        self.tell()
        self.connect_at = self.world.now

    @property
    def credit(self) -> int:
        return 0 if self.bench.is_draining else self.most

    def tell(self) -> None:
        """Says what it is."""
        self.session.tell(About(self.name, self.life, 0, 1, self.bench.is_draining, None, self.takes_runs))

    def obey(self) -> None:
        """Does what it is told from afar; when all is healed, it takes tasks again by itself."""
        actions = [steer.action for steer in self.session.take_steers()]
        if self.world.is_healed and self.bench.is_draining:
            actions.append("resume")
        for action in actions:
            if action == "drain":
                self.session.release(self.bench.drain(), 0)
            else:
                self.bench.resume()
                self.session.release([], self.credit)
        self.session.take_verdicts()
        self.tell()

    def new_bench(self) -> Bench:
        """Makes a bench of one slot, from which is taken without waiting, as by an event loop."""
        return Bench(1, frozenset(self.queues), 1)

    def at_work(self) -> list[tuple[int, int]]:
        return [(token, index) for token, index, _ in self.runs()]

    def listed(self) -> list[int]:
        return list(self.session.hands)

    def runs(self) -> list[tuple[int, int, float]]:
        if self.running is None:
            return []
        assignment, index, since, _ = self.running
        return [(assignment.token, index, since)]

    def receive(self, message: Any) -> None:
        if self.world.now < self.paused_until:
            self.inbox.append(message)
        elif self.dead_until is None:
            self.handle(message)

    def handle(self, message: Any) -> None:
        if isinstance(message, Settled):
            self.confirm(message)
        self.session.receive(self.world.now, message)

    def confirm(self, message: Settled) -> None:
        """Notes in the ledger what the coordinator has taken."""
        settle = self.said.pop(message.number, None)
        stale = {(span.token, index) for span in message.stale for index in range(span.lo, span.hi)}
        for done in () if settle is None else settle.done:
            for index in range(done.lo, done.hi):
                if (done.token, index) not in stale:
                    size = 1 if done.id in self.ledger.entries else 2
                    self.ledger.complete(task_id(done.id, size, index), done.token)

    # What it does.

    def act(self) -> None:
        """A step of its own, as the link and a runner would do it."""
        world = self.world
        if world.now < self.paused_until:
            return
        if world.strikes("kill"):
            self.disconnect()
            self.dead_until = world.now + world.rng.choice((0.0, 25.0))
        if self.dead_until is not None:
            if world.now >= self.dead_until or world.is_healed:
                self.start()
            return
        if world.strikes("pause"):
            self.paused_until = world.now + world.rng.choice(PAUSES)
            return
        inbox, self.inbox = self.inbox, []
        for message in inbox:
            self.handle(message)
        self.keep_connected()
        self.move_work()
        self.session.tick(world.now)
        self.say()
        if self.session.failure is not None:  # fenced: another life has the name
            self.disconnect()
            self.start()

    def keep_connected(self) -> None:
        """Connects anew when the session wants it, or the transport has noticed a break."""
        broken = self.connection is not None and not self.connection.is_open
        if self.session.wants_reconnect or broken:
            self.disconnect()
            self.connect_at = self.world.now + self.world.rng.uniform(0.1, 1.0)
            self.session.wants_reconnect = False
        if self.connection is None and self.world.now >= self.connect_at:
            self.connection = self.world.connect(self)
            self.session.take_outbox()
            self.session.connected(self.world.now)

    def disconnect(self) -> None:
        if self.connection is not None:
            self.world.cut(self.connection)
            self.connection = None

    def say(self) -> None:
        for message in self.session.take_outbox() if self.connection is not None else ():
            if isinstance(message, Settle):
                self.said[message.number] = message
            assert self.connection is not None
            self.connection.send_up(message)

    def move_work(self) -> None:
        """Takes what came, drops what was taken away, ends what is due and starts the next."""
        session = self.session
        for assignment in session.take_arrivals():
            self.assignments[assignment.token] = assignment
            if assignment.options.ttl is not None:
                self.expires_at[assignment.token] = self.world.now + assignment.options.ttl
            # The bench goes by the clock of the machine.
            self.bench.put([assignment._replace(options=assignment.options._replace(ttl=None))])
        self.obey()
        if leaving := self.bench.take_leaving():
            session.release(leaving, self.credit)
        for token, lo, hi in session.take_revoked():
            self.revoked.update((token, index) for index in range(lo, hi))
        if self.running is not None:
            self.end_running()
        while self.running is None and (chunk := self.bench.take_coroutines(1)) is not None:
            self.begin(self.assignments[chunk.assignment.token], chunk.lo)
        if self.sheds:
            self.give_back_what_waits()
        if self.bench.waiting and self.world.strikes("lie"):  # not a lie: a drain that gives back what has not started
            session.release(self.bench.close(), self.credit)
            self.bench, before = self.new_bench(), self.bench
            self.bench.is_draining = before.is_draining

    def begin(self, assignment: Assignment, index: int) -> None:
        """Starts a task, gives it back if it has expired, or loses it: the slot goes on to the next."""
        if self.world.now >= self.expires_at.get(assignment.token, inf):
            self.session.release([Span(assignment.token, index, index + 1)], self.credit)
        elif (assignment.token, index) not in self.revoked and not self.world.strikes("wedge"):
            seconds = 10_000.0 if self.world.strikes("hang") else self.world.rng.choice((0.0, 0.2, 1.0))
            self.running = (assignment, index, self.world.now, self.world.now + seconds)

    def give_back_what_waits(self) -> None:
        """Gives back what is behind a task that takes long."""
        is_stuck = self.running is not None and self.world.now - self.running[2] >= IN_HAND_SECONDS
        left = self.bench.shed(self.world.now, 0, int(is_stuck), len(self.runs()))
        if left:
            self.session.release(left, min(self.bench.credit, self.credit))
        if is_stuck and self.bench.waiting:
            raise Violation(f"{self.name} keeps {self.bench.waiting} tasks behind one that takes long")

    def end_running(self) -> None:
        assert self.running is not None
        assignment, index, since, until = self.running
        if until <= self.world.now and self.world.strikes("wedge"):
            self.running = None  # and nobody is told
            return
        timeout = assignment.options.timeout
        token = assignment.token
        is_hung = until - since > 5000
        if (token, index) in self.revoked:
            if not is_hung or self.world.is_healed:
                self.running = None
        elif is_hung and timeout is not None and self.world.now - since > timeout:
            self.running = None
            self.fail(assignment, index, "timed out")
        elif until <= self.world.now or (is_hung and self.world.is_healed):
            self.running = None
            if self.world.strikes("fail"):
                self.fail(assignment, index, "it burnt")
            else:
                self.session.finish(
                    [Done(token, assignment.id, index, index + 1, *result_of(assignment, index), ())], [], self.credit
                )

    def fail(self, assignment: Assignment, index: int, error: str) -> None:
        """Reports a failure; of a run, nothing behind it is started."""
        if assignment.options.ordered:
            self.revoked.update((assignment.token, behind) for behind in range(index, assignment.hi))
        self.session.finish([], [Failed(assignment.token, assignment.id, index, error, None, False)], self.credit)
