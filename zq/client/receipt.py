"""What a submit returns, and what is known of a task."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar, overload

from zq.client.calls import Calls, Steps, result_of
from zq.client.flow import Entry
from zq.task import task_id

R = TypeVar("R")
S = TypeVar("S")


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


_STATUS_FIELDS = frozenset(field.name for field in fields(TaskStatus)) - {"timeline"}


def status_of(id: str, value: dict[str, Any]) -> TaskStatus:
    """Makes a status of the answer to the query `task`; fields of a later protocol are left out."""
    known = {name: value[name] for name in _STATUS_FIELDS if name in value}
    return TaskStatus(**{"id": id, "state": "unknown", **known, "timeline": events_of(value.get("timeline") or ())})


def events_of(rows: Iterable[dict[str, Any]]) -> tuple[TaskEvent, ...]:
    """Makes a timeline of what the coordinator said."""
    return tuple(TaskEvent(row["time"], row["event"], row.get("detail") or {}) for row in rows)


class ReceiptBase:
    """The durable answer to the submit of one task; what its faces share."""

    __slots__ = ("_calls", "_entry", "_index", "_run")

    def __init__(self, calls: Calls, run: Callable[[Steps], Any], entry: Entry, index: int) -> None:
        self._calls = calls
        self._run = run  # drives a call: blocks, or returns an awaitable
        self._entry = entry
        self._index = index

    @property
    def id(self) -> str:
        """The task's id."""
        outcome = self._entry.outcome
        return task_id(outcome.id, outcome.size, self._index)

    @property
    def position(self) -> int:
        """Its place among the waiting tasks of its queue when it was accepted, from 1."""
        return self._entry.position + self._index

    @property
    def eta(self) -> float | None:
        """Seconds from then until it is likely to be finished; None when no rate was known yet."""
        return self._entry.eta

    @property
    def is_duplicate(self) -> bool:
        """True when nothing was stored, because another task has the unique key: this is that one's receipt."""
        return self._entry.is_duplicate

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}, position {self.position}>"


class Receipt(ReceiptBase):
    """The durable answer to the submit of one task; any thread may use it while its client is open."""

    __slots__ = ()

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the task to end; returns what its handler returned.

        The first receipt of a batch that is asked waits for the whole batch, so that asking one after the other is
        cheap.

        Args:
            timeout: seconds; None waits as long as it takes.

        Raises:
            TaskFailedError, TaskCancelledError, TaskExpiredError, TaskUnknownError: it did not end as done.
            TimedOutError: it has not ended in time.
            ClosedError: the client was closed.
        """
        outcome = self._entry.outcome
        ended = outcome.get(self._index)
        if ended is not None:
            return result_of(outcome, self._index, ended)
        return self._run(self._calls.result(outcome, self._index, timeout))

    def progress(self, timeout: float | None = None) -> Iterator[float]:
        """Yields how far the handler is, 0.0 to 1.0, whenever it has reported; ends when the task has ended.

        Reports that come faster than they are taken are skipped, and a worker passes on at most ten a second. What was
        reported before anybody waited for the task is not told.

        Args:
            timeout: seconds to wait for each report; None waits as long as it takes.

        Raises:
            TimedOutError: nothing was reported in time.
            ClosedError: the client was closed.
        """
        seen = -1.0
        while (told := self._run(self._calls.progress(self._entry.outcome, self._index, seen, timeout))) is not None:
            seen = told
            yield seen

    def status(self) -> TaskStatus:
        """Returns what the coordinator knows of the task; raises as `Client.status`."""
        return status_of(self.id, self._run(self._calls.query("task", {"id": self.id})))

    def cancel(self) -> bool:
        """Cancels the task; returns False when it had ended already. Raises as `Client.cancel`."""
        return bool(self._run(self._calls.cancel(self.id)))


class Receipts(Sequence[R], Generic[R]):
    """The receipts of a submit_many, in the order of its payloads; each is made when it is looked at."""

    def __init__(self, make: Callable[[Entry, int], R], entries: list[Entry]) -> None:
        """Makes a view of the entries, one per batch; `make` makes the receipt of an index."""
        self._make = make
        self._entries = entries
        self._starts: list[int] = []  # of each batch: how many receipts come before it
        self._length = 0
        for entry in entries:
            self._starts.append(self._length)
            self._length += entry.outcome.size

    def each(self, make: Callable[[R], S]) -> Receipts[S]:
        """Returns the same receipts, each as `make` makes it of what is here."""
        return Receipts(lambda entry, index: make(self._make(entry, index)), self._entries)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> R: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[R]: ...

    def __getitem__(self, place: int | slice) -> R | Sequence[R]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._length))]
        if place < 0:
            place += self._length
        if not 0 <= place < self._length:
            raise IndexError(f"expected a place below {self._length}")
        at = bisect_right(self._starts, place) - 1
        return self._make(self._entries[at], place - self._starts[at])

    def __iter__(self) -> Iterator[R]:
        for entry in self._entries:
            for index in range(entry.outcome.size):
                yield self._make(entry, index)

    def __repr__(self) -> str:
        return f"<Receipts of {self._length} tasks>"
