"""What one peer may have and do at a time: a connection, or a key where there are keys.

The defaults are far above what an honest program meets; they are there so that a broken or hostile one is refused, in
words, before anybody else notices it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Limits of one peer; what goes beyond one is refused with its name.

    Attributes:
        waits: requests for outcomes that wait at a time; the oldest goes for one more. A program that awaits 20,000
            results at once is one with a mistake; each costs half a kilobyte.
        pulls: pulls that wait at a time: more than a program has threads or coroutines to pull with.
        follows: watchers of events at a time: each event is compared with all watchers.
        workers: names of workers. A worker has a connection of its own, so only a key meets it: the largest fleet.
        leases: tasks that it may hold at a time: ten workers that want as much as one can, which is 100 ms of work at
            100,000 tasks a second each.
        queues: queues that it may make while it is known, and that are still there: a queue for each customer of a
            large shop, and half of what there may be at all (`CoordinatorOptions.queues_max`).
        bindings: bindings likewise: half of `CoordinatorOptions.bindings_max`.
        schedules: schedules likewise: half of `CoordinatorOptions.schedules_max`.
        bytes_in: bytes of a message, or of messages not yet handled, before its connection is closed.
        bytes_out: bytes on their way to it, not known to have been read, above which it is sent nothing more.
        messages_per_second: messages a second, over some seconds.
        tasks_per_second: tasks a second that it may submit, over some seconds.
    """

    waits: int = 50_000
    pulls: int = 1_000
    follows: int = 16
    workers: int = 1_000
    leases: int = 100_000
    queues: int = 100_000
    bindings: int = 50_000
    schedules: int = 50_000
    bytes_in: int = 64 << 20
    bytes_out: int = 32 << 20
    messages_per_second: int = 50_000
    tasks_per_second: int = 5_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"expected {field.name} of a peer as a whole number from 1, got {value!r}")

    @classmethod
    def parse(cls, text: str) -> PeerLimits:
        """Reads limits as a person writes them, `waits=5000,leases=100`; what is not named has its default, and so
        has all of `default`.

        Raises:
            ValueError: a name is none, or comes twice, or its value is no whole number from 1.
        """
        found: dict[str, int] = {}
        for part in (one.strip() for one in text.split(",") if one.strip() not in ("", "default")):
            name, _, value = (one.strip() for one in part.partition("="))
            if name not in cls.__dataclass_fields__:
                raise ValueError(f"expected limits of {', '.join(cls.__dataclass_fields__)}, got {name[:40]!r}")
            if name in found:
                raise ValueError(f"expected each limit once, got {name} twice")
            if not (value.isascii() and value.isdigit() and len(value) < 19):
                raise ValueError(f"expected {name} as a whole number from 1, got {value[:40]!r}")
            found[name] = int(value)
        return cls(**found)

    def as_map(self) -> dict[str, Any]:
        """Returns them by name, as the query `status` shows them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
