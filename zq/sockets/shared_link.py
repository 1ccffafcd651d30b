"""The link of a worker: whoever has something to say takes a turn, so that a report leaves without a hand-over.

What a `Link` does, but a turn is not its thread's alone. One lock is the right to a turn, and with it to the channel
and the session. The link's thread takes turns when something comes or is due; a thread that has something for the
session (`nudge`) takes one at once if nobody is at one, and else leaves it to whoever is. Receiving, connecting and
disconnecting is for the link's thread alone.

A descriptor of ZeroMQ tells of what has come only until somebody has used the socket, whoever that is. So whoever has
sent something looks, and when something has come takes another turn, or rings for the link's thread; while nobody is
at a turn, all that has come has been taken, and what comes next wakes the thread.

Invariants: those of `Link`; the socket, the monitor and the session are touched in turns only; `_is_asked` is set
before the lock is tried, and looked at after it was let go: one of the two threads sees the other.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable

import zmq

from zq.keys.own import KeySource
from zq.sessions.session import Session
from zq.sockets.channel import BACKLOG_FRAMES_MAX, HAS_FRAMES, HAS_ROOM, NOBLOCK, READINESS
from zq.sockets.link import POLL_MAX, Link
from zq.wire.namespaces import Namespace

FEW = 4
"""Frames that are taken one by one: a look for another costs less than to find in vain that there is none."""

EARLIER = 0.002
"""Seconds by which something must be due before the link's thread would wake, to wake it for that."""


class SharedLink(Link):
    """Runs a session on a thread of its own, and on those of others that have something for it.

    Args: as of `Link`, and
        rest: called on the link's thread after each of its turns, outside it: to wake others, who may want a turn.
    """

    def __init__(
        self,
        address: str | None,
        session: Session,
        name: str,
        namespace: Namespace | None = None,
        key: KeySource | None = None,
        *,
        rest: Callable[[], None],
    ) -> None:
        super().__init__(address, session, name, namespace, key)
        self._rest = rest
        self._turns = threading.Lock()
        self._is_asked = False  # whether somebody has something, and left it to whoever is at a turn
        self._fault: BaseException | None = None  # raised in another thread's turn: it ends the link
        self._wakes_at = 0.0  # when the link's thread takes a turn although nothing comes
        self._is_late = True  # whether there is something that no descriptor may tell
        self._is_unsure = True  # whether there may be, after what was done in this turn
        self._monitor_at = -1  # its descriptor
        self._poll = select.poll()
        self._poll.register(self._wake.fileno(), select.POLLIN)

    def nudge(self) -> None:
        """Has the session do what is due by now: in this thread if nobody is at a turn. It waits for nobody, and is not
        for signal handlers.
        """
        self._is_asked = True
        while self._is_asked and self._turns.acquire(blocking=False):
            try:
                if self._is_closing or self.is_over or self._fault is not None:
                    return
                self._is_asked = False
                self._say()
            except BaseException as error:
                self._fault = error
                self._wake.ring()
                return
            finally:
                self._turns.release()

    def _say(self) -> None:
        channel, session = self._channel, self._channel.session
        channel.run(self._calls)
        session.tick(time.monotonic())
        has_sent = channel.send()
        is_link_wanted = session.wants_reconnect or len(channel.backlog) > BACKLOG_FRAMES_MAX
        if is_link_wanted or (has_sent and self._has_more()) or channel.next_at() < self._wakes_at - EARLIER:
            self._ring()

    def _ring(self) -> None:
        """Has the link's thread look for everything."""
        self._is_late = True
        self._wake.ring()

    # The link's thread.

    def opened(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        self._is_unsure = True
        self._monitor_at = descriptor_of(monitor)
        self._poll.register(descriptor_of(socket), select.POLLIN)
        self._poll.register(self._monitor_at, select.POLLIN)

    def closing(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        self._poll.unregister(descriptor_of(socket))
        self._poll.unregister(descriptor_of(monitor))

    def _turn(self) -> None:
        found = self._sleep()
        channel = self._channel
        with self._turns:
            if self._fault is not None:
                raise self._fault
            self._is_asked = False
            now = time.monotonic()
            if self._is_late or self._monitor_at in found:
                self._look_for_break(now)
            if self._is_late or found:
                self._receive(now)
            self._connect_when_due(now)
            channel.run(self._calls)
            has_sent = channel.speak(now)
            self._is_late = (has_sent or self._is_unsure) and self._has_more()
            self._wakes_at = channel.next_at()
            rest = self._what_rests()
        rest()

    def _sleep(self) -> list[int]:
        """Sleeps until there is something to do; returns the descriptors of sockets that may tell of it."""
        self._is_woken = False
        poll, is_late = self._what_to_wait_for()
        timeout = 0
        if not (is_late or self._calls or self._is_asked):
            timeout = int(min(max(self._wakes_at - time.monotonic(), 0.0), POLL_MAX) * 1000 + 0.999)
        found = [descriptor for descriptor, _ in poll.poll(timeout)]
        self._is_woken = True
        wake = self._wake.fileno()
        if wake in found:
            self._wake.clear()
            found.remove(wake)
        return found

    def _what_to_wait_for(self) -> tuple[select.poll, bool]:
        """Returns what tells that there is something to do, and whether there may be more than it tells."""
        return self._poll, self._is_late

    def _what_rests(self) -> Callable[[], None]:
        """Returns, in the turn of the link's thread, what is to be done behind it."""
        return self._rest

    def _look_for_break(self, now: float) -> None:
        monitor = self._channel.monitor
        if monitor is not None and events_of(monitor) & HAS_FRAMES:
            self._channel.note_break(now)

    def _finish(self) -> None:
        with self._turns:
            super()._finish()

    def _end(self, error: Exception) -> None:
        with self._turns:
            super()._end(error)

    # In a turn.

    def _receive(self, now: float) -> None:
        """Takes what has come: mostly that is one frame, or two."""
        channel = self._channel
        socket = channel.socket
        for _ in range(FEW):
            if socket is None or not events_of(socket) & HAS_FRAMES:
                return
            channel.take(now, [socket.recv(NOBLOCK)])  # not `receive`, which looks for another itself
        self._is_unsure = True
        channel.receive(now)

    def _has_more(self) -> bool:
        """Looks whether something has come since, or there is room again for what waits."""
        channel = self._channel
        socket, monitor = channel.socket, channel.monitor
        if socket is None or monitor is None:
            return False
        if self._is_unsure:
            self._is_unsure = False
            if events_of(monitor) & HAS_FRAMES:
                return True
        return bool(events_of(socket) & (HAS_FRAMES | HAS_ROOM if channel.backlog else HAS_FRAMES))


def events_of(socket: zmq.Socket[bytes]) -> int:
    """Returns what the socket is ready for, as bits; its descriptor tells what else it becomes ready for."""
    found = socket.getsockopt(READINESS)
    assert isinstance(found, int)
    return found


def descriptor_of(socket: zmq.Socket[bytes]) -> int:
    """Returns the descriptor of a socket."""
    found = socket.fd
    assert isinstance(found, int)
    return found
