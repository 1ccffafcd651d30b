"""Two hundred peers that speak ZeroMQ badly, or well and say nonsense, against a real coordinator beside an honest
client. What is looked at afterwards are counts: what the honest one was promised, and what the coordinator still holds.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

from tests.fuzz.frames import Frames

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)
"""ZMTP 3.1, without security: signature, version, mechanism, filler."""

MORE, LARGE, COMMAND = 1, 2, 4
"""Flags of a ZMTP frame."""

PEERS = 200

OVERRUN_BYTES = 200_000

PATIENCE = 20.0
"""Seconds after which a peer gives up; nothing is judged by it."""


def zmtp(body: bytes, flags: int = 0) -> bytes:
    """Returns one ZMTP frame."""
    if len(body) > 255:
        return bytes([flags | LARGE]) + struct.pack(">Q", len(body)) + body
    return bytes([flags, len(body)]) + body


def ready(**properties: bytes) -> bytes:
    """Returns the command READY."""
    parts = [b"\x05READY"]
    for name, value in properties.items():
        wire = name.replace("_", "-").encode()
        parts.append(bytes([len(wire)]) + wire + struct.pack(">I", len(value)) + value)
    return zmtp(b"".join(parts), COMMAND)


HANDSHAKE = GREETING + ready(Socket_Type=b"DEALER", Identity=b"")


class Peer:
    """One connection, and a source of nonsense."""

    def __init__(self, address: str, number: int, seed: int, frames: int) -> None:
        self.random = Random(seed * 1000 + number)
        self.frames = frames
        self.sent = 0
        self._source = Frames(seed * 1000 + number)
        self._address = address
        self._play = list(PLAYS)[number % len(PLAYS)]

    def run(self) -> None:
        """Plays until it is done, or is cut, which is its right end."""
        try:
            with connected(self._address) as connection:
                for data in self._play(self):
                    connection.sendall(data)
                    self.sent += 1
                    _read(connection)
        except OSError:
            pass

    # What it sends.

    def nonsense(self) -> Iterator[bytes]:
        """Frames that the decoder has to judge."""
        yield HANDSHAKE
        for _ in range(self.frames):
            yield zmtp(self._source.any())

    def many_parts(self) -> Iterator[bytes]:
        """Messages of several parts, where one is expected."""
        yield HANDSHAKE
        for _ in range(self.frames // 4):
            parts = self.random.randrange(2, 200)
            yield b"".join(zmtp(self._source.any()[:50], MORE) for _ in range(parts)) + zmtp(b"")

    def no_end(self) -> Iterator[bytes]:
        """Parts of a message of which the last never comes."""
        yield HANDSHAKE
        for _ in range(self.frames // 4):
            yield zmtp(bytes(1000), MORE)

    def too_large(self) -> Iterator[bytes]:
        """A frame that declares more than may be."""
        yield HANDSHAKE
        yield bytes([LARGE]) + struct.pack(">Q", self.random.choice((17 << 20, 1 << 40, (1 << 63) - 1)))
        yield bytes(1000)

    def half_a_frame(self) -> Iterator[bytes]:
        """A frame of which most never comes."""
        yield HANDSHAKE
        yield bytes([LARGE]) + struct.pack(">Q", 15 << 20) + b"x"

    def bad_greeting(self) -> Iterator[bytes]:
        """No greeting, or a part of one, or one of another world."""
        yield self.random.choice(
            (b"GET / HTTP/1.1\r\n\r\n", GREETING[:20], b"\x16\x03\x01\x02", bytes(64), GREETING[:32] + b"\xff" * 32)
        )

    def bad_handshake(self) -> Iterator[bytes]:
        """A greeting, and then not what should follow."""
        yield GREETING
        yield self.random.choice(
            (
                ready(Socket_Type=b"ROUTER"),
                ready(Socket_Type=b"\xff" * 200),
                ready(Socket_Type=b"DEALER", Identity=b"x" * 300),
                zmtp(b"\x05READY\xff", COMMAND),
                zmtp(b"\x05HELLO" + bytes(194), COMMAND),
                zmtp(b"not a command"),
                zmtp(self.random.randbytes(100), COMMAND | MORE),
            )
        )

    def commands(self) -> Iterator[bytes]:
        """ZeroMQ's own commands, known and unknown, in any number."""
        yield HANDSHAKE
        for _ in range(self.frames):
            name = self.random.choice(
                (b"\x04PING\0\x10" + bytes(16), b"\x04PONG", b"\x09SUBSCRIBE", b"\x05ERROR\x03abc", b"\x04PING")
            )
            yield zmtp(name, COMMAND)


PLAYS: tuple[Callable[[Peer], Iterator[bytes]], ...] = (
    Peer.nonsense,
    Peer.nonsense,
    Peer.nonsense,
    Peer.many_parts,
    Peer.no_end,
    Peer.too_large,
    Peer.half_a_frame,
    Peer.bad_greeting,
    Peer.bad_handshake,
    Peer.commands,
)


def connected(address: str) -> socket.socket:
    """Returns a connection to tcp://host:port or ipc://path."""
    if address.startswith("ipc://"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(address.removeprefix("ipc://"))
        return connection
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE)


def _read(connection: socket.socket) -> None:
    """Throws away what has come, so that the answers do not wait."""
    while select.select([connection], [], [], 0)[0]:
        if not connection.recv(1 << 16):
            raise ConnectionResetError


def abuse(address: str, seed: int, frames: int, threads: int = 8) -> int:
    """Plays all peers, a few at a time; returns how many pieces they have sent."""
    peers = [Peer(address, number, seed, frames // PEERS + 1) for number in range(PEERS)]

    def run(part: int) -> None:
        for peer in peers[part::threads]:
            peer.run()

    runners = [threading.Thread(target=run, args=(part,)) for part in range(threads)]
    for one in runners:
        one.start()
    for one in runners:
        one.join()
    return sum(peer.sent for peer in peers)


def overrun(address: str) -> None:
    """Says far more than the other end has room for, and leaves before it is read: empty messages, two bytes each.

    It waits for the other end's READY first: ZeroMQ takes what comes earlier for a part of the handshake, and hangs up.
    """
    with suppress(OSError), connected(address) as connection:
        connection.sendall(HANDSHAKE)
        heard = b""
        while b"\x05READY" not in heard:
            part = connection.recv(1 << 16)
            if not part:
                raise ConnectionResetError
            heard += part
        connection.sendall(bytes(OVERRUN_BYTES))


def descriptors(pid: int) -> int:
    """Returns how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count
