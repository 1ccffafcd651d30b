"""Peers that do what no library would: bytes of ZMTP 3.0 by hand, and requests without reading."""

from __future__ import annotations

import socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER"
MORE, LAST = b"\x03", b"\x02"
"""First bytes of a frame whose length follows in eight: others of the message follow, or none."""


def connect(address: str) -> socket.socket:
    """Opens a connection to an address, and says nothing."""
    transport, _, place = address.partition("://")
    if transport == "ipc":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        try:
            connection.connect(place)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = place.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def shake_hands(address: str) -> socket.socket:
    """Opens a connection that may send frames."""
    connection = connect(address)
    connection.sendall(GREETING)
    _read(connection, len(GREETING))
    connection.sendall(READY)
    head = _read(connection, 2)
    _read(connection, head[1])
    return connection


def frame(body: bytes, kind: bytes = LAST) -> bytes:
    """Returns a frame as it travels."""
    return kind + struct.pack(">Q", len(body)) + body


def _read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        assert part, "the coordinator closed the connection"
        found += part
    return found
