"""The link of a worker with one thread for its tasks: that thread waits for them where they come.

A `SharedLink` hands what has come to a thread that works on it, which costs a wake-up for each task. Here that thread
*leads*: while it has nothing to do it waits for the socket itself, and it takes in what has come when it reports. The
link's thread waits for what is due and for what is asked meanwhile, and for the socket only when nothing was heard of
the leader for LEAD_SECONDS: then that is at work on something that takes its time, and a beat must not wait for it.

A leader that has taken something in need not look whether more has come, nor read plain answers that came with it: it
does so when it has reported, or is back, and until then `_is_late` stands, so that the link's thread does if that is
late.

Invariants: those of `SharedLink`; one thread leads, while it is in `lead` or works on what that has brought.
"""

from __future__ import annotations

import select
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Protocol

import zmq

from zq.keys.own import KeySource
from zq.processes.wake import Wake
from zq.sessions.session import Session
from zq.sockets.channel import BACKLOG_FRAMES_MAX, HAS_FRAMES, HAS_ROOM, NOBLOCK
from zq.sockets.shared_link import EARLIER, FEW, SharedLink, descriptor_of, events_of
from zq.wire.codec import ASSIGN, SETTLED, kind_of
from zq.wire.namespaces import Namespace

LEAD_SECONDS = 0.015
"""Seconds after its last turn for which the leader is waited for: less than between two looks at what runs."""

AWAKE_SECONDS = 0.02
"""Seconds after which the link's thread has to be awake when something has come to be worked on."""


FLOWING_FRAMES_MAX = 64
"""That a leader takes in before it works on what they bring, where more had come when it reported last."""


class Led(Protocol):
    """Whose session is carried; all is called in turns, but for `is_done`."""

    def what_rests(self) -> Callable[[], None]:
        """Returns what is to be done behind a turn of the link's thread."""

    def say(self) -> None:
        """Has the session say what is to be reported."""

    def hear(self, now: float) -> bool:
        """Takes from the session what has come; returns whether that may have something to say."""

    def is_done(self) -> bool:
        """Whether there is something for the leader to do; who changes that calls `rouse` then."""


class LedLink(SharedLink):
    """Runs a session on a thread of its own, and on that of who works on what comes.

    Args: as of `Link`, and
        led: whose session it is.
    """

    def __init__(
        self,
        address: str | None,
        session: Session,
        name: str,
        namespace: Namespace | None = None,
        key: KeySource | None = None,
        *,
        led: Led,
    ) -> None:
        super().__init__(address, session, name, namespace, key, rest=_nothing)
        self._led = led
        self._lead_lock = threading.Lock()  # the right to be in `lead`
        self._leader = 0  # ident of the thread that leads
        self._lead_at = -inf  # when it took its last turn (monotonic)
        self._is_leading = False  # whether it waits, or is about to
        self._socket_at = -1  # descriptor of the socket; -1: there is none
        self._led_at = -2  # that of the socket for which `_lead_poll` is
        self._lead_poll = select.poll()
        self._is_flowing = False  # whether more had come when it reported last: then it works on all of it together
        self._kept: deque[bytes] = deque()  # answers that can wait until the next report is on its way
        self._bell = Wake()  # the leader's
        self._beside = select.poll()  # what the link's thread waits for meanwhile
        self._beside.register(self._wake.fileno(), select.POLLIN)

    # The leader.

    def lead(self) -> bool:
        """Waits in the place of the link's thread until there is something to do.

        Returns:
            Whether there is; False: the link has ended, or is about to, or another thread waits.
        """
        if not self._lead_lock.acquire(blocking=False):
            return False
        self._leader = threading.get_ident()
        try:
            while True:
                self._is_leading = True  # before the look: who changes something sees it, or is seen
                if self._is_closing or self.is_over or self._fault is not None:
                    return False
                if self._led.is_done():
                    return True
                if not self._is_late:
                    self._await()
                self._is_leading = False
                with self._turns:
                    if not (self._is_closing or self.is_over or self._fault is not None):
                        self._take_in(time.monotonic())
        except BaseException as error:
            self._fault = error
            self._wake.ring()
            raise
        finally:
            self._is_leading = False
            if self.is_over:
                self._bell.close()
            self._lead_lock.release()

    def rouse(self) -> None:
        """Has the leader look whether there is something to do; from any thread."""
        if self._is_leading:
            self._bell.ring()

    def leave(self) -> None:
        """Nobody leads any more, in the thread that has: the link's thread waits for the socket from now on."""
        if self._leader == threading.get_ident():
            self._leader, self._lead_at = 0, -inf
            self._ring()

    def _await(self) -> None:
        """Sleeps until something comes, the socket is another one or the bell rings."""
        at = self._socket_at
        if at != self._led_at:
            self._led_at, self._lead_poll = at, select.poll()
            self._lead_poll.register(self._bell.fileno(), select.POLLIN)
            if at >= 0:
                self._lead_poll.register(at, select.POLLIN)
        for descriptor, _ in self._lead_poll.poll():
            if descriptor != at:
                self._bell.clear()

    # In a turn of the leader.

    def _take_in(self, now: float) -> None:
        """Takes what has come until there is something to do, or all of it where much comes; plain answers only when
        there is nothing else.
        """
        channel, led, kept = self._channel, self._led, self._kept
        self._lead_at = now
        is_likely, self._is_late = not self._is_late, False
        for _ in range(FLOWING_FRAMES_MAX if self._is_flowing else FEW):
            frame = self._next_frame(is_likely=is_likely)
            if frame is None:
                break
            kind = kind_of(frame)
            is_likely = kind == SETTLED  # mostly with the next task
            if is_likely:
                kept.append(frame)
                continue
            if kind == ASSIGN:
                channel.take_next(now, frame)
            else:
                self._take_kept(now)
                channel.take(now, [frame])
            self._answer(now)
            if not self._is_flowing and led.is_done():
                self._is_late = True
                return
        else:
            self._is_late = True
        if kept:
            self._take_kept(now)
            self._answer(now)

    def _next_frame(self, *, is_likely: bool) -> bytes | None:
        """Returns a frame that has come; looks for one before, if it is not likely, since an error costs more."""
        channel = self._channel
        socket = channel.socket
        if socket is None:
            return None
        if not is_likely and not events_of(socket) & (HAS_FRAMES | HAS_ROOM if channel.backlog else HAS_FRAMES):
            return None
        try:
            return socket.recv(NOBLOCK)
        except zmq.Again:
            if channel.backlog:
                channel.send()
                self._is_late = True
            return None

    def _take_kept(self, now: float) -> None:
        kept = self._kept
        if kept:
            self._channel.take(now, list(kept))
            kept.clear()

    def _answer(self, now: float) -> None:
        """Has the session say what follows from what has come, and the link's thread be there when something is due."""
        channel = self._channel
        if self._led.hear(now):
            self._is_late |= channel.send()
            if channel.session.wants_reconnect or channel.next_at() < self._wakes_at - EARLIER:
                self._ring()
        elif now + AWAKE_SECONDS < self._wakes_at - EARLIER:
            self._wake.ring()

    def _say(self) -> None:
        if self._calls or self._leader != threading.get_ident():
            super()._say()
            return
        channel = self._channel
        self._led.say()
        if channel.send():
            is_unsure = self._is_unsure
            now = self._lead_at = time.monotonic()
            self._is_late = self._is_flowing = self._has_more()
            if self._is_late:
                self._take_in(now)
            elif self._kept:
                self._take_kept(now)
                self._answer(now)
            if is_unsure or channel.session.wants_reconnect or len(channel.backlog) > BACKLOG_FRAMES_MAX:
                self._ring()

    # The link's thread.

    def opened(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        super().opened(socket, monitor)
        self._beside.register(self._monitor_at, select.POLLIN)
        self._note_socket(descriptor_of(socket))

    def closing(self, socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]) -> None:
        super().closing(socket, monitor)
        self._kept.clear()  # what they answer is said again
        self._beside.unregister(self._monitor_at)
        self._note_socket(-1)

    def _note_socket(self, descriptor: int) -> None:
        self._socket_at = descriptor
        self.rouse()

    def _what_to_wait_for(self) -> tuple[select.poll, bool]:
        if self._is_leading:
            return self._beside, self._is_late
        if time.monotonic() < self._lead_at + LEAD_SECONDS:
            return self._beside, False
        return super()._what_to_wait_for()

    def _receive(self, now: float) -> None:
        self._take_kept(now)
        super()._receive(now)

    def _what_rests(self) -> Callable[[], None]:
        return self._led.what_rests()

    def _close_sockets(self) -> None:
        if self._is_leading:
            self._bell.ring()
        else:
            self._bell.close()
        super()._close_sockets()


def _nothing() -> None:
    """What rests is asked for in each turn."""
