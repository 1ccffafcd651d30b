"""The right to use the socket of a client, which its callers have as long as nobody else needs it.

A channel is used by one thread at a time: by the link's, which has the right whenever anybody waits for anything; or,
while the session rests, by a caller that sends one message and takes what answers it (`zq.sessions.exchanges`) without
a hand-over to another thread and back. The link's thread *opens* the passage when nothing is left for it to do, and
*takes* it again as soon as there is: something else is asked, the connection broke, an answer takes long, the client is
closed. A caller that is in the passage then leaves, rung out by a bell; what it carried, and what else came, stays
behind, and the session adopts it.

A caller may be the main thread, where a signal handler runs between any two steps, raises what it likes, or calls the
client itself. Hence no step leaves anything half done: what is shared here changes by single assignments, and the
session is not touched. A handler that finds its own thread in the passage has it leave (`leave_to`), and what was
interrupted notices when it goes on: before each use of the socket it looks whether it still has the right, with nothing
between at which a handler could run. For the same reason there is no lock: between looking at `_holder` and setting it
no other thread runs, which is so where Python has its global lock; where it has none, the passage stays closed.

What a handler interrupts within libzmq goes on there: pyzmq repeats what a signal has interrupted without asking. Then,
and where a caller does not leave when it is rung out since a handler holds it up, the socket is *given up*: left to
that caller, untouched by anybody else until it is out. The link makes another connection meanwhile.

Invariants: `_holder` is who may use the socket, None while that is anybody; while it is a caller, the link's thread
touches neither socket nor session; a socket that is given up is touched by its caller only; nobody sends while anything
is left behind; no wait in here is longer than CARRY_SECONDS.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

import zmq
from zmq.backend import Socket as BareSocket

from zq.errors import ClosedError, RemoteProtocolError
from zq.processes.wake import Wake
from zq.sessions.client import ClientSession
from zq.sessions.exchanges import NO_ANSWER, NOT_YET, Exchange
from zq.sockets.channel import HAS_FRAMES, NOBLOCK, READINESS
from zq.sockets.link import FORKED
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import ToCoordinator
from zq.wire.namespaces import Namespace

CARRY_SECONDS = 0.05
"""Seconds for which a caller waits for its answer itself; then the link's thread does, which sends pings meanwhile."""

BETWEEN_LOOKS = 0.005
"""Seconds after which a thread that waits for the passage looks again, should nobody have told it."""

LEAVE_SECONDS = 1.0
"""Seconds for which a caller may stay after it was rung out: it takes microseconds, unless a signal handler has it."""

HAS_ONE_LOCK = getattr(sys, "_is_gil_enabled", lambda: True)() and hasattr(select, "poll")
"""Whether callers may enter at all."""

bare_send = BareSocket.send
"""Without the layer above it, which is in Python: a handler could run in there, before anything is sent."""


class Passage:
    """The right to use one socket.

    Args:
        session: of which it is asked, never told.
        namespace: as of the channel.
        tell: makes the link's thread look; from any thread.

    Attributes:
        is_wanted: whether the link's thread waits for it.
        is_watched: whether the link's thread sleeps until something comes on the socket; what somebody who was in here
            took away, it would not see.
        entries: how many callers were in here.
    """

    def __init__(self, session: ClientSession, namespace: Namespace | None, tell: Callable[[], None]) -> None:
        self.is_wanted = False
        self.is_watched = False
        self.entries = 0
        self._session = session
        self._namespace = namespace
        self._tell = tell
        self._holder: Passage | Exchange | None = self  # itself: the link's thread
        self._carried: Exchange | None = None  # sent, or about to be, and not answered
        self._given_up: Exchange | None = None  # to whose caller the socket was left
        self._strays: deque[bytes] = deque()  # frames that came meanwhile, and were nobody's in here
        self._socket: zmq.Socket[bytes] | None = None
        self._bell = Wake()
        self._poll: select.poll | None = None
        self._pid = os.getpid()

    # Callers.

    @property
    def is_free(self) -> bool:
        """Whether a caller may enter now."""
        return self._holder is None and not self.is_wanted

    def carry(self, exchange: Exchange) -> bool:
        """Carries an exchange, if the socket is free. Afterwards its reply has its end, or will have it by the link's
        thread.

        Returns:
            False when nothing was done with it.
        """
        frames = [self._encode(exchange.message)]
        if exchange.behind is not None:
            frames.append(self._encode(exchange.behind))
        exchange.thread = threading.get_ident()
        try:
            self._holder = self._holder or exchange
            return self._send(exchange, frames) if self._holder is exchange else False
        finally:
            if self._holder is exchange:
                self._holder = None
            exchange.is_out = True
            is_left = self._carried is not None or bool(self._strays)
            if is_left or self.is_wanted or self.is_watched or exchange.is_given_up:
                self._tell()

    def leave_to(self) -> None:
        """Has the caller that was interrupted in this very thread leave, if there is one: what interrupts it needs the
        link's thread.
        """
        holder = self._holder
        if isinstance(holder, Exchange) and holder.thread == threading.get_ident():
            if holder.is_inside:
                self._give_up(holder)
            else:
                self._poll = None  # it may be in it
                self.is_wanted = True
                self._holder = None
            self._bell.ring()

    def _give_up(self, holder: Exchange) -> None:
        """Leaves the socket to who has it, and the right to use another to the link's thread."""
        if self._holder is holder:
            holder.is_given_up = True
            self._given_up = holder
            self._socket = self._poll = None
            self._holder = self

    def _encode(self, message: ToCoordinator) -> bytes:
        return encode(message if self._namespace is None else self._namespace.into(message))

    def _send(self, exchange: Exchange, frames: list[bytes]) -> bool:
        socket, poll = self._socket, self._poll
        if socket is None or poll is None or self._strays or self._carried is not None:
            return False
        self.entries += 1
        exchange.is_inside = True
        if self._holder is not exchange:
            return False
        self._carried = exchange
        for frame in frames:
            exchange.is_inside = True
            if self._holder is not exchange:
                return True
            try:
                bare_send(socket, frame, NOBLOCK)
            except zmq.Again:
                return True
            exchange.is_inside = False
            exchange.is_sent = True
        stop_at = min(exchange.deadline, time.monotonic() + CARRY_SECONDS)
        while True:
            exchange.is_inside = True
            if self._holder is not exchange:
                return True
            has_frames = int(socket.getsockopt(READINESS)) & HAS_FRAMES
            exchange.is_inside = False
            if not has_frames and not self._sleep(exchange, poll, stop_at):
                return True
            exchange.is_inside = True
            if self._holder is not exchange:
                return True
            try:
                frame = socket.recv(NOBLOCK)
            except zmq.Again:
                continue
            exchange.is_inside = False
            self._strays.append(frame)  # until it is known to be the answer
            if self._end(exchange, frame):
                return True

    def _sleep(self, exchange: Exchange, poll: select.poll, stop_at: float) -> bool:
        """Waits for something to come; returns False when the caller is to leave without it."""
        timeout = max(stop_at - time.monotonic(), 0.0) * 1000
        if self._holder is not exchange:
            return False
        events = poll.poll(timeout)
        if os.getpid() != self._pid:
            raise ClosedError(FORKED)
        return bool(events) and all(found != self._bell.fileno() for found, _ in events)

    def _end(self, exchange: Exchange, frame: bytes) -> bool:
        """Ends an exchange with what came; returns whether there is nothing more to wait for."""
        try:
            message = decode_from_coordinator(frame)
            found = exchange.read(
                self._session, message if self._namespace is None else self._namespace.out_of(message)
            )
        except RemoteProtocolError:
            found = NO_ANSWER
        if self._holder is not exchange or found is NO_ANSWER:
            return True
        if found is NOT_YET:
            self._strays.clear()
            return False
        self._carried = None
        self._strays.clear()
        exchange.reply.resolve(found)
        return True

    # The link's thread.

    @property
    def is_left(self) -> bool:
        """Whether somebody has left something behind."""
        return self._holder is None and (self._carried is not None or bool(self._strays))

    def open(self, socket: zmq.Socket[bytes]) -> None:
        """Lets callers in."""
        if socket is not self._socket or self._poll is None:
            self._socket, self._poll = socket, select.poll()
            self._poll.register(int(socket.getsockopt(zmq.FD)), select.POLLIN)
            self._poll.register(self._bell.fileno(), select.POLLIN)
        self._bell.clear()
        self.is_wanted = False
        self._holder = None

    def take(self, wait: Callable[[float], None]) -> bool:
        """Waits until nobody is in here, and lets nobody in from then on; gives the socket up to who does not leave.

        Args:
            wait: waits until the thread is told something, for at most so many seconds.

        Returns:
            Whether there was somebody.
        """
        was_there = False
        leave_by = time.monotonic() + LEAVE_SECONDS
        self.is_wanted = True
        while True:
            self._holder = self._holder or self
            holder = self._holder
            if not isinstance(holder, Exchange):
                return was_there
            was_there = True
            self._bell.ring()
            wait(BETWEEN_LOOKS)
            if time.monotonic() >= leave_by:
                self._give_up(holder)

    def take_given_up(self) -> Exchange | None:
        """Returns, and forgets, to whom the socket was left; for whoever has taken it."""
        given_up, self._given_up = self._given_up, None
        return given_up

    def take_left(self) -> tuple[Exchange | None, list[bytes]]:
        """Returns, and forgets, what was left behind: an exchange to adopt, and frames; for whoever has taken it."""
        carried, self._carried = self._carried, None
        strays = []
        while self._strays:
            strays.append(self._strays.popleft())
        return carried, strays

    def close(self) -> None:
        self._bell.close()
