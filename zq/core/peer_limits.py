"""What one peer may have and do at a time: a connection, or a key where there are keys.

The defaults are far above what an honest program meets; they are there so that a broken or hostile one is refused, in
words, before anybody else notices it.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Limits of one peer; what goes beyond one is refused with its name.

    Attributes:
        waits: requests for outcomes that wait at a time.
        pulls: pulls that wait at a time.
        follows: watchers of events at a time.
        workers: names of workers that one connection may take.
        leases: tasks that it may hold at a time.
        queues: queues that it may make while it is connected.
        bindings: bindings that it may make while it is connected.
        schedules: schedules that it may make while it is connected.
        bytes_in: bytes of a message, or of messages not yet handled, before its connection is closed.
        bytes_out: bytes on their way to it, not known to have been read, above which it is sent nothing more.
        messages_per_second: messages a second, over some seconds.
        tasks_per_second: tasks a second that it may submit, over some seconds.
    """

    waits: int = 20_000
    pulls: int = 1_000
    follows: int = 100
    workers: int = 1_000
    leases: int = 100_000
    queues: int = 20_000
    bindings: int = 20_000
    schedules: int = 20_000
    bytes_in: int = 64 << 20
    bytes_out: int = 32 << 20
    messages_per_second: int = 50_000
    tasks_per_second: int = 5_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value < 1:
                raise ValueError(f"expected {field.name} of a peer as a whole number from 1, got {value!r}")
