"""Wakes a thread that waits in a poller, from another thread.

It is here, and not beside the sockets of ZeroMQ, because it is none: two ends of a pipe of this process, which the
coordinator's loop, the link of clients and workers, and the patterns have in their pollers alike. What all of them may
import is this room.
"""

from __future__ import annotations

import socket


class Wake:
    """A bell: any thread rings it, and one thread has it in its poller, where it stays readable until it is cleared.

    A pair of sockets and not a pipe: who rings a bell that is closed gets an error, and never writes into a file that
    has got its number since.
    """

    __slots__ = ("_reader", "_writer")

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Returns the descriptor for the poller; -1 when it is closed."""
        return self._reader.fileno()

    def ring(self) -> None:
        """Makes it readable; from any thread and from signal handlers, also when it is closed."""
        try:
            self._writer.send(b"\0")
        except OSError:  # it rings loud enough already, or nobody listens any more
            pass

    def clear(self) -> None:
        """Makes it wait for what comes next; in the thread that polls it."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:  # something else woke the thread
            pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
