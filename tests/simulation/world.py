"""The simulated world: one event queue, one clock that only it moves, and a network that misbehaves as it was seeded
to.

A connection keeps the order of its messages, as TCP does, and between connections there is none. Everything drawn at
random comes from one generator, and nothing iterates over a set, so a seed replays exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol

from zq.core.options import Now

WALL_OFFSET = 1_700_000_000.0

PAUSES = (2.0, 4.5, 20.0)
"""Seconds for which a worker is stopped: nobody notices, it is suspect, or it is gone."""

NOTICED_MAX = 8.0
"""Seconds in which the transport of the coordinator notices that a connection is gone; most it notices at once."""


@dataclass(frozen=True)
class Faults:
    """What one seed lets go wrong; each seed draws its own mix, so that rare pairs meet."""

    drop: float = 0.0  # of a message, which breaks nothing else
    duplicate: float = 0.0
    cut: float = 0.0  # of a connection, at a message
    delay: float = 0.01  # mean seconds
    crash: float = 0.0  # of the coordinator, at each point of a turn
    kill: float = 0.0  # of a worker, at each of its steps
    pause: float = 0.0  # of a worker: SIGSTOP
    fail: float = 0.0  # of a handler
    hang: float = 0.0  # of a handler
    lie: float = 0.0  # of a worker about what it did
    stall: float = 0.0  # of the coordinator
    partition: float = 0.0
    jump: float = 0.0  # of the wall clock
    wedge: float = 0.0  # of a worker: it forgets what it should start or report, and beats on

    @staticmethod
    def draw(rng: random.Random) -> Faults:
        def some(most: float) -> float:
            return rng.choice((0.0, 0.0, most / 4, most))

        return Faults(
            drop=some(0.05),
            duplicate=some(0.1),
            cut=some(0.03),
            delay=rng.choice((0.001, 0.02, 0.3)),
            crash=some(0.05),
            kill=some(0.03),
            pause=some(0.03),
            fail=some(0.3),
            hang=some(0.1),
            lie=some(0.2),
            stall=some(0.02),
            partition=some(0.02),
            jump=some(0.1),
            wedge=some(0.05),
        )


class Endpoint(Protocol):
    """Whoever is at the other end of a connection to the coordinator."""

    def receive(self, message: Any) -> None: ...


class Connection:
    """One DEALER's connection: what is sent in one direction arrives in order, or not at all."""

    def __init__(self, world: World, peer: bytes, end: Endpoint) -> None:
        self.world = world
        self.peer = peer
        self.end = end
        self.is_open = True
        self.is_draining = False  # closed, and what was sent down before still arrives
        self._up_at = 0.0  # when the last message to the coordinator arrives
        self._down_at = 0.0

    def send_up(self, message: Any) -> None:
        """Sends to the coordinator."""
        for _ in range(self.world.copies(self)):
            self._up_at = max(self._up_at, self.world.now + self.world.latency())
            self.world.at(self._up_at, lambda: self._arrive_up(message))

    def _arrive_up(self, message: Any) -> None:
        if self.is_open:
            self.world.deliver_to_coordinator(self, message)

    def send_down(self, message: Any) -> None:
        """Sends to the peer."""
        for _ in range(self.world.copies(self)):
            self._down_at = max(self._down_at, self.world.now + self.world.latency())
            self.world.at(self._down_at, lambda: self._arrive_down(message))

    def _arrive_down(self, message: Any) -> None:
        if self.is_open or self.is_draining:
            self.end.receive(message)


class World:
    """Clock, event queue, network, and the generator of everything random."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.faults = Faults.draw(self.rng)
        self.has_replays = self.rng.random() < 0.3  # dead letters come back: what dies may yet be done
        self.has_runs = (
            not self.has_replays and self.rng.random() < 0.3
        )  # almost all tasks are ordered, and many a batch
        self.now = 0.0
        self.wall_offset = WALL_OFFSET
        self.is_healed = False
        self.partition_until = 0.0
        self.events = 0
        self.happened: dict[str, int] = {}  # how often each fault bit
        self.connections: dict[bytes, Connection] = {}
        self.cut_at: dict[bytes, float] = {}  # by connection that is gone
        self.noticed_at: dict[bytes, float] = {}  # and when the coordinator's transport says so
        self.deliver_to_coordinator: Callable[[Connection, Any], None] = lambda connection, message: None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._peers = count(1)

    def clocks(self) -> Now:
        return Now(self.now, self.now + self.wall_offset)

    def at(self, when: float, action: Callable[[], None]) -> None:
        heappush(self._queue, (when, next(self._order), action))

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.at(self.now + seconds, action)

    def run(self, until: float) -> None:
        """Lets everything happen that is due before a time."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            when, _, action = heappop(queue)
            self.now = max(self.now, when)
            self.events += 1
            action()
        self.now = max(self.now, until)

    def strikes(self, fault: str) -> bool:
        """Draws whether a fault happens here; it is counted when it does."""
        if self.is_healed or self.rng.random() >= getattr(self.faults, fault):
            return False
        self.note(fault)
        return True

    def note(self, what: str) -> None:
        self.happened[what] = self.happened.get(what, 0) + 1

    # Network.

    def connect(self, end: Endpoint) -> Connection:
        """Makes a connection; the transport names it anew each time, as a ROUTER does."""
        connection = Connection(self, b"peer-%d" % next(self._peers), end)
        self.connections[connection.peer] = connection
        return connection

    def cut(self, connection: Connection) -> None:
        """Breaks a connection: what is on its way is lost, and neither end is told."""
        connection.is_open = False
        if self.connections.pop(connection.peer, None) is not None:
            self.cut_at[connection.peer] = self.now
            self.noticed_at[connection.peer] = self.now + self.rng.choice((0.0, 0.0, NOTICED_MAX))

    def close(self, connection: Connection) -> None:
        """Closes a connection whose coordinator has died: what it had sent may still arrive, or not."""
        connection.is_draining = self.rng.random() < 0.5
        self.cut(connection)

    def copies(self, connection: Connection) -> int:
        """Returns how often a message arrives."""
        if not connection.is_open:
            return 0
        if self.is_healed:
            return 1
        if self.now < self.partition_until:
            self.cut(connection)
            return 0
        if self.strikes("cut"):
            self.cut(connection)
            return 0
        if self.strikes("drop"):
            return 0
        return 2 if self.strikes("duplicate") else 1

    def latency(self) -> float:
        return self.rng.expovariate(1 / self.faults.delay) if not self.is_healed else 0.001
