"""The thread between a session and its coordinator, shared by clients and workers.

A `Link` owns one DEALER socket and drives a *session*, a machine without sockets or clocks. Everything that touches
either happens on the link's thread; other threads hand it functions with `call`. One turn of the thread:

    wait for a frame, a call, room to send, or session.next_at()
    receive a bounded number of frames, run the calls, session.tick(), send the session's outbox

One socket is one connection: when it breaks, the link drops the socket with all that waits in it, makes another after
a jittered pause, and tells the session by `connected`, which sends again what needs to be. Leaving the reconnect to
ZeroMQ would deliver old messages before the session knows of the new connection.

Invariants: a call accepted by `call` is run exactly once, even when the link fails or closes; what it raises ends what
waits for it, and nothing else; after `session.failed` no socket is used.
"""

import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable

import zmq

from zq.errors import ClosedError, RemoteProtocolError
from zq.keys.own import KeySource
from zq.processes.endpoints import needs_ipv6
from zq.processes.green import refuse_green_threads
from zq.processes.wake import Wake
from zq.sessions.session import Session
from zq.sessions.waiters import reply_in
from zq.sockets.entrance import ADMITTANCE_EVENTS, Entrance
from zq.sockets.silence import Silence
from zq.wire.address import DEFAULT_ADDRESS, check_address
from zq.wire.codec import decode_from_coordinator, encode, unreadable
from zq.wire.limits import FRAME_BYTES_MAX
from zq.wire.messages import FromCoordinator
from zq.wire.namespaces import Namespace

logger = logging.getLogger(__name__)

FRAMES_PER_TURN_MAX = 1000
"""Frames taken before the session may send again, so that a flood of answers does not hold back pings."""

LINK_HIGH_WATER_MARK = 10_000
"""Frames that may wait in the socket to be sent; the session's own windows are far below."""

BACKLOG_FRAMES_MAX = 10_000
"""Frames kept when the socket takes no more. A session that goes over it has lost its peer: the connection is made
anew.
"""

HEARTBEAT_INTERVAL = 2.0
HEARTBEAT_TIMEOUT = 6.0
HANDSHAKE_TIMEOUT = 3.0
"""Seconds; ZeroMQ's own heartbeats only close connections whose other end is gone."""

RETRY_MIN, RETRY_MAX = 0.1, 1.0
"""Seconds between ZeroMQ's tries to connect: each socket draws its own, since ZeroMQ adds no jitter worth the name."""

PAUSE_FIRST, PAUSE_MAX = 0.1, 5.0
"""Seconds before a broken connection is made anew: doubled each time that nothing was heard in between, then drawn
between half and all of it.
"""

PAUSE_REFUSED = 30.0
"""Seconds between two tries to get in where this link was refused, while nobody asks it for anything."""

POLL_MAX = 60.0
"""Seconds of the longest sleep, whatever the session says."""

FLUSH_MAX = 0.5
"""Seconds that a closing link may spend on sending what the session had said before."""

NOBLOCK = int(zmq.NOBLOCK)
"""As a plain number: pyzmq's enumeration costs more than a send."""


def resolve_address(address: str | None) -> str:
    """Returns a checked address: the given one, else that of ZQ_ADDRESS in the environment, else
    tcp://127.0.0.1:7700.

    Raises:
        ValueError: it is not tcp://host:port or ipc://path.
    """
    return check_address(os.environ.get("ZQ_ADDRESS") or DEFAULT_ADDRESS if address is None else address)


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
        bad_frames: how many frames from the coordinator could not be read.
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
        self._entrance = Entrance(self.address, key)
        self.namespace = namespace
        self.bad_frames = 0
        self._session = session
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._pid = os.getpid()
        self._calls: deque[Callable[[], None]] = deque()
        self._is_woken = False  # True while the thread will look at _calls without a signal
        self._is_closing = False
        self.is_over = False
        self._wake = Wake()
        self._backlog: deque[bytes] = deque()  # encoded, not yet taken by the socket
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._poller = zmq.Poller()
        self._waits_for_room = False  # whether the poller looks for POLLOUT
        self._is_readable = False  # whether the last poll saw frames, or room to send
        self._failures = 0  # connections in a row on which nothing was heard
        self._connect_at = 0.0  # while there is no socket: when to make one
        self._asked_at = float("inf")  # the same, if somebody asks for something before
        self._silence = Silence(self.address)

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
            raise ClosedError("this connection belongs to the parent process; make a new client or worker after a fork")
        # Without a lock: a signal handler may interrupt this, make a call of its own, and wait for what comes of it.
        if self.is_over:
            raise ClosedError("the connection is closed")
        self._calls.append(function)
        if self.is_over:
            self._run_late()
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

    def _run(self) -> None:
        error: Exception = ClosedError("the connection was closed")
        try:
            self._context = zmq.Context()
            self._poller.register(self._wake, zmq.POLLIN)
            while not self._is_closing:
                self._turn()
            self._flush()
        except Exception as problem:
            logger.exception("the connection to %s failed; everything that waits on it fails", self.address)
            error = problem
        finally:
            self._end(error)

    def _turn(self) -> None:
        self._wait()
        now = time.monotonic()
        if self._socket is None and now >= self._connect_at:
            self._connect(now)
        if self._is_readable:
            self._receive(now)
            time.sleep(0)  # lets those who were just answered speak again, so that what they say leaves together
        self._run_calls()
        self._session.tick(now)
        self._silence.look(now, is_asking=self._session.is_asking)
        if self._socket is not None:
            self._send()
            if self._session.wants_reconnect or len(self._backlog) > BACKLOG_FRAMES_MAX:
                self._disconnect(now)

    def _wait(self) -> None:
        """Sleeps until there is something to do; True in _is_woken spares callers the signal from then on.

        A caller adds its call and then looks at _is_woken, which is cleared here before the calls are looked at: one of
        the two sees the other.
        """
        due_at = min(self._session.next_at(), self._silence.next_at())
        if self._socket is None:
            due_at = min(due_at, self._connect_at)
        self._is_woken = False
        timeout = 0.0 if self._calls else min(max(due_at - time.monotonic(), 0.0), POLL_MAX)
        events = dict(self._poller.poll(int(timeout * 1000 + 0.999)))
        self._is_woken = True  # a caller that saw False has signalled or will: at worst one idle turn
        if self._wake.fileno() in events:
            self._wake.clear()
        self._is_readable = self._socket in events
        if self._monitor is not None and self._monitor in events:
            self._note_break(self._monitor)

    def _note_break(self, monitor: zmq.Socket[bytes]) -> None:
        """The connection broke, or was never made: those who wait are told when they wait in vain."""
        denied = self._entrance.look(monitor)
        self._disconnect(time.monotonic())
        if denied is None:
            logger.info("the connection to %s broke; connecting again", self.address)
            return
        logger.warning("%s", denied)
        self._asked_at = self._connect_at
        self._connect_at += PAUSE_REFUSED
        self._session.refused(denied)

    def _run_calls(self) -> None:
        calls = self._calls
        if calls:
            self._connect_at = min(self._connect_at, self._asked_at)
        for _ in range(len(calls)):  # what comes meanwhile waits for the next turn
            call = calls.popleft()
            try:
                call()
            except Exception as error:
                self._fail_call(call, error)

    def _fail_call(self, call: Callable[[], None], error: Exception) -> None:
        """What a call raises goes to who waits for it, and harms nobody else; what nobody waits for ends the link."""
        reply = reply_in(call)
        if reply is None:
            raise error
        self._session.drop(reply)
        reply.reject(error)

    def _receive(self, now: float) -> None:
        socket = self._socket
        if socket is None:
            return
        frames: list[bytes] = []
        try:
            while len(frames) < FRAMES_PER_TURN_MAX:
                frames.append(socket.recv(NOBLOCK))
        except zmq.Again:
            pass
        if frames:
            self._note_heard(now)
        for frame in frames:
            message: FromCoordinator | None
            try:
                message = decode_from_coordinator(frame)
                self._failures = 0
            except RemoteProtocolError as error:
                self.bad_frames += 1
                logger.warning("dropped a frame of %d bytes from %s: %s", len(frame), self.address, error)
                message = unreadable(frame, error)
            if message is not None:
                self._session.receive(now, message if self.namespace is None else self.namespace.out_of(message))

    def _note_heard(self, now: float) -> None:
        self._entrance.has_proved = True
        self._silence.heard(now)

    def _send(self) -> None:
        socket, backlog = self._socket, self._backlog
        if socket is None:
            return
        for message in self._session.take_outbox():
            backlog.append(encode(message if self.namespace is None else self.namespace.into(message)))
        try:
            while backlog:
                socket.send(backlog[0], NOBLOCK)
                backlog.popleft()
        except zmq.Again:
            pass
        if self._waits_for_room != bool(backlog):
            self._waits_for_room = not self._waits_for_room
            self._poller.register(socket, zmq.POLLIN | zmq.POLLOUT if backlog else zmq.POLLIN)

    def _connect(self, now: float) -> None:
        assert self._context is not None
        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.linger = 0
        socket.sndhwm = LINK_HIGH_WATER_MARK
        socket.rcvhwm = 0  # as in `zq.server.loop`: with messages that wait, heartbeats and an end libzmq aborts
        socket.maxmsgsize = FRAME_BYTES_MAX + 4096  # an answer may be as large as a frame; a little more does no harm
        socket.reconnect_ivl = int(random.uniform(RETRY_MIN, RETRY_MAX) * 1000)
        socket.reconnect_ivl_max = 0
        socket.heartbeat_ivl = int(HEARTBEAT_INTERVAL * 1000)
        socket.heartbeat_timeout = int(HEARTBEAT_TIMEOUT * 1000)
        socket.heartbeat_ttl = int(HEARTBEAT_TIMEOUT * 1000)
        socket.handshake_ivl = int(HANDSHAKE_TIMEOUT * 1000)
        socket.tcp_keepalive = 1
        socket.ipv6 = needs_ipv6(self.address)
        socket.immediate = 1  # nothing is queued to a peer that is not there: frames stay in the backlog
        self._entrance.secure(socket)
        self._monitor = socket.get_monitor_socket(ADMITTANCE_EVENTS)
        self._asked_at = float("inf")
        socket.connect(self.address)
        self._socket = socket
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._waits_for_room = False
        self._backlog.clear()
        self._session.take_outbox()  # said to nobody; `connected` says again what matters
        self._session.wants_reconnect = False
        self._session.connected(now)

    def _disconnect(self, now: float) -> None:
        """Drops the connection and all that waits in it, and sets the time for another."""
        self._drop_socket(linger=0)
        pause = min(PAUSE_FIRST * 2 ** min(self._failures, 10), PAUSE_MAX)
        self._failures += 1
        self._connect_at = now + pause * random.uniform(0.5, 1.0)

    def _drop_socket(self, linger: int) -> None:
        socket, monitor = self._socket, self._monitor
        if socket is None or monitor is None:
            return
        self._poller.unregister(socket)
        self._poller.unregister(monitor)
        socket.disable_monitor()
        monitor.close(0)
        socket.close(linger)
        self._socket = self._monitor = None

    def _flush(self) -> None:
        """Gives the session's last words a bounded time to leave."""
        self._run_calls()
        stop_at = time.monotonic() + FLUSH_MAX
        self._send()
        while self._backlog and self._socket is not None and time.monotonic() < stop_at:
            self._socket.poll(50, zmq.POLLOUT)
            self._send()

    def _end(self, error: Exception) -> None:
        """Fails all that waits, refuses what comes, and closes everything; calls accepted before still run, on a
        failed session.
        """
        try:
            self._session.failed(error)
            self.is_over = True
            self._run_late()
        finally:
            self.is_over = True
            self._close_sockets()

    def _run_late(self) -> None:
        """Runs the calls that nobody else will, on a failed session, which refuses what they ask: at the end, or in
        the thread of a caller that was accepted in that moment.
        """
        while self._calls:
            try:
                call = self._calls.popleft()
            except IndexError:  # somebody else does the same
                return
            try:
                call()
            except Exception as error:
                self._fail_call(call, error)

    def _close_sockets(self) -> None:
        try:
            if self._context is not None:
                self._drop_socket(linger=int(FLUSH_MAX * 1000))
                self._context.term()  # waits for the linger, so that a goodbye has left when the process ends
        finally:
            self._wake.close()
