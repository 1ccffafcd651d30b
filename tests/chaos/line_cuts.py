"""A proxy between peers and a coordinator that does to their bytes what networks do: cuts, delays, loses one direction,
keeps a connection open from which nothing comes.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK = 65536
HELD_BYTES_MAX = 1 << 20
"""Bytes that wait in one direction before no more is read: then the sender's own buffers fill, as with a slow line."""


@dataclass(eq=False)
class _Way:
    """One direction of a connection."""

    source: socket.socket
    target: socket.socket
    is_up: bool  # towards the coordinator
    held: deque[tuple[float, bytes]] = field(default_factory=deque)  # when it may go on, and what
    is_over: bool = False
    sent_at: float = 0.0  # when something last went on

    @property
    def held_bytes(self) -> int:
        return sum(len(data) for _, data in self.held)


class Proxy:
    """A TCP proxy with a thread of its own; its faults are set from any thread.

    Attributes:
        stopped: directions that stand still: "up", "down", or both; their connections stay open.
        delay: seconds that every byte takes.
        rate: bytes a second of each connection and direction; None: as many as come.
        is_deaf: whether new connections are taken and never answered.
        cut: connections that were cut so far.
        held_up: chunks that came while their direction stood still, or were delayed.
        slowed: chunks that had to wait for the rate.
        refused: connections that were made while nobody was to answer.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", enter: Callable[[], None] | None = None) -> None:
        """Begins to listen, on `address`; all goes to a port here, or of a network that its thread enters."""
        self._target = (host, port)
        self._enter = enter
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.stopped: frozenset[str] = frozenset()
        self.delay = 0.0
        self.rate: float | None = None
        self.is_deaf = False
        self.cut = self.held_up = self.slowed = self.refused = 0
        self._ways: list[_Way] = []
        self._deaf: list[socket.socket] = []
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._listener.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="proxy")
        self._thread.start()

    def close(self) -> None:
        """Ends it, and everything that goes through it."""
        self._is_over.set()
        self._thread.join()
        for one in [self._listener, *self._deaf, *(way.source for way in self._ways)]:
            one.close()

    def cut_all(self, *, hard: bool) -> int:
        """Ends all connections, as a router does that has forgotten them (a reset), or in order; returns how many."""
        with self._lock:
            ways, self._ways = self._ways, []
            deaf, self._deaf = self._deaf, []
        for one in [*(way.source for way in ways), *deaf]:
            if hard:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        self.cut += len(ways) // 2
        return len(ways) // 2

    def heal(self) -> None:
        """Takes all faults away, and with them the connections that were never answered."""
        self.stopped, self.delay, self.rate, self.is_deaf = frozenset(), 0.0, None, False
        with self._lock:
            deaf, self._deaf = self._deaf, []
        for one in deaf:
            one.close()

    def _run(self) -> None:
        if self._enter is not None:
            self._enter()
        while not self._is_over.wait(0.0):
            with self._lock:
                ways = list(self._ways)
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                for way in ways:
                    if not way.is_over and way.held_bytes < HELD_BYTES_MAX:
                        with contextlib.suppress(ValueError, KeyError, OSError):  # it was closed since
                            selector.register(way.source, selectors.EVENT_READ, way)
                for key, _ in selector.select(0.002 if any(way.held for way in ways) else 0.02):
                    if key.data is None:
                        self._accept()
                    else:
                        self._read(key.data)
            for way in ways:
                self._write(way)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            near, _ = self._listener.accept()
            if self.is_deaf:
                self.refused += 1
                with self._lock:
                    self._deaf.append(near)
                return
            try:
                far = socket.create_connection(self._target, timeout=1.0)
            except OSError:  # nobody listens there just now
                near.close()
                return
            for one in (near, far):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._ways += [_Way(near, far, True), _Way(far, near, False)]

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            way.is_over = True
            return
        if self._stands_still(way) or self.delay:
            self.held_up += 1
        way.held.append((time.monotonic() + self.delay, data))

    def _stands_still(self, way: _Way) -> bool:
        return ("up" if way.is_up else "down") in self.stopped

    def _write(self, way: _Way) -> None:
        budget = CHUNK if self.rate is None else int(self.rate * max(0.0, time.monotonic() - way.sent_at))
        while way.held and not self._stands_still(way) and way.held[0][0] <= time.monotonic() and budget > 0:
            due, data = way.held.popleft()
            try:
                sent = way.target.send(data[:budget])
            except BlockingIOError:
                sent = 0
            except OSError:
                way.is_over = True
                way.held.clear()
                break
            if sent:
                way.sent_at = time.monotonic()
            if sent < len(data):
                way.held.appendleft((due, data[sent:]))
                break
            budget -= sent
        if way.held and self.rate is not None:
            self.slowed += 1
        if way.is_over and not way.held:
            self._end(way)

    def _end(self, way: _Way) -> None:
        with self._lock:
            self._ways = [one for one in self._ways if {one.source, one.target} != {way.source, way.target}]
        way.source.close()
        way.target.close()
