"""A coordinator on a desk with keys, and a world in it: four queues in two namespaces, with one of everything each."""

from __future__ import annotations

from typing import Any

from tests.core.desk import Desk, assigned
from zq.core.coordinator import Machine
from zq.core.rights.guard import Guard
from zq.core.rights.rights import Rights
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    Answer,
    Batch,
    Command,
    Group,
    Hello,
    Open,
    Options,
    Pull,
    Receipt,
    Schedule,
    Submit,
    Welcome,
)

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
        worker = desk.let(f"worker of {queue}", "worker")
        assert isinstance(desk.say(worker, Hello(ids["v"], "1", (queue,), 0, 1, ()))[0], Welcome)


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
