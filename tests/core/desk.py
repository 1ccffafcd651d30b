"""A coordinator on a desk: literal times, messages in, messages out, nothing else."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest

from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.state.leases import Lease
from zq.core.tables import TABLES
from zq.errors import StoreError
from zq.store.memory import MemoryStore, MemoryTransaction
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    Answer,
    Assign,
    Assignment,
    Batch,
    Command,
    Done,
    Failed,
    Held,
    Hello,
    Options,
    Query,
    Receipt,
    Settle,
    Submit,
    Tasks,
)
from zq.wire.questions import LISTINGS

WALL = 1_000_000.0

M = TypeVar("M")

CLIENT = b"client"

COMMAND_TURNS_MAX = 1000


class Disk(MemoryStore):
    """A store in memory that fails at a commit when it is told to, and has nothing of it then."""

    fails = False

    def begin(self) -> MemoryTransaction:
        tx = super().begin()
        return FailingTransaction(self) if self.fails else tx


class FailingTransaction(MemoryTransaction):
    def commit(self) -> None:
        self.abort()
        raise StoreError("the power is gone")


class Desk:
    """One coordinator over a memory store; `now` moves when a test says so."""

    def __init__(self, **options: Any) -> None:
        self.options = CoordinatorOptions(**options)
        self.store = Disk(TABLES)
        self.now = 0.0
        self.wall = WALL
        self.number = 0
        self.restart()

    def clocks(self) -> Now:
        return Now(self.now, self.wall)

    def restart(self) -> None:
        """Throws the memory away and reads the store, as after a crash."""
        self.machine = Machine(self.options, self.clocks(), self.store)

    def crash(self, *messages: tuple[bytes, Any]) -> None:
        """A turn that ends at its commit, of which nothing is stored or sent; and a restart."""
        self.store.fails = True
        with pytest.raises(StoreError):
            self.turn(*messages)
        self.store.fails = False
        self.restart()

    def turn(self, *messages: tuple[bytes, Any]) -> list[tuple[bytes, Any]]:
        """One turn; returns what is sent, and what those who have spoken are to hear soon."""
        sent = self.machine.turn(self.clocks(), messages)
        for peer in dict.fromkeys(peer for peer, _ in messages):
            sent += self.machine.books.waits.unhurried.take_of(peer)
        return sent

    def lose(self, *peers: bytes) -> list[tuple[bytes, Any]]:
        """One turn in which connections turn out to be gone; returns what is sent."""
        return self.machine.turn(self.clocks(), unreachable=peers)

    def kill(self, peer: bytes) -> list[tuple[bytes, Any]]:
        """The process at a connection has ended, which shows a moment after all that it did; returns what is sent."""
        self.now += 0.001
        self.turn()
        return self.lose(peer)

    def say(self, peer: bytes, message: Any) -> list[Any]:
        """One step with one message; returns what this peer is sent."""
        return [answer for to, answer in self.turn((peer, message)) if to == peer]

    def wait(self, seconds: float, every: float = 0.5) -> list[tuple[bytes, Any]]:
        """Lets time pass, with a tick now and then; returns what is sent."""
        sent = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + every, end)
            self.wall += every
            sent += self.turn()
        return sent

    # Clients.

    def submit(self, id: str, count: int = 1, queue: str = "q", **options: Any) -> Any:
        """Submits a batch whose payloads are its indexes; returns the receipt."""
        self.number += 1
        batch = Batch(id, queue, Options(**options), *pack_payloads([encode_payload(i) for i in range(count)]))
        return only(self.say(CLIENT, Submit(self.number, (batch,))), Receipt)

    def query(self, what: str, **arguments: Any) -> Any:
        """Returns the answer to a question; of a listing the rows of all pages, unless a cursor is named."""
        if what not in LISTINGS or "cursor" in arguments:
            return self.ask(what, **arguments)
        rows: list[Any] = []
        page: Any = {"cursor": None}
        while True:
            page = self.ask(what, **arguments, cursor=page["cursor"])
            rows += page["rows"]
            if page["cursor"] is None or len(rows) >= arguments.get("limit", len(rows) + 1):
                return rows[: arguments.get("limit", len(rows))]

    def ask(self, what: str, **arguments: Any) -> Any:
        """Returns the answer to one question, as it comes."""
        self.number += 1
        return only(self.say(CLIENT, Query(self.number, what, arguments)), Answer).value

    def command(self, verb: str, **arguments: Any) -> Any:
        """Returns the answer to a command, which may be several turns of work."""
        self.number += 1
        said = self.say(CLIENT, Command(self.number, verb, arguments))
        for _ in range(COMMAND_TURNS_MAX):
            if said:
                break
            said = [answer for to, answer in self.turn() if to == CLIENT]
        return only(said, Answer).value

    def task(self, id: str) -> Any:
        return self.query("task", id=id)

    # Workers.

    def hello(
        self,
        peer: bytes,
        name: str,
        credit: int = 1,
        *held: int,
        concurrency: int = 1,
        queues: tuple[str, ...] = ("q",),
    ) -> list[Any]:
        """Says hello; the name is the incarnation, too."""
        leases = tuple(Held(token, ()) for token in held)
        return self.say(peer, Hello(name, name, queues, credit, concurrency, leases))

    def settle(self, peer: bytes, *ended: Done | Failed, credit: int | None = 1) -> list[Any]:
        self.number += 1
        done = tuple(one for one in ended if isinstance(one, Done))
        failed = tuple(one for one in ended if isinstance(one, Failed))
        return self.say(peer, Settle(self.number, credit, done, failed))

    @property
    def leases(self) -> list[Lease]:
        return list(self.machine.books.leases.values())


def done(assignment: Assignment, lo: int | None = None, hi: int | None = None, result: Any = None) -> Done:
    """Completes an assignment, or a part of it."""
    first = assignment.lo
    lo = first if lo is None else lo
    hi = first + (len(assignment.ends) >> 2) if hi is None else hi
    ends, blob = (b"", b"") if result is None else pack_payloads([encode_payload(result)] * (hi - lo))
    return Done(assignment.token, assignment.id, lo, hi, ends, blob, ())


def failed(assignment: Assignment, index: int | None = None, **changes: Any) -> Failed:
    index = assignment.lo if index is None else index
    return Failed(assignment.token, assignment.id, index, "it burnt", None, False)._replace(**changes)


def assigned(answers: list[Any]) -> list[Assignment]:
    """Returns the assignments among some answers."""
    return [one for answer in answers if isinstance(answer, Assign | Tasks) for one in answer.assignments]


def only(answers: list[Any], kind: type[M]) -> M:
    """Returns the one answer of a kind."""
    (found,) = [answer for answer in answers if isinstance(answer, kind)]
    return found
