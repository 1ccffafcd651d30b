"""A coordinator with keys, and raw peers that speak the protocol's codec and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import zmq

from zq.keys.directory import KeyDirectory
from zq.keys.entry import KeyEntry
from zq.keys.key import Key
from zq.server.embedded import Coordinator
from zq.server.loop import Server
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import Batch, Options

PATIENCE = 20.0
"""Seconds after which something that should have come will not: far above what a busy machine takes."""


class Shop:
    """A coordinator in this process, with a directory of keys."""

    def __init__(self, folder: Path, transport: str = "ipc") -> None:
        self.keys = KeyDirectory(folder / "keys")
        self.keys.make()
        self.folder = folder
        bind = f"ipc://{folder}/socket" if transport == "ipc" else "tcp://127.0.0.1:*"
        self.coordinator = Coordinator(folder / "data", bind=bind, keys=folder / "keys", audit=folder / "audit")

    @property
    def address(self) -> str:
        return self.coordinator.address

    @property
    def server(self) -> str:
        return self.keys.server_publics(time.time())[0]

    def key(self, name: str, role: Any = "client", **entry: Any) -> Key:
        """Makes a key and allows it."""
        key = Key.new(name, role, self.keys.server_publics(time.time()))
        self.allow(key, **entry)
        return key

    def allow(self, key: Key, **entry: Any) -> None:
        self.keys.write(KeyEntry(key.name, key.public, key.role, **entry), is_replacing=True)

    def wait_for(self, key: Key, *, is_good: bool = True) -> None:
        """Waits until the coordinator has read that a key is good, or is not."""
        door = server_of(self)._door
        assert door is not None
        give_up_at = time.monotonic() + PATIENCE
        while (key.public in door._directory.rights) != is_good:
            assert time.monotonic() < give_up_at
            time.sleep(0.005)


@contextmanager
def opened(folder: Path, transport: str = "ipc", **keys: str) -> Iterator[tuple[Shop, dict[str, Key]]]:
    """Opens a shop that lets keys in, named with their roles."""
    shop = Shop(folder, transport)
    made = {name: shop.key(name, role) for name, role in keys.items()}
    with shop.coordinator:
        yield shop, made


class Raw:
    """A bare DEALER."""

    def __init__(self, address: str, key: Key | None = None, server: str | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        if key is not None:
            key.secure(self.socket, server)
        self.address = address
        self._is_connected = False
        self._monitor: zmq.Socket[bytes] | None = None

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *error: object) -> None:
        if self._monitor is not None:
            self.socket.disable_monitor()
            self._monitor.close(0)
        self.socket.close(0)
        self._context.term()

    def monitor(self) -> zmq.Socket[bytes]:
        """Returns a socket that tells when this one is turned away."""
        self._monitor = self.socket.get_monitor_socket(TURNED_AWAY)
        return self._monitor

    def send(self, message: Any) -> None:
        if not self._is_connected:
            self.socket.connect(self.address)
            self._is_connected = True
        with suppress(zmq.Again):  # a socket that was turned away meanwhile has nobody to send to
            self.socket.send(encode(message), zmq.NOBLOCK)

    def hear(self, patience: float = PATIENCE) -> Any:
        """Returns the next message; None when none comes."""
        if not self.socket.poll(int(patience * 1000)):
            return None
        return decode_from_coordinator(self.socket.recv())

    def ask(self, message: Any, patience: float = PATIENCE) -> Any:
        self.send(message)
        return self.hear(patience)


def batch(id: str, queue: str = "q", **options: Any) -> Batch:
    return Batch(id, queue, Options(**options), *pack_payloads([encode_payload(id)]))


def server_of(shop: Shop) -> Server:
    """Returns the server inside, to break what is in it."""
    service = shop.coordinator._service
    assert service is not None
    return service.server


def is_turned_away(raw: Raw, message: Any) -> bool:
    """Connects and says something; whether the connection broke before anything was heard."""
    monitor = raw.monitor()
    raw.send(message)
    poller = zmq.Poller()
    poller.register(monitor, zmq.POLLIN)
    poller.register(raw.socket, zmq.POLLIN)
    found = dict(poller.poll(int(PATIENCE * 1000)))
    return monitor in found and raw.socket not in found and not raw.socket.poll(0)


TURNED_AWAY = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_CLOSED
)
"""What a socket sees whose peer does not let it in."""
