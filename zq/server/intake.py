"""What comes in during one turn: messages are taken from the socket one by one, while the machine handles them.

ZeroMQ's ROUTER takes from its connections in turn, so whoever has much to say is heard as often as whoever has little.
A turn ends when its budget is used up: its time, its messages, the bytes that came in, or the bytes of the answers that
wait for its commit. What is left in the socket is for the next turn, before which everybody who was heard is answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import zmq

from zq.core.state.holder import Peer
from zq.errors import RemoteProtocolError
from zq.server.sender import Sender
from zq.wire.codec import decode_for_coordinator
from zq.wire.messages import Error, FromCoordinator, ToCoordinator

TURN_SECONDS = 0.02
"""Time of one turn: nobody notices it, and a commit, which takes a tenth of it, pays for many messages."""

TURN_MESSAGES_MAX = 1000
"""Messages in one turn: the group commit of a busy system."""

TURN_BYTES_MAX = 8 << 20
"""Bytes that come in with one turn: what LMDB writes and flushes in about 10 ms on a good disk."""

OUTBOX_BYTES_MAX = 8 << 20
"""Bytes of answers that one turn makes before they are sent: all of them wait in memory for its commit."""

NOBLOCK = int(zmq.NOBLOCK)
"""As a plain number: pyzmq's enumerations and its loops over parts cost more than the rest of receiving."""


class Received(NamedTuple):
    """A message as it came."""

    peer: Peer
    frame: bytes
    parts: int  # one, unless it is none of ours: then none is kept
    size: int  # bytes of all of them


class Intake:
    """The messages of one turn after the other. Of the shell's one thread."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        sender: Sender,
        clock: Callable[[], float] = time.monotonic,
        greet: Callable[[Peer, zmq.Frame], None] | None = None,
    ) -> None:
        self._socket = socket
        self._greet = greet  # is told whose a message is, if the coordinator has keys
        self._clock = clock
        self._sender = sender
        self._unread: Received | None = None  # parts of this one, which is refused, are still to come
        self.received: list[Received] = []  # in this turn, so that what a fault has undone can be handled once more

    def turn(self, outbox: Sequence[tuple[Peer, FromCoordinator]]) -> Iterator[tuple[Peer, ToCoordinator | Error]]:
        """Yields the messages of a turn with their connections; instead of one that cannot be read, its answer.

        Args:
            outbox: what the turn has said so far; it grows between two messages.
        """
        clock, sender = self._clock, self._sender
        received = self.received = []
        size = 0
        ends_at = clock() + TURN_SECONDS
        while len(received) < TURN_MESSAGES_MAX and size < TURN_BYTES_MAX:
            one = self._receive(ends_at)
            if one is None:
                break
            size += one.size
            received.append(one)
            yield one.peer, read(one)
            if clock() > ends_at or sender.encode_ahead(outbox) > OUTBOX_BYTES_MAX:
                break

    def _receive(self, ends_at: float) -> Received | None:
        """Takes the next message, if one has come whole and there is time to read it."""
        if self._unread is not None:
            return self._read_to_end(self._unread, ends_at)
        receive = self._socket.recv
        try:
            peer = receive(NOBLOCK)
        except zmq.Again:
            return None
        frame = receive(NOBLOCK, copy=False)
        if self._greet is not None:
            self._greet(peer, frame)
        if frame.more:
            return self._read_to_end(Received(peer, b"", 1, len(frame)), ends_at)
        return Received(peer, frame.bytes, 1, len(frame))

    def _read_to_end(self, one: Received, ends_at: float) -> Received | None:
        """Takes the parts that are left of a message, and keeps none; they may be more than there is time for now."""
        parts, size = one.parts, one.size
        receive, clock = self._socket.recv, self._clock
        has_more = True
        while has_more:
            if clock() > ends_at:
                self._unread = one._replace(parts=parts, size=size)
                return None
            part = receive(NOBLOCK, copy=False)
            has_more = part.more
            parts += 1
            size += len(part)
        self._unread = None
        return one._replace(parts=parts, size=size)


def read(one: Received) -> ToCoordinator | Error:
    """Returns a message, or the answer to one that cannot be read."""
    if one.parts > 1:
        return Error(None, "malformed", f"expected a message of one frame, got {one.parts}")
    try:
        return decode_for_coordinator(one.frame)
    except RemoteProtocolError as error:
        return Error(error.request, error.code, error.text)
