"""The calls of one `Executor.map` that share tasks as far as they are known to be short; how many, `zq.executor.sizes`
says.

Those that wait to be tasks are the program's own. They leave their list as tasks end, in the thread in which that is
heard of, so the one that maps waits for nothing but results.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from math import inf
from typing import Any

from zq.executor.batches import CallCarrier
from zq.executor.chunks import pack_chunk, unpack_results
from zq.executor.mapping import End, MapRun, halves, note_calls, raise_end
from zq.executor.remote_call import Callee
from zq.executor.sizes import WITHIN_SECONDS, Sizes
from zq.wire.batch import decode_payload

GATHER_PATIENCE = 2.0
"""Seconds after the last argument was read, after which no call waits for the ends of others, which say how long it may
take: processes may be starting, or a long call be among short ones.
"""

COMPACT_CALLS = 10_000
"""Arguments of calls that are gone, after which they leave their list."""


class GatheredRun(MapRun):
    """As many calls are a task as `Sizes` says; those that wait for it are no tasks yet.

    Any thread submits: the one that maps as long as it reads the arguments, then that of the engine, as tasks end.
    """

    def __init__(
        self, engine: CallCarrier, callee: Callee, iterables: tuple[Iterable[Any], ...], processes: int
    ) -> None:
        super().__init__(engine, callee)
        self._rows = zip(*iterables, strict=False)
        self._arguments: list[list[Any]] = [[] for _ in iterables]  # of calls that are no tasks; others may append
        self._enough: float = 1  # how many of them there must be for another task
        self._feeding = threading.RLock()  # guards what follows
        self._sizes = Sizes(processes)
        self._first = 0  # the place of the first call that is no task
        self._gone = 0  # of `_arguments`, those that are of tasks
        self._returned: list[tuple[int, list[list[Any]]]] = []  # calls that were given back, with the first's place
        self._under_way: dict[int, list[list[Any]]] = {}  # the arguments of tasks, by place
        self._is_all = False
        self._is_closed = False  # what is no task will be none
        self._aborted: Exception | None = None  # and ends so

    def submit(self, most: int | None = None) -> None:  # noqa: ARG002 - there is no buffer
        try:
            try:
                self._read()
            finally:
                self._end_reading()
        except Exception:
            raise  # of the arguments: those before are called
        except BaseException:  # of a signal handler, maybe in the midst of a step
            with self._feeding:
                self._forget_waiting()
            raise

    def _read(self) -> None:
        arguments = self._arguments
        last = arguments[-1]
        self._engine.hold(self)
        for row in self._rows:
            for column, value in zip(arguments, row, strict=True):
                column.append(value)
            if len(last) - self._gone >= self._enough:
                self._feed()
                self._engine.wait_room()

    def _end_reading(self) -> None:
        with self._feeding:
            self._is_all = True
            self._total = self._first + len(self._arguments[-1]) - self._gone
            self._feed()
            is_waiting = self._first < self._total
        if is_waiting:
            self._engine.call_later(GATHER_PATIENCE, self._give_up)

    def values(self, place: int, found: End) -> Iterator[Any]:  # noqa: ARG002 - it is known by its place
        if isinstance(found, Exception):
            raise_end(found)
        return unpack_results(self._callee, found, None)

    def close(self) -> None:
        with self._feeding:
            self._forget_waiting()
        super().close()

    def abort(self, error: Exception) -> None:
        """Ends the calls that are no tasks yet."""
        with self._feeding:
            places = [place for place, _ in self._returned]
            if self._first < (self._total or inf):
                places.append(self._first)
            self._forget_waiting()
            self._aborted = error
            for place in places:
                self._ends[place] = error
                self._wake(place)

    def _forget_waiting(self) -> None:
        self._is_closed = True
        self._returned.clear()
        for column in self._arguments:
            column.clear()
        self._gone = 0
        self._rows = zip()
        self._let_go()

    def _feed(self) -> None:
        """Makes tasks of as many calls as it is time for."""
        with self._feeding:
            while self._returned:
                place, columns = self._returned[0]
                size = self._sizes.next_size(len(columns[0]), len(self._under_way), is_all=True)
                if not size:
                    return
                self._returned[:1] = (
                    [(place + size, [column[size:] for column in columns])] if size < len(columns[0]) else []
                )
                self._send(place, [column[:size] for column in columns])
            last = self._arguments[-1]
            while True:
                waiting = len(last) - self._gone
                size = self._sizes.next_size(waiting, len(self._under_way), is_all=self._is_all)
                if size:
                    self._send(self._first, self._take_arguments(size))
                    continue
                self._enough = self._sizes.enough(len(self._under_way))  # before the look, for who appends meanwhile
                if len(last) - self._gone < self._enough:
                    break
            self._let_go()

    def _take_arguments(self, size: int) -> list[list[Any]]:
        lo, hi = self._gone, self._gone + size
        taken = [column[lo:hi] for column in self._arguments]
        self._gone = hi
        if hi >= COMPACT_CALLS and 2 * hi >= len(self._arguments[-1]):
            for column in self._arguments:
                del column[:hi]
            self._gone = 0
        return taken

    def _send(self, place: int, columns: list[list[Any]]) -> None:
        """Submits calls as one task; those that cannot be sent end here."""
        self._first = max(self._first, place + len(columns[0]))
        left = [(place, columns)]
        while left:
            place, columns = left.pop()
            try:
                payload = self._engine.pack(pack_chunk(self._callee, columns, WITHIN_SECONDS))
            except Exception as error:
                if len(columns[0]) == 1:
                    self._ends[place] = error
                    self._wake(place)
                else:
                    second, first = halves(columns)
                    left += [(place + len(first[0]), second), (place, first)]
                continue
            self._under_way[place] = columns
            self._submitted += 1
            try:
                self._engine.submit(self, place, payload, is_new=False)
            except BrokenExecutor as error:
                self.fail(place, error)

    def _give_up(self) -> None:
        """Calls have waited for long enough."""
        with self._feeding:
            self._sizes.give_up()
            self._feed()

    def _let_go(self) -> None:
        """The engine may end when no calls wait, nor may be given back."""
        waits = self._under_way or self._returned or len(self._arguments[-1]) > self._gone
        if self._is_closed or (self._is_all and not waits):
            self._engine.release(self)

    # As a `CallOwner`.

    def end(self, place: int, data: bytes) -> None:
        try:
            plain = decode_payload(data)
        except ValueError as error:
            self.fail(place, error)
            return
        with self._feeding:
            columns = self._under_way.pop(place, None)
            if columns is None:  # of a map that was interrupted
                return
            count, left, seconds = len(columns[0]), 0, 0.0
            match plain:
                case {"left": int(left), "seconds": float(seconds)}:
                    pass
            done = count - left
            self._sizes.note(done, left, seconds)
            if left and self._aborted is not None:
                self._ends[place + done] = self._aborted
                self._wake(place + done)
            elif left and not self._is_closed:
                self._returned.append((place + done, [column[done:] for column in columns]))
            if done:
                self._note(place, plain)
            else:
                self._told += 1
            self._feed()

    def fail(self, place: int, error: Exception) -> None:
        with self._feeding:
            columns = self._under_way.pop(place, None)
            if columns is None:  # of a map that was interrupted
                return
            note_calls(error, place, len(columns[0]))
            self._note(place, error)
            self._feed()
