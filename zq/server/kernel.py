"""What the system knows about a connection: things that its peer cannot lie about.

ZeroMQ tells the descriptor of the connection that a message came by, and nothing else of it. A descriptor is a number
that may be another connection's a moment later, so it is only ever looked at through a duplicate, which stays with what
it was made of (`zq.server.connections` says whose that was).
"""

from __future__ import annotations

import ctypes  # here, and the two below, since there may be no descriptor left to read it by when it is needed
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

if sys.platform == "linux":
    import fcntl
    import termios

TCP_INFO_BYTES = 136
"""Of struct tcp_info of Linux, up to and with what is read here; the kernel has had these fields since 4.1 (2015)."""

BYTES_ACKED_AT = 120
"""Where struct tcp_info has tcpi_bytes_acked, and behind it tcpi_bytes_received."""

SO_NWRITE_OF_DARWIN = 0x1024
"""Asks macOS for the bytes in a socket's send buffer."""


class Traffic(NamedTuple):
    """Bytes of a connection, from its beginning."""

    received: int  # by this system
    acknowledged: int  # by the other one, of what was sent


@contextmanager
def duplicate(descriptor: int) -> Iterator[socket.socket | None]:
    """Holds what a descriptor is now, while it is looked at; None when it is nothing, or no descriptor is left."""
    try:
        number = os.dup(descriptor)
    except OSError:
        yield None
        return
    try:
        found = socket.socket(fileno=number)
    except OSError:  # it is a file by now
        os.close(number)
        yield None
        return
    with found:
        yield found


def traffic(connection: socket.socket) -> Traffic | None:
    """Returns the bytes of a TCP connection; None for all others, and where the system does not count them."""
    if sys.platform != "linux" or connection.family == socket.AF_UNIX:
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return None
    if len(info) < TCP_INFO_BYTES:
        return None
    acknowledged, received = struct.unpack_from("=QQ", info, BYTES_ACKED_AT)
    return Traffic(received, acknowledged)


def unread(connection: socket.socket) -> int:
    """Returns the bytes that the system holds for this process until it reads them; 0 where it does not tell."""
    if sys.platform == "linux":
        with suppress(OSError):
            return int(struct.unpack("=i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0])
    return 0


def queued(connection: socket.socket) -> int:
    """Returns what the system has for the other end, which has not read it: its bytes and what they take beside them,
    and 0 only when that is nothing, or where the system does not tell.
    """
    with suppress(OSError):
        if sys.platform == "linux":
            waiting = fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4))
            return int(struct.unpack("=i", waiting)[0])
        if sys.platform == "darwin":
            return connection.getsockopt(socket.SOL_SOCKET, SO_NWRITE_OF_DARWIN)
    return 0


def end(connection: socket.socket) -> bool:
    """Ends a connection, under the hands of who has it open; False when it has ended already."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    if sys.platform == "linux" and connection.family != socket.AF_UNIX:
        _reset(connection)
    return True


def _reset(connection: socket.socket) -> None:
    """Throws away what a TCP connection has in both directions. Linux takes what comes after a shutdown, so whoever
    reads would not see the end of one that sends and sends; to connect to nothing is what disconnects it.
    """
    nothing = struct.pack("=H14x", socket.AF_UNSPEC)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).connect(connection.fileno(), nothing, len(nothing))


def name_of(connection: socket.socket) -> str:
    """Returns from where a connection comes, for the log, with a word before it; nothing when that is not known."""
    if connection.family == socket.AF_UNIX:
        return ""
    try:
        host, port = connection.getpeername()[:2]
    except OSError:
        return ""
    return f" from {host}:{port}"
