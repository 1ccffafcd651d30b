"""Where the tasks in hand wait for a runner.

`Bench` is shared by the link's thread, which puts assignments on it, and the runners, which take chunks from it in the
order in which they came. It also measures how long tasks take, from which it knows the size of a chunk, how many tasks
the worker should hold, and what it holds too much of: that goes back to the coordinator, from the end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf

from zq.wire.limits import CREDIT_MAX
from zq.wire.messages import Assignment, Span
from zq.worker.harvest import Report, TaskSeconds
from zq.worker.runner import Chunk, bytes_of, is_run

CHUNK_SECONDS = 0.01
"""Work in one chunk: small enough that runners share a lease and reports are frequent, large enough that handing it
over costs nothing.
"""

IN_HAND_SECONDS = 0.1
"""Work that a worker asks to hold: fast tasks never wait for the coordinator, slow ones are not hoarded."""

SHED_SECONDS = 3 * IN_HAND_SECONDS
"""Work on the bench above which what exceeds IN_HAND_SECONDS goes back: means of few tasks waver, and each lease that
comes and goes is written to disk.
"""

SHED_INTERVAL = 0.05
"""Seconds between two counts of the work on the bench, when there may be too much of it."""

SHED_REST = 0.5
"""Seconds after something went back in which the credit does not grow: short tasks of one queue, or of coroutines,
would else bring long ones of another, again and again. Doubled each time until something ends.
"""

SHED_REST_MAX = 8.0
"""Seconds of the longest of these times; it is over as soon as a slot works again."""

CREDIT_GROWTH = 2.0
"""By which the credit grows at most from report to report: the first few tasks of a queue say little about the rest."""


CHUNK_TASKS_MAX = 1 << 30
"""No limit to a chunk but its own."""

SOME_CHUNKS_MAX = 256
SOME_BYTES_MAX = 1 << 20
"""Of chunks that are taken together, and payloads and headers before the last: for a child they have to fit a frame."""


class Bench:
    """The tasks in hand that have not started; any thread may use it."""

    def __init__(self, concurrency: int, coroutine_queues: frozenset[str] = frozenset(), coroutines: int = 0) -> None:
        """Makes an empty bench.

        Args:
            concurrency: tasks that all runners together run at once.
            coroutine_queues: whose tasks are for `take_coroutines`; all others are for `take_some`.
            coroutines: how many of `concurrency` are for coroutines.
        """
        self.concurrency = concurrency
        self.stir: Callable[[], None] = _nothing  # called when there is something new for `take_coroutines`
        self.rouse: Callable[[], None] = _nothing  # called when `is_stirred` may have become true
        self.is_alone = False  # whether one thread takes all that is on it, which may wait for it elsewhere
        self.revoked: dict[int, set[int]] = {}  # indexes by token that must not be started or reported
        self.credit = concurrency
        self._coroutine_queues = coroutine_queues
        self._coroutine_slots = coroutines
        self._waiting: deque[Chunk] = deque()
        self._coroutines: deque[Chunk] = deque()
        self._tasks = 0  # in `_waiting`
        self._coroutine_tasks = 0  # in `_coroutines`
        self._expiries: dict[int, float] = {}  # by token, of leases with a ttl of which something is here: monotonic
        self._leaving: list[Span] = []  # expired when their turn came, or put back when it was closed
        self._seconds = TaskSeconds()
        self._stuck = 0  # slots whose work takes longer than it should, when they were last counted
        self._shed_at = 0.0  # when the work was last counted
        self._credit_max = CREDIT_MAX
        self.rests_until = inf  # when that ends (monotonic); infinity: it has
        self._rest = SHED_REST  # the next
        self.is_closed = False
        self.is_draining = False  # what comes, and what is put back, leaves at once
        self.left: set[threading.Thread] = set()  # who was told to end, and has taken leave
        self._dismissed = 0  # how many of those that wait for plain functions are to end
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many tasks are on it."""
        return self._tasks + self._coroutine_tasks

    @property
    def is_stirred(self) -> bool:
        """Whether who waits elsewhere is to come back."""
        return bool(self._waiting) or self.is_closed or not self.is_alone or self._dismissed > 0

    def chunks(self) -> list[Chunk]:
        """Returns what is on it."""
        with self._changed:
            return [*self._waiting, *self._coroutines]

    def put(self, assignments: list[Assignment]) -> None:
        """Adds what the coordinator assigned; from a closed bench it leaves at once."""
        with self._changed:
            if self.is_draining or self.is_closed:
                self._leaving += [Span(one.token, one.lo, one.hi) for one in assignments]
                return
            for assignment in assignments:
                count = assignment.tasks
                chunk = Chunk(assignment, assignment.lo, assignment.lo + count)
                if assignment.options.ttl is not None:
                    self._expiries[assignment.token] = time.monotonic() + assignment.options.ttl
                if assignment.queue in self._coroutine_queues:
                    self._coroutines.append(chunk)
                    self._coroutine_tasks += count
                else:
                    self._waiting.append(chunk)
                    self._tasks += count
            self._changed.notify(len(assignments) if len(assignments) < self.concurrency else self.concurrency)
        self.rouse()
        if self._coroutines:
            self.stir()

    def put_back(self, chunk: Chunk) -> None:
        """Puts back, in front, what a runner did not run; from a closed bench it leaves at once, and so does the rest
        of a run: another runner would do it beside what is before it.
        """
        assignment, lo, hi = chunk
        if hi == lo:
            return
        with self._changed:
            if self.is_closed or self.is_draining or is_run(assignment):
                self._leaving.append(Span(assignment.token, lo, hi))
                return
            if assignment.queue not in self._coroutine_queues:
                self._waiting.appendleft(chunk)
                self._tasks += hi - lo
                self._changed.notify()
                self.rouse()
                return
            self._coroutines.appendleft(chunk)
            self._coroutine_tasks += hi - lo
        self.stir()

    def take_some(self, most: int = CHUNK_TASKS_MAX, wait: Callable[[], bool] | None = None) -> list[Chunk]:
        """Waits for work and returns at most so many tasks (above 0), about CHUNK_SECONDS of one queue, in one chunk or
        several small ones; none when the bench is closed, or the caller is to end.

        A lock, a report and a wake-up for each lease would cost more than short tasks in small batches. With `wait`,
        which returns whether it could, the caller waits there until `is_stirred`, and not here.
        """
        while True:
            if wait is not None and not self._waiting and not wait():
                wait = None
            with self._changed:
                if self._wait(sleeps=wait is None):
                    return self._take_some(most)
                if self.is_closed or wait is None or threading.current_thread() in self.left:
                    return []

    def _take_some(self, most: int) -> list[Chunk]:
        waiting = self._waiting
        if len(waiting) == 1 and waiting[0].hi - waiting[0].lo == 1 and not self._expiries:
            self._tasks -= 1
            return [waiting.popleft()]
        queue = waiting[0].assignment.queue
        room = min(most, self._chunk_size(queue))
        chunks = [self._pop(most if is_run(waiting[0].assignment) else room)]
        room -= chunks[0].hi - chunks[0].lo
        size = bytes_of(chunks[0].assignment)
        while waiting and waiting[0].assignment.queue == queue and waiting[0].hi - waiting[0].lo <= room:
            if self._expiries and waiting[0].assignment.token in self._expiries:
                break  # it is looked at when its turn comes
            if size >= SOME_BYTES_MAX or len(chunks) == SOME_CHUNKS_MAX:
                break
            chunks.append(self._pop(room))
            room -= chunks[-1].hi - chunks[-1].lo
            size += bytes_of(chunks[-1].assignment)
        return chunks

    def _wait(self, *, sleeps: bool) -> bool:
        """Waits for something that may be run, and lets go what has expired; False when the bench is closed, the caller
        is to end, or, if it does not sleep, there is nothing.
        """
        while not self.is_closed:
            if self._dismissed:
                self._dismissed -= 1
                self.left.add(threading.current_thread())
                return False
            if not self._waiting:
                if not sleeps:
                    return False
                self._changed.wait()
            elif self._expiries and self._drops_expired(self._waiting[0]):
                chunk = self._waiting.popleft()
                self._tasks -= chunk.hi - chunk.lo
            else:
                return True
        return False

    def _pop(self, most: int) -> Chunk:
        """Takes the first tasks that wait, at most so many, and leaves the rest of their lease in front for another
        runner; that of a run leaves.
        """
        assignment, lo, hi = self._waiting.popleft()
        if self._expiries and assignment.token in self._expiries:
            most = 1  # so that each is looked at when its turn comes
            if hi - lo == 1:
                del self._expiries[assignment.token]
        if hi - lo > most and is_run(assignment):
            self._leaving.append(Span(assignment.token, lo + most, hi))
            self._tasks -= hi - lo - most
            hi = lo + most
        elif hi - lo > most:
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
                self._coroutine_tasks -= hi - lo
                if self._expiries and self._drops_expired(chunk):
                    continue
                if hi - lo > tasks_max:
                    self._coroutines.appendleft(Chunk(assignment, lo + tasks_max, hi))
                    self._coroutine_tasks += hi - lo - tasks_max
                    hi = lo + tasks_max
                elif self._expiries:
                    self._expiries.pop(assignment.token, None)
                return Chunk(assignment, lo, hi)
            return None

    def take_leaving(self) -> list[Span]:
        """Returns what is to be given back: what has not been started within its ttl, which it takes off the bench, and
        what was put back after the bench was closed.
        """
        if not self._expiries and not self._leaving:
            return []
        with self._changed:
            if self._expiries:
                self._waiting = deque(chunk for chunk in self._waiting if not self._drops_expired(chunk))
                self._coroutines = deque(chunk for chunk in self._coroutines if not self._drops_expired(chunk))
                self._count()
            leaving, self._leaving = self._leaving, []
            return leaving

    def _count(self) -> None:
        self._tasks = sum(chunk.hi - chunk.lo for chunk in self._waiting)
        self._coroutine_tasks = sum(chunk.hi - chunk.lo for chunk in self._coroutines)

    def shed(self, now: float, stuck: int, stuck_coroutines: int, running: int) -> list[Span]:
        """Takes off the bench, from its end, what would not be started soon, and lowers the credit to what is left; it
        is to be given back, for whoever is idle.

        A slot that is stuck serves nobody, however short tasks were before: when all are, everything leaves.

        Args:
            now: monotonic seconds.
            stuck: slots of plain functions whose work has taken longer than IN_HAND_SECONDS.
            stuck_coroutines: the same of coroutines.
            running: tasks that run.
        """
        if stuck + stuck_coroutines < self._stuck and self.rests_until < inf:
            self.rests_until = now
        self._stuck = stuck + stuck_coroutines
        plain, coroutines = self.concurrency - self._coroutine_slots, self._coroutine_slots
        if not self._is_much(self._tasks, plain - stuck) and not self._is_much(
            self._coroutine_tasks, coroutines - stuck_coroutines
        ):
            return []
        if now < self._shed_at and self._stuck < self.concurrency:
            return []
        self._shed_at = now + SHED_INTERVAL
        with self._changed:
            left = self._shed_line(self._waiting, plain - stuck)
            left += self._shed_line(self._coroutines, coroutines - stuck_coroutines)
            if left:
                self._count()
                self._limit_credit(now, running)
                tokens = {chunk.assignment.token for chunk in self.chunks()}
                for token in [token for token in self._expiries if token not in tokens]:
                    del self._expiries[token]
            return left

    def _limit_credit(self, now: float, running: int) -> None:
        """Sets the credit to what stays. Slots that are free while others are stuck must not bring more for those; but
        when tasks run in all of them, nothing comes, and the next report may ask for more at once.
        """
        most = self.waiting + (running if self._stuck else self.concurrency)
        self.credit = min(self.credit, most)
        if self._stuck < self.concurrency or most < self.concurrency:  # no report may come: children may be starting
            self._credit_max, self.rests_until = most, now + self._rest
            self._rest = min(2 * self._rest, SHED_REST_MAX)

    def rest_is_over(self, now: float) -> bool:
        """Whether the credit may grow again from now on, and is to be told."""
        if now < self.rests_until:  # also when it is infinite
            return False
        self._credit_max, self.rests_until = CREDIT_MAX, inf
        self.credit = max(self.credit, self.concurrency)
        return True

    def _is_much(self, tasks: int, flowing: int) -> bool:
        """Whether so many tasks may be too much for the slots that are not stuck: a look at no task at all."""
        if tasks <= flowing:
            return False
        return flowing <= 0 or tasks * max(self._seconds.values(), default=0.0) > SHED_SECONDS * flowing

    def _shed_line(self, waiting: deque[Chunk], flowing: int) -> list[Span]:
        """Cuts what waits to IN_HAND_SECONDS of work, or a task for each slot, if it is more than SHED_SECONDS."""
        seconds = self._seconds
        work = sum((hi - lo) * seconds.get(assignment.queue, 0.0) for assignment, lo, hi in waiting)
        if flowing > 0 and work <= SHED_SECONDS * flowing:
            return []
        chunks = list(waiting)
        waiting.clear()
        room, slots = IN_HAND_SECONDS * flowing, flowing
        left: list[Span] = []
        for assignment, lo, hi in chunks:
            each = max(seconds.get(assignment.queue, 0.0), 1e-7)
            kept = min(max(int(room / each), slots), hi - lo)
            if kept:
                waiting.append(Chunk(assignment, lo, lo + kept))
            if kept < hi - lo:
                left.append(Span(assignment.token, lo + kept, hi))
                room, slots = 0.0, 0  # what would be served behind it leaves before it does
            else:
                room, slots = room - each * kept, max(0, slots - kept)
        return left

    def _drops_expired(self, chunk: Chunk) -> bool:
        """Whether a chunk has expired; if so it is noted for `take_leaving`, and the caller lets it go."""
        token = chunk.assignment.token
        if self._expiries.get(token, inf) > time.monotonic():
            return False
        self._leaving.append(Span(token, chunk.lo, chunk.hi))
        del self._expiries[token]
        return True

    def _chunk_size(self, queue: str) -> int:
        seconds = self._seconds.get(queue)
        if seconds is None:
            return 1
        fair = -(-self._tasks // max(1, self.concurrency - self._coroutine_slots))
        return max(1, min(int(CHUNK_SECONDS / max(seconds, 1e-7)), fair))

    def measure(self, queue: str, report: Report, *, is_first: bool = False) -> None:
        """Learns from a report how long tasks take (see `TaskSeconds.learn`), and sets the credit accordingly."""
        if not report.tasks:
            return
        with self._changed:
            self._rest = SHED_REST
            average = self._seconds.learn(queue, report.seconds / report.tasks, is_first=is_first)
            if average is not None:
                wanted = self._stuck + IN_HAND_SECONDS * (self.concurrency - self._stuck) / max(average, 1e-7)
                wanted = max(self.concurrency, min(wanted, self.credit * CREDIT_GROWTH))
                self.credit = int(min(wanted, self._credit_max))

    def revoke(self, spans: list[Span]) -> None:
        """Notes tasks that are no longer this worker's."""
        with self._changed:
            for token, lo, hi in spans:
                self.revoked.setdefault(token, set()).update(range(lo, hi))

    def all_revoked(self) -> set[tuple[int, int]]:
        """Returns token and index of all that must not be started or reported."""
        with self._changed:
            return {(token, index) for token, indexes in self.revoked.items() for index in indexes}

    def forget_revoked(self, tokens: set[int]) -> None:
        """Forgets revoked tasks of leases other than these, which are those still in hand or running."""
        with self._changed:
            for token in [token for token in self.revoked if token not in tokens]:
                del self.revoked[token]

    def clear(self) -> list[Span]:
        """Takes everything off the bench and returns it: it is to be given back."""
        with self._changed:
            chunks = self.chunks()
            self._waiting.clear()
            self._coroutines.clear()
            self._tasks = self._coroutine_tasks = 0
            self._expiries.clear()
        return [Span(chunk.assignment.token, chunk.lo, chunk.hi) for chunk in chunks]

    def drain(self) -> list[Span]:
        """Takes everything off the bench, and returns it; what comes or is put back leaves, until `resume`."""
        with self._changed:
            self.is_draining = True
        return self.clear()

    def resume(self) -> None:
        """Keeps again what comes."""
        with self._changed:
            self.is_draining = False

    def resize(self, concurrency: int, coroutines: int) -> None:
        """Is for another number of tasks at once from now on; as of the constructor."""
        with self._changed:
            self.concurrency, self._coroutine_slots = concurrency, coroutines
            self.credit = concurrency
        self.rouse()

    def dismiss(self, count: int) -> None:
        """Has so many of those that `take_some` end, as soon as they are free."""
        with self._changed:
            self._dismissed += count
            self._changed.notify_all()
            self.rouse()

    def keep(self, count: int) -> int:
        """Has so many more of those that `take_some` stay, of those that were to end; returns how many are missing."""
        with self._changed:
            kept = min(count, self._dismissed)
            self._dismissed -= kept
            return count - kept

    def close(self) -> list[Span]:
        """Ends all `take_some`, and returns what was never started."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
        left = self.clear()
        self.rouse()
        self.stir()
        return left


def _nothing() -> None:
    """Nobody takes coroutines."""
