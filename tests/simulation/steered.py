"""One who steers workers from afar; and checks of what workers say of themselves, and are told of their failures."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.simulation.ledger import Violation
from tests.simulation.world import World
from zq.core.insight.queries import answer
from zq.core.state.books import Books
from zq.core.state.leases import Holder
from zq.core.state.step import Step
from zq.wire.messages import Answer, Command, Settle, Settled
from zq.wire.steering import About, NextTry, Steer

HELM = b"helm"

STEERS = 0.05
"""Of the turns, in which somebody steers a worker."""

STEERED = ("house-0", "house-1", "shop-0", "nobody")
"""The second last never says what it is, as an older worker, and the last is not there."""

Place = tuple[int, int]
"""Token and index of a start."""


class Steered:
    """It stands beside the coordinator, and begins anew with it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = random.Random(world.rng.random())
        self._asked: dict[int, Holder | None] = {}  # by request, which worker, in this step
        self._at: dict[int, bytes | None] = {}  # by request, where that was connected when it was asked
        self._said: dict[bytes, tuple[Holder, About]] = {}  # by connection, who has said what
        self._sayers: dict[Holder, None] = {}  # who has said what it is, perhaps by an earlier connection
        self._reports: dict[tuple[bytes, int], list[set[Place]]] = {}  # what each settle of this step ends as failed
        self._failed: dict[Place, str] = {}  # in this step: the task
        self._is_disturbed = False  # whether others may have changed tasks in this step

    def say(self, books: Books) -> Iterator[tuple[bytes, Any]]:
        """Yields what it has to say in a turn."""
        self._asked.clear()
        self._at.clear()
        self._reports.clear()
        self._failed.clear()
        self._is_disturbed = False
        if not self._world.is_healed and self._rng.random() < STEERS:
            name, action = self._rng.choice(STEERED), self._rng.choice(("drain", "resume"))
            worker = self._asked[1] = books.workers.get(name)
            self._at[1] = None if worker is None else worker.peer
            yield HELM, Command(1, "steer-worker", {"name": name, "action": action})

    def hear(self, books: Books, peer: bytes, message: Any) -> None:
        """Notes a message that is about to be handled."""
        worker = books.peers.get(peer)
        match message:
            case About() if worker is not None:
                self._said[peer] = worker, message
                self._sayers[worker] = None
            case Settle():
                knows = worker is not None and worker.about is not None
                ended: set[Place] = set()
                for one in message.failed if knows else ():
                    lease = books.leases.get(one.token)
                    if lease is None or lease.holder is not worker or lease.batch.id != one.id:
                        continue
                    if lease.mask & lease.batch.span_mask(one.index, one.index + 1):
                        ended.add((one.token, one.index))
                        self._failed[one.token, one.index] = lease.batch.task_id(one.index)
                self._reports.setdefault((peer, message.number), []).append(ended)
            case Command():
                self._is_disturbed = True

    def check(self, books: Books, step: Step) -> None:
        """Checks a step that is about to be committed."""
        steers = Counter(peer for peer, message in step.outbox if isinstance(message, Steer))
        taken = [one for peer, one in step.outbox if peer == HELM and isinstance(one, Answer)]
        expected = Counter(self._at[one.request] for one in taken)
        if steers != expected:
            raise Violation(f"these were steered: {steers}, and not {expected}")
        for one in taken:
            if self._asked[one.request] not in self._sayers:
                raise Violation(f"{self._at[one.request]!r} was steered, which has never said that it can be")
        for worker in books.workers.values():
            said = self._said.get(worker.peer or b"")
            if (
                said is not None and said[0] is worker and worker.about != said[1]
            ):  # else it began anew, and says it again
                raise Violation(f"{worker.name} is {worker.about}, and said {said[1]}")
        for peer, message in step.outbox:
            if isinstance(message, Settled):
                self._check_told(books, step, peer, message)

    def _check_told(self, books: Books, step: Step, peer: bytes, settled: Settled) -> None:
        reports = self._reports.get((peer, settled.number))
        told = {(one.token, one.index) for one in settled.next_tries}
        expected = reports.pop(0) if reports else set()
        if told != expected:
            raise Violation(f"of {sorted(expected)} it was to be told what becomes of them, of {sorted(told)} it was")
        if not self._is_disturbed and not books.replays:
            for one in settled.next_tries:
                self._check_fate(books, step, one)

    def _check_fate(self, books: Books, step: Step, one: NextTry) -> None:
        id = self._failed[one.token, one.index]
        state = answer(books, step, "task", {"id": id})["state"]
        if state in (("waiting", "scheduled", "leased") if one.delay is None else ("dead",)):
            raise Violation(f"{id} is {state}, and its worker is told {one}")
