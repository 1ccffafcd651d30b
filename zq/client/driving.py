"""How a call is carried out: what it yields, what carries it, and the way that blocks. `zq.client.awaiting` has the one
that awaits.

A `Call` is a generator of `Ask`. It yields what to start; the driver starts it, waits in its own way until that has
ended, and sends back how. So every call is written once, and no driver knows the protocol.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar

from zq.errors import RemoteProtocolError, TimedOutError
from zq.sessions.client import ClientSession
from zq.sessions.outcomes import FOREVER, Reply

T = TypeVar("T")
P = ParamSpec("P")

GRACE = 2.0
"""Seconds after its deadline at which a caller stops waiting for a link that does not end the call itself."""

INTERRUPTED_SECONDS = 1.0
"""Between two looks, in a wait without end, whether a signal has come: one that comes just before a thread begins to
wait does not wake it.
"""


class Connection(Protocol):
    """What carries a session to its coordinator: a `zq.sockets.link.Link`, or its double in memory."""

    @property
    def address(self) -> str: ...

    @property
    def is_over(self) -> bool: ...

    def call(self, function: Callable[[], None]) -> None: ...

    def close(self, timeout: float = 5.0) -> None: ...


class Medium(NamedTuple):
    """What calls go through, when it is not a socket."""

    connect: Callable[[ClientSession], Connection]
    clock: Callable[[], float]  # monotonic seconds
    prefix: str  # of ids; unlike that of any other client of the coordinator


class Ask(NamedTuple):
    """One thing to wait for."""

    start: Callable[[Reply], None]  # starts it; from the caller's thread
    deadline: float  # monotonic seconds at which the session ends it
    give_up: Callable[[Reply], None] | None = None  # nobody waits any more; on the link's thread. None: it just ends
    carry: Callable[[Reply], bool] | None = None  # does all of it in the caller's thread, or returns False


Call: TypeAlias = Generator[Ask, Any, T]
"""A call that returns a T. What it gets back for an `Ask` is whatever the session resolves that with."""

Abandon: TypeAlias = Callable[[Ask, Reply], None]
"""What is told when nobody waits for the reply of an ask any more: `Calls.abandon`."""


def understood(call: Callable[P, Call[T]]) -> Callable[P, Call[T]]:
    """Has a call that makes something of an answer say so when it cannot: an answer is a stranger's.

    What it raises before it asks is the caller's mistake, and stays as it is.
    """

    @functools.wraps(call)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Call[T]:
        made = call(*args, **kwargs)
        try:
            ask = next(made)
        except StopIteration as stop:  # there was nothing to ask
            result: T = stop.value
            return result
        try:
            return (yield from _resumed(made, ask))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise RemoteProtocolError("malformed", f"an answer cannot be understood: {error!r:.200}") from error

    return checked


def _resumed(call: Call[T], ask: Ask) -> Call[T]:
    """Goes on with a call that has begun."""
    try:
        while True:
            try:
                answer = yield ask
            except Exception as error:
                ask = call.throw(error)
            else:
                ask = call.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        call.close()


class Driver(Protocol):
    """Carries calls out in the thread that calls it."""

    def __call__(self, call: Call[T], /) -> T: ...


class AsyncDriver(Protocol):
    """Carries calls out in the event loop in which they are awaited."""

    def __call__(self, call: Call[T], /) -> Coroutine[Any, Any, T]: ...


class Waiter:
    """A reply for which a thread waits: a lock that is open once it is there, a fifth of the cost of a future."""

    __slots__ = ("_lock", "error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def resolve(self, value: Any) -> None:
        self.value = value
        self._lock.release()

    def reject(self, error: Exception) -> None:
        self.error = error
        self._lock.release()

    def wait(self, deadline: float) -> Any:
        """Returns the value or raises the error.

        Raises:
            TimedOutError: neither came, even though the session should have seen to it.
        """
        if deadline == FOREVER:
            while not self._lock.acquire(timeout=INTERRUPTED_SECONDS):
                pass
        else:
            timeout = min(max(deadline - time.monotonic(), 0.0) + GRACE, threading.TIMEOUT_MAX)
            if not self._lock.acquire(timeout=timeout):
                raise TimedOutError("no answer came in time, and the connection's thread is stuck")
        if self.error is not None:
            raise self.error
        return self.value


class Blocking:
    """Carries calls out in the thread that calls it, which waits; a `Driver`. Any thread may use it."""

    __slots__ = ("_abandon",)

    def __init__(self, abandon: Abandon) -> None:
        self._abandon = abandon

    def __call__(self, call: Call[T], /) -> T:
        try:
            ask = next(call)
            while True:
                waiter = Waiter()
                try:
                    if ask.carry is None or not ask.carry(waiter):
                        ask.start(waiter)
                    answer = waiter.wait(ask.deadline)
                except Exception as error:
                    if waiter.error is None:  # else the session has ended it, and knows nothing of it any more
                        self._abandon(ask, waiter)
                    ask = call.throw(error)
                except BaseException:
                    # KeyboardInterrupt and its kin: the call ends, but what it asked for is not left lying about
                    self._abandon(ask, waiter)
                    raise
                else:
                    ask = call.send(answer)
        except StopIteration as stop:
            result: T = stop.value
            return result
