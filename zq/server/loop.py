"""The coordinator's shell: one thread that owns the ROUTER socket, the store and the clock, and turns the machine in
`zq.core.coordinator`.

Each turn drains what has come, up to a bound, and commits it in one transaction. While the disk is busy the next drain
fills up: batches grow with the load by themselves, and no message waits for a timer.
"""

from __future__ import annotations

import errno
import logging
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zmq

from zq.core.coordinator import Machine
from zq.core.options import CoordinatorOptions, Now
from zq.core.state.holder import Peer
from zq.core.tables import TABLES
from zq.errors import ClosedError, RemoteProtocolError, StoreFullError
from zq.processes.bound_address import BoundAddress, bind
from zq.processes.green import refuse_green_threads
from zq.processes.wake import Wake
from zq.server.calendar import CALENDAR
from zq.store import LmdbOptions, LmdbStore
from zq.wire.address import DEFAULT_ADDRESS, check_bind_address
from zq.wire.codec import decode_for_coordinator, encode_answer
from zq.wire.limits import FRAME_BYTES_MAX
from zq.wire.messages import Error, FromCoordinator, ToCoordinator

log = logging.getLogger(__name__)

DRAIN_MESSAGES_MAX = 1000
"""Messages in one turn: the group commit of a busy system, while a turn stays in the milliseconds."""

DRAIN_BYTES_MAX = 8 << 20
"""Bytes in one turn: what LMDB writes and flushes in about 10 ms on a good disk."""

NOBLOCK, SEND_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
"""As plain numbers: pyzmq's enumerations and its loops over parts cost more than the rest of receiving and sending."""

COORDINATOR_HIGH_WATER_MARK = 20_000
"""Messages queued for one peer in each direction; credit and the clients' windows keep far below it."""

FAULTS = (AssertionError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, struct.error)
"""What a mistake in this program raises; errors of the store are not among them, they end the process."""

FAULTS_MAX = 10
"""Turns in a row that may fail before the process ends: then it is not a message that does it."""


class Server:
    """A coordinator over an LMDB directory, reachable at an address.

    `open`, `run` and `close` belong to one thread; `stop` may be called from any thread and from a signal handler.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        bind: str = DEFAULT_ADDRESS,
        options: CoordinatorOptions | None = None,
        store_options: LmdbOptions | None = None,
    ) -> None:
        """Makes a server; nothing happens before `open`.

        Args:
            path: the LMDB directory, which is made if need be.
            bind: a ZeroMQ address; port `*` takes a free one.
            options: how the coordinator behaves.
            store_options: map size and disk reserve.

        Raises:
            ValueError: the address cannot be one.
            GreenThreadsError: threads are green ones in this process.
        """
        refuse_green_threads()
        self.path = Path(path)
        self.address = check_bind_address(bind)
        self.options = options or CoordinatorOptions()
        self.commits = 0
        self._store_options = store_options or LmdbOptions()
        self._store: LmdbStore
        self._machine: Machine
        self._socket: zmq.Socket[bytes]
        self._opened = ExitStack()  # closes what `open` has opened, the last first
        self._is_begun = False
        self._unreachable: list[Peer] = []
        self._is_stopping = False
        self._faults = 0  # turns in a row that failed
        self._started_at = 0.0
        self._wake = Wake()

    def open(self) -> None:
        """Locks and opens the directory, reads the books and binds; once.

        Raises:
            StoreError: the directory cannot be used; StoreLockedError when another coordinator has it.
            OSError: the address cannot be bound.
            ClosedError: it was opened before.
        """
        if self._is_begun:
            raise ClosedError(f"this server of {self.path} was opened before; make a new one")
        self._is_begun = True
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._store = LmdbStore(self.path, TABLES, self._store_options)
        self._opened.callback(self._store.close)
        self._started_at = time.monotonic()
        self._read_books()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._opened.callback(context.destroy, linger=0)
        self._socket = context.socket(zmq.ROUTER)
        for name, value in (
            (zmq.LINGER, 0),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.MAXMSGSIZE, FRAME_BYTES_MAX),
            (zmq.SNDHWM, COORDINATOR_HIGH_WATER_MARK),
            (zmq.RCVHWM, COORDINATOR_HIGH_WATER_MARK),
            (zmq.HANDSHAKE_IVL, 3000),  # milliseconds: half-open connections are closed
            (zmq.HEARTBEAT_IVL, 2000),
            (zmq.HEARTBEAT_TIMEOUT, 6000),
        ):
            self._socket.setsockopt(name, value)
        self.address = bind(self._socket, self.address)
        self._opened.callback(BoundAddress(self.address).leave)

    def run(self) -> None:
        """Serves until `stop`; raises StoreError when the disk fails, upon which the process should end."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        while not self._is_stopping:
            poller.poll(self._patience())
            self._turn(self._drain())
        log.info("stopped after %d commits", self.commits)

    def stop(self) -> None:
        """Ends `run` after its current turn."""
        self._is_stopping = True
        self._wake.ring()

    def close(self) -> None:
        """Closes socket and store, and removes the file of an `ipc://` address; what was accepted is on disk."""
        self._opened.close()
        self._wake.close()

    # A turn.

    def _patience(self) -> int:
        """Returns the milliseconds until something is due; at least two ticks in a heartbeat interval, to notice a
        stall.
        """
        if self._unreachable:
            return 0  # what could not be delivered goes back at once
        now = _now()
        seconds = min(self._machine.next_at(now) - now.monotonic, self.options.heartbeat_interval / 2)
        return max(0, int(seconds * 1000) + 1)

    def _drain(self) -> list[list[bytes]]:
        """Takes what has come, up to the bounds of one turn: of each message the connection and its frames, which
        arrive together.
        """
        receive = self._socket.recv
        found: list[list[bytes]] = []
        size = 0
        while len(found) < DRAIN_MESSAGES_MAX and size < DRAIN_BYTES_MAX:
            try:
                peer = receive(NOBLOCK)
            except zmq.Again:
                break
            body = receive(NOBLOCK, copy=False)
            parts = [peer, body.bytes]
            while body.more:
                body = receive(NOBLOCK, copy=False)
                parts.append(body.bytes)
            found.append(parts)
            size += len(parts[-1])
        return found

    def _turn(self, messages: list[list[bytes]]) -> None:
        """Takes one turn, whatever is among its messages.

        A fault of this program must not stop it, nor may books that are half changed be used: they are read again, and
        the messages are handled one by one, so that only the one that does it is refused.
        """
        try:
            self._step(self._read(messages))
            self._faults = 0
        except StoreFullError:
            log.exception("the store is full beyond its reserve: nothing of this turn was stored or answered")
            self._read_books()
        except FAULTS:
            self._faults += 1
            if self._faults > FAULTS_MAX:
                raise
            log.exception("a turn failed; its messages are handled one by one")
            self._read_books()
            for parts in messages:
                self._step_alone(parts)

    def _step_alone(self, parts: list[bytes]) -> None:
        try:
            self._step(self._read([parts]))
        except FAULTS:
            log.exception("a message could not be handled and is refused")
            self._read_books()
            self._step([(parts[0], Error(None, "invalid", "this message cannot be handled; the log says why"))])

    def _step(self, messages: Iterable[tuple[Peer, ToCoordinator | Error]]) -> None:
        """Lets the machine take a turn, and sends what it hands out, which is committed by then (protocol 6.1)."""
        outbox = self._machine.turn(_now(), messages, self._unreachable)
        self.commits += 1
        self._unreachable = self._send(outbox)

    def _read(self, received: list[list[bytes]]) -> Iterator[tuple[Peer, ToCoordinator | Error]]:
        """Yields each message with its connection, or the answer to one that cannot be read."""
        for parts in received:
            try:
                peer, frame = parts
                message: ToCoordinator | Error = decode_for_coordinator(frame)
            except RemoteProtocolError as error:
                message = Error(error.request, error.code, error.text)
            except ValueError:
                peer = parts[0]
                message = Error(None, "malformed", f"expected a message of one frame, got {len(parts) - 1}")
            yield peer, message

    def _send(self, outbox: Iterable[tuple[Peer, FromCoordinator]]) -> list[Peer]:
        """Sends without ever waiting, and returns the connections that took nothing: gone, or full."""
        failed: dict[Peer, None] = {}
        send = self._socket.send
        for peer, message in outbox:
            if peer in failed:
                continue
            frame = encode_answer(message)
            try:
                send(peer, SEND_MORE)  # fails if either would
                send(frame, NOBLOCK)
            except zmq.ZMQError as error:
                if error.errno not in (errno.EAGAIN, errno.EHOSTUNREACH):
                    raise
                failed[peer] = None
        return list(failed)

    # Books.

    def _read_books(self) -> None:
        self._machine = Machine(self.options, _now(), self._store, self._about, CALENDAR)

    def _about(self) -> dict[str, Any]:
        from zq import __version__

        return {
            "version": __version__,
            "uptime": round(time.monotonic() - self._started_at, 3),
            "commits": self.commits,
            "store": self._store.info()._asdict(),
        }


def _now() -> Now:
    return Now(time.monotonic(), time.time())
