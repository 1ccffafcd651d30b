"""Wakes a thread that waits in a poller, from another thread."""

from __future__ import annotations

import socket


class Wake:
    """A bell: any thread rings it, and one thread has it in its poller, where it stays readable until it is cleared."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Returns the descriptor for the poller."""
        return self._reader.fileno()

    def ring(self) -> None:
        """Makes it readable; from any thread, also when it is closed."""
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
