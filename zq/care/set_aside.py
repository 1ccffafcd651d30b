"""What was set aside of a directory: the rows of its table `damaged`, with whatever can still be said of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from zq.core import tables
from zq.core.remains import id_and_size_of, queue_number_of
from zq.core.storage import Damage
from zq.store.draft import ReadRows


class DamagedRow(NamedTuple):
    """A row, or a part of a table, that was damaged.

    Attributes:
        damage: what the table `damaged` has.
        queue: name of the queue that it was of; empty where nobody knows.
        id: of the task or batch; empty where nobody knows.
        tasks: how many it may have held; None where nobody knows.
    """

    damage: Damage
    queue: str = ""
    id: str = ""
    tasks: int | None = None

    def __str__(self) -> str:
        damage = self.damage
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(damage.found_time))
        queue = f", of queue {self.queue}" if self.queue else ""
        held = "" if self.tasks is None else f", which may have held {self.tasks} tasks"
        named = f", id {self.id}" if self.id else ""
        return f"{damage}{queue}{named}{held}; {'put right' if damage.is_mended else 'set aside'} on {when}"

    def as_map(self) -> dict[str, Any]:
        """Returns it as a line of a file has it: bytes in hex."""
        damage = self.damage
        return {
            "table": damage.table, "key": damage.key.hex(), "stop": None if damage.stop is None else damage.stop.hex(),
            "stored": damage.stored.hex(), "why": damage.why, "time": damage.found_time, "is_part": damage.is_part,
            "is_mended": damage.is_mended, "queue": self.queue, "id": self.id, "tasks": self.tasks,
        }  # fmt: skip


def all_set_aside(rows: ReadRows) -> Iterator[DamagedRow]:
    """Yields all that was ever set aside of a directory, or put right."""
    for _, value in rows.scan(tables.DAMAGED, *tables.damaged_bounds()):
        damage = Damage(*tables.unpack(value))
        id_and_size = id_and_size_of(damage)
        id, size = ("", None) if id_and_size is None else id_and_size
        if damage.table == tables.INDEX and not damage.is_part:
            id = damage.key.decode(errors="replace")
        yield DamagedRow(damage, _queue_of(rows, damage), id, size)


def _queue_of(rows: ReadRows, damage: Damage) -> str:
    number = queue_number_of(damage)
    value = None if number is None else rows.get(tables.QUEUES, tables.queue_key(number))
    return "" if value is None else str(tables.unpack(value)[0])
