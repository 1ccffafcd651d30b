"""What a worker says of itself, and how it is steered from afar: parts of the protocol that no task depends on.

A worker says `About` after each welcome and whenever something of it changes; by that the coordinator knows, too, that
it understands `Steer`, and that it wants to hear what becomes of the failures that it reports.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeGuard

HOST_CHARS_MAX: Final = 255
"""Of the name of a machine."""

TROUBLE_CHARS_MAX: Final = 1000
"""Of why a worker cannot work: the end of a traceback."""

WORKER_SIZE_MAX: Final = 1000
"""Threads, coroutines or child processes that a worker may be told to have: what `zq.Worker` takes."""

SteerAction = Literal["drain", "stop", "resume", "resize"]

STEER_ACTIONS: Final[tuple[SteerAction, ...]] = ("drain", "stop", "resume", "resize")
"""What a worker can be told: to finish what runs and take no more, but stay; to do so and end; to take tasks again; to
have another number of threads or child processes.
"""


class About(NamedTuple):
    """What a worker says of itself."""

    host: str
    pid: int
    processes: int  # child processes that run plain functions; 0: threads do
    concurrency: int  # tasks that it runs at once, as in Hello
    is_draining: bool  # it takes no more, since somebody has said so
    trouble: str | None  # why it cannot work at the moment: its children cannot start
    takes_runs: bool = False  # it keeps to the order of several ordered tasks of one lease (protocol 3.5)
    takes_intervals: bool = False  # it beats less often when it is told so and has nothing in hand (protocol 3.6)


class Steer(NamedTuple):
    """Tells a worker what to do, once; what came of it is in its next About."""

    action: SteerAction
    size: int | None  # of a resize


class NextTry(NamedTuple):
    """What became of a failure that was reported."""

    token: int
    index: int  # type: ignore[assignment]  # as in Failed
    attempts_max: int  # after which it is not tried again
    delay: float | None  # seconds until it is; None: it has ended


def is_steer_action(text: object) -> TypeGuard[SteerAction]:
    """Whether a worker can be told this."""
    return text in STEER_ACTIONS
