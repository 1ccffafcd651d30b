"""A coordinator on a desk with keys, and a world in it: four queues in two namespaces, with one of everything each."""

from __future__ import annotations

from typing import Any

from tests.core.desk import Desk, assigned, done
from zq.core.coordinator import Machine
from zq.core.insight.queries import QUERIES
from zq.core.rights.guard import Guard
from zq.core.rights.rights import Rights
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    Answer,
    Batch,
    Cancel,
    Command,
    Failed,
    Group,
    Hello,
    Open,
    Options,
    Publish,
    Pull,
    Query,
    Receipt,
    Schedule,
    Settle,
    Settled,
    Submit,
    Wait,
    Welcome,
)
from zq.wire.steering import About

BOSS = b"boss"

QUEUES = ("a/own", "a/other", "b/own", "b/other")


class GuardedDesk(Desk):
    """Peers are introduced by the names of their keys; the boss may do everything."""

    def __init__(self, **options: Any) -> None:
        self.guard = Guard()
        self.rights: dict[str, Rights] = {}
        self.let("boss", "admin")
        super().__init__(**options)

    def restart(self) -> None:
        self.machine = Machine(self.options, self.clocks(), self.store, guard=self.guard)

    def let(self, name: str, role: str, **rights: Any) -> bytes:
        """Gives a key rights, in the place of those that it had; returns its connection."""
        self.rights = {**self.rights, name: Rights(name, role, **rights)}
        self.guard.update(self.rights)
        self.guard.introduce(name.encode(), name, f"address of {name}")
        return name.encode()

    def also(self, name: str, peer: bytes) -> bytes:
        """Returns another connection of a key."""
        self.guard.introduce(peer, name, f"another address of {name}")
        return peer

    def revoke(self, name: str) -> None:
        self.rights = {other: rights for other, rights in self.rights.items() if other != name}
        self.guard.update(self.rights)

    def boss(self, message: Any) -> Any:
        """Lets the boss say something; returns the first answer."""
        return self.say(BOSS, message)[0]


def task(id: str, queue: str, **options: Any) -> Batch:
    return Batch(id, queue, Options(**options), *pack_payloads([encode_payload(id)]))


def furnish(desk: GuardedDesk) -> None:
    """Puts one of everything into each queue: `a/w-own` waits in `a/own`, and so on; names end with the queue's."""
    for queue in QUEUES:
        namespace, _, name = queue.partition("/")
        ids = {kind: f"{namespace}/{kind}-{name}" for kind in "wdefgsropvt"}
        must(desk, Submit(1, tuple(task(ids[kind], queue) for kind in "wdef")), Receipt)
        for kind in "def":
            must(desk, Command(2, "bury", {"id": ids[kind], "reason": "burnt"}), Answer)
        must(desk, Open(3, Group(ids["g"], 2, "all", False, queue, Options())), Receipt)
        must(desk, Schedule(4, task(ids["s"], queue), 1000.0, None, "UTC", "skip"), Answer)
        must(desk, Command(5, "bind", {"pattern": f"{ids['t']}.*", "queue": queue}), Answer)
        must(desk, Command(6, "purge", {"id": ids["o"], "queue": queue, "states": ("scheduled",)}), Answer)
        must(desk, Command(7, "start-replay", {"id": ids["r"], "queue": queue, "rate": 0.001}), Answer)
        spoilt = pulled(desk, BOSS, queue)
        must(desk, Settle(8, None, (), (Failed(spoilt.token, spoilt.id, 0, "dropped", 1000.0, False),)), Settled)
        sent = pulled(desk, BOSS, queue, 901)
        forward = done(sent)._replace(forwards=(task(f"{namespace}/x-{name}", queue),))
        must(desk, Settle(9, None, (forward,), ()), Settled)
        worker = desk.let(f"worker of {queue}", "worker")
        assert isinstance(desk.say(worker, Hello(ids["v"], "1", (queue,), 0, 1, ()))[0], Welcome)
        desk.say(worker, About("oven", 7, 0, 1, False, None))


def must(desk: GuardedDesk, message: Any, kind: type) -> None:
    answer = desk.boss(message)
    assert isinstance(answer, kind), answer
    assert not getattr(answer, "refused", ()), answer


def pulled(desk: GuardedDesk, peer: bytes, queue: str, request: int = 900) -> Any:
    """Submits a task to a queue as the boss and has somebody pull it; returns its assignment."""
    id = f"{queue.partition('/')[0]}/pulled-{request}"
    must(desk, Submit(request, (task(id, queue, priority=9),)), Receipt)
    (found,) = assigned(desk.say(peer, Pull(request, f"{queue.partition('/')[0]}/till", queue, 1, 0.0, 60.0)))
    return found


def named(queue: str, kind: str) -> str:
    namespace, _, name = queue.partition("/")
    return f"{namespace}/{kind}-{name}"


def words(verb: str, queue: str, *, unknown: bool = False) -> Any:
    """Returns what is said; `unknown` names an id that there is not, in the place of one that there is."""
    w, g, s, e, r, v = (named(queue, kind) if not unknown else f"a/nothing-{kind}" for kind in "wgserv")
    fresh = named(queue, "new")
    topic = f"{named(queue, 't') if not unknown else 'a/nothing-t'}.x"
    ends, blob = task(fresh, queue)[3:]
    of_id = {"id": w}
    match verb:
        case "submit":
            return Submit(1, (task(fresh, queue),))
        case "submit with a notice":
            return Submit(1, (task("a/new", "a/own", on_dead=queue),))
        case "submit into a group":
            return Submit(1, (task("a/new", "a/own", group=(g, (0,))),))
        case "submit under a taken id":
            return Submit(1, (task(w, "a/own"),))
        case "open":
            return Open(1, Group(fresh, 1, "all", False, queue, Options()))
        case "open under a taken id":
            return Open(1, Group(g, 2, "all", False, "a/own", Options()))
        case "publish":
            return Publish(1, fresh, topic, Options(), True, ends, blob)
        case "wait for a task":
            return Wait(1, e, 0, 1)
        case "wait for a group":
            return Wait(1, g, 0, 1)
        case "pull":
            return Pull(1, named(queue, "till"), queue, 1, 0.0, 60.0)
        case "cancel a task":
            return Cancel(1, w)
        case "cancel a group":
            return Cancel(1, g)
        case "schedule":
            return Schedule(1, task(fresh, queue), 1000.0, None, "UTC", "skip")
        case "schedule over another":
            return Schedule(1, task(s, "a/own"), 1000.0, None, "UTC", "skip")
        case "hello":
            return Hello(named(queue, "mine"), "1", (queue,), 0, 1, ())
        case "tasks":
            return Query(1, verb, {"state": "any"})
        case "queue" | "history":
            return Query(1, verb, {"queue": queue})
        case "task" | "payload" | "why" | "trace":
            return Query(1, verb, of_id)
        case "group":
            return Query(1, verb, {"id": g})
        case "schedule of":
            return Query(1, "schedule", {"name": s})
        case "match":
            return Query(1, verb, {"topic": topic})
        case "retry":
            return Command(1, verb, {"id": e})
        case "bury":
            return Command(1, verb, of_id)
        case "set-schedule":
            return Command(1, verb, {"name": s, "is_paused": True})
        case "delete-schedule" | "run-schedule":
            return Command(1, verb, {"name": s})
        case "start-replay":
            return Command(1, verb, {"id": "a/fresh", "rate": 1.0, "queue": queue})
        case "start-replay under a taken id":
            return Command(1, "start-replay", {"id": r, "rate": 1.0, "queue": "a/own"})
        case "purge under a taken id":
            return Command(1, "purge", {"id": named(queue, "o"), "queue": "a/own"})
        case "stop-replay":
            return Command(1, verb, {"id": r})
        case "replay" | "purge-dead" | "set-queue" | "pause" | "drain" | "resume":
            return Command(1, verb, {"queue": queue})
        case "purge":
            return Command(1, verb, {"id": "a/fresh", "queue": queue})
        case "move":
            return Command(1, verb, {"id": "a/fresh", "queue": "a/own", "to": queue})
        case "delete":
            return Command(1, verb, {"id": "a/fresh", "queue": queue, "purge": True})
        case "set-namespace":
            return Command(1, verb, {"name": queue.partition("/")[0] + "/x", "max_tasks": 9})
        case "steer-worker":
            return Command(1, verb, {"name": v, "action": "drain"})
        case "bind" | "unbind":
            return Command(1, verb, {"pattern": f"{named(queue, 't')}.*", "queue": queue})
        case _:
            assert verb in QUERIES, verb
            return Query(1, verb, {})
