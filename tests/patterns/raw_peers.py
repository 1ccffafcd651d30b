"""Bare ZeroMQ sockets that speak frames written out by hand, and waiting for a condition."""

from __future__ import annotations

import socket as sockets
import time
from collections.abc import Callable

import pytest
import zmq

Socket = zmq.Socket[bytes]

PATIENCE = 20.0
"""Seconds after which a test gives up; how fast the machine is decides nothing."""


def has_ipv6() -> bool:
    """Returns whether this machine has a loopback for IPv6."""
    try:
        with sockets.socket(sockets.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no loopback for IPv6")


class RawPeers:
    """Makes sockets of one context; closes all of them."""

    def __init__(self) -> None:
        self._context: zmq.Context[Socket] = zmq.Context()
        self._sockets: list[Socket] = []

    def connect(self, kind: int, address: str, *, identity: bytes = b"") -> Socket:
        socket = self._make(kind, identity)
        socket.connect(address)
        return socket

    def bind(self, kind: int, address: str = "tcp://127.0.0.1:*") -> tuple[Socket, str]:
        socket = self._make(kind)
        socket.bind(address)
        return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._context.term()

    def _make(self, kind: int, identity: bytes = b"") -> Socket:
        socket = self._context.socket(kind)
        self._sockets.append(socket)
        socket.setsockopt(zmq.LINGER, 0)
        if identity:
            socket.setsockopt(zmq.IDENTITY, identity)
        return socket


def receive(socket: Socket, *, patience: float = PATIENCE, skip: list[bytes] | None = None) -> list[bytes]:
    """Returns the next message other than `skip`; fails when none comes."""
    stop_at = time.monotonic() + patience
    while socket.poll(max(0, int((stop_at - time.monotonic()) * 1000))):
        frames = socket.recv_multipart()
        if frames != skip:
            return frames
    raise AssertionError(f"nothing came within {patience:g} s")


def is_silent(socket: Socket, *, skip: list[bytes] | None = None) -> bool:
    """Returns whether nothing but `skip` has come, after everything that was on its way had time to."""
    while socket.poll(200):
        if socket.recv_multipart() != skip:
            return False
        if not socket.poll(0):
            return True
    return True


def wait_until(condition: Callable[[], object]) -> None:
    stop_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < stop_at, "the condition did not come true"
        time.sleep(0.01)
