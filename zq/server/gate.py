"""The door of an `ipc://` address, which is shut while there are many connections: who comes then waits before it.

Theory of operation. ZeroMQ accepts in a thread of its own, and ends the process when it accepts by `ipc://` while no
descriptor is left; by TCP it waits. So the socket that listens is made here, and ZeroMQ is given a descriptor of it.
Shutting the gate puts another socket under that number, which listens where nobody can come: ZeroMQ finds nobody there,
and those who connect wait in the system, as by TCP. Some are let in now and then: the gate is opened for a millisecond,
by the thread that counts the connections and then shuts it again, so that no more come in than it can turn away.

While it is shut and somebody waits, ZeroMQ's thread looks again and again, as it does by TCP without descriptors.

Invariant: the number that ZeroMQ has is ZeroMQ's to close, and is not touched any more after `close`, which leaves it
as ZeroMQ got it.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import zmq

from zq.processes.forks import drop_in_forks

WAITING_MAX: Final = 1024
"""Who may wait to be let in; whoever comes then is refused, and tries again."""

OPEN_SECONDS: Final = 0.0005
"""For which the gate is opened to let some in: a dozen of the fastest."""

CALM_SECONDS: Final = 1.0
"""For which nobody must have waited at a gate that is shut before it stays open again."""

SIP_INTERVAL: Final = 0.02
"""Seconds between two times that some are let in."""


class AddressGate:
    """The listening socket of one address; of the shell's one thread."""

    def __init__(self, path: str) -> None:
        """Makes what is not there yet: `listen` is to be called next.

        Args:
            path: of the socket's file.
        """
        self.is_shut = False
        self._path = path
        self._real = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._given = -1
        self._sip_at = self._waited_at = 0.0
        self._can_shut = True
        # The file is of others, too, for a moment, if its mode is set only when it is there.
        for one in (self._real, self._other):
            os.fchmod(one.fileno(), 0o600)
            one.setblocking(False)
        self._forgets = [drop_in_forks(one.close) for one in (self._real, self._other)]
        self._poll = select.poll()

    @classmethod
    def of(cls, address: str) -> AddressGate | None:
        """Returns one for an address that has a file; None for others, which need none, and where it cannot be done."""
        path = address.removeprefix("ipc://")
        # Elsewhere what waits for a descriptor forgets it when another file takes its number.
        return None if sys.platform != "linux" or path == address or path[:1] in ("*", "@") else cls(path)

    def listen(self, server: zmq.Socket[bytes]) -> None:
        """Listens at the path, and has a socket accept there when it is bound next; what has that name is deleted.

        Raises:
            OSError: it cannot.
        """
        try:
            _listen_nowhere(self._other, Path(self._path).parent)
        except OSError:  # the folder may not be read, or there is no /proc
            self._can_shut = False
        with suppress(FileNotFoundError):
            Path(self._path).unlink()
        self._real.bind(self._path)
        self._real.listen(WAITING_MAX)
        self._poll.register(self._real, select.POLLIN)
        self._given = os.dup(self._real.fileno())
        server.setsockopt(zmq.USE_FD, self._given)

    def shut(self) -> None:
        """Lets nobody in from now on."""
        if not self.is_shut and self._can_shut and self._given >= 0:
            os.dup2(self._other.fileno(), self._given, inheritable=False)
            self.is_shut = True
            self._waited_at = time.monotonic()

    def open(self) -> None:
        """Lets everybody in again."""
        if self.is_shut and self._given >= 0:
            os.dup2(self._real.fileno(), self._given, inheritable=False)
            self.is_shut = False

    def sip(self, now: float) -> bool:
        """Lets in some of those who wait at a gate that is shut, if it is time; returns whether it did."""
        if now < self._sip_at or not self.is_shut or not self._poll.poll(0):
            return False
        self._sip_at = now + SIP_INTERVAL
        self._waited_at = now
        self.open()
        end = time.monotonic() + OPEN_SECONDS
        while time.monotonic() < end:  # who sleeps may sleep too long
            pass
        self.shut()
        return True

    def open_when_calm(self, now: float) -> None:
        """Lets everybody in again if nobody has waited for a while."""
        if self.is_shut and now - self._waited_at > CALM_SECONDS and not self._poll.poll(0):
            self.open()

    def close(self) -> None:
        """Listens no more; ZeroMQ does as long as its socket is bound. Call it before that is unbound or closed."""
        self.open()  # ZeroMQ, which ends its waiting by what it began with, would find another socket under the number
        self._given = -1
        for forget in self._forgets:
            forget()
        self._real.close()
        self._other.close()


def _listen_nowhere(one: socket.socket, folder: Path) -> None:
    """Has a socket listen under a name that is gone at once; the path by the folder's descriptor is short enough."""
    name = f".zq-{secrets.token_hex(8)}"
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        one.bind(f"/proc/self/fd/{number}/{name}")
        os.unlink(name, dir_fd=number)
        one.listen(1)
    finally:
        os.close(number)
