"""The link of a client that blocks: its callers use the socket themselves while nobody else needs it.

What a `Link` does, with a *passage* (`zq.sockets.passage`) beside it. While somebody waits for anything, the link's
thread drives the channel as that of every link does. When nothing is left to do it opens the passage, and sleeps until
it is told something. Only to a client that has pulled tasks does anything come that it did not ask for: there the
thread sleeps at the socket until a caller has been there, and from then on looks at it when no caller came for a while.
Where several threads call at once the passage stays closed: what they say then gathers, which is worth more.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import zmq

from zq.errors import ClosedError
from zq.keys.own import KeySource
from zq.sessions.client import ClientSession
from zq.sessions.exchanges import Exchange
from zq.sessions.outcomes import Reply
from zq.sockets.channel import HAS_FRAMES, READINESS
from zq.sockets.crowd import Crowd
from zq.sockets.link import FORKED, POLL_MAX, Link
from zq.sockets.passage import HAS_ONE_LOCK, Passage
from zq.wire.namespaces import Namespace

STRAYS_INTERVAL = 0.05
"""Seconds between two looks at the socket while callers come and go, for what is not an answer to them."""

RELEASE_INTERVAL = 0.05
"""Seconds between two looks, after the end, whether a socket that was given up is free."""

CROWDED_SECONDS = 0.05
"""Seconds for which the passage stays closed after several had called at once: opening it to one of many would cost all
of them a hand-over.
"""


STEP_SECONDS = 0.005
"""Seconds for which those of a crowd who are awake are left to wake the others, and what they ask to gather."""


class CallerLink(Link):
    """A link whose callers may use its socket; any thread may call `exchange`. Arguments as of `Link`."""

    def __init__(
        self,
        address: str | None,
        session: ClientSession,
        name: str,
        namespace: Namespace | None = None,
        key: KeySource | None = None,
    ) -> None:
        super().__init__(address, session, name, namespace, key)
        self._client = session
        self._passage = Passage(session, namespace, self._wake.ring)
        self._alone = zmq.Poller()  # nothing but what the thread is told
        self._loose = zmq.Poller()  # the same, and breaks
        self._parked = zmq.Poller()  # the same, and whether anything comes
        self._crowded_until = 0.0
        self.crowd = Crowd(self._look_for_calls)
        self._expected = 0  # of those who were answered last: how many may ask again
        self._step_at = 0.0  # until when those who are awake wake the others
        self._socket_at = -1  # its descriptor

    def exchange(self, make: Callable[[Reply], Exchange], reply: Reply) -> bool:
        """Makes an exchange, and carries it in the thread that calls, if the socket is free; else returns False, and
        does nothing.
        """
        return self.is_free and self.carry(make(reply))

    @property
    def is_free(self) -> bool:
        """Whether the socket is, for who carries an exchange himself."""
        return self._passage.is_free and not (self._calls or self._is_closing) and self.is_here

    def carry(self, exchange: Exchange) -> bool:
        """As `exchange`, of one that is made, where the socket was free."""
        return self._passage.carry(exchange)

    def call(self, function: Callable[[], None]) -> None:
        """As of `Link`, in one step less."""
        if os.getpid() != self._pid:
            raise ClosedError(FORKED)
        self._passage.leave_to()
        if self.is_over:
            raise ClosedError("the connection is closed")
        self._calls.append(function)
        if self.is_over or not (self._is_woken or self.crowd.asleep):
            self.look()

    def _look_for_calls(self) -> None:
        if self._calls and not self._is_woken:
            self._is_woken = True  # the others need not signal as well
            self._wake.ring()

    def close(self, timeout: float = 5.0) -> None:
        self._passage.leave_to()
        super().close(timeout)

    # The link's thread.

    def opened(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        super().opened(socket, monitor)
        self._loose.register(monitor, zmq.POLLIN)
        self._parked.register(monitor, zmq.POLLIN)
        self._socket_at = int(socket.getsockopt(zmq.FD))
        self._parked.register(self._socket_at, zmq.POLLIN)

    def closing(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        super().closing(socket, monitor)
        self._loose.unregister(monitor)
        self._parked.unregister(monitor)
        self._parked.unregister(self._socket_at)

    def _begin(self) -> None:
        super()._begin()
        for poller in (self._alone, self._loose, self._parked):
            poller.register(self._wake, zmq.POLLIN)

    def _receive(self, now: float) -> None:
        self.crowd.is_gathering = True
        try:
            self._channel.receive(now)
        finally:
            self.crowd.is_gathering = False
            woken = self.crowd.wake(len(self._calls))
        if woken:
            self._expected = woken
            self._step_at = now + STEP_SECONDS
        elif self._client.is_asking or now < self._crowded_until:
            time.sleep(0)  # as in every link

    def _run_calls(self, now: float) -> None:
        self._channel.release()
        self._adopt(now)
        if self.crowd.asleep:
            if now < self._step_at:
                return  # who is awake by then speaks first
            self._step_at = now + STEP_SECONDS
            self.crowd.wake_next()
        elif len(self._calls) < self._expected:
            time.sleep(0)  # the last one, who has told of it, is about to ask
        self._expected = 0
        if self._calls and (len(self._calls) > 1 or self._client.is_asking):
            self._crowded_until = now + CROWDED_SECONDS
        super()._run_calls(now)

    @property
    def _is_called(self) -> bool:
        return bool(self._calls) and not self.crowd.asleep

    def _wait(self, until: float = inf) -> None:
        socket = self._channel.socket
        if self.crowd.asleep:
            super()._wait(min(until, self._step_at))
        elif socket is None or not (HAS_ONE_LOCK and self._channel.is_at_rest):
            super()._wait(until)
        elif self._calls or time.monotonic() < self._crowded_until or int(socket.getsockopt(READINESS)) & HAS_FRAMES:
            super()._wait(min(until, self._crowded_until))
        else:
            self._rest(socket)

    def _rest(self, socket: zmq.Socket[bytes]) -> None:
        """Sleeps while callers use the socket, until the thread is needed."""
        due_at = min(self._channel.next_at(), time.monotonic() + POLL_MAX)
        self._is_woken = False
        self._passage.open(socket)
        try:
            if not self._is_needed:
                self._sleep(due_at)
        finally:
            self._take()
        self._adopt(time.monotonic())  # what was said on a connection, before anything is heard of its end
        super()._wait(0.0)

    @property
    def _is_needed(self) -> bool:
        return bool(self._calls) or self._is_closing or self._passage.is_left or self._channel.can_release

    def _sleep(self, due_at: float) -> None:
        passage, may_be_told = self._passage, self._client.has_pulled
        entries = passage.entries
        passage.is_watched = may_be_told
        events = _poll(self._parked if may_be_told else self._loose, due_at - time.monotonic())
        passage.is_watched = False
        while True:
            if self._wake.fileno() in events:
                self._wake.clear()
            now = time.monotonic()
            if self._is_needed or self._channel.monitor in events or now >= due_at:
                return
            if may_be_told and passage.entries == entries:
                return
            entries = passage.entries
            events = _poll(self._loose, min(due_at - now, STRAYS_INTERVAL if may_be_told else POLL_MAX))

    def _take(self) -> None:
        if self._passage.take(self._pause):
            self._crowded_until = time.monotonic() + CROWDED_SECONDS
        given_up = self._passage.take_given_up()
        if given_up is not None:
            self._channel.abandon(lambda: given_up.is_out)

    def _pause(self, seconds: float) -> None:
        if _poll(self._alone, seconds):
            self._wake.clear()

    def _adopt(self, now: float) -> None:
        """Makes what callers have left behind the session's."""
        carried, strays = self._passage.take_left()
        if carried is not None:
            carried.adopt(self._client)
        if strays:
            self._channel.take(now, strays)

    def _end(self, error: Exception) -> None:
        self.crowd.wake_all()
        self._take()
        try:
            self._adopt(time.monotonic())
        finally:
            super()._end(error)
            self._passage.close()

    def _close_sockets(self) -> None:
        if self._channel.release():
            super()._close_sockets()
        else:  # who may use one yet waits for the end of this thread, maybe
            with suppress(RuntimeError):  # the program ends, and the sockets with it
                threading.Thread(target=self._close_late, name=f"{self._thread.name}-end", daemon=True).start()

    def _close_late(self) -> None:
        while not self._channel.release():
            time.sleep(RELEASE_INTERVAL)
        super()._close_sockets()


def start_link(*arguments: Any) -> CallerLink:
    """Makes a link, and starts its thread; arguments as of `CallerLink`."""
    link = CallerLink(*arguments)
    link.start()
    return link


def _poll(poller: zmq.Poller, seconds: float) -> dict[Any, int]:
    """Returns what has happened within that time."""
    return dict(poller.poll(int(max(seconds, 0.0) * 1000 + 0.999)))
