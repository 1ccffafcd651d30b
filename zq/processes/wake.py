"""How a thread waits: what wakes one in a poller from another thread, and one that sleeps from a signal handler, and
when it is better not to sleep at all.

A `Wake` is here, and not beside the sockets of ZeroMQ, because it is none: two ends of a pipe of this process, which
the coordinator's loop, the link of clients and workers, and the patterns have in their pollers alike. What all of them
may import is this room.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Wake:
    """A bell: any thread rings it, and one thread has it in its poller, where it stays readable until it is cleared.

    A pair of sockets and not a pipe: who rings a bell that is closed gets an error, and never writes into a file that
    has got its number since.
    """

    __slots__ = ("_reader", "_writer")

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Returns the descriptor for the poller; -1 when it is closed."""
        return self._reader.fileno()

    def ring(self) -> None:
        """Makes it readable; from any thread and from signal handlers, also when it is closed."""
        try:
            self._writer.send(b"\0")
        except OSError:  # it rings loud enough already, or nobody listens any more
            pass

    def clear(self) -> None:
        """Makes it wait for what comes next; in the thread that polls it."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:  # something else woke the thread
            pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class SignalFlag:
    """What the handler of a signal sets, and the thread that is interrupted by it waits for.

    An `Event` would not do: it has a lock, which that thread holds for moments while it waits, and for which the
    handler would wait in `set` for ever.
    """

    __slots__ = ("_sleep", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._sleep = threading.Lock()
        self._sleep.acquire()

    def set(self) -> None:
        """Sets it, and ends the sleep; as often as you like."""
        self.is_set = True
        with suppress(RuntimeError):  # it was released before
            self._sleep.release()

    def wait(self, seconds: float) -> bool:
        """Sleeps until it is set, so long at most; in one thread at a time. Returns whether it is."""
        return self.is_set or self._sleep.acquire(timeout=seconds) or self.is_set


class BusyPoll:
    """Waits in a poller, and looks again and again for a moment before it sleeps, while that pays.

    A thread that has slept is woken by another processor, and finds its own asleep and its caches cold: for a message
    that comes 0.2 ms after the one before, that takes as long as all that is done about it. So when something came
    that soon, the next wait does not sleep that long; when nothing comes meanwhile, it does, until something comes soon
    again. Whoever else wants the processor has it between two looks.
    """

    __slots__ = ("_clock", "_is_worth_it", "_seconds", "_yield")

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        give_way: Callable[[], object] = os.sched_yield,
    ) -> None:
        """Looks for so many seconds at most; 0: it always sleeps."""
        self._seconds = seconds
        self._clock = clock
        self._yield = give_way
        self._is_worth_it = False

    def wait(self, poll: Callable[[int], list[Any]], patience: int) -> list[Any]:
        """Returns what a poller finds ready within so many milliseconds, at least one."""
        if not self._seconds or not patience:
            return poll(patience)
        clock = self._clock
        until = clock() + min(self._seconds, patience / 1000)
        if self._is_worth_it:
            while not (ready := poll(0)) and clock() < until:
                self._yield()
            if ready:
                return ready
        ready = poll(patience)
        self._is_worth_it = bool(ready) and clock() <= until
        return ready
