"""What goes out after a turn: encoded, counted, and handed to the socket, which never waits."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

import zmq

from zq.core.state.holder import Peer
from zq.server.connections import Connections
from zq.wire.codec import encode_answer
from zq.wire.messages import FromCoordinator

NOBLOCK, SEND_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
"""As plain numbers: pyzmq's enumerations and its loops over parts cost more than the rest of sending."""


class Sender:
    """Sends what turns hand out. Of the shell's one thread."""

    def __init__(self, socket: zmq.Socket[bytes], connections: Connections) -> None:
        self._send: Callable[[bytes, int], object] = super(zmq.Socket, socket).send  # what it adds is for others
        self._connections = connections
        self._frames: list[tuple[FromCoordinator, bytes]] = []  # of the first messages of the outbox of this turn
        self._frame_bytes = 0

    def encode_ahead(self, outbox: Sequence[tuple[Peer, FromCoordinator]]) -> int:
        """Encodes what a turn has said since the last time, which it needs anyway, and returns the bytes of it all.
        What the turn has taken back meanwhile counts as said.
        """
        frames = self._frames
        while len(frames) < len(outbox):
            message = outbox[len(frames)][1]
            frame = encode_answer(message)
            frames.append((message, frame))
            self._frame_bytes += len(frame)
        return self._frame_bytes

    def forget(self) -> None:
        """Forgets what was encoded: the turn begins, or comes to nothing."""
        self._frames = []
        self._frame_bytes = 0

    def send(self, outbox: Sequence[tuple[Peer, FromCoordinator]]) -> list[Peer]:
        """Sends without ever waiting, and returns the connections that took nothing: gone, full, or ended for that."""
        failed: dict[Peer, None] = {}
        send, frames, by_peer = self._send, self._frames, self._connections.by_peer
        ahead = len(frames)
        for place, (peer, message) in enumerate(outbox):
            connection = by_peer.get(peer)
            if (failed and peer in failed) or (connection is not None and connection.is_cut):
                failed[peer] = None
                continue
            encoded = frames[place] if place < ahead else None
            frame = encode_answer(message) if encoded is None or encoded[0] is not message else encoded[1]
            try:
                send(peer, SEND_MORE)  # fails if either would
                send(frame, NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in (errno.EAGAIN, errno.EHOSTUNREACH):
                    raise
                failed[peer] = None
                continue
            if connection is not None:
                connection.sent += len(frame)
                if connection.sent > connection.look_at and not self._connections.note_sent(connection):
                    failed[peer] = None
        if ahead:
            self.forget()
        return list(failed)

    def say(self, peer: Peer, message: FromCoordinator) -> None:
        """Sends at once a message that rests on nothing; who does not take it hears nothing."""
        frames, size = self._frames, self._frame_bytes
        self.forget()
        self.send(((peer, message),))
        self._frames, self._frame_bytes = frames, size

    def say_frame(self, peer: Peer, frame: bytes) -> bool:
        """As `say`, of what is encoded; False when the connection does not take it."""
        try:
            self._send(peer, SEND_MORE)
            self._send(frame, NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EAGAIN, errno.EHOSTUNREACH):
                raise
            return False
        connection = self._connections.by_peer.get(peer)
        if connection is not None:
            connection.sent += len(frame)
            if connection.sent > connection.look_at:
                return self._connections.note_sent(connection)
        return True
