"""The Paranoid Pirate queue: requests of any client go to workers that are watched by heartbeats (RFC 6/PPP).

Clients (REQ, or DEALER with an empty frame) connect to the frontend, workers (DEALER) to the backend. Unlike the sample
of the guide, the queue keeps each request until its reply has come, and gives it to another worker when the first dies.

    READY      puts a worker into the conversation, free; a request that it held before is given to another
    HEARTBEAT  is life, and nothing else: it never makes a worker free
    REPLY      is taken from the worker that holds the request, and makes it free

Invariants: a request is in `_waiting`, or in the hands of exactly one worker, or has ended; a worker in `_free` holds
none.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque

import zmq

from patterns.guide.device import Device
from patterns.guide.liveness import Liveness
from patterns.sockets import Frames, send_now, split_envelope

logger = logging.getLogger(__name__)

READY = b"\x01"
HEARTBEAT = b"\x02"

WAITING_REQUESTS_MAX = 1000
"""Requests that wait for a worker; beyond them clients are held up by their own sockets."""

WAITING_BYTES_MAX = 64 << 20
"""Content of waiting requests, at most one request above it; the same happens beyond."""

REQUEST_ATTEMPTS_MAX = 5
"""Workers that may be lost with the same request in hand before it is taken for what kills them."""


class WaitingRequest:
    """A request, until its reply has come."""

    __slots__ = ("attempts", "content", "envelope", "expires_at", "size")

    def __init__(self, envelope: Frames, content: Frames, expires_at: float) -> None:
        self.envelope = envelope  # the client's address, what it put before the delimiter, and the delimiter
        self.content = content
        self.expires_at = expires_at
        self.size = sum(map(len, content))
        self.attempts = 0


class ParanoidPirateQueue(Device):
    """A queue between clients and workers, in any language, that speak RFC 6.

    Guarantee: while the queue lives, a request that it took is answered once, by a worker that was free; it may be
    worked on more than once. Nothing is on disk: what the queue holds dies with it, and only the client's retry brings
    it back.

    Args:
        frontend: where clients connect, as tcp://127.0.0.1:5555; port `*` takes a free one.
        backend: where workers connect.
        heartbeat_interval: seconds; workers should have the same.
        missed_max: heartbeats in a row whose absence means that a worker is gone.
        requests_max: requests that wait for a worker, from 1.
        request_ttl: seconds after which a request that still waits is dropped, since its client has surely given up;
            None keeps it.

    Attributes:
        frontend, backend: where they were bound, known once it runs.
        answered, reassigned: replies that were sent on; requests that were taken back from a lost worker.
        abandoned: requests that were dropped, too old or after REQUEST_ATTEMPTS_MAX lost workers.
        undeliverable: replies to clients that were gone, for example because they had tried again on a fresh socket.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        frontend: str,
        backend: str,
        heartbeat_interval: float = 1.0,
        missed_max: int = 3,
        requests_max: int = WAITING_REQUESTS_MAX,
        request_ttl: float | None = None,
    ) -> None:
        super().__init__()
        if requests_max < 1 or (request_ttl is not None and not request_ttl > 0):
            raise ValueError(
                f"expected requests_max from 1 and request_ttl above 0, got {requests_max} and {request_ttl}"
            )
        self.frontend = frontend
        self.backend = backend
        self.answered = self.reassigned = self.abandoned = self.undeliverable = 0
        self._requests_max = requests_max
        self._ttl = float("inf") if request_ttl is None else request_ttl
        self._liveness = Liveness(heartbeat_interval, missed_max, time.monotonic())
        self._free: OrderedDict[bytes, None] = OrderedDict()  # least recently used first
        self._busy: dict[bytes, WaitingRequest] = {}
        self._waiting: deque[WaitingRequest] = deque()
        self._waiting_bytes = 0

    def _open(self) -> None:
        self._clients = self._make(zmq.ROUTER, self._receive_request)
        self._workers = self._make(zmq.ROUTER, self._receive_from_worker)
        self.frontend = self._bind(self._clients, self.frontend)
        self.backend = self._bind(self._workers, self.backend)

    def _tick(self, now: float) -> float:
        for worker in self._liveness.take_expired(now):
            self._lose(worker, "was not heard any more")
        self._assign(now)
        if self._liveness.take_beat(now):
            for worker in list(self._liveness):  # also the busy ones: they watch us, too
                if not send_now(self._workers, [worker, HEARTBEAT]):
                    self._lose(worker, "has disconnected")
        self._listen(self._clients, self._has_room())
        return self._liveness.next_at()

    # Clients.

    def _receive_request(self, frames: Frames) -> None:
        envelope, content = split_envelope(frames[1:])
        request = WaitingRequest([frames[0], *envelope], content, time.monotonic() + self._ttl)
        self._waiting.append(request)
        self._waiting_bytes += request.size
        self._listen(self._clients, self._has_room())

    def _has_room(self) -> bool:
        return len(self._waiting) < self._requests_max and self._waiting_bytes < WAITING_BYTES_MAX

    def _assign(self, now: float) -> None:
        while self._waiting and self._free:
            request = self._waiting.popleft()
            self._waiting_bytes -= request.size
            if request.expires_at <= now:
                self.abandoned += 1
                continue
            worker, _ = self._free.popitem(last=False)
            if send_now(self._workers, [worker, *request.envelope, *request.content]):
                self._busy[worker] = request
            else:
                self._put_back(request)
                self._lose(worker, "has disconnected")

    # Workers.

    def _receive_from_worker(self, frames: Frames) -> None:
        worker, message = frames[0], frames[1:]
        if message == [READY]:
            self._take_back(worker)
            self._welcome(worker)
        elif worker not in self._liveness:
            # RFC 6: READY is first. A worker that we gave up hears no heartbeat from us, and so says READY again.
            raise ValueError("expected READY as a worker's first message")
        elif message == [HEARTBEAT]:
            self._liveness.heard(worker, time.monotonic())
        else:
            self._receive_reply(worker, message)

    def _receive_reply(self, worker: bytes, message: Frames) -> None:
        request = self._busy.get(worker)
        size = len(request.envelope) if request is not None else 0
        if request is None or message[:size] != request.envelope or len(message) <= size:
            self._lose(worker, "sent what is no reply to what it holds")
            raise ValueError("expected READY, HEARTBEAT or the reply to the request in hand, in its envelope")
        del self._busy[worker]
        self._welcome(worker)
        if send_now(self._clients, message):
            self.answered += 1
        else:
            self.undeliverable += 1

    def _welcome(self, worker: bytes) -> None:
        self._liveness.heard(worker, time.monotonic())
        self._free[worker] = None
        self._free.move_to_end(worker)

    def _lose(self, worker: bytes, why: str) -> None:
        """Ends the conversation with a worker: it gets no message until it says READY."""
        logger.warning("worker %s %s; what it held goes to another", worker.hex(), why)
        self._liveness.forget(worker)
        self._free.pop(worker, None)
        self._take_back(worker)

    def _take_back(self, worker: bytes) -> None:
        """Puts what a worker held back to the front of the queue: it was the oldest."""
        request = self._busy.pop(worker, None)
        if request is None:
            return
        request.attempts += 1
        if request.attempts >= REQUEST_ATTEMPTS_MAX:
            self.abandoned += 1
            logger.warning("dropped a request with which %d workers were lost", request.attempts)
            return
        self.reassigned += 1
        request.expires_at = float("inf")  # it was started: no longer one that nobody looked at
        self._put_back(request)

    def _put_back(self, request: WaitingRequest) -> None:
        self._waiting.appendleft(request)
        self._waiting_bytes += request.size
