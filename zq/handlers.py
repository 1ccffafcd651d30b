"""Where the tasks in hand wait for a runner, and the threads that run them.

`Bench` is shared by the link's thread, which puts assignments on it, and the runners, which take chunks from it in the order in which they came. It also measures
how long tasks take, from which it knows the size of a chunk and how many tasks the worker should hold.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from zq.chunks import Chunk, Handler, Report, Runner, Slot
from zq.core.ids import IdMaker
from zq.task import TaskOwner
from zq.wire.limits import CREDIT_MAX
from zq.wire.messages import Assignment, Span

CHUNK_SECONDS = 0.01
"""Work in one chunk: small enough that runners share a lease and reports are frequent, large enough that handing it over costs nothing."""

IN_HAND_SECONDS = 0.1
"""Work that a worker asks to hold: fast tasks never wait for the coordinator, slow ones are not hoarded."""

CREDIT_GROWTH = 2.0
"""By which the credit grows at most from report to report: the first few tasks of a queue say little about the rest."""

WEIGHT = 0.3
"""Of the newest report in the average seconds per task."""


class Bench:
    """The tasks in hand that have not started; any thread may use it."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.revoked: dict[int, set[int]] = {}  # indexes by token that must not be started or reported
        self.credit = concurrency
        self._waiting: deque[Chunk] = deque()
        self._tasks = 0  # in `_waiting`
        self._seconds: dict[str, float] = {}  # average per task, by queue
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, assignments: list[Assignment]) -> None:
        """Adds what the coordinator assigned."""
        with self._changed:
            for assignment in assignments:
                count = len(assignment.ends) >> 2
                self._waiting.append(Chunk(assignment, assignment.lo, assignment.lo + count))
                self._tasks += count
            self._changed.notify(len(assignments) if len(assignments) < self.concurrency else self.concurrency)

    def put_back(self, chunk: Chunk) -> None:
        """Puts back, in front, what a runner could not run."""
        if chunk.hi > chunk.lo:
            with self._changed:
                self._waiting.appendleft(chunk)
                self._tasks += chunk.hi - chunk.lo
                self._changed.notify()

    def take(self) -> Chunk | None:
        """Waits for a chunk and returns it; None when the bench is closed."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._changed.wait()
            if self._is_closed:
                return None
            assignment, lo, hi = self._waiting.popleft()
            size = self._chunk_size(assignment.queue)
            if hi - lo > size:
                self._waiting.appendleft(Chunk(assignment, lo + size, hi))
                hi = lo + size
                self._changed.notify()
            self._tasks -= hi - lo
            return Chunk(assignment, lo, hi)

    def _chunk_size(self, queue: str) -> int:
        seconds = self._seconds.get(queue)
        if seconds is None:
            return 1
        fair = -(-self._tasks // self.concurrency)
        return max(1, min(int(CHUNK_SECONDS / max(seconds, 1e-7)), fair))

    def measure(self, queue: str, report: Report) -> None:
        """Learns from a report how long tasks take, and sets the credit accordingly."""
        if not report.tasks:
            return
        seconds = report.seconds / report.tasks
        with self._changed:
            known = self._seconds.get(queue)
            average = seconds if known is None else known + WEIGHT * (seconds - known)
            self._seconds[queue] = average
            wanted = IN_HAND_SECONDS * self.concurrency / max(average, 1e-7)
            most = min(self.credit * CREDIT_GROWTH, CREDIT_MAX)
            self.credit = max(self.concurrency, int(min(wanted, most)))

    def revoke(self, spans: list[Span]) -> None:
        """Notes tasks that are no longer this worker's."""
        with self._changed:
            for token, lo, hi in spans:
                self.revoked.setdefault(token, set()).update(range(lo, hi))

    def forget_revoked(self, tokens: set[int]) -> None:
        """Forgets revoked tasks of leases other than these, which are those still in hand or running."""
        with self._changed:
            for token in [token for token in self.revoked if token not in tokens]:
                del self.revoked[token]

    def close(self) -> list[Span]:
        """Ends all `take`, and returns what was never started."""
        with self._changed:
            self._is_closed = True
            left = [Span(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in self._waiting]
            self._waiting.clear()
            self._tasks = 0
            self._changed.notify_all()
            return left

    @property
    def tokens(self) -> set[int]:
        """The leases of which something waits here."""
        with self._changed:
            return {chunk.assignment.token for chunk in self._waiting}

    @property
    def is_closed(self) -> bool:
        return self._is_closed


class RunnerThread(Protocol):
    """A thread that takes chunks from a bench; it ends when the bench is closed and its chunk is done."""

    slot: Slot

    def start(self) -> None: ...

    def stop_task(self, token: int, index: int, reason: str | None) -> bool:
        """Stops the running task if it can, and returns whether it did; `reason` is the failure to report, None reports nothing."""

    def join(self, timeout: float) -> None: ...

    def kill(self) -> None:
        """Ends it at once if it can."""


class ThreadRunner:
    """Runs handlers in a thread of this process. Python cannot stop a thread: a task that is taken away runs on, and its end is ignored."""

    def __init__(
        self,
        bench: Bench,
        handlers: Mapping[str, Handler],
        owner: TaskOwner,
        ids: IdMaker,
        report: Callable[[Report], None],
    ) -> None:
        self.slot = Slot()
        self._bench = bench
        self._report = report
        self._runner = Runner(handlers, owner, ids, self.slot)
        self._thread = threading.Thread(target=self._run, name="zq-handler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop_task(self, token: int, index: int, reason: str | None) -> bool:  # noqa: ARG002 - the protocol's signature
        return False

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def kill(self) -> None:
        """Cannot be done; the thread is a daemon and ends with the process."""

    def _run(self) -> None:
        bench = self._bench
        while (chunk := bench.take()) is not None:
            queue = chunk.assignment.queue

            def report(done: Report, queue: str = queue) -> None:
                bench.measure(queue, done)
                self._report(done)

            self._runner.run(chunk, bench.revoked, report)
