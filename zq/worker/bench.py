"""Where the tasks in hand wait for a runner.

`Bench` is shared by the link's thread, which puts assignments on it, and the runners, which take chunks from it in the
order in which they came. It also measures how long tasks take, from which it knows the size of a chunk and how many
tasks the worker should hold.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf

from zq.wire.limits import CREDIT_MAX
from zq.wire.messages import Assignment, Span
from zq.worker.harvest import Report
from zq.worker.runner import Chunk

CHUNK_SECONDS = 0.01
"""Work in one chunk: small enough that runners share a lease and reports are frequent, large enough that handing it
over costs nothing.
"""

IN_HAND_SECONDS = 0.1
"""Work that a worker asks to hold: fast tasks never wait for the coordinator, slow ones are not hoarded."""

CREDIT_GROWTH = 2.0
"""By which the credit grows at most from report to report: the first few tasks of a queue say little about the rest."""

WEIGHT = 0.3
"""Of the newest report in the average seconds per task."""


CHUNK_TASKS_MAX = 1 << 30
"""No limit to a chunk but its own."""


class Bench:
    """The tasks in hand that have not started; any thread may use it."""

    def __init__(self, concurrency: int, coroutine_queues: frozenset[str] = frozenset()) -> None:
        """Makes an empty bench.

        Args:
            concurrency: tasks that all runners together run at once.
            coroutine_queues: whose tasks are for `take_coroutines`; all others are for `take`.
        """
        self.concurrency = concurrency
        self.stir: Callable[[], None] = _nothing  # called when there is something new for `take_coroutines`
        self.revoked: dict[int, set[int]] = {}  # indexes by token that must not be started or reported
        self.credit = concurrency
        self._coroutine_queues = coroutine_queues
        self._waiting: deque[Chunk] = deque()
        self._coroutines: deque[Chunk] = deque()
        self._tasks = 0  # in `_waiting`
        self._expiries: dict[int, float] = {}  # by token, of leases with a ttl of which something is here: monotonic
        self._expired: list[Span] = []  # found to be expired when their turn came
        self._seconds: dict[str, float] = {}  # average per task, by queue
        self.is_closed = False
        self._changed = threading.Condition()

    def put(self, assignments: list[Assignment]) -> None:
        """Adds what the coordinator assigned."""
        with self._changed:
            for assignment in assignments:
                count = assignment.tasks
                chunk = Chunk(assignment, assignment.lo, assignment.lo + count)
                if assignment.options.ttl is not None:
                    self._expiries[assignment.token] = time.monotonic() + assignment.options.ttl
                if assignment.queue in self._coroutine_queues:
                    self._coroutines.append(chunk)
                else:
                    self._waiting.append(chunk)
                    self._tasks += count
            self._changed.notify(len(assignments) if len(assignments) < self.concurrency else self.concurrency)
        if self._coroutines:
            self.stir()

    def put_back(self, chunk: Chunk) -> None:
        """Puts back, in front, what a runner could not run."""
        if chunk.assignment.queue in self._coroutine_queues:
            self._coroutines.appendleft(chunk)
            self.stir()
        elif chunk.hi > chunk.lo:
            with self._changed:
                self._waiting.appendleft(chunk)
                self._tasks += chunk.hi - chunk.lo
                self._changed.notify()

    def take(self, most: int = CHUNK_TASKS_MAX) -> Chunk | None:
        """Waits for a chunk of at most so many tasks (above 0) and returns it; None when the bench is closed."""
        with self._changed:
            if not self._wait():
                return None
            return self._pop(min(most, self._chunk_size(self._waiting[0].assignment.queue)))

    def take_some(self) -> list[Chunk]:
        """Waits for work and returns as much of it as `take`, which may be several small chunks of one queue; none when
        the bench is closed.

        A lock, a report and a wake-up for each lease would cost more than short tasks in small batches.
        """
        with self._changed:
            if not self._wait():
                return []
            waiting = self._waiting
            queue = waiting[0].assignment.queue
            room = self._chunk_size(queue)
            chunks = [self._pop(room)]
            room -= chunks[0].hi - chunks[0].lo
            while waiting and waiting[0].assignment.queue == queue and waiting[0].hi - waiting[0].lo <= room:
                if self._expiries and waiting[0].assignment.token in self._expiries:
                    break  # it is looked at when its turn comes
                chunks.append(self._pop(room))
                room -= chunks[-1].hi - chunks[-1].lo
            return chunks

    def _wait(self) -> bool:
        """Waits for something that may be run, and lets go what has expired; False when the bench is closed."""
        while not self.is_closed:
            if not self._waiting:
                self._changed.wait()
            elif self._expiries and self._drops_expired(self._waiting[0]):
                chunk = self._waiting.popleft()
                self._tasks -= chunk.hi - chunk.lo
            else:
                return True
        return False

    def _pop(self, most: int) -> Chunk:
        """Takes the first tasks that wait, at most so many, and leaves the rest of their lease in front for another
        runner.
        """
        assignment, lo, hi = self._waiting.popleft()
        if self._expiries and assignment.token in self._expiries:
            most = 1  # so that each is looked at when its turn comes
            if hi - lo == 1:
                del self._expiries[assignment.token]
        if hi - lo > most:
            self._waiting.appendleft(Chunk(assignment, lo + most, hi))
            hi = lo + most
            self._changed.notify()
        self._tasks -= hi - lo
        return Chunk(assignment, lo, hi)

    def take_coroutines(self, tasks_max: int) -> Chunk | None:
        """Returns, without waiting, a chunk of at most so many tasks (above 0) of coroutine handlers; None when there
        is none.
        """
        with self._changed:
            while not self.is_closed and self._coroutines:
                chunk = assignment, lo, hi = self._coroutines.popleft()
                if self._expiries and self._drops_expired(chunk):
                    continue
                if hi - lo > tasks_max:
                    self._coroutines.appendleft(Chunk(assignment, lo + tasks_max, hi))
                    hi = lo + tasks_max
                elif self._expiries:
                    self._expiries.pop(assignment.token, None)
                return Chunk(assignment, lo, hi)
            return None

    def take_expired(self) -> list[Span]:
        """Returns what has not been started within its ttl, and takes it off the bench; it is to be given back."""
        if not self._expiries and not self._expired:
            return []
        with self._changed:
            for chunks in (self._waiting, self._coroutines):
                kept = [chunk for chunk in chunks if not self._drops_expired(chunk)]
                if len(kept) < len(chunks):
                    chunks.clear()
                    chunks.extend(kept)
            self._tasks = sum(chunk.hi - chunk.lo for chunk in self._waiting)
            expired, self._expired = self._expired, []
            return expired

    def _drops_expired(self, chunk: Chunk) -> bool:
        """Whether a chunk has expired; if so it is noted for `take_expired`, and the caller lets it go."""
        token = chunk.assignment.token
        if self._expiries.get(token, inf) > time.monotonic():
            return False
        self._expired.append(Span(token, chunk.lo, chunk.hi))
        del self._expiries[token]
        return True

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

    def clear(self) -> list[Span]:
        """Takes everything off the bench and returns it: it is to be given back."""
        with self._changed:
            chunks = [*self._waiting, *self._coroutines]
            self._waiting.clear()
            self._coroutines.clear()
            self._tasks = 0
            self._expiries.clear()
        return [Span(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in chunks]

    def close(self) -> list[Span]:
        """Ends all `take`, and returns what was never started."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
        left = self.clear()
        self.stir()
        return left


def _nothing() -> None:
    """Nobody takes coroutines."""
