"""A store that is filled to its reserve by whatever can make rows: the way out stays open, and then all is as before.

A real LMDB store of a few MiB, and messages of every kind that stores anything, at their largest.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

import zq
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import (
    Batch,
    Cancel,
    Command,
    Done,
    Error,
    Extend,
    Failed,
    Group,
    Hello,
    Open,
    Options,
    Ping,
    Pong,
    Publish,
    Pull,
    Receipt,
    Release,
    Schedule,
    Settle,
    Span,
    Submit,
    Tasks,
)

MESSAGES = 600
BURST = 25
PATIENCE = 60_000
"""Milliseconds for an answer, on a machine that is busy with others."""


class Stranger:
    """A bare connection that says whatever it likes, and remembers what it has made."""

    def __init__(self, address: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(address)
        self.number = 0
        self.codes: dict[str, int] = {}
        self.leases: list[Any] = []
        self.ids: list[str] = ["none"]
        self.fillers: tuple[Callable[[], Any], ...] = (
            self.submit, self.submit, self.submit, self.later, self.unique, self.command, self.command, self.open,
            self.publish, self.hello, self.pull, self.pull, self.settle, self.schedule, self.cancel, self.release,
        )  # fmt: skip

    def close(self) -> None:
        self.socket.close()

    def new(self, text: str) -> str:
        """Returns a name that is none yet, as long as they may be."""
        self.number += 1
        return f"{text}-{self.number}-".ljust(100, "x")

    def queue(self) -> str:
        return self.rng.choice(("a", "b", self.new("queue")))

    def fill(self, messages: int) -> None:
        """Says so much, and waits after each burst until it was handled."""
        for _ in range(messages // BURST):
            for _ in range(BURST):
                self.socket.send(encode(self.rng.choice(self.fillers)()))
            self.number += 1
            self.socket.send(encode(Ping(self.number)))
            while not isinstance(self.hear(), Pong):
                pass

    def hear(self) -> Any:
        assert self.socket.poll(PATIENCE), f"no answer within {PATIENCE} ms"
        message: Any = decode_from_coordinator(self.socket.recv())
        if isinstance(message, Error):
            self.codes[message.code] = self.codes.get(message.code, 0) + 1
        if isinstance(message, Tasks):
            self.leases += message.assignments
        if isinstance(message, Receipt):
            self.ids += [one.id for one in message.accepted]
            for refused in message.refused:
                self.codes[refused.code] = self.codes.get(refused.code, 0) + 1
        return message

    def batch(self, **options: Any) -> Batch:
        count, size = self.rng.choice(((1, 1), (1, 60_000), (1, 1_000_000), (1000, 2), (300, 3000), (50, 50)))
        return Batch(
            self.new("id"), self.queue(), Options(**options), *pack_payloads([encode_payload(bytes(size))] * count)
        )

    # What it says.

    def submit(self) -> Submit:
        batches = (self.batch(), self.batch(key="k", ordered=True), self.batch(ttl=3.0))
        return Submit(self.number, tuple(self.rng.sample(batches, self.rng.randint(1, 3))))

    def later(self) -> Submit:
        return Submit(self.number, (self.batch(delay=self.rng.choice((1.0, 1000.0))),))

    def unique(self) -> Submit:
        batch = Batch(self.new("u"), "a", Options(unique=("key", "done", "keep")), *pack_payloads([b"\xc0"]))
        return Submit(self.number, (batch,))

    def command(self) -> Command:
        verb, arguments = self.rng.choice(
            (
                ("set-queue", {"queue": self.queue(), "max_tasks": 10**9, "retry": "full-jitter:1:2:60"}),
                ("set-namespace", {"name": self.new("n")[:60], "max_tasks": 5}),
                ("bind", {"queue": self.queue(), "pattern": f"{self.new('t')}.#"}),
                ("start-replay", {"id": self.new("r"), "rate": 1000.0}),
                ("bury", {"id": self.rng.choice(self.ids), "reason": "y" * 16_000}),
                ("retry", {"id": self.rng.choice(self.ids)}),
                ("replay", {"limit": 1000}),
                ("move", {"id": self.new("m"), "queue": "a", "to": self.queue()}),
            )
        )
        return Command(self.number, verb, arguments)

    def open(self) -> Open:
        headers = {f"h{number}": "z" * 4000 for number in range(8)}
        return Open(self.number, Group(self.new("g"), 1000, "all", False, "a", Options(headers=headers)))

    def publish(self) -> Publish:
        return Publish(self.number, self.new("p"), "nobody", Options(), False, *pack_payloads([b"\xc0"] * 3))

    def hello(self) -> Hello:
        return Hello("w", "w", tuple(self.new("hello") for _ in range(300)), 1, 1, ())

    def pull(self) -> Pull:
        return Pull(self.number, self.new("c"), self.queue(), self.rng.choice((1, 1, 1000)), 0.0, 600.0)

    def settle(self) -> Any:
        if not self.leases:
            return self.pull()
        lease = self.leases.pop(self.rng.randrange(len(self.leases)))
        count = len(lease.ends) >> 2
        match self.rng.randrange(4):
            case 0:
                return Settle(
                    self.number, None, (), (Failed(lease.token, lease.id, lease.lo, "e" * 16_000, 1.0, False),)
                )
            case 1:
                return Extend(self.number, lease.token, 700.0)
            case _:
                forwards = (self.batch(),)
                results = pack_payloads([encode_payload(bytes(500))] * count)
                return Settle(
                    self.number,
                    None,
                    (Done(lease.token, lease.id, lease.lo, lease.lo + count, *results, forwards),),
                    (),
                )

    def schedule(self) -> Schedule:
        payload = encode_payload(bytes(self.rng.choice((10, 900_000))))
        return Schedule(
            self.number, Batch(self.new("s"), "a", Options(), *pack_payloads([payload])), 1.0, None, "UTC", "all"
        )

    def cancel(self) -> Cancel:
        id = self.rng.choice(self.ids)
        return Cancel(self.number, self.rng.choice((id, f"{id}#0")))

    def release(self) -> Any:
        if not self.leases:
            return self.pull()
        lease = self.leases.pop()
        return Release(self.number, None, (Span(lease.token, lease.lo, lease.lo + 1),))


@pytest.fixture(params=[(4, 1), (8, 2), (16, 3)], ids=lambda one: f"{one[0]}-mib")
def crowded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[zq.Coordinator, Stranger]]:
    """A coordinator whose store a stranger has filled as far as it goes."""
    mib, seed = request.param
    options = zq.CoordinatorOptions(keep_seconds_min=1.0)
    store = zq.LmdbOptions(map_bytes=mib << 20, free_bytes_min=0)
    with zq.Coordinator(tmp_path / "s.zq", options=options, store_options=store) as coordinator:
        stranger = Stranger(coordinator.address, seed)
        stranger.fill(MESSAGES)
        yield coordinator, stranger
        stranger.close()


@contextmanager
def forgotten_queues() -> Iterator[None]:
    """Lets a queue be gone that was only pulled from: it is on no disk, and forgotten with a turn that does not fit."""
    try:
        yield
    except zq.RemoteProtocolError as error:
        if "there is no queue" not in str(error):
            raise


def test_full_store_is_purged_and_serves_as_before(crowded: tuple[zq.Coordinator, Stranger]) -> None:
    coordinator, stranger = crowded
    assert stranger.codes["busy"] > 50
    with zq.Client(coordinator.address, timeout=60.0) as client:
        assert client.query("status")["counters"]["limit store"] > 0
        with pytest.raises(zq.BusyError, match="the store is full"):
            while True:  # what has ended meanwhile has made a little room
                client.submit("a", bytes(500_000))
        client.cancel(stranger.ids[-1])
        for one in client.schedules.list():
            client.schedules.delete(one.name)
        names = {row.name for row in client.queues.list() if not row.name.startswith("hello")}
        for name in names:
            with forgotten_queues():
                client.queues.purge(name, ("waiting", "parked", "scheduled", "dead"))
        for name in names - {"a", "b"}:
            with forgotten_queues():
                client.queues.delete(name, may_purge=True)

        worker = zq.Worker(coordinator.address)
        worker.task("fresh")(lambda task: task.payload)
        worker.start()
        receipt = None
        while receipt is None:
            try:
                receipt = client.submit("fresh", "served")
            except zq.BusyError:  # what was purged is kept for a second
                client.ping()
        assert receipt.result(timeout=60.0) == "served"
        worker.stop()


def test_value_for_which_there_is_no_gap_is_refused_in_these_words_while_less_is_accepted(tmp_path: Path) -> None:
    store = zq.LmdbOptions(map_bytes=4 << 20, free_bytes_min=0)
    options = zq.CoordinatorOptions(keep_seconds=0.0, keep_seconds_min=0.0)
    with (
        zq.Coordinator(tmp_path / "s.zq", options=options, store_options=store) as coordinator,
        zq.Client(coordinator.address, timeout=60.0) as client,
    ):
        accepted = []
        with pytest.raises(zq.BusyError, match="the store is full; room comes"):
            while True:
                accepted.append(client.submit("a", bytes(50_000)).id)
        for id in accepted[::2]:
            client.cancel(id)
        while client.query("status")["store"]["is_full"]:  # what was cancelled is kept for a moment
            pass

        with pytest.raises(zq.BusyError, match="the store is full for so much in one piece; less is accepted"):
            client.submit("a", bytes(900_000))

        assert not client.query("status")["store"]["is_full"]
        assert client.submit("a", bytes(10_000)).id
