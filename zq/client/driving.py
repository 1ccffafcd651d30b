"""How a call is carried out: what it yields, what carries it, and the way that blocks. `zq.client.awaiting` has the one
that awaits.

A `Call` is a generator of `Ask`. It yields what to start; the driver starts it, waits in its own way until that has
ended, and sends back how. So every call is written once, and no driver knows the protocol.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Generator
from functools import partial, wraps
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeAlias, TypeVar

from zq.errors import RemoteProtocolError, TimedOutError
from zq.sessions.client import ClientSession
from zq.sessions.exchanges import SubmitExchange
from zq.sessions.outcomes import FOREVER, BatchOutcome, Reply
from zq.sessions.submits import Single
from zq.sockets.caller_link import CallerLink
from zq.sockets.crowd import Crowd
from zq.submit_options import SubmitOptions, check_queue, make_options
from zq.wire.batch import pack_payload
from zq.wire.messages import DEFAULT_OPTIONS, Accepted, Batch

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

Submitted: TypeAlias = tuple[BatchOutcome, int, Accepted]
"""What is known of one task that was accepted: the outcome of its batch, its index there, and the answer."""

Abandon: TypeAlias = Callable[[Ask, Reply], None]
"""What is told when nobody waits for the reply of an ask any more: `Calls.abandon`."""


def understood(call: Callable[P, Call[T]]) -> Callable[P, Call[T]]:
    """Has a call that makes something of an answer say so when it cannot: an answer is a stranger's.

    What it raises before it asks is the caller's mistake, and stays as it is.
    """

    @wraps(call)
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


class CrowdWaiter(Waiter):
    """The same for one of several threads, which are woken one after the other."""

    __slots__ = ("_crowd",)

    def __init__(self, crowd: Crowd) -> None:
        super().__init__()
        self._crowd = crowd

    def resolve(self, value: Any) -> None:
        self.value = value
        crowd = self._crowd
        if crowd.is_gathering:
            crowd.answered.append(self._lock)
        else:
            self._lock.release()

    def wait(self, deadline: float) -> Any:
        try:
            return super().wait(deadline)
        finally:
            self._crowd.wake_next()


class PlainCalls(Protocol):
    """What a plain submit needs of `zq.client.calls.Calls`."""

    timeout: float
    session: ClientSession
    clock: Callable[[], float]
    link: Connection
    carrier: CallerLink | None

    def pack(self, value: Any) -> bytes: ...


class Blocking:
    """Carries calls out in the thread that calls it, which waits; a `Driver`. Any thread may use it.

    Args:
        abandon: is told when nobody waits for a reply any more.
        crowd: of those who wait, if they are woken one after the other.
    """

    __slots__ = ("_abandon", "_checked", "_crowd", "_main")

    def __init__(self, abandon: Abandon, crowd: Crowd | None = None) -> None:
        self._abandon = abandon
        self._crowd = crowd
        self._main = threading.main_thread().ident
        self._checked: str | None = None  # the last name of a queue that was checked

    def _make_waiter(self) -> Waiter:
        crowd = self._crowd
        return Waiter() if crowd is None or threading.get_ident() == self._main else CrowdWaiter(crowd)

    def submit(self, calls: PlainCalls, queue: str, payload: Any, options: SubmitOptions) -> Submitted:
        """Submits one task as `Calls.submit` does, with half of the steps, since most tasks come so. Not for calls with
        hooks, ids or unique keys.
        """
        data = calls.pack(payload)
        made = make_options(**options) if options else DEFAULT_OPTIONS
        if queue is not self._checked:
            self._checked = check_queue(queue)
        now = calls.clock()
        deadline = now + calls.timeout
        waiter = self._make_waiter()
        carrier = calls.carrier
        if carrier is not None and carrier.is_free:
            batch = Batch(calls.session.make_id(), queue, made, *pack_payload(data))
            if carrier.carry(SubmitExchange(calls.session, now, batch, deadline, waiter)):
                return waiter.wait(deadline)  # type: ignore[no-any-return]  # what the session resolves it with
        calls.link.call(partial(calls.session.submit_single, now, Single(queue, made, data, deadline, waiter)))
        return waiter.wait(deadline)  # type: ignore[no-any-return]

    def __call__(self, call: Call[T], /) -> T:
        try:
            ask = next(call)
            while True:
                waiter = self._make_waiter()
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
