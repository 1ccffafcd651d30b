"""Unique keys: which task of a queue holds a key. The row is written and deleted in the transaction in which its holder
begins and ends to hold it.

Invariant: a row of table `unique` names a task that waits, is scheduled, parked or leased; a task that is unique until
it has ended has its row as long as it lives.
"""

from __future__ import annotations

from zq.core import tables
from zq.core.state.batch import StoredBatch
from zq.core.state.queue import Queue
from zq.core.state.step import Step
from zq.wire.unique import Unique


def holder(step: Step, queue: Queue, unique: tuple[str, str, str]) -> str | None:
    """Returns the id of the task that has a key."""
    value = step.tx.get(tables.UNIQUE, tables.unique_key(queue.number, unique[0]))
    return None if value is None else value.decode()


def take(step: Step, batch: StoredBatch) -> bool:
    """Gives a task its key, unless another one has it."""
    unique = batch.options.unique
    assert unique is not None
    known = holder(step, batch.queue, unique)
    if known is None:
        step.tx.put(tables.UNIQUE, tables.unique_key(batch.queue.number, unique[0]), batch.own_id.encode())
    return known in (None, batch.own_id)


def free(step: Step, batch: StoredBatch) -> None:
    """Takes its key from a task, if it has it."""
    unique = batch.options.unique
    assert unique is not None
    if holder(step, batch.queue, unique) == batch.own_id:
        step.tx.delete(tables.UNIQUE, tables.unique_key(batch.queue.number, unique[0]))


def note_start(step: Step, batch: StoredBatch) -> None:
    """Takes its key from a task that has it only until it starts."""
    unique = batch.options.unique
    if unique is not None and Unique(*unique).until == "started":
        free(step, batch)
