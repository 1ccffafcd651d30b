"""What a submit returns: the receipt of a task, and those of many."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from zq.client.calls import Calls, D, Face
from zq.client.driving import AsyncDriver, Driver
from zq.client.flow import Entry
from zq.sessions.ends import result_of
from zq.sessions.outcomes import BatchOutcome
from zq.submit_options import check_id
from zq.task import task_id
from zq.wire.limits import BATCH_TASKS_MAX, TASK_SEPARATOR

if TYPE_CHECKING:  # loaded when it is asked for
    from zq.client.insight import TaskStatus

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


def outcome_of(id: str) -> tuple[BatchOutcome, int]:
    """Returns what is to be known of a task that only its id is known of, and its index.

    Raises:
        TypeError, ValueError: it cannot be the id of a task.
    """
    batch_id, separator, index = id.partition(TASK_SEPARATOR) if isinstance(id, str) else (id, "", "")
    check_id(batch_id)
    if not separator:
        return BatchOutcome(batch_id, 1, 0, 1), 0
    if not (index.isascii() and index.isdigit() and int(index) < BATCH_TASKS_MAX):
        raise ValueError(f"expected the id of a task, got {id!r}")
    return BatchOutcome(batch_id, BATCH_TASKS_MAX, int(index), 1), int(index)


class ReceiptBase(Face[D]):
    """The durable answer to the submit of one task; what its faces share."""

    __slots__ = ("_entry", "_index")

    def __init__(self, calls: Calls, run: D, entry: Entry, index: int) -> None:
        self._calls = calls  # not by the constructor of Face: there are as many of these as of tasks
        self._run = run
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

    def into(self, kind: Callable[Concatenate[Calls, D, Entry, int, P], S], *args: P.args, **kwargs: P.kwargs) -> S:
        """Returns another kind of receipt of the same task, made with what else that one takes."""
        return kind(self._calls, self._run, self._entry, self._index, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}, position {self.position}>"


class Receipt(ReceiptBase[Driver]):
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
        seen, outcome = -1.0, self._entry.outcome
        while (told := self._run(self._calls.progress(outcome, self._index, seen, timeout))) is not None:
            seen = told
            yield seen

    def status(self) -> TaskStatus:
        """Returns what the coordinator knows of the task; raises as `Client.status`."""
        from zq.client import insight

        return self._run(insight.status(self._calls, self.id))

    def cancel(self) -> bool:
        """Cancels the task; returns False when it had ended already. Raises as `Client.cancel`."""
        return bool(self._run(self._calls.cancel(self.id)))


class AsyncReceipt(ReceiptBase[AsyncDriver]):
    """The durable answer to the submit of one task, awaited; as `Receipt`."""

    __slots__ = ()

    async def result(self, timeout: float | None = None) -> Any:
        """As `Receipt.result`."""
        outcome = self._entry.outcome
        ended = outcome.get(self._index)
        if ended is not None:
            return result_of(outcome, self._index, ended)
        return await self._run(self._calls.result(outcome, self._index, timeout))

    async def progress(self, timeout: float | None = None) -> AsyncIterator[float]:
        """As `Receipt.progress`."""
        seen, outcome = -1.0, self._entry.outcome
        while (told := await self._run(self._calls.progress(outcome, self._index, seen, timeout))) is not None:
            seen = told
            yield seen

    async def status(self) -> TaskStatus:
        """As `Receipt.status`."""
        from zq.client import insight

        return await self._run(insight.status(self._calls, self.id))

    async def cancel(self) -> bool:
        """As `Receipt.cancel`."""
        return bool(await self._run(self._calls.cancel(self.id)))


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
