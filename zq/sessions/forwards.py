"""Tasks that a handler forwarded, gathered into the batches that travel with its completion."""

from dataclasses import dataclass, field
from typing import NamedTuple

from zq.wire.limits import BATCH_BYTES_MAX, BATCH_TASKS_MAX
from zq.wire.messages import DEFAULT_OPTIONS, Options

ALIKE_FROM = 8
"""Forwarded tasks from which on it is worth to see whether they are alike."""


class Forward(NamedTuple):
    """A task that a handler forwarded."""

    source: int  # index of the task that was handled
    queue: str
    options: Options
    payload: bytes


@dataclass(slots=True, eq=False)
class Gathered:
    """Forwarded tasks that become one batch."""

    queue: str
    options: Options
    payloads: list[bytes] = field(default_factory=list)
    size: int = 0


def gather_forwards(forwards: list[Forward]) -> list[Gathered]:
    """Gathers neighbours in a queue that have the same options, so that each queue gets its tasks in order."""
    if len(forwards) >= ALIKE_FROM and (alike := _gather_alike(forwards)) is not None:
        return [alike]
    found: list[Gathered] = []
    newest: dict[str, Gathered] = {}
    for _, queue, options, payload in forwards:
        batch = newest.get(queue)
        if (
            batch is None
            or not (options is batch.options is DEFAULT_OPTIONS or _continues(batch, options))
            or len(batch.payloads) == BATCH_TASKS_MAX
            or batch.size + len(payload) > BATCH_BYTES_MAX
        ):
            batch = newest[queue] = Gathered(queue, options)
            found.append(batch)
        batch.payloads.append(payload)
        batch.size += len(payload)
    return found


def _gather_alike(forwards: list[Forward]) -> Gathered | None:
    """Gathers tasks that all go to one queue without options, as those of a stage do, without a step for each; None if
    they are others, or too many for a batch.
    """
    _, queues, options, payloads = zip(*forwards, strict=True)
    count, size = len(queues), sum(map(len, payloads))
    if count > BATCH_TASKS_MAX or size > BATCH_BYTES_MAX:
        return None
    if queues.count(queues[0]) < count or options.count(DEFAULT_OPTIONS) < count:
        return None
    return Gathered(queues[0], DEFAULT_OPTIONS, list(payloads), size)


def _continues(batch: Gathered, options: Options) -> bool:
    """Whether a task with these options can be the next of a batch: of members, the last number of the path counts
    up.
    """
    if options.unique is not None:
        return False
    if batch.options is options and options.group is None:
        return True
    if options.group is None or batch.options.group is None:
        return batch.options == options
    *front, last = batch.options.group[1]
    expected = (batch.options.group[0], (*front, last + len(batch.payloads)))
    return batch.options._replace(group=expected) == options
