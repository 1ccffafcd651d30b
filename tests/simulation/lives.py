"""The states that tasks go through: each must have come from where it was by moves of the table of transitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.simulation.ledger import Violation
from zq.core import tables
from zq.core.state.batch import StoredBatch, bits, mask_of
from zq.core.state.books import Books
from zq.core.state.places import End
from zq.core.state.queue import Queue
from zq.core.state.transitions import (
    ALL,
    DEAD,
    DONE,
    FORGOTTEN,
    LEASED,
    MOVES,
    NAMES,
    NEW,
    PARKED,
    PURGED,
    SCHEDULED,
    WAITING,
    TaskState,
    allowed,
)
from zq.core.storage import Transaction
from zq.task import task_id
from zq.wire.limits import TASK_SEPARATOR

WAYS = {(origin, to) for move in MOVES for origin in move.origins for to in move.targets if to != FORGOTTEN}
"""Every way between two states that a queue counts."""


def _reachable(origin: TaskState) -> set[TaskState]:
    found, new = {origin}, [origin]
    while new:
        for to in allowed(new.pop()):
            if to not in found:
                found.add(to)
                new.append(to)
    return found


REACHABLE = {origin: _reachable(origin) for origin in ALL}


class Lives:
    """In which state every task was when it was last looked at."""

    def __init__(self) -> None:
        self.states: dict[str, TaskState] = {}

    def check(self, books: Books, tx: Transaction, excused: set[str]) -> None:
        """Checks that each task went ways that there are; what is excused may have ended in any."""
        found: dict[str, TaskState] = {}
        for id, state in states_of(books, tx):
            if id in found:
                raise Violation(f"task {id} is both {NAMES[found[id]]} and {NAMES[state]}")
            found[id] = state
        for id in self.states.keys() | found.keys():
            before, now = self.states.get(id, NEW), found.get(id, FORGOTTEN)
            if now not in REACHABLE[before] and id not in excused and id.partition("#")[0] not in excused:
                raise Violation(
                    f"task {id} was {NAMES[before]} and is {NAMES[now]}: the table of transitions has no way"
                )
        self.states = found


def states_of(books: Books, tx: Transaction) -> Iterator[tuple[str, TaskState]]:
    """Yields every task that the tables know, with its state."""
    for key, value in tx.scan(tables.PENDING):
        batch, live = books.read(tx, key, value), books.batches.get(key)
        leased = 0 if live is None else live.leased
        for id, state in _of_batch(batch, WAITING):
            yield id, LEASED if state == WAITING and leased >> _index(batch, id) & 1 else state
    for key, value in tx.scan(tables.SCHEDULED):
        yield from _of_batch(books.read(tx, tables.split_due_key(key)[1], value), SCHEDULED)
    for _, value in tx.scan(tables.PARKED):
        yield from _of_batch(books.read(tx, *tables.unpack(value)), PARKED)
    for key, value in tx.scan(tables.DEAD):
        yield from _of_batch(books.read(tx, key, tables.unpack(value)[0]), DEAD)
    for key, value in tx.scan(tables.INDEX):
        record = tables.unpack(value)
        if record[0] == tables.AT_ENDED and record[1] != "duplicate":
            yield from _of_end(key.decode(), End(*record))


def _index(batch: StoredBatch, id: str) -> int:
    return 0 if batch.count == 1 else int(id.rpartition(TASK_SEPARATOR)[2]) - batch.first


def _of_batch(batch: StoredBatch, state: TaskState) -> Iterator[tuple[str, TaskState]]:
    for bit in bits(batch.full & ~batch.split):
        yield batch.task_id(batch.first + bit), DONE if batch.ended >> bit & 1 else state


def _of_end(id: str, end: End) -> Iterator[tuple[str, TaskState]]:
    state = PURGED if end.outcome == "dead" else NAMES.index(end.outcome)
    if TASK_SEPARATOR in id or end.size == 1:
        yield id, state
    else:
        for index in bits((1 << end.size) - 1 & ~mask_of(end.split)):
            yield task_id(id, end.size, index), state


@contextmanager
def counted_moves() -> Iterator[set[tuple[TaskState, TaskState]]]:
    """Collects the ways that tasks go, as their queues count them."""
    ways: set[tuple[TaskState, TaskState]] = set()
    move, bring_in = Queue.move, Queue.bring_in

    def noted_move(self: Queue, origin: TaskState, to: TaskState, tasks: int, priority: int) -> None:
        if tasks:
            ways.add((origin, to))
        move(self, origin, to, tasks, priority)

    def noted_bring_in(
        self: Queue, origin: TaskState, to: TaskState, tasks: int, priority: int, stored_bytes: int = 0
    ) -> None:
        if tasks:
            ways.add((origin, to))
        bring_in(self, origin, to, tasks, priority, stored_bytes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Queue, "move", noted_move)
        patch.setattr(Queue, "bring_in", noted_bring_in)
        yield ways
