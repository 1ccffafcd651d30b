"""How a thread waits for a reply that comes on the thread of a link."""

from __future__ import annotations

import threading
import time
from typing import Any

from zq.client.calls import Calls, Steps
from zq.errors import TimedOutError
from zq.sessions.outcomes import FOREVER

GRACE = 2.0
"""Seconds after its deadline at which a caller stops waiting for a link that does not end the call itself."""


class Waiter:
    """A reply for which a thread waits: a lock that is open once it is there, a fifth of the cost of a future."""

    __slots__ = ("_error", "_lock", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def resolve(self, value: Any) -> None:
        self.value = value
        self._lock.release()

    def reject(self, error: Exception) -> None:
        self._error = error
        self._lock.release()

    def wait(self, deadline: float) -> Any:
        """Returns the value or raises the error.

        Raises:
            TimedOutError: neither came, even though the session should have seen to it.
        """
        if deadline == FOREVER:
            self._lock.acquire()
        else:
            timeout = min(max(deadline - time.monotonic(), 0.0) + GRACE, threading.TIMEOUT_MAX)
            if not self._lock.acquire(timeout=timeout):
                raise TimedOutError("no answer came in time, and the connection's thread is stuck")
        if self._error is not None:
            raise self._error
        return self.value


def drive(calls: Calls, steps: Steps) -> Any:
    """Drives a call in the caller's thread."""
    try:
        ask = next(steps)
        while True:
            waiter = Waiter()
            try:
                ask.start(waiter)
                value = waiter.wait(ask.deadline)
            except Exception as error:
                calls.abandon(ask, waiter)
                ask = steps.throw(error)
            except BaseException:
                # KeyboardInterrupt and its kin: the call ends, but what it asked for is not left lying about
                calls.abandon(ask, waiter)
                raise
            else:
                ask = steps.send(value)
    except StopIteration as stop:
        return stop.value
