"""How a coordinator behaves: every setting with its unit, default and the reason for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final, Literal, NamedTuple

from zq.core.peer_limits import PeerLimits
from zq.wire.limits import DELAY_MAX, PAYLOAD_BYTES_CEILING, PAYLOAD_BYTES_MAX
from zq.wire.retry import RetryPolicy

AssignPolicy = Literal["least-loaded", "hash"]

DEFAULT_RETRY = RetryPolicy.full_jitter(1.0, factor=2.0, largest=60.0)
"""What failed together must not come back together, and a minute is soon enough for what fails longer than that."""


class Now(NamedTuple):
    """One reading of both clocks, in seconds: `monotonic` for leases and liveness, `wall` (since 1970) for delays and
    retention.
    """

    monotonic: float
    wall: float


@dataclass(frozen=True, slots=True)
class CoordinatorOptions:
    """Settings of a coordinator; durations in seconds.

    Attributes:
        heartbeat_interval: how often workers ping. One second costs a thousand workers a thousand small messages a
            second.
        idle_beats_max: heartbeats a second, of all workers together, from which on those that have nothing in hand are
            told to beat less often, as far as `suspect_after` lets them be late by one interval.
        suspect_after: silence after which a worker gets no new tasks: three missed beats.
        gone_after: silence after which its leases are lost. A false death costs a second execution, so it is long.
        max_attempts: starts that may fail or be lost before a task is a dead letter, unless its submit says otherwise.
        retry: when a task that failed is tried again, unless its submit or its queue says otherwise.
        queue_tasks_max: unfinished tasks in one queue, from which on submits are refused as busy.
        payload_bytes_max: largest payload that is accepted.
        keep_seconds: how long outcomes, results and the ids of ended batches are kept.
        keep_count: how many ended batches are kept at most, if they are older than `keep_seconds_min`.
        keep_seconds_min: how long an ended batch is kept in any case, so that a submit that is sent again is
            recognised.
        assign: how workers are chosen in queues that say nothing else.
        queues_max: queues that there may be: each costs about a kilobyte of memory. What a handler forwards is stored
            in a new one all the same.
        bindings_max: bindings that there may be: all of them are in memory, about 50 MB.
        schedules_max: schedules that there may be: stored, and not in memory.
        peer_limits: what one peer may have and do at a time.
    """

    heartbeat_interval: float = 1.0
    idle_beats_max: int = 200
    suspect_after: float = 3.0
    gone_after: float = 15.0
    max_attempts: int = 5
    retry: RetryPolicy = DEFAULT_RETRY
    queue_tasks_max: int = 10_000_000
    payload_bytes_max: int = PAYLOAD_BYTES_MAX
    keep_seconds: float = 3600.0
    keep_count: int = 1_000_000
    keep_seconds_min: float = 120.0
    assign: AssignPolicy = "least-loaded"
    queues_max: int = 200_000
    bindings_max: int = 100_000
    schedules_max: int = 100_000
    peer_limits: PeerLimits = PeerLimits()  # noqa: RUF009 - frozen, so one for all is as good

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and type(value) is not int:
                raise TypeError(f"expected {field.name} as a whole number, got {value!r}")
            if field.type is float and type(value) not in (int, float):
                raise TypeError(f"expected {field.name} as a number, got {value!r}")
        if not 0 < self.heartbeat_interval <= self.suspect_after <= self.gone_after:
            raise ValueError(
                f"expected 0 < heartbeat_interval <= suspect_after <= gone_after, got "
                f"{self.heartbeat_interval}, {self.suspect_after}, {self.gone_after}"
            )
        if self.gone_after > DELAY_MAX:
            raise ValueError(f"gone_after must be at most {DELAY_MAX:.0f} seconds, got {self.gone_after}")
        for name in (
            "idle_beats_max", "max_attempts", "queue_tasks_max", "payload_bytes_max", "keep_count", "queues_max", "bindings_max",
            "schedules_max",
        ):  # fmt: skip
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.payload_bytes_max > PAYLOAD_BYTES_CEILING:
            raise ValueError(f"payload_bytes_max must be at most {PAYLOAD_BYTES_CEILING}, got {self.payload_bytes_max}")
        for name in ("keep_seconds", "keep_seconds_min"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number from 0, got {getattr(self, name)}")
        object.__setattr__(self, "retry", RetryPolicy.read(self.retry))  # it is frozen
        if self.assign not in ("least-loaded", "hash"):
            raise ValueError(f"assign must be least-loaded or hash, got {self.assign!r}")
        if not isinstance(self.peer_limits, PeerLimits):
            raise TypeError(f"expected peer_limits as PeerLimits, got {self.peer_limits!r}")

    def idle_interval(self, workers: int) -> float:
        """Returns the seconds between two beats of one of so many workers while it has nothing in hand, or 0 when it is
        to beat as always (protocol 3.6).
        """
        seconds = min(workers / self.idle_beats_max, self.suspect_after - self.heartbeat_interval)
        return seconds if seconds > self.heartbeat_interval else 0.0


class Calendar(NamedTuple):
    """What the shell knows about cron expressions and time zones; both take expression, zone and time (wall), and raise
    ValueError for what cannot be.
    """

    next_after: Callable[[str, str, float], float]  # the first time after that one
    last_until: Callable[[str, str, float], float]  # the last time that is not after it


def _no_cron(expression: str, zone: str, time: float) -> float:  # noqa: ARG001 - a Calendar's functions
    raise ValueError("this coordinator has no calendar, so it cannot do cron; every= works")


NO_CALENDAR: Final = Calendar(_no_cron, _no_cron)
