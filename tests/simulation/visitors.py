"""Clients of the simulation that wait and pull through the real `ClientSession`, and give up: at a deadline, on second
thoughts, by closing, by dying without a word, by standing still. What they gave up must leave nothing behind.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

from tests.simulation.ledger import Ledger, Violation
from tests.simulation.lineage import result_of
from tests.simulation.world import NOTICED_MAX, Connection, World
from zq.core.counters import EPOCH_SHIFT
from zq.core.options import CoordinatorOptions
from zq.core.state.books import Books
from zq.core.state.step import Step
from zq.core.tasks import settling
from zq.sessions.client import ClientSession
from zq.sessions.outcomes import BatchOutcome
from zq.sessions.settles import Settling
from zq.task import task_id
from zq.wire.messages import Assignment, Confirm, Done, Events, Pull
from zq.wire.proofs import proof_of

PORTION_SMALL, LATE_IN_PORTIONS = 100, 10.0
"""Where a step takes few leases back, the others have their turn some steps later."""

NAME = "guest-"

ROUNDING = 0.001
"""Seconds, of sums."""

WITHDRAWN_IN_TURNS = 3
"""In which a withdrawal arrives where nothing is lost."""

LEAVES_AT_TURN = 200
"""Of the healed time: all tasks have ended by then, and what visitors wait for has an end, too."""


class VisitorReply:
    """How one request ended."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.value: Any = None
        self.is_over = False

    def resolve(self, value: Any) -> None:
        self.value, self.is_over = value, True
        if type(value) is tuple:  # of assignments
            self.visitor.reached.update(one.token for one in value)

    def reject(self, error: Exception) -> None:
        self.is_over = True


class Visitor:
    """Waits for the ends of tasks and pulls some; each death makes a new life, which knows nothing of the last one."""

    def __init__(self, world: World, ledger: Ledger, name: str) -> None:
        self.world = world
        self.ledger = ledger
        self.name = name
        self.life = 0
        self.reached: set[int] = set()  # tokens of leases that some life of it has had in hand
        self.unwanted: dict[int, int] = {}  # request -> in how many turns the coordinator has kept it all the same
        self.paused_until = 0.0
        self.connection: Connection | None = None
        self.start()

    def start(self) -> None:
        """Begins a life: memory is empty."""
        self.life += 1
        name = f"{self.name}{self.life}"
        self.session = ClientSession(name, name, secret=f"secret-of-{name}")
        self.inbox: list[Any] = []
        self.pulls: list[VisitorReply] = []
        self.watches: list[tuple[BatchOutcome, VisitorReply]] = []
        self.hand: list[tuple[float, Assignment]] = []  # and when it is done
        self.connect_at = self.world.now

    # The link.

    def receive(self, message: Any) -> None:
        self.inbox.append(message)

    def keep_connected(self) -> None:
        broken = self.connection is not None and not self.connection.is_open
        if self.session.wants_reconnect or broken:
            self.disconnect()
            self.connect_at = self.world.now + self.world.rng.uniform(0.1, 1.0)
            self.session.wants_reconnect = False
        if self.connection is None and self.world.now >= self.connect_at:
            self.connection = self.world.connect(self)
            self.inbox.clear()
            self.session.take_outbox()
            self.session.connected(self.world.now)

    def disconnect(self) -> None:
        if self.connection is not None:
            self.world.cut(self.connection)
            self.connection = None

    def say(self) -> None:
        for message in self.session.take_outbox() if self.connection is not None else ():
            assert self.connection is not None
            self.connection.send_up(message)

    def act(self) -> None:
        """A step of its own, as the link would do it, and those who call."""
        world = self.world
        if world.now < self.paused_until:
            return
        if world.strikes("pause"):
            self.paused_until = world.now + world.rng.choice((2.0, 20.0))
            return
        self.keep_connected()
        inbox, self.inbox = self.inbox, []
        for message in inbox:
            self.session.receive(world.now, message)
        self.take_tasks()
        self.work()
        self.session.tick(world.now)
        self.say()

    # What it does.

    def visit(self) -> None:
        """Asks for something, gives something up, or goes."""
        rng = self.world.rng
        if self.world.now < self.paused_until:
            return
        match rng.randrange(8):
            case 0 | 1:
                self.pull(rng.choice(("pizza", "pasta")))
            case 2 | 3:
                self.watch()
            case 4 | 5:
                self.give_up()
            case 6:
                self.go(is_polite=rng.random() < 0.5)

    def pull(self, queue: str) -> None:
        rng = self.world.rng
        wait = rng.choice((0.0, 1.0, 20.0))
        reply = VisitorReply(self)
        message = Pull(0, self.session.name, queue, rng.choice((1, 4)), wait, rng.choice((2.0, 9.0)))
        self.session.ask(self.world.now, message, self.world.now + wait + rng.choice((1.0, 30.0)), reply)
        self.pulls.append(reply)

    def watch(self) -> None:
        rng = self.world.rng
        ids = [id for id in self.ledger.entries if "#" not in id]
        outcome = BatchOutcome(rng.choice(ids) if ids else "nobody", 1, 0, 1)
        reply = VisitorReply(self)
        deadline = rng.choice((self.world.now + 0.5, self.world.now + 5.0, inf))
        self.session.watch(self.world.now, outcome, 0, deadline, reply)
        self.watches.append((outcome, reply))

    def give_up(self) -> None:
        """Waits no longer, as a caller that was cancelled."""
        rng = self.world.rng
        if self.pulls:
            reply = self.pulls.pop(rng.randrange(len(self.pulls)))
            self.session.give_back(self.world.now, reply.value or ())
            self.session.abandon_pull(self.world.now, reply)
        if self.watches:
            self.session.unwatch(*self.watches.pop(rng.randrange(len(self.watches))))

    def go(self, *, is_polite: bool) -> None:
        """Closes, or dies."""
        if is_polite:
            self.session.leave()
            self.say()
        self.disconnect()
        self.start()

    def take_tasks(self) -> None:
        for reply in [one for one in self.pulls if one.is_over]:
            self.pulls.remove(reply)
            for assignment in reply.value or ():
                self.hand.append((self.world.now + self.world.rng.choice((0.1, 1.0, 20.0)), assignment))
        self.watches = [(outcome, reply) for outcome, reply in self.watches if not reply.is_over]

    def work(self) -> None:
        now = self.world.now
        due = [assignment for at, assignment in self.hand if at <= now]
        self.hand = [(at, assignment) for at, assignment in self.hand if at > now]
        for assignment in due:
            if self.world.strikes("fail"):
                self.session.give_back(now, [assignment])
                continue
            for index in range(assignment.lo, assignment.hi):
                place = (assignment.token, assignment.id, index, index + 1)
                reply = _Completion(
                    partial(self.ledger.complete, task_id(assignment.id, assignment.size, index), assignment.token)
                )
                done = Done(*place, *result_of(assignment, index), ())
                self.session.settle(now, Settling(done, now + 60.0, reply, proof_of(self.session.secret, done.token)))


class _Completion:
    def __init__(self, complete: Any) -> None:
        self.resolve = lambda _: complete()

    def reject(self, error: Exception) -> None:
        pass


class Visitors:
    """All of them, and what the coordinator may keep for them."""

    def __init__(self, world: World, ledger: Ledger, heard: dict[bytes, float]) -> None:
        """Makes them; `heard` says when the coordinator had something of a connection last."""
        self.world = world
        self.heard = heard
        self.all = [Visitor(world, ledger, f"{NAME}{letter}") for letter in "ab"]
        self.turns = 0

    def visit(self) -> None:
        self.world.rng.choice(self.all).visit()

    def act(self) -> None:
        for visitor in self.all:
            visitor.act()
        self.turns += self.world.is_healed
        if self.turns == LEAVES_AT_TURN:
            for number, visitor in enumerate(self.all):
                visitor.paused_until = inf
                visitor.go(is_polite=number == 0)
        elif self.world.is_healed and self.turns < LEAVES_AT_TURN and self.turns % 10 == 0:
            self.visit()

    def heal(self) -> None:
        """What went wrong before is over: connections are made anew, and lose nothing from now on."""
        for visitor in self.all:
            visitor.paused_until = 0.0
            visitor.disconnect()

    def check(self, books: Books, step: Step, received: list[Any], unreachable: list[bytes], *, stalled: bool) -> None:
        """Checks a step that is about to be committed."""
        self._check_leases(books, step, received, unreachable)
        if not stalled:
            self._check_order(books, step)
        options = books.options
        for peer, guest in books.guests.items():
            gone_at = self.world.cut_at.get(peer)
            if gone_at is not None and step.now > gone_at + _farewell(options):
                raise Violation(
                    f"{peer.decode()} has gone, and {guest.waits} and {list(guest.pulls)} still wait for it"
                )
        for visitor in self.all if 20 < self.turns < LEAVES_AT_TURN else ():
            self._check_waits(books, visitor)

    def _check_leases(self, books: Books, step: Step, received: list[Any], unreachable: list[bytes]) -> None:
        reached = {token for visitor in self.all for token in visitor.reached}
        for token, lease in books.leases.items():
            if not lease.holder.name.startswith(NAME) or token in reached or token >> EPOCH_SHIFT < books.epoch:
                continue
            in_turn = 0.0 if settling.PORTION_LEASES > PORTION_SMALL else LATE_IN_PORTIONS
            if books.offers.get(token, -inf) + in_turn <= step.now:
                raise Violation(f"nobody has lease {token} of {lease.holder.name}")
            if lease.holder.peer in unreachable:
                raise Violation(f"lease {token} is kept for {lease.holder.name}, whose connection is known to be gone")
        for message in received:
            if isinstance(message, Confirm) and (open := books.offers.keys() & _rightly_confirmed(books, message)):
                raise Violation(f"leases {sorted(open)} were confirmed and are on offer")
        for _, message in step.outbox:
            for event in message.events if isinstance(message, Events) else ():
                token, is_lost = event.token or 0, event.kind == "lost" and (event.worker or "").startswith(NAME)
                if is_lost and token not in reached and token >> EPOCH_SHIFT == books.epoch:
                    raise Violation(f"lease {event.token} of {event.worker} never arrived and counts as lost")

    def _check_order(self, books: Books, step: Step) -> None:
        """No task goes to a client that has been silent while a worker has nothing to do."""
        for lease in books.leases.values():
            peer = lease.holder.peer
            if lease.granted_at != step.now or not lease.holder.is_puller or peer is None:
                continue
            heard = self.heard.get(peer, 0.0)
            idle = [one.name for one in lease.batch.queue.workers.values() if one.free > 0 and one.held == 0]
            if idle and step.now - heard >= books.options.suspect_after + ROUNDING:
                raise Violation(
                    f"{lease.holder.name} was silent for {step.now - heard:.1f} s and goes before {idle[0]}"
                )

    def _check_waits(self, books: Books, visitor: Visitor) -> None:
        """Where nothing is lost the coordinator keeps what the client waits for, but for what is on its way."""
        guest = None if visitor.connection is None else books.guests.get(visitor.connection.peer)
        if guest is None:
            return
        session = visitor.session
        wanted = {*session._watches.numbers(), *session._outstanding}
        kept = {*guest.waits, *(wait.pull.request for wait in guest.pulls.values())} - wanted
        visitor.unwanted = {number: visitor.unwanted.get(number, 0) + 1 for number in kept}
        if late := [number for number, turns in visitor.unwanted.items() if turns > WITHDRAWN_IN_TURNS]:
            raise Violation(f"{visitor.name} gave up {sorted(late)}, and the coordinator still keeps it")


def _farewell(options: CoordinatorOptions) -> float:
    """Returns the seconds in which the coordinator finds out that a connection is gone."""
    return NOTICED_MAX + 4 * options.suspect_after


def _rightly_confirmed(books: Books, message: Confirm) -> set[int]:
    """Returns the leases that a message confirms which knows them."""
    leases = [books.leases[token] for token in message.tokens if token in books.leases]
    return {one.token for one in leases if proof_of(one.holder.incarnation, one.token) in message.proofs}
