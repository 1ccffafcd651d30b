"""The load-balancing queue of the guide: a request waits with its client until a worker has asked for one."""

from __future__ import annotations

from collections import OrderedDict

import zmq

from patterns.guide.device import Device
from patterns.sockets import Frames, send_now, split_envelope

READY_FRAMES = (b"\x01", b"READY")
"""What a worker says first: the guide has both."""


class LoadBalancer(Device):
    """A queue between clients (REQ, or DEALER with an empty frame) and workers (REQ) that ask for work.

    A worker sends READY, gets `[client, b"", content ...]`, and sends `[client, b"", reply ...]`, upon which it is free
    again. The least recently used worker is first.

    Guarantee: a request goes to a worker that is free, and to one only; it holds no more than one request itself. It
    does not watch its workers: what a dying worker holds is lost, and its client must ask again (`ParanoidPirateQueue`
    does).

    Args:
        frontend: where clients connect; port `*` takes a free one.
        backend: where workers connect.

    Attributes:
        frontend, backend: where they were bound, known once it runs.
        answered, undeliverable: replies that were sent on; replies to clients that were gone.
    """

    def __init__(self, *, frontend: str, backend: str) -> None:
        super().__init__()
        self.frontend = frontend
        self.backend = backend
        self.answered = self.undeliverable = 0
        self._free: OrderedDict[bytes, None] = OrderedDict()  # least recently used first
        self._request: Frames | None = None  # taken from a client, and the workers have gone in the meantime

    def _open(self) -> None:
        self._clients = self._make(zmq.ROUTER, self._receive_request)
        self._workers = self._make(zmq.ROUTER, self._receive_from_worker)
        self._listen(self._clients, is_listening=False)
        self.frontend = self._bind(self._clients, self.frontend)
        self.backend = self._bind(self._workers, self.backend)

    def _receive_request(self, frames: Frames) -> None:
        split_envelope(frames[1:])  # raises for one that no worker could answer
        self._request = frames
        self._assign()

    def _receive_from_worker(self, frames: Frames) -> None:
        worker, empty, *message = frames if len(frames) > 2 else [frames[0], b"?"]
        if empty or not message:
            raise ValueError("expected an empty frame, as REQ sockets send it, and READY or a reply")
        if message[0] not in READY_FRAMES or len(message) > 1:
            split_envelope(message[1:])
            if send_now(self._clients, message):
                self.answered += 1
            else:
                self.undeliverable += 1
        self._free[worker] = None
        self._free.move_to_end(worker)
        self._assign()

    def _assign(self) -> None:
        while self._request is not None and self._free:
            worker, _ = self._free.popitem(last=False)
            if send_now(self._workers, [worker, b"", *self._request]):  # else it is gone: the next one
                self._request = None
        self._listen(self._clients, self._request is None and bool(self._free))
