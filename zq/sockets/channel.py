"""The connection between a session and its coordinator, without waiting: whoever drives it waits in its own way.

A `Channel` owns one DEALER socket, and the monitor that tells how it got in; it carries what a *session*, a machine
without sockets or clocks, says and hears. It starts no thread and never waits. What drives it (a thread of its own in
`zq.sockets.link`) waits for the two sockets that it is told of, and for `next_at`. Its turn, in this order:

    note_break, if the monitor is readable; connect, if it is due; receive; run the calls; speak

One socket is one connection: when it breaks, the channel drops the socket with all that waits in it, makes another
after a jittered pause, and tells the session by `connected`, which sends again what needs to be. Leaving the reconnect
to ZeroMQ would deliver old messages before the session knows of the new connection.

Invariants: one thread at a time touches it, and the session; after `session.failed` no socket is used.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import zmq

from zq.errors import RemoteProtocolError
from zq.keys.own import KeySource
from zq.sessions.session import Session
from zq.sessions.waiters import reply_in
from zq.sockets.entrance import ADMITTANCE_EVENTS, Break, Entrance, mechanism_at, read_break
from zq.sockets.silence import Silence
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

FLUSH_MAX = 0.5
"""Seconds that a channel which closes may spend on sending what the session had said before."""

NOBLOCK = int(zmq.NOBLOCK)
"""As a plain number: pyzmq's enumeration costs more than a send."""

READINESS, HAS_FRAMES, HAS_ROOM = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)
"""As plain numbers, for the same reason."""


class ChannelDriver(Protocol):
    """Who waits for what happens on the sockets of a channel."""

    def opened(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """They are there: the first takes and gives frames, and the second is readable when the connection broke."""

    def closing(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        """They are about to be closed."""


class Channel:
    """Carries a session; one thread at a time may use it.

    Args:
        address: of the coordinator, tcp://host:port or ipc://path, checked.
        session: driven by the channel only.
        driver: is told which sockets there are; another one may take its place between two turns.
        namespace: in which everything is that the session says and hears; None for none.
        key: which it shows to the coordinator; None as in `zq.keys.own.resolve_key`.

    Attributes:
        session, driver: as given.
        bad_frames: how many frames from the coordinator could not be read.
        is_held: whether no connection is made now: its driver finds something out for that, or for `judge`.
        backlog: what is encoded, and not yet taken by the socket: while it holds something, room is waited for.

    Raises:
        ValueError: the key cannot be one.
    """

    def __init__(
        self,
        address: str,
        session: Session,
        driver: ChannelDriver,
        namespace: Namespace | None = None,
        key: KeySource | None = None,
    ) -> None:
        self.address = address
        self.namespace = namespace
        self.session = session
        self.bad_frames = 0
        self.backlog: deque[bytes] = deque()
        self.driver = driver
        self.is_held = False
        self._entrance = Entrance(address, key)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._failures = 0  # connections in a row on which nothing was heard
        self._connect_at = 0.0  # while there is no socket: when to make one
        self._asked_at = float("inf")  # the same, if somebody asks for something before
        self._silence = Silence(address)
        self._abandoned: list[tuple[zmq.Socket[bytes], zmq.Socket[bytes], Callable[[], bool]]] = []

    @property
    def socket(self) -> zmq.Socket[bytes] | None:
        """The socket, while there is one."""
        return self._socket

    @property
    def monitor(self) -> zmq.Socket[bytes] | None:
        """What is readable when the connection broke, while there is a socket."""
        return self._monitor

    @property
    def is_at_rest(self) -> bool:
        """Whether something was heard on the connection, and nothing is to be said on it, nor waited for."""
        is_heard = self._entrance.has_proved and not self._failures
        return is_heard and self._socket is not None and not self.backlog and not self.session.is_asking

    def next_at(self) -> float:
        """Returns when a turn is due though nothing comes (monotonic); infinity when none is."""
        due_at = min(self.session.next_at(), self._silence.next_at())
        return due_at if self._socket is not None or self.is_held else min(due_at, self._connect_at)

    def is_connect_due(self, now: float) -> bool:
        """Whether there is no socket, and it is time to make one."""
        return self._socket is None and now >= self._connect_at and not self.is_held

    def connect(self, now: float, *, is_ipv6: bool) -> None:
        """Makes a socket, when that is due.

        Args:
            is_ipv6: what `zq.processes.endpoints.needs_ipv6` says of the address, which may wait for a name.
        """
        if self._context is None:
            self._context = zmq.Context()
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
        socket.ipv6 = is_ipv6
        socket.immediate = 1  # nothing is queued to a peer that is not there: frames stay in the backlog
        self._entrance.secure(socket)
        self._monitor = socket.get_monitor_socket(ADMITTANCE_EVENTS)
        self._asked_at = float("inf")
        socket.connect(self.address)
        self._socket = socket
        self.driver.opened(socket, self._monitor)
        self.backlog.clear()
        self.session.take_outbox()  # said to nobody; `connected` says again what matters
        self.session.wants_reconnect = False
        self.session.connected(now)

    def receive(self, now: float, frames_max: int = FRAMES_PER_TURN_MAX) -> int:
        """Gives the session what has come; returns how many frames that were."""
        socket = self._socket
        if socket is None:
            return 0
        frames: list[bytes] = []
        try:
            frames.append(socket.recv(NOBLOCK))
            if is_readable(socket):  # mostly not, and to ask costs less than an error
                while len(frames) < frames_max:
                    frames.append(socket.recv(NOBLOCK))
        except zmq.Again:
            pass
        self.take(now, frames)
        return len(frames)

    def take(self, now: float, frames: list[bytes]) -> None:
        """Gives the session frames that have come."""
        if frames:
            self._entrance.has_proved = True
            self._silence.heard(now)
        for frame in frames:
            self._take(now, frame)

    def take_next(self, now: float, frame: bytes) -> None:
        """Gives the session a frame that has come, on a connection on which others have."""
        self._silence.heard(now)
        self._take(now, frame)

    def run(self, calls: deque[Callable[[], None]]) -> None:
        """Runs the calls that wait now, which may touch the session; what comes meanwhile waits for the next turn."""
        if calls:
            self._connect_at = min(self._connect_at, self._asked_at)
        for _ in range(len(calls)):
            call = calls.popleft()
            try:
                call()
            except Exception as error:
                self.fail_call(call, error)

    def fail_call(self, call: Callable[[], None], error: Exception) -> None:
        """What a call raises goes to who waits for it, and harms nobody else; what nobody waits for is raised."""
        reply = reply_in(call)
        if reply is None:
            raise error
        self.session.drop(reply)
        reply.reject(error)

    def run_late(self, calls: deque[Callable[[], None]]) -> None:
        """Runs the calls that nobody else will, on a failed session, which refuses what they ask: at the end, or in
        the thread of a caller that was accepted in that moment.
        """
        while calls:
            try:
                call = calls.popleft()
            except IndexError:  # somebody else does the same
                return
            try:
                call()
            except Exception as error:
                self.fail_call(call, error)

    def speak(self, now: float) -> bool:
        """Lets the session do what is due, and sends what it has to say; returns as `send`."""
        self.session.tick(now)
        self._silence.look(now, is_asking=self.session.is_asking)
        if self._socket is None:
            return False
        has_sent = self.send()
        if self.session.wants_reconnect or len(self.backlog) > BACKLOG_FRAMES_MAX:
            self._disconnect(now)
        return has_sent

    def send(self) -> bool:
        """Sends what the session has said, as far as the socket takes it; returns whether there was anything."""
        socket, backlog = self._socket, self.backlog
        if socket is None:
            return False
        for message in self.session.take_outbox():
            backlog.append(encode(message if self.namespace is None else self.namespace.into(message)))
        if not backlog:
            return False
        try:
            while backlog:
                socket.send(backlog[0], NOBLOCK)
                backlog.popleft()
        except zmq.Again:
            pass
        return True

    def note_break(self, now: float) -> None:
        """The monitor is readable: the connection broke, or was never made. Those who wait are told when they wait in
        vain. May wait for a greeting; who must not takes `take_break` and `judge`.
        """
        told = self.take_break(now)
        if told is not None:
            self.judge(told, mechanism_at(self.address) if told.is_doubtful else None)

    def take_break(self, now: float) -> Break | None:
        """Drops the connection that the monitor tells of; returns what is to be judged, if there was one."""
        if self._monitor is None:
            return None
        told = read_break(self._monitor)
        self._disconnect(now)
        return told

    def judge(self, told: Break, mechanism: str | None) -> None:
        """Says what a break means; see `zq.sockets.entrance.Entrance.judge`."""
        denied = self._entrance.judge(told, mechanism)
        if denied is None:
            logger.info("the connection to %s broke; connecting again", self.address)
            return
        logger.warning("%s", denied)
        self._asked_at = self._connect_at
        self._connect_at += PAUSE_REFUSED
        self.session.refused(denied)

    def abandon(self, is_free: Callable[[], bool]) -> None:
        """Leaves the socket, untouched, to somebody who may be using it, and has another one made at once.

        Args:
            is_free: whether nobody uses it any more: then `release` closes it.
        """
        socket, monitor = self._socket, self._monitor
        if socket is None or monitor is None:
            return
        self.driver.closing(socket, monitor)
        self._abandoned.append((socket, monitor, is_free))
        self._socket = self._monitor = None
        self._failures = max(self._failures, 1)  # nothing was heard on the next
        self._connect_at = 0.0

    @property
    def can_release(self) -> bool:
        """Whether a socket that was abandoned can be closed."""
        return any(is_free() for _, _, is_free in self._abandoned)

    def release(self) -> bool:
        """Closes what was abandoned and nobody uses any more; returns whether nothing is left of that."""
        for one in self._abandoned[:]:
            socket, monitor, is_free = one
            if is_free():
                self._abandoned.remove(one)
                _close(socket, monitor, linger=0)
        return not self._abandoned

    def flush(self) -> None:
        """Gives the session's last words a bounded time to leave; the one method that may wait."""
        stop_at = time.monotonic() + FLUSH_MAX
        self.send()
        while self.backlog and self._socket is not None and time.monotonic() < stop_at:
            self._socket.poll(50, zmq.POLLOUT)
            self.send()

    def close(self) -> None:
        """Closes the sockets, and waits until what was sent has left, so that a goodbye has when the process ends."""
        if self._context is not None:
            self._drop_socket(linger=int(FLUSH_MAX * 1000))
            self._context.term()

    def drop(self) -> None:
        """Closes the sockets at once, with what was not sent; the context ends with the process."""
        self._drop_socket(linger=0)

    def _take(self, now: float, frame: bytes) -> None:
        message: FromCoordinator | None
        try:
            message = decode_from_coordinator(frame)
            self._failures = 0
        except RemoteProtocolError as error:
            self.bad_frames += 1
            logger.warning("dropped a frame of %d bytes from %s: %s", len(frame), self.address, error)
            message = unreadable(frame, error)
        if message is not None:
            self.session.receive(now, message if self.namespace is None else self.namespace.out_of(message))

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
        self.driver.closing(socket, monitor)
        _close(socket, monitor, linger)
        self._socket = self._monitor = None


def _close(socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes], linger: int) -> None:
    socket.disable_monitor()
    monitor.close(0)
    socket.close(linger)


def is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether there are frames; if there are none, its descriptor tells when some come."""
    return socket.getsockopt(READINESS) & HAS_FRAMES != 0  # type: ignore[operator]  # this option is a number
