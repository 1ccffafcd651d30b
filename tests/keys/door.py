"""A door with keys before a coordinator that has none: CURVE, and ZAP that lets in whom it is told to.

Behind it each peer has a connection of its own to the coordinator, so that this knows them apart.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

import zq
from zq.keys.key import ZAP_DOMAIN

Frames = zmq.Socket[bytes]


class Door:
    """Opens with `with`; `admitted` may be changed while it is open, and counts at the next handshake.

    Args:
        behind: address of the coordinator.
        key: of the door; None for a door without keys.
        bind: where peers come in.
    """

    def __init__(self, behind: str, key: zq.Key | None, bind: str = "tcp://127.0.0.1:*") -> None:
        self.behind = behind
        self.key = key
        self.address = bind
        self.admitted: set[str] = set()
        self._context: zmq.Context[Frames] = zmq.Context()
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="door")
        self._authenticator = ThreadAuthenticator(self._context)

    def admit(self, *keys: zq.Key) -> None:
        self.admitted |= {key.public for key in keys}

    def callback(self, domain: str, key: bytes) -> bool:
        """What the authenticator asks."""
        text = key.decode() if len(key) == 40 else z85.encode(key).decode()
        return domain == ZAP_DOMAIN and text in self.admitted

    def __enter__(self) -> Self:
        if self.key is not None:
            self._authenticator.start()
            self._authenticator.configure_curve_callback(ZAP_DOMAIN, self)
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(30)
        if self.key is not None:
            self._authenticator.stop()
        self._context.destroy(0)

    def _run(self) -> None:
        front: Frames = self._context.socket(zmq.ROUTER)
        if self.key is not None:
            self.key.guard(front)
        front.bind(self.address)
        self.address = front.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._ready.set()
        poller = zmq.Poller()
        poller.register(front, zmq.POLLIN)
        back: dict[bytes, Frames] = {}
        peers: dict[Frames, bytes] = {}
        while not self._stop.is_set():
            for socket, _ in poller.poll(20):
                if socket is not front:
                    front.send_multipart([peers[socket], *socket.recv_multipart()])
                    continue
                peer, *frames = front.recv_multipart()
                if peer not in back:
                    back[peer] = self._context.socket(zmq.DEALER)
                    back[peer].connect(self.behind)
                    peers[back[peer]] = peer
                    poller.register(back[peer], zmq.POLLIN)
                back[peer].send_multipart(frames)
        for socket in (front, *back.values()):
            socket.close(0)
