"""What a coordinator may use of the machine that it runs on."""

from __future__ import annotations

from dataclasses import dataclass

from zq.processes import descriptors
from zq.processes.machine import machine_bytes, processors

SPARE_DESCRIPTORS = 64
"""For files of the store, looks at connections, and what the program beside opens."""

LEAD_DESCRIPTORS = 512
"""What may come in faster than it is turned away: ZeroMQ accepts in a thread of its own, by TCP until no descriptor is
left, by `ipc://` a batch at a time (`zq.server.gate`). About 20 ms of the fastest that a peer can do.
"""

WAITING_BYTES = 1 << 30
"""What may wait for all connections together, where nothing limits the memory."""


BUSY_POLL = 0.0005
"""Seconds that a message may be away for which a thread does not sleep: from an answer to the next request of the same
client, or from a task to the worker's report.
"""

BUSY_POLL_MAX = 0.01


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What a coordinator's process may use.

    Attributes:
        connections_max: how many connections it may have at a time; None: what the descriptors allow that the process
            may have and has not, less an eighth and 64 of them, or half where they are few.
        memory_max: bytes of its own memory above which it ends, with everything on disk; pages of the store's file do
            not count. From three quarters of it on, connections end that pile up most. None: no limit, the memory is
            the program's; above three eighths of the machine's, connections end that pile up more than a message.
        busy_poll: seconds for which it looks for the next message before it sleeps, while messages come that soon
            (0 to 0.01). It saves about a fifth of the time of a lone task, for up to half as much of a processor
            again. 0: it never does; for a coordinator inside of a program, whose threads would wait for it.
    """

    connections_max: int | None = None
    memory_max: int | None = None
    busy_poll: float = 0.0

    def __post_init__(self) -> None:
        for name in ("connections_max", "memory_max"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"expected {name} as a whole number from 1, or None, got {value!r}")
        if not 0 <= self.busy_poll <= BUSY_POLL_MAX:
            raise ValueError(f"expected busy_poll as seconds from 0 to {BUSY_POLL_MAX}, got {self.busy_poll!r}")

    @property
    def bytes_waiting_max(self) -> int:
        """Bytes that may wait for all connections together until they read."""
        return WAITING_BYTES if self.memory_max is None else self.memory_max // 4

    def connections(self) -> int:
        """Returns how many connections there may be, in this process as it is now."""
        if self.connections_max is not None:
            return self.connections_max
        free = _free_descriptors()
        return max(free - _lead(free), 1)


def batch_max() -> int:
    """Returns how many may come in at once by `ipc://` when there are as many connections as there may be: half of the
    descriptors that are kept for that, as the program beside may open some, too.
    """
    return max(_lead(_free_descriptors()) // 2 - 1, 1)


def _free_descriptors() -> int:
    return max(descriptors.limit() - descriptors.used() - SPARE_DESCRIPTORS, 0)


def _lead(free: int) -> int:
    return max(free // 8, min(free // 2, LEAD_DESCRIPTORS))


def half_of_memory() -> int:
    """Returns half of the memory of this machine, or of its container, in bytes: for a process that is a coordinator
    and nothing else.
    """
    return machine_bytes() // 2


def busy_poll_seconds() -> float:
    """Returns for how long a process that is a coordinator and nothing else looks for the next message before it
    sleeps: where it would take the only processor from its clients, not at all.
    """
    return BUSY_POLL if processors() >= 2 else 0.0
