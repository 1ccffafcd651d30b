"""Reads the input of a run in a thread of its own, a little ahead, so that results are given out while the next item is
waited for.

It may be a generator that waits an hour between two items: those that came are sent on at once. What it raises ends the
input, and is raised to the caller after the results of all items before it. An input that is at hand, such as a list or
a range, needs no thread: its items are read when they are wanted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat, starmap
from typing import Any

LOOK_AFTER = 0.001
"""Seconds within which items must come to be read several at a time: somebody may wait for the next one."""

AHEAD_MAX = 2
"""Chunks that are read ahead of what is sent."""

_COLLECTIONS: tuple[Iterable[Any], ...] = (
    *([], (), "", b"", range(0), range(1 << 70), set(), deque()),
    *(dict[Any, Any](), dict[Any, Any]().values(), dict[Any, Any]().items()),
)

AT_HAND = frozenset(type(iter(one)) for one in _COLLECTIONS)
"""Iterators that wait for nothing and run nobody's code: what they give is read when it is wanted, by who wants it."""


class Feeder:
    """The input of a run. The methods belong to the caller's thread.

    Attributes:
        error: what the input raised, or None.
    """

    def __init__(self, items: Iterator[Any], wake: Callable[[], None]) -> None:
        """Makes a reader that has read nothing yet.

        Args:
            wake: called in the reader's thread after `ask`, when there is something.
        """
        self.error: BaseException | None = None
        self._items = items
        self._wake = wake
        self._buffer: deque[Any] = deque()
        self._limit = AHEAD_MAX
        self._room = threading.Event()
        self._is_asked = False
        self._is_over = False
        self._is_closed = False
        self._is_at_hand = type(items) in AT_HAND
        self._thread = threading.Thread(target=self._run, name="zq-source", daemon=True)

    @property
    def is_exhausted(self) -> bool:
        """Whether all items have been taken, and there are no more."""
        return self._is_over and not self._buffer

    def start(self) -> None:
        if not self._is_at_hand:
            self._thread.start()

    def take(self, size: int, *, is_hasty: bool) -> list[Any]:
        """Returns the next items: as many as asked for, or none; those that are there if it is hasty or there are no
        more.
        """
        if self._is_at_hand:
            return self._read(size)
        buffer = self._buffer
        self._limit = size * AHEAD_MAX
        if len(buffer) < size:
            self._room.set()
            if not is_hasty and not self._is_over:
                return []
        taken = list(starmap(buffer.popleft, repeat((), min(size, len(buffer)))))
        self._room.set()
        return taken

    def _read(self, size: int) -> list[Any]:
        """Returns the next items of an input that is at hand, fewer only when there are no more."""
        taken: list[Any] = []
        if not self._is_over:
            try:
                taken.extend(islice(self._items, size))
            except Exception as error:  # of a dict that has changed; what came before is taken
                self.error = error
            if len(taken) < size:
                self._is_over = True
                del self._items
        return taken

    def ask(self) -> bool:
        """Has `wake` called when there is something; returns whether there is already."""
        if self._is_at_hand:
            return True
        self._is_asked = True
        self._room.set()
        return bool(self._buffer) or self._is_over

    def close(self) -> None:
        """Reads no more. A thread that waits for the input ends when the input lets it."""
        self._is_closed = True
        self._room.set()

    def _run(self) -> None:
        buffer, add = self._buffer, self._buffer.append
        size = 1  # items between two looks; each is there for who takes it as soon as it has come
        looked_at = time.monotonic()
        try:
            for item in self._items:
                add(item)
                if size > 1:
                    buffer.extend(islice(self._items, size - 1))
                if self._is_asked:
                    self._is_asked = False
                    self._wake()
                if (room := self._limit - len(buffer)) <= 0:
                    self._wait_room()
                    room = 1
                if self._is_closed:
                    return
                now = time.monotonic()
                size = max(min(2 * size, room), 1) if now - looked_at < LOOK_AFTER else 1
                looked_at = now
        except BaseException as error:  # the caller's own thread raises it
            self.error = error
        finally:
            del self._items  # a generator is closed here and now
            self._is_over = True
            self._wake()

    def _wait_room(self) -> None:
        while len(self._buffer) >= self._limit and not self._is_closed:
            self._room.clear()
            if (
                len(self._buffer) >= self._limit and not self._is_closed
            ):  # it may have been set just before it was cleared
                self._room.wait()


def unsendable_input(first: int, count: int, error: Exception) -> TypeError:
    """Returns the error of a run whose input has what cannot travel.

    Args:
        first: number of the first of the items that were to be sent together.
        count: how many they are.
        error: what came of it.
    """
    return TypeError(
        f"an item of the input, number {first} or one of the {count - 1} after it, cannot be sent: {error}; "
        "items are what msgpack can hold: None, bool, int, float, str, bytes, list and dict"
    )
