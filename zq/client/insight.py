"""What is known of a task, as a client is told, and how answers are made into values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from zq.client.calls import Calls
from zq.client.driving import Call, understood


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


V = TypeVar("V", bound=_Dataclass)


def value_of(kind: type[V], row: Mapping[str, Any]) -> V:
    """Makes a value of a row of an answer, by name: fields of a later protocol are left out, and what the row does not
    have is what the class says.
    """
    known = kind.__dataclass_fields__
    return kind(**{name: _frozen(value) for name, value in row.items() if name in known})


def values_of(kind: type[V], rows: Iterable[Mapping[str, Any]]) -> list[V]:
    return [value_of(kind, row) for row in rows]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Something that happened to a task: accepted, assigned, lost, retried ... (docs/semantics.md, Insight)."""

    time: float  # wall, seconds since 1970
    event: str
    detail: dict[str, Any]  # worker, token, reason ..., as the event has them


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What the coordinator knows of a task; None where it knows nothing. Times are wall, in seconds since 1970."""

    id: str
    state: str  # "waiting", "scheduled", "leased", "done", "cancelled", "expired", "dead" or "unknown"
    queue: str | None = None
    priority: int | None = None
    key: str | None = None
    on_lost: str | None = None
    attempts: int | None = None  # starts that failed or were lost
    failures: int | None = None  # of these, the ones that failed
    worker: str | None = None
    token: int | None = None
    progress: float | None = None
    reason: str | None = None
    accepted_time: float | None = None
    due_time: float | None = None
    finished_time: float | None = None
    position: int | None = None
    timeline: tuple[TaskEvent, ...] = ()  # what happened beside its plain way; `Client.trace` has all of it


@dataclass(frozen=True, slots=True)
class TimeHistogram:
    """How long something took, of many tasks.

    Attributes:
        count: of tasks.
        sum: seconds of all of them together.
        buckets: numbers of tasks that took at most the seconds in `zq.TIME_BOUNDS`, each without those of the buckets
            before; the last one, which has no bound, of those above.
    """

    count: int
    sum: float
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FailureRow:
    """An attempt that failed or was lost. Times are wall, in seconds since 1970."""

    time: float
    queue: str
    id: str
    attempt: int  # that it was, from 1
    worker: str | None  # at which
    error: str  # its first line, at most 200 characters
    next_time: float | None  # when it is tried again; None: never
    is_dead: bool  # whether it was the last attempt


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What happened in a step of time, in all queues or in one."""

    time: float  # at which the step began; wall, seconds since 1970
    accepted: int  # tasks that were new
    done: int  # tasks that ended so, as `expired` and `cancelled`
    failed: int  # attempts
    dead: int  # tasks that became dead letters
    expired: int
    cancelled: int
    retried: int  # attempts that were followed by another
    lost: int  # tasks that were with a worker or pull that was gone
    waiting: int  # tasks at the end of the step, as `scheduled` and `leased`
    scheduled: int
    leased: int
    commits: int  # of the coordinator; 0 for a queue
    wait: TimeHistogram | None  # of the step, as in `QueueStatus`; None: of nothing
    run: TimeHistogram | None


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A way that tasks took, since the coordinator was started."""

    origin: str  # the queue of the task that forwarded, of the members of a group, of the dead; or "topic:NAME"
    target: str  # the queue to which they came
    tasks: int
    last_time: float  # when the last of them came; wall, seconds since 1970


@dataclass(frozen=True, slots=True)
class DeadReason:
    """What the reasons of some dead letters of a queue have in common. Times are wall, in seconds since 1970."""

    queue: str
    reason: str  # the first line of them, with # in the place of ids and numbers, at most 120 characters
    count: int
    oldest_time: float  # when the first of them became one
    newest_time: float


HistoryStep = Literal[10, 300]
"""Seconds of a step: of 10 there is an hour, of 300 a week."""


@dataclass(frozen=True, slots=True)
class Reason:
    """The reason why a task does not run at the moment, or that it does, or how it ended.

    Attributes:
        id: of the task.
        code: one of docs/semantics.md, Insight, such as "not-due", "key-held" or "no-worker"; for programs.
        text: the same in a sentence, for people.
        details: what it rests on, by name; which names there are depends on the code. Times are wall, in seconds since
            1970.
    """

    id: str
    code: str
    text: str
    details: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.id}: {self.text}"


@understood
def status(calls: Calls, id: str) -> Call[TaskStatus]:
    """Asks what is known of a task."""
    row = yield from calls.query("task", {"id": id})
    return status_of({"id": id, "state": "unknown", **row})


def status_of(row: Mapping[str, Any]) -> TaskStatus:
    """Makes a status of a row of the queries `task` and `tasks`."""
    return value_of(TaskStatus, {**row, "timeline": _events_of(row.get("timeline") or ())})


@understood
def why(calls: Calls, id: str) -> Call[Reason]:
    """Asks why a task does not run."""
    row = yield from calls.query("why", {"id": id})
    return Reason(id, row["code"], row["text"], row["details"])


def history_row(row: Mapping[str, Any]) -> HistoryRow:
    """Makes a row of the history of a row of the answer."""
    return value_of(HistoryRow, {**row, "wait": histogram_of(row["wait"]), "run": histogram_of(row["run"])})


def histogram_of(row: Mapping[str, Any] | None) -> TimeHistogram | None:
    """Makes a histogram of a map of an answer; None of none."""
    return None if row is None else value_of(TimeHistogram, row)


@understood
def trace(calls: Calls, id: str) -> Call[tuple[TaskEvent, ...]]:
    """Asks for everything that has happened to a task."""
    return _events_of((yield from calls.query("trace", {"id": id})))


def _events_of(rows: Iterable[Mapping[str, Any]]) -> tuple[TaskEvent, ...]:
    return tuple(TaskEvent(row["time"], row["event"], row.get("detail") or {}) for row in rows)
