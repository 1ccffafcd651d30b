"""The Lazy Pirate client: asks over a REQ socket, and when no answer comes, asks again on a fresh one."""

from __future__ import annotations

import time

import zmq

from patterns.guide.socket_owner import SocketOwner
from patterns.sockets import Frames, Socket, connect, make_socket
from zq import ClosedError, TimedOutError
from zq.processes.endpoints import kept_address


class LazyPirateClient(SocketOwner):
    """A client that asks a server (REP or ROUTER, in any language) and never hangs; one thread at a time may use it.

    Guarantee: `request` returns the reply to this very request, or raises within (retries + 1) x timeout seconds.
    Silence means unknown: the server may have worked on the request once for each try, so it should be safe to repeat.

    Args:
        address: of the server, or of a queue before servers.
        timeout: seconds to wait for the reply to each try, above 0.
        retries: tries after the first, from 0.

    Attributes:
        retried: tries after a first one, over all requests.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, address: str, *, timeout: float = 2.5, retries: int = 3) -> None:
        if not timeout > 0 or retries < 0:
            raise ValueError(f"expected a timeout above 0 and retries from 0, got {timeout} seconds and {retries}")
        super().__init__()
        self.address = kept_address(address)
        self.retried = 0
        self._timeout = timeout
        self._retries = retries
        self._socket: Socket | None = None

    def request(self, *content: bytes) -> Frames:
        """Asks, and returns the frames of the reply.

        Args:
            content: one or more frames.

        Raises:
            TimedOutError: no try was answered in time; whether the request was worked on is unknown.
            ClosedError: the client is closed.
            ValueError: there is no frame, or the address cannot be one.
        """
        if not content:
            raise ValueError("expected one or more frames, got none")
        if self._context.closed:
            raise ClosedError("the client is closed")
        for attempt in range(self._retries + 1):
            self.retried += attempt > 0
            reply = self._try(list(content))
            if reply is not None:
                return reply
        raise TimedOutError(
            f"no reply from {self.address} to {self._retries + 1} tries of {self._timeout:g} s; is the server up?"
        )

    def _try(self, content: Frames) -> Frames | None:
        """Asks once. A REQ socket that got no reply can be used no more: it is dropped, and a late reply with it."""
        stop_at = time.monotonic() + self._timeout
        socket = self._socket or self._connect()
        is_answered = False
        try:
            socket.send_multipart(content, zmq.NOBLOCK)  # waits in the socket while there is no connection
            if socket.poll(max(0, int((stop_at - time.monotonic()) * 1000))):
                reply = socket.recv_multipart(zmq.NOBLOCK)
                is_answered = True
                return reply
            return None
        finally:
            if not is_answered:  # also after Ctrl-C
                self._drop()

    def _connect(self) -> Socket:
        self._socket = make_socket(self._context, zmq.REQ, linger=0)
        connect(self._socket, self.address)
        return self._socket

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
