"""The Paranoid Pirate worker: answers requests one at a time, beats, and finds its queue again (RFC 6/PPP).

The thread of the device owns the socket and beats; the handler runs in a second thread, so that its work does not hold
back heartbeats. READY means ready: after a lost queue it is said on a fresh socket, once the handler is idle.
"""

from __future__ import annotations

import logging
import math
import queue
import random
import threading
import time
from collections.abc import Callable
from functools import partial

import zmq

from patterns.guide.device import STOP_TIMEOUT, Device
from patterns.guide.liveness import Liveness
from patterns.guide.paranoid_pirate_queue import HEARTBEAT, READY
from patterns.sockets import Frames, Socket, connect, send_now, split_envelope
from zq.handling.raised import LOGGED_BYTES_MAX, trace_of
from zq.processes.endpoints import kept_address

logger = logging.getLogger(__name__)

FramesHandler = Callable[[Frames], Frames]

RECONNECT_FIRST, RECONNECT_MAX = 0.1, 5.0
"""Seconds before a silent queue is tried anew: doubled each time, then drawn between half and all of it, so that the
workers of a queue that comes back do not all come at once."""


class ParanoidPirateWorker(Device):
    """A worker for a queue, in any language, that speaks RFC 6.

    Stopped while it works, it finishes, replies and ends. A handler that raises is logged, and the worker says READY
    again: `ParanoidPirateQueue` gives the request to another worker (the guide's sample queue forgets it).

    Args:
        address: the queue's backend.
        handler: gets the content frames of a request and returns those of the reply, one at least; called in a thread
            of its own, one request at a time.
        heartbeat_interval: seconds; the queue should have the same.
        missed_max: heartbeats in a row whose absence means that the queue is gone.

    Attributes:
        handled: replies that were sent.
        lost: replies that came to nothing, because the queue had gone in the meantime.
        failures: requests whose handler raised.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self, address: str, handler: FramesHandler, *, heartbeat_interval: float = 1.0, missed_max: int = 3
    ) -> None:
        super().__init__()
        self.handled = self.lost = self.failures = 0
        self._address = kept_address(address)
        self._handler = handler
        self._make_liveness: Callable[[float], Liveness] = partial(Liveness, heartbeat_interval, missed_max)
        self._liveness = self._make_liveness(time.monotonic())
        self._queue: Socket | None = None
        self._connect_at = 0.0
        self._pauses = 0  # in a row, with nothing heard in between
        self._envelope: Frames | None = None  # of the request in hand; None in hand, too, once its queue has gone
        self._is_working = False
        self._requests: queue.SimpleQueue[Frames | None] = queue.SimpleQueue()
        self._bench = threading.Thread(target=self._work, name="zq-handler", daemon=True)

    def _open(self) -> None:
        self._bench.start()

    def _close(self) -> None:
        if self._bench.ident is not None:
            self._requests.put(None)
            self._bench.join(STOP_TIMEOUT / 2)

    def _may_end(self) -> bool:
        return not self._is_working

    def _tick(self, now: float) -> float:
        if self._queue is None:
            if self._is_working or now < self._connect_at or self._is_stopping:
                return math.inf if self._is_working else self._connect_at
            self._connect(now)
        if self._queue is not None and self._liveness.take_expired(now):
            logger.warning("the queue at %s was not heard any more; it is tried anew", self._address)
            self._disconnect(now)
            return self._connect_at
        if self._queue is not None and self._liveness.take_beat(now):
            send_now(self._queue, [HEARTBEAT])
        return self._liveness.next_at()

    # The queue.

    def _connect(self, now: float) -> None:
        self._queue = self._make(zmq.DEALER, self._receive)
        connect(self._queue, self._address)
        self._queue.send(READY, zmq.NOBLOCK)
        self._liveness = self._make_liveness(now)
        self._liveness.heard(b"", now)

    def _disconnect(self, now: float) -> None:
        if self._queue is not None:
            self._drop(self._queue, linger=0)
        self._queue = None
        self._envelope = None
        pause = min(RECONNECT_FIRST * 2 ** min(self._pauses, 10), RECONNECT_MAX)
        self._pauses += 1
        self._connect_at = now + pause * random.uniform(0.5, 1.0)

    def _receive(self, frames: Frames) -> None:
        self._liveness.heard(b"", time.monotonic())
        self._pauses = 0
        if frames == [HEARTBEAT]:
            return
        envelope, content = split_envelope(frames)
        if self._is_working:
            raise ValueError("expected no request before the last one is answered")
        if self._is_stopping:
            return  # the queue gives it to another when it no longer hears us
        self._envelope = envelope
        self._is_working = True
        self._requests.put(content)

    def _finish(self, reply: Frames | None) -> None:
        """Answers the request in hand; None: the handler has failed."""
        self._is_working = False
        envelope, self._envelope = self._envelope, None
        if reply is None:
            self.failures += 1
            if self._queue is not None and envelope is not None and not self._is_stopping:
                send_now(self._queue, [READY])
        elif self._queue is None or envelope is None or not send_now(self._queue, [*envelope, *reply]):
            self.lost += 1
        else:
            self.handled += 1

    # The handler's thread.

    def _work(self) -> None:
        while (content := self._requests.get()) is not None:
            reply: Frames | None = None
            try:
                reply = _checked(self._handler(content))
            except BaseException as error:  # whatever it is, it ends no more than this request
                trace = trace_of(error, LOGGED_BYTES_MAX)
                logger.error("the handler failed; the request is left to another worker\n%s", trace)
            self._post(partial(self._finish, reply))


def _checked(reply: object) -> Frames:
    """Returns a reply if it can be one.

    Raises:
        TypeError: it is not one or more frames.
    """
    if not isinstance(reply, list) or not reply or not all(isinstance(frame, bytes) for frame in reply):
        raise TypeError(f"expected the handler to return a list of one or more bytes, got {type(reply).__name__}")
    return reply
