"""Somebody who knows every name, id and token that there is, and nothing that is secret: whatever it says about what is
another's must change nothing.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.simulation.ledger import Violation
from tests.simulation.world import Connection, World
from zq.core.state.books import Books
from zq.core.state.holder import Life
from zq.core.state.leases import Lease
from zq.wire.messages import (
    Answer,
    Assignment,
    Confirm,
    Done,
    Extend,
    Failed,
    Goodbye,
    Hello,
    Pull,
    Release,
    Settle,
    Settled,
    Span,
    Tasks,
    Welcome,
)
from zq.wire.proofs import proof_of, proofs_of

SECRET = "the secret of a stranger"
VISITORS = "guest-"
EVIL = (b"\x05\0\0\0", b"\xa4evil")


class Stranger:
    """Speaks for leases, pulls and names of others."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = Random(seed)
        self.connection: Connection | None = None
        self.number = 0
        self.asked: dict[int, tuple[int, int, int]] = {}  # number of a settle or release -> token, lo, hi
        self.prolonged: set[int] = set()  # requests
        self.name = ""  # that it wants
        self.life = 0
        self.books: Books | None = None

    def act(self, books: Books | None) -> None:
        """Says something now and then, while the storm lasts."""
        self.books = books
        if books is None or self.world.is_healed or self.rng.random() > 0.5:
            return
        if self.connection is None or not self.connection.is_open:
            self.connection = self.world.connect(self)
        pulled = [lease for lease in books.leases.values() if lease.holder.is_puller and not self._is_own(lease)]
        if pulled and self.rng.random() < 0.8:
            self._attack(self.rng.choice(pulled))
        elif books.workers:
            self._want_a_name(books)

    def _attack(self, lease: Lease) -> None:
        first, size = lease.batch.first, lease.batch.count
        number = self.number = self.number + 1
        proofs = self.rng.choice(((), (proof_of(SECRET, lease.token),)))
        done = Done(lease.token, lease.batch.id, first, first + size, *self._results(size), ())
        match self.rng.randrange(6):
            case 0 | 1:
                self.asked[number] = (lease.token, first, first + size)
                self._say(Settle(number, None, (done,), (), self.rng.random() < 0.5, proofs))
            case 2:
                self.asked[number] = (lease.token, first, first + 1)
                self._say(Settle(number, None, (), (Failed(lease.token, lease.batch.id, first, "evil", None, False),)))
            case 3:
                self.asked[number] = (lease.token, first, first + size)
                self._say(Release(number, None, (Span(lease.token, first, first + size),), proofs))
            case 4:
                self.prolonged.add(number)
                self._say(Extend(number, lease.token, 9.0, proofs[0].proof if proofs else b""))
                self._say(Confirm((lease.token,), proofs))
            case 5 if not lease.holder.name.startswith(VISITORS):  # who know their leases by these names
                client, _, request = lease.holder.name.rpartition("/")
                self._say(Pull(int(request), client, lease.batch.queue.name, 1, 0.0, 9.0, secret=SECRET))

    def _results(self, size: int) -> tuple[bytes, bytes]:
        return (
            EVIL if size == 1 else (b"".join((5 * i).to_bytes(4, "little") for i in range(1, size + 1)), EVIL[1] * size)
        )

    def _want_a_name(self, books: Books) -> None:
        self.name = self.rng.choice(sorted(books.workers))
        self.life += 1
        self._say(Hello(self.name, f"stranger-{self.life}", ("nothing",), 0, 1, ()))

    def _say(self, message: Any) -> None:
        assert self.connection is not None
        self.connection.send_up(message)

    def _is_own(self, lease: Lease) -> bool:
        return lease.holder.incarnation == SECRET

    # What it hears.

    def receive(self, message: Any) -> None:
        match message:
            case Settled(number, stale) if number in self.asked:
                token, lo, hi = self.asked.pop(number)
                if sum(span.hi - span.lo for span in stale) != hi - lo:
                    raise Violation(f"a stranger has ended {lo} to {hi} of lease {token}, {stale} was refused")
            case Answer(request, value) if request in self.prolonged:
                self.prolonged.discard(request)
                if value:
                    raise Violation("a stranger has prolonged a lease")
            case Tasks(_, assignments):
                for assignment in assignments:
                    self._take(assignment)
            case Welcome():  # it was not heard of any more
                self._say(Goodbye(self.name, f"stranger-{self.life}"))

    def _take(self, assignment: Assignment) -> None:
        """Gives back what it got, which was nobody's; before, it says that it was another task."""
        lease = None if self.books is None else self.books.leases.get(assignment.token)
        if lease is not None and not self._is_own(lease):
            raise Violation(f"a stranger got lease {assignment.token} of {lease.holder.name}")
        span = Span(assignment.token, assignment.lo, assignment.hi)
        proofs = proofs_of(SECRET, [assignment.token])
        self.number += 1
        self.asked[self.number] = (assignment.token, assignment.lo, assignment.hi)
        wrong = Done(assignment.token, "another", assignment.lo, assignment.hi, *self._results(assignment.tasks), ())
        self._say(Settle(self.number, None, (wrong,), (), False, proofs))
        self.number += 1
        self._say(Release(self.number, None, (span,), proofs))


def live_names(books: Books, unreachable: list[bytes]) -> set[tuple[str, str]]:
    """Returns name and incarnation of the workers that keep their names: they live, and can be reached; but not of a
    stranger, who takes its connection to another name.
    """
    return {
        (worker.name, worker.incarnation)
        for worker in books.workers.values()
        if worker.life is Life.LIVE
        and worker.peer is not None
        and worker.peer not in unreachable
        and not worker.incarnation.startswith("stranger-")
    }


def check_names(books: Books, before: set[tuple[str, str]], fenced_before: set[tuple[str, str]]) -> None:
    """Nobody has lost a name who lives."""
    if lost := (fenced(books) - fenced_before) & before:
        raise Violation(f"these workers live, and another has their name: {sorted(lost)}")


def fenced(books: Books) -> set[tuple[str, str]]:
    return {(name, incarnation) for name, all_of in books.fenced.items() for incarnation in all_of}
