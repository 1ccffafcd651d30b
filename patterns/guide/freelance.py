"""The Freelance client: several servers, no broker between, and the client chooses.

Of the guide's models this is the tracked one: it asks the server that answered last, and goes on to the next when that
one is silent. The shotgun (ask all at once) multiplies the work by the number of servers; simple failover waits for a
dead server at each request anew. Frames are those of the guide's second model, so that any REP server can serve: it
gets `[number, content ...]` and answers `[number, reply ...]`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import zmq

from patterns.guide.socket_owner import SocketOwner
from patterns.sockets import Frames, Socket, connect, make_socket
from zq import ClosedError, TimedOutError

RECONNECT_PAUSE = 0.05
"""Seconds until servers are tried again when none of them is connected."""

SERVER_HIGH_WATER_MARK = 10
"""Requests that may wait for one server; only those of tries that came to nothing ever do."""


class FreelanceClient(SocketOwner):
    """Asks one of several equal servers and never hangs; one thread at a time may use it.

    Guarantee: `request` returns a reply to this very request from some server, or raises within `timeout`. More than
    one server may have worked on it, so it should be safe to repeat.

    Args:
        servers: their addresses, best first.
        timeout: seconds for a request over all servers, above 0.
        try_timeout: seconds to wait for one server before the next is asked, too; longer than the slowest good answer.

    Attributes:
        servers: in the order in which they will be asked.
        failovers: how often a server was silent and the next was asked.
        malformed: messages that were no reply.

    Raises:
        ValueError: there is no server, one cannot be an address, or a time is out of its range.
    """

    def __init__(self, servers: Sequence[str], *, timeout: float = 5.0, try_timeout: float = 0.5) -> None:
        if isinstance(servers, str) or not servers or not (timeout > 0 and try_timeout > 0):
            raise ValueError(f"expected one or more servers and times above 0, got {servers!r}")
        super().__init__()
        self.servers = list(dict.fromkeys(servers))
        self.failovers = self.malformed = 0
        self._timeout = timeout
        self._try_timeout = try_timeout
        self._number = 0
        self._poller = zmq.Poller()
        self._sockets: dict[str, Socket] = {}
        with self._opening():
            for server in self.servers:
                self._sockets[server] = self._connect(server)

    def request(self, *content: bytes) -> Frames:
        """Asks, and returns the frames of the first reply.

        Args:
            content: one or more frames.

        Raises:
            TimedOutError: no server answered in time; whether one worked on the request is unknown.
            ClosedError: the client is closed.
            ValueError: there is no frame.
        """
        if not content:
            raise ValueError("expected one or more frames, got none")
        if self._context.closed:
            raise ClosedError("the client is closed")
        self._number += 1
        stop_at = time.monotonic() + self._timeout
        asked: list[str] = []
        sent = 0
        while (now := time.monotonic()) < stop_at:
            server = self._ask_next(asked, [b"", b"%d" % self._number, *content])
            if server is not None:
                sent += 1
                self.failovers += bool(asked)
                asked.append(server)
            elif asked:  # those that are connected were all silent: another round
                asked = []
                continue
            pause = self._try_timeout if server is not None else RECONNECT_PAUSE
            found = self._wait_reply(min(now + pause, stop_at))
            if found is not None:
                self._prefer(found[0], silent=[one for one in asked if one != found[0]])
                return found[1]
        raise TimedOutError(
            f"none of {len(self.servers)} servers answered within {self._timeout:g} s; {sent} requests were sent"
        )

    def _connect(self, server: str) -> Socket:
        socket = make_socket(self._context, zmq.DEALER, high_water_mark=SERVER_HIGH_WATER_MARK, linger=0)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # a request waits for no connection: the next server gets it
        connect(socket, server)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _ask_next(self, asked: list[str], frames: Frames) -> str | None:
        """Sends to the first server that was not asked yet and is connected; returns it."""
        for server in self.servers:
            if server not in asked:
                try:
                    self._sockets[server].send_multipart(frames, zmq.NOBLOCK)
                except zmq.Again:
                    continue
                return server
        return None

    def _wait_reply(self, stop_at: float) -> tuple[str, Frames] | None:
        """Waits for a reply to the current request, whoever it is from; late ones to earlier requests are dropped."""
        while (now := time.monotonic()) < stop_at:
            found = dict(self._poller.poll(int((stop_at - now) * 1000 + 0.999)))
            for server, socket in self._sockets.items():
                if socket in found:
                    match socket.recv_multipart(zmq.NOBLOCK):
                        case [b"", number, *reply] if reply and number.isdigit():
                            if int(number[:20]) == self._number:
                                return server, reply
                        case _:
                            self.malformed += 1
        return None

    def _prefer(self, server: str, silent: list[str]) -> None:
        """The server that answered is asked first from now on, those that were silent last."""
        others = [one for one in self.servers if one != server and one not in silent]
        self.servers = [server, *others, *silent]
