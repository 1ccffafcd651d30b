"""A coordinator that does what a test tells it to, over a real ROUTER socket in a thread of its own.

By itself it accepts every batch, answers every ping, and leaves everything else unanswered. Tests read `received` and
wait for conditions; all changes are made under `lock`, as is all handling of messages.
"""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import msgpack
import pytest
import zmq

from zq.client.async_client import AsyncClient
from zq.sessions import pings
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.messages import Accepted, Batch, FromCoordinator, Ping, Pong, Receipt, Submit, ToCoordinator

M = TypeVar("M")

Handler = Callable[[ToCoordinator], list[FromCoordinator] | None]
"""Returns the answers to a message, or None to leave it to the default."""


class FakeCoordinator:
    """Use as a context manager; `stop` and `start` restart it on the same port."""

    def __init__(self, address: str = "tcp://127.0.0.1:*") -> None:
        self.address = address
        self.lock = threading.Lock()
        self.received: list[ToCoordinator] = []
        self.peers: list[bytes] = []  # routing ids in the order of their first message
        self.stored: dict[str, Batch] = {}
        self.handler: Handler = lambda _: None
        self.is_deaf = False  # True: messages are taken and forgotten
        self.epoch = 1
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._to_send: list[bytes] = []
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "FakeCoordinator":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._context.term()

    def start(self) -> None:
        opened = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._serve, args=(opened,), daemon=True)
        self._thread.start()
        assert opened.wait(10)

    def stop(self) -> None:
        if self._thread is not None:
            self._is_stopping = True
            self._thread.join(10)
            assert not self._thread.is_alive()
            self._thread = None

    def send(self, *messages: FromCoordinator) -> None:
        """Sends messages to the newest peer."""
        self.send_frames(*map(encode, messages))

    def send_frames(self, *frames: bytes) -> None:
        with self.lock:
            self._to_send += frames

    def of_kind(self, kind: type[M]) -> list[M]:
        with self.lock:
            return [message for message in self.received if isinstance(message, kind)]

    def wait_for(self, kind: type[M], count: int = 1) -> list[M]:
        """Waits until so many messages of a kind have come; returns them."""
        wait_until(lambda: len(self.of_kind(kind)) >= count)
        return self.of_kind(kind)

    def _serve(self, opened: threading.Event) -> None:
        socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        bind(socket, self.address)
        endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(endpoint, bytes)
        self.address = endpoint.decode()
        opened.set()
        try:
            while not self._is_stopping:
                with self.lock:
                    frames, self._to_send = self._to_send, []
                for frame in frames:
                    socket.send_multipart([self.peers[-1], frame])
                if socket.poll(5):
                    peer, frame = socket.recv_multipart()
                    for answer in self._receive(peer, frame):
                        socket.send_multipart([peer, encode(answer)])
        finally:
            socket.close(0)

    def _receive(self, peer: bytes, frame: bytes) -> list[FromCoordinator]:
        message = decode_for_coordinator(frame)
        with self.lock:
            if peer not in self.peers:
                self.peers.append(peer)
            self.received.append(message)
            if self.is_deaf:
                return []
            answers = self.handler(message)
            if answers is not None:
                return answers
            match message:
                case Submit(request, batches):
                    self.stored.update({batch.id: batch for batch in batches})
                    return [Receipt(request, tuple(Accepted(batch.id, 1, None) for batch in batches), ())]
                case Ping(request):
                    return [Pong(request, self.epoch)]
                case _:
                    return []


def bind(socket: "zmq.Socket[bytes]", address: str) -> None:
    """Binds, if need be as soon as the port is free again after a restart."""
    stop_at = time.monotonic() + 10
    while True:
        try:
            socket.bind(address)
        except zmq.ZMQError:
            if time.monotonic() > stop_at:
                raise
        else:
            return


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Polls until the condition holds; the sleep only paces the polling."""
    stop_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < stop_at, "the condition was not met in time"
        time.sleep(0.002)


async def hush(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has nothing come to a client from now on but what the test has sent: no pong of a ping of its session's."""
    monkeypatch.setattr(pings, "PING_INTERVAL", 600.0)
    await client.ping()  # beside which the session sends one
    await client.ping()  # whose pong comes behind that


def pack(*parts: object) -> bytes:
    """Returns a frame of any parts."""
    return msgpack.packb(parts)
