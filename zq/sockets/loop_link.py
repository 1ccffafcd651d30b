"""The link of a client that awaits: an event loop drives its channel, with no thread in between.

Calls wait for the end of the loop's turn, so what many coroutines ask in one turn leaves in one message. The session
and the sockets belong to the loop in which the client was first used. They go on to another place

- when that loop is closed, and the client is used in another one: to that;
- when the client is used in a second loop while the first one is open, or where a loop cannot watch descriptors, or
  something is left to do and no loop is there to do it: to a thread (`zq.sockets.link`), for good.

Invariants: those of a link; and whoever touches the channel holds the lock, for which nobody ever waits while it may be
held by the same thread: who does not get it leaves the call behind, and who lets it go looks for what was left.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import TypeVar

import zmq

from zq.errors import ClosedError
from zq.keys.own import KeySource
from zq.processes.copies import watch as watch_copies
from zq.processes.endpoints import is_looked_up, needs_ipv6
from zq.processes.green import refuse_green_threads
from zq.sessions.session import Session
from zq.sockets.channel import HAS_FRAMES, HAS_ROOM, READINESS, Channel, is_readable
from zq.sockets.departures import leave_at_exit
from zq.sockets.entrance import Break, mechanism_at
from zq.sockets.link import FORKED, POLL_MAX, Link, Successor, resolve_address
from zq.sockets.watch import LoopWatch, has_readers
from zq.wire.namespaces import Namespace

logger = logging.getLogger(__name__)

PIECE_FRAMES = 16
"""Frames that are taken before it is asked how long that has taken."""

PIECE_SECONDS = 0.005
"""For which a link takes frames before it lets the rest of the loop go on: a coroutine that waits for something else
need not wait for all answers to thousands.
"""

STANDSTILL_INTERVAL = 0.1
"""Seconds between two looks whether a loop that was asked to close this has stopped before it came to it."""

T = TypeVar("T")


class EventLoopLink:
    """Runs a session in the event loop that uses it; any thread may use `call` and `close`.

    Args, Raises: those of `zq.sockets.link.Link`.
    """

    def __init__(
        self,
        address: str | None,
        session: Session,
        name: str,
        namespace: Namespace | None = None,
        key: KeySource | None = None,
    ) -> None:
        refuse_green_threads()
        self.address = resolve_address(address)
        self._channel = Channel(self.address, session, self, namespace, key)
        self._name = name
        self._refusal = ""  # why no calls are taken any more
        self._is_copy = False  # whether this is a process that was forked from that which made it
        self._calls: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None  # which drives it; None: not yet, or a thread does
        self._watch: LoopWatch | None = None  # of that loop
        self._link: Link | None = None  # the thread that drives it, if one does
        self._is_due = False  # whether the loop will look at the calls
        self._is_readable = False  # whether the socket may have frames
        self._is_unsure = False  # whether the socket's descriptor may keep silent of what is there
        self._due_at = inf  # when the session has something to do though nothing comes
        self._is_broken = False  # whether the monitor may have something to tell
        self._is_closing = False
        self._is_over = False
        self._finished = threading.Event()
        watch_copies(self)
        leave_at_exit(self)

    @property
    def is_over(self) -> bool:
        """Whether the link has closed or failed."""
        return self._is_over or (self._link is not None and self._link.is_over)

    def become_copy(self) -> None:
        """See `zq.processes.copies`: what it has belongs to the process that this one was forked from."""
        self._is_copy = True
        self._refusal = FORKED

    def call(self, function: Callable[[], None]) -> None:
        """Has `function` run where it may touch the session, soon; returns at once.

        Raises:
            ClosedError: the link is closed, has failed, or belongs to the process that this one was forked from.
        """
        if self._refusal:
            raise ClosedError(self._refusal)
        self._calls.append(function)
        loop = _get_running_loop()
        if loop is None or loop is not self._loop:
            self._call_elsewhere(loop)
        elif not self._is_due:
            if not (getattr(loop, "_ready", True) or self._channel.session.is_asking):
                self._turn()  # nothing is under way, and the loop has nothing else to run that could join: at once
            if self._calls and not self._is_due:
                loop.call_soon(self._due)
                self._is_due = True

    def close(self, timeout: float = 5.0) -> None:
        """Sends what the session had to say and closes the socket; what still waits fails with ClosedError. Blocks
        until that is done.

        Args:
            timeout: seconds to wait for a loop of another thread, which does it; it does so later if it is late.
        """
        if self._is_copy:
            return
        self._is_closing = True
        loop, link = self._loop, self._link
        if link is not None:
            link.close(timeout)
        elif loop is None or not self._has_asked(loop):
            self._close_here(timeout)
        else:
            self._wait_for(loop, time.monotonic() + timeout)

    def drop(self) -> bool:
        """Closes the socket, soon and without waiting: nobody knows the link any more, so nothing waits. For
        finalizers, in whatever thread they run.

        Returns:
            False when it is closed, or belongs to the process that this one was forked from.
        """
        if self._is_copy or self._is_closing or self.is_over:
            return False
        self._is_closing = True
        loop, link = self._loop, self._link
        if link is not None:
            link.drop()
        elif loop is None:
            self._close_here(0.0)
        elif not loop.is_running() or not self._ask(loop):
            self._start_helper(partial(self._close_here, POLL_MAX))
        return True

    def leave(self) -> None:
        """See `zq.sockets.departures`."""
        is_driven = self._link is not None or (self._loop is not None and self._loop.is_running())
        if self._is_copy or is_driven or not self._lock.acquire(blocking=False):
            return
        self._refusal = self._refusal or "the program ends"
        self._channel.drop()
        self._lock.release()

    # Where it is driven.

    def _call_elsewhere(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Sees to it that calls are run which were made outside of the loop that drives this."""
        while self._calls and self._lock.acquire(blocking=False):
            try:
                is_seen_to = self._place(loop)
            finally:
                self._lock.release()
            if is_seen_to:
                return

    def _place(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Finds who runs the calls that wait; returns False when it should be looked again. With the lock."""
        home = self._loop
        if self._is_over:
            self._channel.run_late(self._calls)
        elif self._link is not None:
            self._link.look()
            return True
        elif home is None and loop is None:
            return True  # nothing was ever asked: they wait for the first loop, or the end
        elif home is None or home.is_closed():
            if loop is not None and has_readers(loop):
                self._move_in(loop)
            else:
                self._move_out()
            return True
        elif loop is None or loop is home:
            return self._ask(home)
        else:
            self._move_out()
            return True
        return False

    def _move_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Has a loop drive the channel: the one that runs here."""
        if self._watch is not None:
            self._watch.close()
        self._loop = loop
        self._watch = LoopWatch(loop)
        self._channel.is_held = False  # whoever found something out would have told the loop that is closed
        if self._channel.socket is not None and self._channel.monitor is not None:
            self.opened(self._channel.socket, self._channel.monitor)
            self._is_readable = True
        loop.call_soon(self._due)
        self._is_due = True

    def _move_out(self) -> None:
        """Has a thread drive the channel from now on."""
        self._loop = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._channel.is_held = False
        self._link = Successor(self._channel, self._name, self._calls)
        self._link.start()

    def _ask(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Has a loop look at what there is to do, from any thread; returns False when it is closed."""
        try:
            loop.call_soon_threadsafe(self._turn)
        except RuntimeError:
            return False
        return True

    def _has_asked(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a loop that runs in another thread has been asked."""
        return loop is not _get_running_loop() and loop.is_running() and self._ask(loop)

    # In the loop.

    def opened(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """For its channel, as `closing` is."""
        assert self._watch is not None
        self._is_unsure = True
        self._watch.add(_number(socket, int(zmq.FD)), self._readable)
        self._watch.add(_number(monitor, int(zmq.FD)), self._broken)
        self._watch.loop.call_soon(self._broken)  # a descriptor tells nothing until its socket was looked at once

    def closing(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:  # noqa: ARG002
        if self._watch is not None:
            self._watch.clear()

    def _due(self) -> None:
        if self._is_due:
            self._turn()

    def _readable(self) -> None:
        self._is_readable = True
        self._turn()

    def _broken(self) -> None:
        self._is_broken = True
        self._turn()

    def _turn(self) -> None:
        if self._loop is None or _get_running_loop() is not self._loop or not self._lock.acquire(blocking=False):
            return
        try:
            self._is_due = False
            if self._is_closing:
                self._say_last()
                self._end(ClosedError("the connection was closed"))
            else:
                self._drive()
        except BaseException as problem:
            self._fail(problem)
            if not isinstance(problem, Exception):
                raise
        finally:
            self._lock.release()
            if self._is_over:
                self._start_helper(self._finish)
        if self._calls and not self._is_due:
            self._call_elsewhere(self._loop)

    def _drive(self) -> None:
        """One turn: as that of a link, but for the waiting."""
        channel, watch, now = self._channel, self._watch, time.monotonic()
        assert watch is not None
        if self._is_broken:
            self._look_at_break(now)
        if channel.is_connect_due(now):
            self._connect(now)
        if self._is_readable or (now >= self._due_at and self._has_more()):  # answers before deadlines
            self._is_readable = False
            self._receive(now)
        channel.run(self._calls)
        if channel.speak(now) or self._is_unsure:
            self._is_unsure = False
            if self._has_more():
                self._is_readable = True
                watch.loop.call_soon(self._due)
                self._is_due = True
        self._due_at = channel.next_at()
        watch.call_at(now, min(self._due_at, now + POLL_MAX), self._turn)

    def _receive(self, now: float) -> None:
        """Takes what has come, all of it or what can be taken in a short time."""
        while self._channel.receive(now, PIECE_FRAMES) == PIECE_FRAMES:
            if time.monotonic() >= now + PIECE_SECONDS:
                self._is_unsure = True
                return

    def _has_more(self) -> bool:
        """Whether the socket has frames, or room for what waits; if not, its descriptor tells when it has."""
        socket = self._channel.socket
        if socket is None:
            return False
        if not self._channel.backlog:
            return is_readable(socket)
        return _number(socket, READINESS) & (HAS_FRAMES | HAS_ROOM) != 0

    def _connect(self, now: float) -> None:
        if is_looked_up(self.address):
            self._channel.is_held = True
            self._ask_helper(partial(needs_ipv6, self.address), self._connect_by)
        else:
            self._channel.connect(now, is_ipv6=needs_ipv6(self.address))

    def _connect_by(self, is_ipv6: bool | None) -> None:
        self._channel.is_held = False
        now = time.monotonic()
        if self._channel.is_connect_due(now):
            self._channel.connect(now, is_ipv6=bool(is_ipv6))

    def _look_at_break(self, now: float) -> None:
        self._is_broken = False
        channel, monitor = self._channel, self._channel.monitor
        if monitor is None or not is_readable(monitor):
            return
        told = channel.take_break(now)
        if told is None:
            return
        if told.is_doubtful:
            channel.is_held = True
            self._ask_helper(partial(mechanism_at, self.address), partial(self._judge, told))
        else:
            channel.judge(told, None)

    def _judge(self, told: Break, mechanism: str | None) -> None:
        self._channel.is_held = False
        self._channel.judge(told, mechanism)

    # The end.

    def _wait_for(self, loop: asyncio.AbstractEventLoop, stop_at: float) -> None:
        """Waits until a loop of another thread has closed this, or does it when that stands still."""
        while not self._finished.wait(min(max(stop_at - time.monotonic(), 0.0), STANDSTILL_INTERVAL)):
            left = stop_at - time.monotonic()
            if left <= 0:
                return
            if not loop.is_running():
                self._close_here(left)
                return

    def _say_last(self) -> None:
        self._channel.run(self._calls)
        self._channel.send()

    def _fail(self, problem: BaseException) -> None:
        """A fault in the session, or an interrupt in the middle of it: what it knows is no longer to be relied on."""
        if isinstance(problem, Exception):
            logger.error(
                "the connection to %s failed; everything that waits on it fails", self.address, exc_info=problem
            )
            self._end(problem)
        else:
            self._end(ClosedError(f"the connection was interrupted by {type(problem).__name__}"))

    def _end(self, error: Exception) -> None:
        """Fails all that waits, and refuses what comes; with the lock. The sockets are left to `_finish`."""
        watch, self._watch, self._loop = self._watch, None, None
        if watch is not None:
            watch.close()
        try:
            self._channel.session.failed(error)
        finally:
            self._is_over = True
            self._refusal = "the connection is closed"
            self._channel.run_late(self._calls)

    def _close_here(self, timeout: float) -> None:
        """Ends it in this thread, when no loop does."""
        if not self._lock.acquire(timeout=timeout):
            return
        try:
            is_over, link = self._is_over, self._link
            if not is_over and link is None:
                self._say_last()
                self._end(ClosedError("the connection was closed"))
        except Exception as problem:
            self._fail(problem)
        finally:
            self._lock.release()
        if link is not None:
            link.close(timeout)
        elif is_over:
            self._finished.wait(timeout)
        else:
            self._finish()

    def _finish(self) -> None:
        """Closes the sockets when what was said has left, or half a second later."""
        try:
            self._channel.flush()
        finally:
            try:
                self._channel.close()
            finally:
                self._finished.set()

    def _ask_helper(self, question: Callable[[], T], answer: Callable[[T | None], None]) -> None:
        """Asks what has to be waited for, in a thread that ends with the answer; that is a call."""
        loop = self._loop

        def ask() -> None:
            found = None
            try:
                found = question()
            except Exception:
                logger.exception("what was to be found out about %s is not known", self.address)
            if loop is None or not loop.is_closed():  # else whoever drives it next asks again
                with suppress(ClosedError):
                    self.call(partial(answer, found))

        self._start_helper(ask)

    def _start_helper(self, function: Callable[[], None]) -> None:
        try:
            threading.Thread(target=function, name=f"{self._name}-helper", daemon=True).start()
        except RuntimeError:  # there is no room for a thread: it takes a second here, at most
            function()


def _number(socket: zmq.Socket[bytes], option: int) -> int:
    """Returns an option of a socket."""
    found = socket.getsockopt(option)
    assert isinstance(found, int)
    return found
