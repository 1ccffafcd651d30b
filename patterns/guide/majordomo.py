"""The Majordomo broker: the face that clients and workers of RFC 7/MDP see; its services are queues of a coordinator.

This module speaks the protocol on one ROUTER socket; what is durable is in `patterns.guide.majordomo_services`. The
path of a request: REQUEST of a client -> task in the queue of that name -> pulled under a lease for one worker ->
REQUEST to the worker -> REPLY -> the task is done -> its result is the REPLY to the client.

A worker is in `_workers` from READY until it disconnects, is silent too long, or does what RFC 7 does not allow. The
client address that a worker sees is the task's id: opaque to it, and proof that a reply is to the request in hand.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import zmq

from patterns.guide.device import Device
from patterns.guide.liveness import Liveness
from patterns.guide.majordomo_services import MajordomoServices, MajordomoWorker
from patterns.sockets import Frames, send_now
from zq import Coordinator
from zq.processes.endpoints import kept_address, kept_path

logger = logging.getLogger(__name__)

CLIENT_HEADER = b"MDPC01"
WORKER_HEADER = b"MDPW01"


class MajordomoCommand:
    """The second frame of the messages between broker and workers."""

    READY = b"\x01"
    REQUEST = b"\x02"
    REPLY = b"\x03"
    HEARTBEAT = b"\x04"
    DISCONNECT = b"\x05"


MANAGEMENT = "mmi."
"""Services of the broker itself (RFC 8/MMI)."""

SERVICE_BYTES_MAX = 128
"""As zq's names of queues."""

REQUESTS_MAX = 10_000
"""Requests of clients that wait for their result; a few hundred bytes each, beside what is on disk."""

DISMISSED_MAX = 1000
"""Addresses that are remembered as disconnected, so that they get no second DISCONNECT."""


class MajordomoBroker(Device):
    """A broker for clients and workers of RFC 7 (MDP/0.1), in any language, with durable services.

    Guarantee: a request that reached the coordinator is a task on disk, and is worked on until a worker has replied,
    also over deaths of workers, of this broker and of the coordinator; at least once. The reply reaches the client if
    broker and client live; MDP has no way to ask for it again.

    Args:
        bind: where clients and workers connect; port `*` takes a free one.
        address: of a running coordinator; None as for `zq.Client`.
        data: a directory: this broker hosts the coordinator itself. Not together with `address`.
        heartbeat_interval: seconds; workers should have the same.
        missed_max: heartbeats in a row whose absence means that a worker is gone.
        lease: seconds after which a request goes to another worker when this broker dies.
        request_ttl: seconds after which a request to a service without workers is cancelled; None keeps it for ever.
        requests_max: requests of clients that wait for their result; more are dropped, and their clients try again.

    Attributes:
        bind: where it was bound, known once it runs.
        services: what became of the requests; see `MajordomoServices`.
        dropped, undeliverable: requests over the limit; replies to clients that were gone.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        bind: str,
        address: str | None = None,
        data: str | Path | None = None,
        heartbeat_interval: float = 2.5,
        missed_max: int = 3,
        lease: float = 30.0,
        request_ttl: float | None = 300.0,
        requests_max: int = REQUESTS_MAX,
    ) -> None:
        super().__init__()
        if address is not None and data is not None:
            raise ValueError("expected the address of a coordinator or a data directory to host one, got both")
        if requests_max < 1 or not lease > 0 or (request_ttl is not None and not request_ttl > 0):
            raise ValueError("expected requests_max from 1, and lease and request_ttl above 0")
        self.bind = bind
        self.dropped = self.undeliverable = 0
        self.services = MajordomoServices(self._post, lease, request_ttl)
        self._address = address and kept_address(address)
        self._data = None if data is None else kept_path(data)
        self._requests_max = requests_max
        self._requests = 0  # that wait for their result
        self._workers: dict[bytes, MajordomoWorker] = {}
        self._dismissed: OrderedDict[bytes, None] = OrderedDict()
        self._liveness = Liveness(heartbeat_interval, missed_max, time.monotonic())
        self._durable = ExitStack()

    def _open(self) -> None:
        if self._data is not None:
            self._address = self._durable.enter_context(Coordinator(self._data)).address
        self.services.open(self._address)
        self._durable.callback(self.services.close)  # before the coordinator: it gives back what workers hold
        self._socket = self._make(zmq.ROUTER, self._receive)
        self.bind = self._bind(self._socket, self.bind)

    def _close(self) -> None:
        for worker in list(self._workers.values()):
            self._dismiss(worker.address)
        self._durable.close()

    def _tick(self, now: float) -> float:
        for address in self._liveness.take_expired(now):
            self._lose(address, "was not heard any more")
        if self._liveness.take_beat(now):
            for address in list(self._workers):
                self._command(address, MajordomoCommand.HEARTBEAT)
        return self._liveness.next_at()

    def _receive(self, frames: Frames) -> None:
        sender = frames[0]
        try:
            match frames[1:]:
                case [b"", header, service, *body] if header == CLIENT_HEADER and body:
                    self._receive_request(sender, _service(service), body)
                case [b"", header, command, *arguments] if header == WORKER_HEADER:
                    self._receive_command(sender, command, arguments)
                case _:
                    raise ValueError("expected an empty frame and a command of MDPC01 or MDPW01")
        except ValueError:
            self._lose(sender, "sent what RFC 7 does not allow")  # "treating that peer as invalid"
            raise

    # Clients.

    def _receive_request(self, client: bytes, service: str, body: Frames) -> None:
        reply = partial(self._reply, client, service)
        if service == "mmi.service":
            self.services.look_up(body[-1].decode(errors="replace"), reply)
        elif service.startswith(MANAGEMENT):
            self._reply(client, service, [b"501"])
        elif self._requests >= self._requests_max:
            self.dropped += 1
        else:
            self._requests += 1
            self.services.submit(service, body, reply, self._forget_request)

    def _reply(self, client: bytes, service: str, body: Frames) -> None:
        if not send_now(self._socket, [client, b"", CLIENT_HEADER, service.encode(), *body]):
            self.undeliverable += 1

    def _forget_request(self) -> None:
        self._requests -= 1

    # Workers.

    def _receive_command(self, address: bytes, command: bytes, arguments: Frames) -> None:
        worker = self._workers.get(address)
        match command, arguments:
            case MajordomoCommand.READY, [name]:
                self._receive_ready(address, worker, _service(name))
            case MajordomoCommand.REPLY, [task_id, b"", *body] if body:
                if worker is None or worker.task_id != task_id:
                    self._dismiss(address)
                else:
                    worker.task_id = None
                    self._liveness.heard(address, time.monotonic())
                    self.services.replied(worker, body)
            case MajordomoCommand.HEARTBEAT, []:
                if worker is None:
                    self._dismiss(address)
                else:
                    self._liveness.heard(address, time.monotonic())
            case MajordomoCommand.DISCONNECT, []:
                self._remove(address, None)
            case _:
                raise ValueError("expected READY, REPLY, HEARTBEAT or DISCONNECT with its frames")

    def _receive_ready(self, address: bytes, worker: MajordomoWorker | None, service: str) -> None:
        if worker is not None or service.startswith(MANAGEMENT):
            self._dismiss(address)
            return
        self._dismissed.pop(address, None)
        worker = self._workers[address] = MajordomoWorker(address, service)
        self._liveness.heard(address, time.monotonic())
        self.services.hire(worker, partial(self._give, worker))

    def _give(self, worker: MajordomoWorker, task_id: bytes, body: Frames) -> None:
        if self._workers.get(worker.address) is worker:
            worker.task_id = task_id
            self._command(worker.address, MajordomoCommand.REQUEST, task_id, b"", *body)

    def _command(self, address: bytes, command: bytes, *arguments: bytes) -> None:
        if not send_now(self._socket, [address, b"", WORKER_HEADER, command, *arguments]):
            self._lose(address, "has disconnected")

    def _dismiss(self, address: bytes) -> None:
        """Answers what is not expected with one DISCONNECT, and nothing afterwards."""
        self._remove(address, "the worker did what was not expected of it")
        if address not in self._dismissed:
            self._dismissed[address] = None
            if len(self._dismissed) > DISMISSED_MAX:
                self._dismissed.popitem(last=False)
            send_now(self._socket, [address, b"", WORKER_HEADER, MajordomoCommand.DISCONNECT])

    def _lose(self, address: bytes, why: str) -> None:
        if address in self._workers:
            logger.warning("worker %s %s; what it held goes to another", address.hex(), why)
            self._remove(address, f"the worker {why}")

    def _remove(self, address: bytes, why: str | None) -> None:
        worker = self._workers.pop(address, None)
        self._liveness.forget(address)
        if worker is not None:
            self.services.dismiss(worker, why)


def _service(name: bytes) -> str:
    """Returns the name of a service, if it can be one; raises ValueError."""
    text = name.decode()
    if not text or " " in text or not text.isprintable() or len(name) > SERVICE_BYTES_MAX:
        raise ValueError(f"expected a service of 1 to {SERVICE_BYTES_MAX} printable bytes without spaces")
    return text
