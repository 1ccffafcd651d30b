"""Draws messages of every kind that a coordinator hears, valid one by one and in no sensible order; `python -m
tests.core.any_messages --seeds 100000` plays more of them.

The simulation plays clients and workers that keep to the protocol. Nobody here does: a connection says hello under two
names, settles leases of others, opens a group under the id of a task, moves a queue while it is purged. Names are few,
so that all of it meets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk
from tests.simulation.fates import check_unique
from tests.simulation.invariants import check_books, check_grants
from zq.core.admin import chores, operations
from zq.core.state import outcome_waits
from zq.core.tasks import dead_letters, follow_up, groups, settling
from zq.errors import StoreError
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.messages import (
    Batch,
    Cancel,
    Command,
    Done,
    Extend,
    Failed,
    Goodbye,
    Group,
    Heartbeat,
    Held,
    Hello,
    Open,
    Options,
    Progress,
    Publish,
    Pull,
    Query,
    Release,
    Schedule,
    Settle,
    Span,
    Started,
    Submit,
    ToCoordinator,
    Wait,
)
from zq.wire.proofs import Proof, proof_of, proofs_of
from zq.wire.steering import About

IDS = [f"i{number}" for number in range(12)]
GROUPS = ["g1", "g2", "g3"]
QUEUES = ["q", "r", "s"]
WORKERS = ["w", "v", "u"]
WORKER_PEERS = [b"p1", b"p2", b"p3", b"p4"]
CLIENT_PEERS = [CLIENT, b"c2"]
STATES = ["waiting", "leased", "scheduled", "dead", "done", "any", "unfinished", "cancelled", "expired"]

ROUNDS = 150
"""What happens in one play: messages, time that passes, crashes. After as many, queues and ids have been made and
forgotten.
"""

TURNS_MAX = 300
"""Turns without time after which the coordinator should have nothing more to do; the most that any seed needs is a
tenth.
"""

SHOWN = 8
"""How many of the last rounds a failure shows."""

QUERIES = ["status", "queues", "workers", "replays", "schedules", "groups", "bindings", "operations"]
QUERIES_ABOUT = ["task", "queue", "why", "trace", "group", "payload"]

POLICIES: list[dict[str, list[Any]]] = [
    {"fair": [True, True, False]},
    {"assign": [None, "hash"]},
    {"max_tasks": [None, 3, 8]},
    {"max_bytes": [None, 5, 20]},
    {"overflow": [None, "dead-oldest"]},
    {"ageing": [None, 2.0]},
    {"on_expired": [None, "dead"]},
    {"concurrency": [None, 2]},
    {"key_concurrency": [None, 1, 2]},
    {"rate": [None, 1.0], "burst": [None, 2]},
    {"key_rate": [None, 1.0]},
]

OPTIONS: dict[str, tuple[float, list[Any]]] = {
    "priority": (0.3, list(range(10))),
    "key": (0.3, ["a", "b", "c"]),
    "ttl": (0.2, [0.5, 2.0, 20.0]),
    "on_lost": (0.3, ["cancel", "dead", "reassign"]),
    "max_attempts": (0.3, [1, 2]),
    "retry": (0.3, [("none", 0.0, 1.0, 0.0), ("constant", 1.0, 1.0, 1.0), ("constant", 0.0, 1.0, 0.0)]),
    "on_dead": (0.2, QUEUES),
    "timeout": (0.1, [1.0]),
}
"""How often an option is there, and what it is then."""


class Author:
    """Writes messages to one desk; it looks at the desk's leases only, so that some of what it settles is right."""

    def __init__(self, random: Random, desk: Desk) -> None:
        self.random = random
        self.desk = desk
        self.kinds: dict[Callable[[], Any], int] = {
            self.submit: 25,
            self.pull: 7,
            self.wait: 3,
            self.cancel: 5,
            self.query: 5,
            self.command: 17,
            self.extend: 2,
            self.open: 4,
            self.publish: 3,
            self.schedule: 1,
        }
        self.worker_kinds: dict[Callable[[], Any], int] = {
            self.hello: 6,
            self.heartbeat: 3,
            self.settle: 14,
            self.release: 2,
            self.started: 1,
            self.progress: 1,
            self.goodbye: 1,
            self.about: 1,
        }

    def write(self) -> tuple[bytes, ToCoordinator]:
        """Returns a connection and what it says, as it comes out of the decoder."""
        both = self.kinds | self.worker_kinds
        (kind,) = self.random.choices(list(both), list(both.values()))
        message: ToCoordinator = kind()
        peers = WORKER_PEERS if kind in self.worker_kinds else CLIENT_PEERS
        return self.random.choice(peers), decode_for_coordinator(encode(message))

    def often(self, chance: float) -> bool:
        return self.random.random() < chance

    def one(self, *values: Any) -> Any:
        return self.random.choice(values)

    def number(self) -> int:
        return self.random.randrange(1, 50)

    # From clients.

    def submit(self) -> Submit:
        return Submit(self.number(), tuple(self.batch() for _ in range(self.one(1, 1, 2))))

    def pull(self) -> Pull:
        client, queue = self.one("till", "shop"), self.one(*QUEUES)
        return Pull(
            self.number(),
            client,
            queue,
            self.one(1, 3, 10),
            self.one(0.0, 5.0),
            self.one(1.0, 30.0),
            secret=self.one("", "s1", "s2"),
        )

    def wait(self) -> Wait:
        return Wait(self.number(), self.one(*IDS, *GROUPS), 0, self.one(1, 5, 7))

    def cancel(self) -> Cancel:
        return Cancel(self.number(), self.one(*IDS, *GROUPS, "i1#0", "i2#1", "i3#4"))

    def query(self) -> Query:
        what = self.one("tasks", "match", *QUERIES, *QUERIES_ABOUT)
        about: dict[str, Any] = {"id": self.one(*IDS, *GROUPS, "i1#0", "i2#2"), "queue": self.one(*QUEUES)}
        if what == "tasks":
            about = {"state": self.one(*STATES), "queue": self.one(None, *QUEUES), "limit": self.one(1, 3, 100)}
        elif what == "match":
            about = {"topic": "a.b"}
        elif what in QUERIES:
            about = {}
        return Query(self.number(), what, about)

    def command(self) -> Command:
        """A verb with its arguments; those that change a queue come more often."""
        queue, maybe = self.one(*QUEUES), self.one(None, *QUEUES)
        states = self.one(None, ("waiting",), ("dead",), ("waiting", "scheduled", "dead"), ("parked",))
        operation = {"id": f"op{self.random.randrange(1_000_000)}", "queue": queue}
        verbs: dict[str, dict[str, Any]] = {
            "retry": {"id": self.one(*IDS, "i1#0", "i2#1")},
            "bury": {"id": self.one(*IDS, "i1#0", "i2#1")},
            "replay": {"queue": maybe, "to": self.one(None, *QUEUES), "limit": self.one(1, 10)},
            "start-replay": {"id": self.one("rp1", "rp2"), "rate": self.one(0.5, 5.0), "queue": maybe},
            "stop-replay": {"id": self.one("rp1", "rp2")},
            "purge-dead": {"queue": maybe, "limit": 3},
            "set-queue": {"queue": queue, **self.policies()},
            "pause": {"queue": queue},
            "drain": {"queue": queue},
            "resume": {"queue": queue},
            "purge": {**operation, "states": states},
            "move": {**operation, "states": states, "to": self.one(*QUEUES)},
            "delete": {**operation, "purge": self.often(0.8)},
            "bind": {"queue": queue, "pattern": self.one("a.*", "#")},
            "unbind": {"queue": queue, "pattern": self.one("a.*", "#")},
            "delete-schedule": {"name": "s1"},
            "run-schedule": {"name": "s1"},
            "steer-worker": {"name": self.one(*WORKERS), "action": self.one("drain", "resume", "resize", "stop")},
        }
        verb = self.one(*verbs, "set-queue", "set-queue", "resume", "move")
        return Command(self.number(), verb, verbs[verb])

    def policies(self) -> dict[str, Any]:
        return {name: self.one(*values) for name, values in self.one(*POLICIES).items()}

    def extend(self) -> Extend:
        token = self.token()
        return Extend(self.number(), token, self.one(0.5, 60.0), proof_of(self.one("", "s1", "s2"), token).proof)

    def open(self) -> Open:
        return Open(self.number(), self.group())

    def publish(self) -> Publish:
        id, _, options, ends, blob = self.batch([f"pub{number}" for number in range(5)], may_join=False)
        options = options._replace(unique=None)
        return Publish(self.number(), id, self.one("a.b", "c"), options, self.often(0.5), ends, blob)

    def schedule(self) -> Schedule:
        options = self.options(may_join=False)._replace(delay=0.0, at=None)
        task = Batch("s1", self.one(*QUEUES), options, *pack_payloads([encode_payload(1)]))
        return Schedule(self.number(), task, self.one(1.0, 3.0), None, "UTC", self.one("skip", "one", "all"))

    # From workers.

    def hello(self) -> Hello:
        name = self.one(*WORKERS)
        tokens = [lease.token for lease in self.desk.leases if lease.holder.name == name and self.often(0.8)]
        incarnation = self.one("i1", "i2", name, name, name)
        queues = tuple(self.random.sample(QUEUES, self.one(1, 2, 3)))
        held = tuple(Held(token, ()) for token in tokens)
        return Hello(name, incarnation, queues, self.one(0, 1, 5), self.one(1, 2), held)

    def heartbeat(self) -> Heartbeat:
        leases = [lease for lease in self.desk.leases if self.often(0.8)]
        held = [Held(lease.token, (lease.batch.first,) if self.often(0.5) else ()) for lease in leases]
        return Heartbeat(self.number(), tuple(held))

    def settle(self) -> Settle:
        done: list[Done] = []
        failed: list[Failed] = []
        for _ in range(self.one(1, 2, 3)):
            token, id, lo, hi = self.run()
            if self.often(0.65):
                done.append(self.done(token, id, lo, hi))
            else:
                failed.append(Failed(token, id, lo, "burnt", self.one(None, None, 0.0, 2.0), self.often(0.2)))
        return Settle(
            self.number(),
            self.one(None, 0, 1, 5),
            tuple(done),
            tuple(failed),
            self.often(0.3),
            self.proofs(done + failed),
        )

    def proofs(self, entries: list[Any]) -> tuple[Proof, ...]:
        return proofs_of(self.one("", "s1", "s2"), (one.token for one in entries))

    def done(self, token: int, id: str, lo: int, hi: int) -> Done:
        results = (b"", b"") if self.often(0.5) else pack_payloads([encode_payload("r")] * (hi - lo))
        forwards: list[Batch] = []
        if self.often(0.25):
            forwards = [self.batch(may_be_many=False) for _ in range(self.one(1, 2))]
        groups = (self.group(),) if self.often(0.1) else ()
        return Done(token, id, lo, hi, *results, tuple(forwards), groups)

    def release(self) -> Release:
        token, _, lo, hi = self.run()
        span = Span(token, lo, hi)
        return Release(self.number(), self.one(None, 3), (span,), self.proofs([span]))

    def started(self) -> Started:
        return Started((Held(self.token(), (0,)),))

    def progress(self) -> Progress:
        return Progress(self.token(), 0, 0.5)

    def goodbye(self) -> Goodbye:
        name = self.one(*WORKERS)
        return Goodbye(name, name)

    def about(self) -> About:
        return About("oven", 7, 0, self.one(1, 2), self.often(0.5), self.one(None, "no module"))

    # Parts.

    def options(self, *, may_join: bool = True) -> Options:
        chosen = {name: self.one(*values) for name, (chance, values) in OPTIONS.items() if self.often(chance)}
        if self.often(0.2):
            chosen["delay"] = self.one(0.5, 3.0, 50.0)
        elif self.often(0.1):
            chosen["at"] = self.one(0.0, 1_000_005.0, 1_000_100.0)
        if "key" in chosen:
            chosen["ordered"] = self.often(0.5)
        if may_join and self.often(0.3):
            path = (self.random.randrange(3),) if self.often(0.7) else (self.one(0, 1), self.one(0, 1))
            chosen["group"] = (self.one(*GROUPS), path)
        return Options(**chosen)

    def batch(self, ids: list[str] = IDS, *, may_join: bool = True, may_be_many: bool = True) -> Batch:
        options = self.options(may_join=may_join)
        count = self.one(1, 1, 2, 5)
        if options.group is None and self.often(0.3):
            options = options._replace(
                unique=(self.one("x", "y"), self.one("ended", "started"), self.one("keep", "replace"))
            )
            count = count if may_be_many else 1  # the decoder refuses others in what is forwarded
        return Batch(
            self.one(*ids), self.one(*QUEUES), options, *pack_payloads([encode_payload(i) for i in range(count)])
        )

    def group(self) -> Group:
        size, policy = self.random.randrange(4), self.one("all", "any", "settled")
        return Group(self.one(*GROUPS, "i1"), size, policy, self.often(0.5), self.one(None, *QUEUES), self.options())

    def token(self) -> int:
        """Of a lease most of the time, else one of nobody."""
        if self.desk.leases and self.often(0.9):
            return int(self.one(*self.desk.leases).token)
        return int(self.one(0, 5, (1 << 40) + 1, (1 << 40) + 7))

    def run(self) -> tuple[int, str, int, int]:
        """Token, batch and span of a lease's batch, now and then too long; or what nobody has."""
        if not self.desk.leases or self.often(0.1):
            return self.token(), "i1", 0, self.one(1, 3)
        lease = self.one(*self.desk.leases)
        first, end = lease.batch.first, lease.batch.first + lease.batch.count
        lo = self.random.randrange(first, end)
        return lease.token, lease.batch.id, lo, self.random.randrange(lo + 1, end + 1 + self.often(0.1))


def play(seed: int, rounds: int = ROUNDS) -> int:
    """Plays one seed and checks the books after each turn; returns how many messages were received.

    Raises:
        Violation: what must hold at every moment did not.
        AssertionError: the coordinator always had something to do, and never was done.
        Exception: whatever escaped from the core; notes say which seed it was, and what happened last.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Purges and moves need many turns, between which anything may come.
        patch.setattr(operations, "PORTION_TASKS", 4)
        patch.setattr(operations, "PORTION_ROWS", 3)
        patch.setattr(chores, "PORTION", 2)
        patch.setattr(settling, "PORTION_LEASES", 2)
        patch.setattr(outcome_waits, "TOLD_MAX", 1)
        patch.setattr(dead_letters, "PORTION_DEAD", 1)
        patch.setattr(chores, "JOIN_PORTION", 1)
        patch.setattr(groups, "SWEEP_ROWS", 2)
        patch.setattr(follow_up, "JOIN_AT_ONCE", 1)
        return _play(seed, rounds)


def _play(seed: int, rounds: int) -> int:
    random = Random(seed)
    desk = Desk(
        keep_seconds=random.choice([0.0, 5.0, 100.0]),
        keep_seconds_min=random.choice([0.0, 1.0]),
        queue_tasks_max=random.choice([6, 100]),
    )
    author = Author(random, desk)
    happened: list[Any] = []
    try:
        for _ in range(rounds):
            _play_round(random, desk, author, happened)
            _check(desk)
    except Exception as error:
        error.add_note(f"seed {seed}, round {len(happened)}: python -m tests.core.any_messages --from {seed} --seeds 1")
        error.add_note("\n".join(map(str, happened[-SHOWN:])))
        raise
    return sum(len(one) for one in happened if isinstance(one, list))


def _play_round(random: Random, desk: Desk, author: Author, happened: list[Any]) -> None:
    kind = random.random()
    if kind < 0.04:
        happened.append("the coordinator starts anew")
        desk.restart()
    elif kind < 0.2:
        seconds = random.choice([0.1, 1.0, 5.0, 30.0])
        wall_seconds = seconds if random.random() < 0.9 else random.choice([-10.0, 100.0])
        happened.append(("time", seconds, wall_seconds))
        desk.now += seconds
        desk.wall += wall_seconds
        desk.turn()
    elif kind < 0.25:
        happened.append("turns until nothing is left to do")
        _turn_until_idle(desk)
    else:
        messages = [author.write() for _ in range(random.choice([1, 1, 3]))]
        happened.append(messages)
        _receive(desk, messages)


def _receive(desk: Desk, messages: list[tuple[bytes, ToCoordinator]]) -> None:
    try:
        sent = desk.turn(*messages)
    except StoreError:  # a store may fail, and its coordinator starts anew
        desk.restart()
        return
    for _, message in sent:
        encode(message)


def _turn_until_idle(desk: Desk) -> None:
    """The shell sleeps until `next_at`; one that always says now would let it spin."""
    for _ in range(TURNS_MAX):
        desk.turn()
        if desk.machine.next_at(desk.clocks()) > desk.now:
            return
    raise AssertionError(f"after {TURNS_MAX} turns at one time there still is something to do")


def _check(desk: Desk) -> None:
    check_grants(desk.machine.books, desk.now)
    tx = desk.store.begin()
    try:
        check_books(desk.machine.books, tx)
        check_unique(desk.machine.books, tx)
    finally:
        tx.abort()


def main() -> None:
    """Plays as many seeds as the command line says, and prints the number of messages."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.any_messages")
    parser.add_argument("--seeds", type=int, default=2000, help="how many seeds [default: 2000]")
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed [default: 0]")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    print(f"{arguments.seeds} seeds, {sum(map(play, seeds))} messages, nothing broken")


if __name__ == "__main__":
    main()
