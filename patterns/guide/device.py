"""The loop of every long-running pattern: one thread makes its sockets, turns until it is stopped, and closes them.

One turn: wait for a message, a call of `wake`, or the time that the last tick named; take a bounded number of messages
from each socket; do what other threads asked for; tick. The bound is what lets heartbeats out on time under any
traffic.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import zmq

from patterns.sockets import HIGH_WATER_MARK, LINGER, Frames, Socket, make_socket
from zq import ClosedError
from zq.processes.bound_address import BoundAddress, bind
from zq.processes.wake import Wake

logger = logging.getLogger(__name__)

MESSAGES_PER_TURN_MAX = 100
"""Messages taken from one socket before the other sockets and the clock are looked at: milliseconds of work."""

DEVICE_POLL_MAX = 60.0
"""Seconds of the longest sleep, whatever the tick says."""

STOP_TIMEOUT = 10.0
"""Seconds that leaving the context waits for the thread."""


class Device:
    """A loop over sockets, run once: `with device: ...` runs it in a thread, `device.run()` in the caller's.

    A subclass overrides `_open`, and as needed `_tick`, `_may_end` and `_close`; all of them are called by
    the thread that runs, which alone touches the sockets. Any thread, and a signal handler, may call `stop`.

    Attributes:
        malformed: messages that were not what the protocol allows, and were dropped.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._context: zmq.Context[Socket]
        self._poller = zmq.Poller()
        self._handlers: dict[Socket, Callable[[Frames], None] | None] = {}
        self._bound: list[BoundAddress] = []
        self._wake: Wake | None = None
        self._posts: deque[Callable[[], None]] = deque()
        self._is_stopping = False
        self._is_begun = False
        self._opened = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    # What a subclass overrides.

    def _open(self) -> None:
        """Makes the sockets."""
        raise NotImplementedError

    def _tick(self, now: float) -> float:  # noqa: ARG002  # for subclasses
        """Does what is due; returns the monotonic seconds at which something is due next."""
        return math.inf

    def _may_end(self) -> bool:
        """Whether a loop that was told to stop has nothing left to finish."""
        return True

    def _close(self) -> None:
        """Says the last words and lets go of all that is not a socket."""

    # What a subclass calls.

    def _make(
        self, kind: int, handler: Callable[[Frames], None] | None, high_water_mark: int = HIGH_WATER_MARK
    ) -> Socket:
        """Returns a socket whose messages are given to `handler`, which raises ValueError for a malformed one.

        With None the socket only sends, and is not listened to before `_listen`, which then waits for room in it.
        """
        socket = make_socket(self._context, kind, high_water_mark=high_water_mark)
        self._handlers[socket] = handler
        self._listen(socket, handler is not None)
        return socket

    def _bind(self, socket: Socket, address: str) -> str:
        """Binds a socket and returns where; raises OSError."""
        endpoint = bind(socket, address)
        self._bound.append(BoundAddress(endpoint))
        return endpoint

    def _listen(self, socket: Socket, is_listening: bool) -> None:
        """Sets whether a socket's messages are taken; those that are not wait in it, and hold up their senders."""
        if (socket in self._poller) != is_listening:
            if is_listening:
                self._poller.register(socket, zmq.POLLOUT if self._handlers[socket] is None else zmq.POLLIN)
            else:
                self._poller.unregister(socket)

    def _drop(self, socket: Socket, linger: float = LINGER) -> None:
        """Closes one socket while the loop goes on."""
        self._listen(socket, is_listening=False)
        del self._handlers[socket]
        socket.close(int(linger * 1000))

    def _post(self, function: Callable[[], None]) -> None:
        """Has `function` called by the thread that runs; from any thread."""
        self._posts.append(function)
        self.wake()

    def wake(self) -> None:
        """Has the loop tick; from any thread."""
        if self._wake is not None:
            self._wake.ring()

    # What a user calls.

    def run(self) -> None:
        """Serves in this thread until `stop`.

        Raises:
            ClosedError: it has run before.
            OSError: an address cannot be bound.
        """
        if self._is_begun:
            raise ClosedError(f"this {type(self).__name__} has run before; make a new one")
        self._is_begun = True
        self._context = zmq.Context()
        try:
            wake = self._wake = Wake()
            self._poller.register(wake, zmq.POLLIN)
            self._open()
            self._opened.set()
            self._serve(wake)
        finally:
            self._end()

    def stop(self) -> None:
        """Ends `run` soon; from any thread or a signal handler, and as often as you like."""
        self._is_stopping = True
        self.wake()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run_in_thread, name=f"zq-{type(self).__name__}", daemon=True)
        self._thread.start()
        self._opened.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        thread = self._thread
        if thread is None:
            return
        thread.join(STOP_TIMEOUT)
        if thread.is_alive():
            raise RuntimeError(f"{thread.name} has not ended within {STOP_TIMEOUT:.0f} s; its sockets are still open")
        if self._failure is not None and error is None:
            raise self._failure

    # The thread that runs.

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._failure = error
            if self._opened.is_set():
                logger.exception("%s has failed and is closed", type(self).__name__)
        finally:
            self._opened.set()

    def _serve(self, wake: Wake) -> None:
        next_at = self._tick(time.monotonic())
        while not (self._is_stopping and self._may_end()):
            patience = min(max(next_at - time.monotonic(), 0.0), DEVICE_POLL_MAX)
            for ready, _ in self._poller.poll(int(patience * 1000 + 0.999)):
                if isinstance(ready, zmq.Socket):
                    self._drain(ready)
                else:
                    wake.clear()
                    while self._posts:
                        self._posts.popleft()()
            next_at = self._tick(time.monotonic())

    def _drain(self, socket: Socket) -> None:
        handler = self._handlers.get(socket)  # None also when an earlier message of this turn had it dropped
        for _ in range(MESSAGES_PER_TURN_MAX):
            if handler is None or socket.closed or socket not in self._poller:
                return
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                handler(frames)
            except ValueError as error:
                self.malformed += 1
                logger.debug("%s dropped a message: %s", type(self).__name__, error)

    def _end(self) -> None:
        self._is_stopping = True  # also after a failure: nobody else need know why it is over
        try:
            self._close()
        finally:
            for bound in self._bound:
                bound.leave()
            for socket in list(self._handlers):
                self._drop(socket)
            self._context.term()  # waits for the linger; would wait for ever for a socket that was forgotten
            if self._wake is not None:
                self._wake.close()
