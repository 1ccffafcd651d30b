"""The thread between a session and its coordinator, shared by clients and workers.

A `Link` drives a channel (`zq.sockets.channel`), and with it a session. Everything that touches either happens on the
link's thread; other threads hand it functions with `call`. One turn of the thread:

    wait for a frame, a call, room to send, or channel.next_at()
    receive a bounded number of frames, run the calls, let the session do what is due, send what it says

Invariants: a call accepted by `call` is run exactly once, even when the link fails or closes; what it raises ends what
waits for it, and nothing else; after `session.failed` no socket is used.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf

import zmq

from zq.errors import ClosedError
from zq.keys.own import KeySource
from zq.processes.endpoints import kept_address, needs_ipv6
from zq.processes.green import refuse_green_threads
from zq.processes.wake import Wake
from zq.sessions.session import Session
from zq.sockets.channel import Channel
from zq.wire.address import DEFAULT_ADDRESS, check_address
from zq.wire.namespaces import Namespace

logger = logging.getLogger(__name__)

POLL_MAX = 60.0
"""Seconds of the longest sleep, whatever the session says."""

FORKED = "this connection belongs to the parent process; make a new client or worker after a fork"


def resolve_address(address: str | None) -> str:
    """Returns a checked address: the given one, else that of ZQ_ADDRESS in the environment, else
    tcp://127.0.0.1:7700. A relative path in it is of the folder that this program is in now.

    Raises:
        ValueError: it is not tcp://host:port or ipc://path.
    """
    found = check_address(os.environ.get("ZQ_ADDRESS") or DEFAULT_ADDRESS if address is None else address)
    return kept_address(found)


def resolve_namespace(name: str | None) -> Namespace | None:
    """Returns the given namespace, else that of ZQ_NAMESPACE in the environment, else None; empty text is none.

    Raises:
        ValueError: it cannot be one.
    """
    if name is None:
        name = os.environ.get("ZQ_NAMESPACE") or ""
    return Namespace(name) if name else None


class Link:
    """Runs a session on a thread of its own; any thread may use `call` and `close`.

    Args:
        address: of the coordinator, tcp://host:port or ipc://path; None as in `resolve_address`.
        session: driven on the link's thread only.
        name: of the thread, for debuggers.
        namespace: in which everything is that the session says and hears; None for none.
        key: which it shows to the coordinator; None as in `zq.keys.own.resolve_key`.

    Attributes:
        is_over: whether the link has closed or failed.

    Raises:
        ValueError: the address cannot be one, or the key.
        GreenThreadsError: threads are green ones in this process.
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
        self._set_up(Channel(self.address, session, self, namespace, key), name, deque())

    def _set_up(self, channel: Channel, name: str, calls: deque[Callable[[], None]]) -> None:
        self._channel = channel
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._pid = os.getpid()
        self._calls = calls
        self._is_woken = False  # True while the thread will look at _calls without a signal
        self._is_closing = False
        self.is_over = False
        self._wake = Wake()
        self._poller = zmq.Poller()
        self._waits_for_room = False  # whether the poller looks for POLLOUT
        self._is_readable = False  # whether the last poll saw frames, or room to send

    @property
    def bad_frames(self) -> int:
        """How many frames from the coordinator could not be read."""
        return self._channel.bad_frames

    @property
    def is_here(self) -> bool:
        """Whether this is the process that made it; one that was forked has a copy without the thread."""
        return os.getpid() == self._pid

    def start(self) -> None:
        """Starts the thread; call once."""
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Has `function` run on the link's thread, between turns, where it may touch the session; returns at once.

        Raises:
            ClosedError: the link is closed, has failed, or belongs to the process that this one was forked from.
        """
        if not self.is_here:
            raise ClosedError(FORKED)
        # Without a lock: a signal handler may interrupt this, make a call of its own, and wait for what comes of it.
        if self.is_over:
            raise ClosedError("the connection is closed")
        self._calls.append(function)
        self.look()

    def look(self) -> None:
        """There are calls to run; from any thread."""
        if self.is_over:
            self._channel.run_late(self._calls)
        elif not self._is_woken:
            self._wake.ring()

    def close(self, timeout: float = 5.0) -> None:
        """Sends what the session had to say, ends the thread and closes the socket; what still waits fails with
        ClosedError.

        Args:
            timeout: seconds to wait for the thread; it ends by itself soon afterwards if it is late.
        """
        if not self.is_here:
            return
        self._is_closing = True
        self._wake.ring()
        if self._thread.ident is None:
            self._end(ClosedError("closed before it was started"))
        elif self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def drop(self) -> bool:
        """Ends the thread and closes the socket, soon and without waiting: nobody knows the link any more, so nothing
        waits. For finalizers, in whatever thread they run; its thread does not keep the owner of a link alive.

        Returns:
            False when it is closed, or belongs to the process that this one was forked from.
        """
        if not self.is_here or self._is_closing or self.is_over:
            return False
        self._is_closing = True
        self._wake.ring()
        return True

    # The link's thread.

    def opened(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """For its channel, as `closing` is."""
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(monitor, zmq.POLLIN)
        self._waits_for_room = False

    def closing(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        self._poller.unregister(socket)
        self._poller.unregister(monitor)

    def _run(self) -> None:
        error: Exception = ClosedError("the connection was closed")
        try:
            self._begin()
            while not self._is_closing:
                self._turn()
            self._finish()
        except Exception as problem:
            logger.exception("the connection to %s failed; everything that waits on it fails", self.address)
            error = problem
        finally:
            self._end(error)

    def _begin(self) -> None:
        self._poller.register(self._wake, zmq.POLLIN)

    def _turn(self) -> None:
        channel = self._channel
        self._wait()
        now = time.monotonic()
        self._connect_when_due(now)
        if self._is_readable:
            self._receive(now)
        self._run_calls(now)
        channel.speak(now)
        if self._waits_for_room != bool(channel.backlog):
            self._wait_for_room()

    def _connect_when_due(self, now: float) -> None:
        if self._channel.is_connect_due(now):
            self._channel.connect(now, is_ipv6=needs_ipv6(self.address))

    def _receive(self, now: float) -> None:
        """Takes what has come, and lets those who were answered speak again, so that what they say leaves together."""
        self._channel.receive(now)
        time.sleep(0)

    @property
    def _is_called(self) -> bool:
        """Whether there are calls to be run at once."""
        return bool(self._calls)

    def _run_calls(self, now: float) -> None:  # noqa: ARG002 - for those who look at the time
        self._channel.run(self._calls)

    def _wait(self, until: float = inf) -> None:
        """Sleeps until there is something to do, or a time has come; True in _is_woken spares callers the signal from
        then on.

        A caller adds its call and then looks at _is_woken, which is cleared here before the calls are looked at: one of
        the two sees the other.
        """
        due_at = min(self._channel.next_at(), until)
        self._is_woken = False
        timeout = 0.0 if self._is_called else min(max(due_at - time.monotonic(), 0.0), POLL_MAX)
        events = dict(self._poller.poll(int(timeout * 1000 + 0.999)))
        self._is_woken = True  # a caller that saw False has signalled or will: at worst one idle turn
        if self._wake.fileno() in events:
            self._wake.clear()
        self._is_readable = self._channel.socket in events
        if self._channel.monitor in events:
            self._channel.note_break(time.monotonic())

    def _wait_for_room(self) -> None:
        """Has the poller look for room, or no longer."""
        socket = self._channel.socket
        if socket is not None:
            self._waits_for_room = bool(self._channel.backlog)
            self._poller.register(socket, zmq.POLLIN | zmq.POLLOUT if self._waits_for_room else zmq.POLLIN)

    def _finish(self) -> None:
        """Runs what was asked before the link was closed, and sends what comes of it."""
        self._channel.run(self._calls)
        self._channel.flush()

    def _end(self, error: Exception) -> None:
        """Fails all that waits, refuses what comes, and closes everything; calls accepted before still run, on a
        failed session.
        """
        try:
            self._channel.session.failed(error)
            self.is_over = True
            self._channel.run_late(self._calls)
        finally:
            self.is_over = True
            self._close_sockets()

    def _close_sockets(self) -> None:
        try:
            self._channel.close()
        finally:
            self._wake.close()


class Successor(Link):
    """A link that goes on with a channel which somebody else has driven before, and no longer does.

    Args:
        calls: that wait to be run; who adds to them calls `look`.
    """

    def __init__(self, channel: Channel, name: str, calls: deque[Callable[[], None]]) -> None:
        self.address = channel.address
        self._set_up(channel, name, calls)
        channel.driver = self
        if channel.socket is not None and channel.monitor is not None:
            self.opened(channel.socket, channel.monitor)
