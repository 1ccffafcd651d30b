"""Runs coroutine handlers in a child process: one event loop there, many tasks at once, and a worker whose heart beats
whatever they do.

As in `zq.worker.child_runner` (what both share is in `zq.worker.child_thread`), but the child also gets `cancelled`. In
the shared memory there is one place per task, and the first place holds when the loop last turned. When the child dies,
the tasks that ran are charged and the others run again; when a cancelled coroutine holds the loop, the child is killed,
since nothing else would end it.
"""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, BinaryIO

from zq.handling.raised import LOGGED_BYTES_MAX, trace_of
from zq.processes.birth import become_child, open_pipes, read_frames
from zq.processes.children import end_child
from zq.processes.exits import describe_exit
from zq.processes.logs import configure_log_as_parent
from zq.task import Task
from zq.wire.codec import decode_from_coordinator
from zq.wire.messages import Assign, Assignment, Cancelled, Done, Failed, Release, Settle, Span
from zq.wire.steering import WORKER_SIZE_MAX
from zq.worker.bench import IN_HAND_SECONDS
from zq.worker.child_start import CannotStartError, begin
from zq.worker.child_thread import (
    ENDED_WORN,
    GOES_ON,
    PLACE,
    ChildHost,
    ChildOptions,
    ChildThread,
    ChildVoice,
    falling_runs,
    part_of,
)
from zq.worker.handler_loop import HandlerLoop
from zq.worker.harvest import Report
from zq.worker.loop_runner import Coroutines
from zq.worker.runner import Chunk, Handler, new_ids

log = logging.getLogger(__name__)

STOP_GRACE = 5.0
"""Seconds for which a loop may stand still over a cancelled task before its process is killed."""

TURN_INTERVAL = 0.2
"""Seconds between two marks that the loop turns."""


# In the worker.


class _Hand:
    """The tasks of one lease that the child has."""

    __slots__ = ("assignment", "indexes", "sent_at")

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.indexes: set[int] = set()
        self.sent_at = 0.0


class CoroutineChildRunner(ChildThread):
    """Has a child process run coroutines: one thread feeds it, another reads what it says."""

    def __init__(self, host: ChildHost, options: ChildOptions, concurrency: int) -> None:
        """Makes a runner that is not started.

        Args:
            host: from whose bench it takes; the bench's `stir` becomes this runner's.
            options: as of `ChildThread`.
            concurrency: coroutines at once.
        """
        super().__init__(host, "zq-coroutines", options, __name__, WORKER_SIZE_MAX + 1)
        self._concurrency = self._places_seen = concurrency
        self._stirred = threading.Event()
        self._reader: threading.Thread | None = None
        self._hands: dict[int, _Hand] = {}  # guarded by _lock, as is _count
        self._count = 0  # tasks in `_hands`
        self._asked: dict[tuple[int, int], float] = {}  # tasks that were asked to stop, and when
        self._new_stops: list[Span] = []
        self._is_ended_by_us = False  # whether the child was killed because a task held its loop

    def start(self) -> None:
        self._bench.stir = self._stirred.set
        super().start()

    def resize(self, concurrency: int) -> None:
        """Runs another number of coroutines at once from now on; those that run are finished."""
        self._concurrency = concurrency
        self._places_seen = max(self._places_seen, concurrency)
        self._stirred.set()

    def running(self) -> list[tuple[int, int, float]]:
        # The child takes the first places, and so no more of them than it ever had tasks at once.
        page = self._page[PLACE.size : PLACE.size * (self._places_seen + 1)]
        return [place for place in PLACE.iter_unpack(page) if place[1] >= 0]

    def stuck(self, now: float) -> int:
        turned_at = PLACE.unpack_from(self._page)[2]
        if self._hands and 0 < turned_at < now - 2 * TURN_INTERVAL:
            return self._concurrency  # a handler holds the loop, and nothing starts
        return sum(now - since >= IN_HAND_SECONDS for _, _, since in self.running())

    def in_hand(self) -> list[Chunk]:
        with self._lock:
            return [
                Chunk(hand.assignment, lo, hi) for hand in self._hands.values() for lo, hi in falling_runs(hand.indexes)
            ]

    def fetch_back(self, now: float, after: float) -> list[Chunk]:  # noqa: ARG002 - the signature of all
        return []  # it takes no more than it starts

    # The worker reports the reason itself: the coroutine may take its time.
    def stop_task(self, token: int, index: int, reason: str | None) -> bool:  # noqa: ARG002
        self._new_stops.append(Span(token, index, index + 1))
        self._stirred.set()
        return False

    # The feeding thread.

    def _run(self) -> None:
        try:
            while not self._is_unwanted():
                process = self._reading_child()
                if process is not None:
                    self._fill(process)
                if self._is_unwanted():
                    return
                self._stirred.wait(1.0 if self._asked else None)
                self._stirred.clear()
                self._send_stops()
                self._kill_stuck()
        finally:
            self._end_child()
            if self._reader is not None:
                self._reader.join(2.0)
            self._file.close()

    def _is_unwanted(self) -> bool:
        return self._bench.is_closed and not self._count

    def _reading_child(self) -> subprocess.Popen[bytes] | None:
        """Returns the child, to which somebody listens; None when there need be none."""
        before = self._process
        if before is not None and before.poll() is not None:
            self._note_death(before)  # before the shared memory is cleared: its reader may not know yet
        process = self._live_child()
        if process is not None and process is not before:
            self._reader = threading.Thread(
                target=self._read, args=(process,), name="zq-coroutines-reader", daemon=True
            )
            self._reader.start()
        return process

    def _fill(self, process: subprocess.Popen[bytes]) -> None:
        """Hands over what there is room for; a child that is to be replaced gets nothing more, and goes when it has
        ended what it has.
        """
        while True:
            is_worn = self._is_worn or self._tasks_left <= 0
            if is_worn and not self._count:
                self._retire()
                self._stirred.set()
            room = 0 if is_worn else min(self._concurrency - self._count, self._tasks_left)
            chunk = self._bench.take_coroutines(room) if room > 0 else None
            if chunk is None or not self._hand_over(process, chunk):
                return

    def _hand_over(self, process: subprocess.Popen[bytes], chunk: Chunk) -> bool:
        """Gives a chunk to the child; False when that has died."""
        assignment, lo, hi = chunk
        gone = self._bench.revoked.get(assignment.token, ())
        indexes = [index for index in range(lo, hi) if index not in gone]
        with self._lock:
            is_there = self._process is process
            if is_there:
                hand = self._hands.setdefault(assignment.token, _Hand(assignment))
                hand.indexes.update(indexes)
                hand.sent_at = time.monotonic()
                self._count += len(indexes)
                self._tasks += len(indexes)
        if not is_there:
            self._put_back(assignment, indexes)
            return False
        for part_lo, part_hi in falling_runs(indexes):
            if not self._write(process, Assign((part_of(assignment, part_lo, part_hi),))):
                self._note_death(process)  # perhaps for the second time: the reader may have been before the hand-over
                return False
        return True

    def _send_stops(self) -> None:
        stops, self._new_stops = self._new_stops, []
        process = self._process
        if not stops or process is None:
            return
        now = time.monotonic()
        for span in stops:
            self._asked[span.token, span.lo] = now
        self._write(process, Cancelled(tuple(stops)))  # if it has died, its reader notes that

    def _kill_stuck(self) -> None:
        """Kills the child when a task that shall end holds its loop."""
        if not self._asked:
            return
        running = {(token, index) for token, index, _ in self.running()}
        self._asked = {task: at for task, at in self._asked.items() if task in running}
        now = time.monotonic()
        turned_at = PLACE.unpack_from(self._page)[2]
        if self._asked and min(self._asked.values()) < now - STOP_GRACE and turned_at < now - STOP_GRACE:
            log.warning("a cancelled coroutine holds its event loop; the child process is ended, and another started")
            self._is_ended_by_us = True
            self._kill_child()

    # The reading thread.

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        try:
            for message in self._answers(process):
                match message:
                    case Settle(number, _, done, failed):
                        self._is_worn = self._is_worn or number == ENDED_WORN
                        self._note_settle(done, failed)
                    case Release(_, _, spans):
                        self._take_hands([(span.token, range(span.lo, span.hi)) for span in spans])
                        self._stirred.set()
        except Exception as fault:  # ours; a child that nobody hears is of no use
            log.error(
                "the reports of a child process could not be taken; it is ended\n%s", trace_of(fault, LOGGED_BYTES_MAX)
            )
            process.kill()
        self._note_death(process)
        end_child(process)

    def _note_settle(self, done: tuple[Done, ...], failed: tuple[Failed, ...]) -> None:
        over: list[tuple[int, range]] = [(one.token, range(one.lo, one.hi)) for one in done]
        over += [(one.token, range(one.index, one.index + 1)) for one in failed]
        queue, tasks, seconds = self._take_hands(over)
        self.failures = 0
        report = Report(list(done), list(failed), tasks, seconds)
        if queue is not None:
            self._bench.measure(queue, report)
        self._host.report(report)
        self._stirred.set()

    def _take_hands(self, over: list[tuple[int, range]]) -> tuple[str | None, int, float]:
        """Takes tasks out of hand; returns their queue, how many there were, and the seconds that they took in all."""
        queue, tasks, seconds = None, 0, 0.0
        now = time.monotonic()
        with self._lock:
            for token, indexes in over:
                hand = self._hands.get(token)
                if hand is None:
                    continue
                queue = hand.assignment.queue
                count = len(hand.indexes)
                hand.indexes.difference_update(indexes)
                count -= len(hand.indexes)
                tasks += count
                seconds += count * (now - hand.sent_at)
                if not hand.indexes:
                    del self._hands[token]
            self._count -= tasks
        return queue, tasks, seconds

    def _note_death(self, process: subprocess.Popen[bytes]) -> None:
        """Charges the tasks that ran, and puts the others back, unless another child runs by now: then the feeding
        thread has done so, and what is in hand is that child's.
        """
        how = describe_exit(process.wait())
        with self._lock:
            if self._process is not process:
                return
            self._process = None
            hands, self._hands, self._count = self._hands, {}, 0
            running = {(token, index) for token, index, _ in self.running()}
            was_ended, self._is_ended_by_us = self._is_ended_by_us, False
        if self._is_killed:
            self._stirred.set()
            return
        failed = []
        for token, hand in hands.items():
            assignment = hand.assignment
            charged = [index for index in hand.indexes if (token, index) in running]
            failed += [
                Failed(token, assignment.id, index, f"the child process that ran it {how}", None, False)
                for index in charged
            ]
            self._put_back(assignment, hand.indexes.difference(charged))
        if failed:
            self.failures = 0
            if not was_ended:
                log.warning("child process %s with %d coroutines; it is started again", how, len(failed))
        elif hands:
            self._note_failure(CannotStartError(f"it {how} before it ran anything"))
        else:
            log.warning("child process %s while it had nothing to do; it is started again", how)
        if failed:
            self._host.report(Report([], failed, 0, 0.0))
        self._stirred.set()


# In the child.


class _Places:
    """Where it is noted what runs."""

    def __init__(self, page: mmap.mmap, places: int) -> None:
        self._page: mmap.mmap | bytearray = page
        self._free = list(range(places, 0, -1))
        self._taken: dict[tuple[int, int], int] = {}

    def note(self, token: int, index: int, since: float | None) -> None:
        if since is not None:
            place = self._taken[token, index] = self._free.pop()
            PLACE.pack_into(self._page, place * PLACE.size, token, index, since)
        else:
            place = self._taken.pop((token, index))
            PLACE.pack_into(self._page, place * PLACE.size, 0, -1, 0.0)
            self._free.append(place)

    def become_copy(self) -> None:
        """Notes nothing any more that the worker sees."""
        self._page = bytearray(self._page)

    def note_turn(self) -> None:
        PLACE.pack_into(self._page, 0, 0, 0, time.monotonic())
        asyncio.get_running_loop().call_later(TURN_INTERVAL, self.note_turn)


class _Child(ChildVoice):
    """The loop of a child process."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        places: _Places,
        pipes: tuple[BinaryIO, BinaryIO],
        memory_bytes_max: int,
    ) -> None:
        self._source, target = pipes
        super().__init__(target, memory_bytes_max)
        self._places = places
        ids = new_ids()
        self._loop = HandlerLoop()
        self._engine = Coroutines(handlers, self, ids, self._report, _nothing, self._loop.soon, self._places.note)
        self._stopped: set[tuple[int, int]] = set()

    def become_copy(self) -> None:
        super().become_copy()
        self._places.become_copy()

    def serve(self) -> None:
        """Runs until the input ends."""
        self._loop.run(self._begin, _end_process)

    def _begin(self) -> None:
        self._places.note_turn()
        threading.Thread(target=self._read, name="zq-coroutines-reader", daemon=True).start()

    # The owner of the tasks.

    def is_cancelled(self, task: Task) -> bool:
        return (task.token, task.index) in self._stopped

    # Messages.

    def _read(self) -> None:
        for frame in read_frames(self._source):
            self._loop.call(partial(self._receive, decode_from_coordinator(frame)))
        self._loop.call(self._loop.end)

    def _receive(self, message: Any) -> None:
        match message:
            case Assign(assignments):
                for part in assignments:
                    self._engine.begin(Chunk(part, part.lo, part.hi), {})
            case Cancelled(spans):
                for token, lo, hi in spans:
                    for index in range(lo, hi):
                        if self._engine.stop(token, index):
                            self._stopped.add((token, index))
            case _:
                raise AssertionError(f"the worker sent {type(message).__name__}")

    def _report(self, assignment: Assignment, indexes: list[int], report: Report) -> None:
        token = assignment.token
        told = {index for one in report.done for index in range(one.lo, one.hi)} | {one.index for one in report.failed}
        if told:
            number = ENDED_WORN if self.is_worn() else GOES_ON
            self.send(Settle(number, None, tuple(report.done), tuple(report.failed)))
        untold = tuple(Span(token, index, index + 1) for index in indexes if index not in told)
        if untold:
            self._stopped.difference_update((token, span.lo) for span in untold)
            self.send(Release(0, None, untold))


def _nothing() -> None:
    """The worker knows how much room there is, and sends what fits."""


def _end_process() -> None:
    """Ends this process by a fault of ours, which the log has: the worker finds in the shared memory what ran."""
    os._exit(1)


def main() -> None:
    """Runs coroutines for the worker until standard input ends."""
    prints, spec, descriptor, memory_bytes_max = become_child()
    pipes = open_pipes(prints)
    page = mmap.mmap(int(descriptor), PLACE.size * (WORKER_SIZE_MAX + 1))
    os.close(int(descriptor))
    handlers = begin(spec, pipes[1])
    configure_log_as_parent()
    _Child(handlers, _Places(page, WORKER_SIZE_MAX), pipes, int(memory_bytes_max)).serve()
