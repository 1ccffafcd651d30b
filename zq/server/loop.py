"""The coordinator's shell: one thread that owns the ROUTER socket, the store and the clock, and turns the machine in
`zq.core.coordinator`.

Each turn handles what has come, up to its budget (`zq.server.reception`), and commits it in one transaction. While the
disk is busy the next turn fills up: batches grow with the load by themselves, and no message waits for a timer.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import zmq

from zq.core.coordinator import Machine
from zq.core.measures.times import Histogram
from zq.core.options import CoordinatorOptions, Now
from zq.core.state.holder import Peer
from zq.core.storage import why_unfit
from zq.core.tables import TABLES
from zq.errors import ClosedError, StoreCorruptError, StoreFullError
from zq.keys.door import KEYS_INTERVAL, Door
from zq.keys.key import Key
from zq.processes.endpoints import kept_address
from zq.processes.green import refuse_green_threads
from zq.processes.pulse import NO_PULSE
from zq.processes.wake import BusyPoll, Wake
from zq.server.beats import Beats
from zq.server.calendar import CALENDAR
from zq.server.chronicle import Chronicle
from zq.server.connections import Connections
from zq.server.gate import SIP_INTERVAL
from zq.server.guard import MemoryGuard
from zq.server.host import HostOptions, batch_max
from zq.server.key_pools import KeyPools
from zq.server.peer_connection import Received
from zq.server.reception import HELD_PATIENCE, Reception, read
from zq.server.sender import Sender
from zq.server.served_address import ServedAddress
from zq.store import DiskStore, LmdbOptions, open_store
from zq.wire.address import DEFAULT_ADDRESS, check_bind_address
from zq.wire.limits import FRAME_BYTES_MAX
from zq.wire.messages import Error, FromCoordinator, ToCoordinator

log = logging.getLogger(__name__)

COORDINATOR_HIGH_WATER_MARK = 20_000
"""Messages queued for one peer in each direction, which bytes bound beside it (`zq.core.peer_limits`).

To a peer it cannot be less: one turn may say to one all that its credit allows and the outcomes of 20,000 waits, and
who does not take one of them counts as gone. From a peer it could, and saves nothing: what many small messages take of
memory is bounded by their bytes. But above it ZeroMQ reads nothing of a connection, answers to its own heartbeats
included, and would end one that is only not heard soon enough.
"""

TCP_IDLE_SECONDS, TCP_PROBE_SECONDS, TCP_PROBES_MAX = 10, 5, 3
"""Seconds and tries of TCP after which a connection without another end is closed; clients have ZeroMQ close theirs
sooner (HEARTBEAT_TTL). ZeroMQ's own heartbeats are not for this end: libzmq 4.3.5 aborts the process when one is due on
a connection that its peer has closed while its messages still wait to be read here.
"""

FAULTS = (
    AssertionError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError, struct.error,
)  # fmt: skip
"""What a mistake in this program raises; errors of the store are not among them, they end the process."""

ROOM_PAUSE = 0.25
"""Seconds between two looks whether there is room, while there is none for anything."""

TRIES_MAX = 20
"""For a message, beside which things are due that do not fit the store: each of them is put off then."""

FAULTS_MAX = 10
"""Turns in a row that may fail before the process ends: then it is not a message that does it."""


class Server:
    """A coordinator over an LMDB directory, reachable at an address.

    `open`, `run` and `close` belong to one thread; `stop` may be called from any thread and from a signal handler.

    Attributes:
        pulse: signs of life, which `run` gives; set before it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        bind: str = DEFAULT_ADDRESS,
        options: CoordinatorOptions | None = None,
        store_options: LmdbOptions | None = None,
        host_options: HostOptions | None = None,
        keys: str | Path | None = None,
        audit: str | Path | None = None,
        own: Key | None = None,
    ) -> None:
        """Makes a server; nothing happens before `open`.

        Args:
            path: the LMDB directory, which is made if need be.
            bind: a ZeroMQ address; port `*` takes a free one.
            options: how the coordinator behaves.
            store_options: map size and disk reserve.
            host_options: limits of the process.
            keys: directory of the keys that are let in, and their rights (docs/keys.md); None: everybody may do all.
            audit: file to which is added who did what as an operator; None: it is logged. It needs keys.
            own: key of the program that hosts it, which may do everything; None: it has none.

        Raises:
            ValueError: the address cannot be one.
            GreenThreadsError: threads are green ones in this process.
            KeyFileError: this ZeroMQ cannot be trusted with keys.
        """
        refuse_green_threads()
        self.path = Path(path)
        self.address = kept_address(check_bind_address(bind))
        self.options = options or CoordinatorOptions()
        self.commits = 0
        self.pulse = NO_PULSE
        self._commit_times = Histogram()
        self._store_options = store_options or LmdbOptions()
        self._host_options = host_options or HostOptions()
        self._store: DiskStore
        self._machine: Machine
        self._socket: zmq.Socket[bytes]
        self._connections: Connections
        self._sender: Sender
        self._reception: Reception
        self._pools: KeyPools | None = None
        self._guard: MemoryGuard
        self._binding: ServedAddress
        self._opened = ExitStack()  # closes what `open` has opened, the last first
        self._is_begun = self._is_serving = self._is_stopping = False
        self._unreachable: list[Peer] = []
        self._faults = 0  # turns in a row that failed
        self._chronicle = Chronicle()
        self._due_at = 0.0  # monotonic, when a turn is to be taken even if nothing comes
        self._started_at = self._turned_at = self._wake_at = 0.0  # monotonic: also when anything is to be looked at
        if audit is not None and keys is None:
            raise ValueError("expected keys with audit: without keys nobody knows who did it")
        self._door = None if keys is None else Door(keys, audit, own)
        self._wake = Wake()  # the last: it is to be closed

    @property
    def own_key(self) -> Key | None:
        """The key of the program that hosts it, once it is open; None without keys. Any thread may ask."""
        return None if self._door is None else self._door.own_key

    def open(self) -> None:
        """Locks and opens the directory, reads the books and binds; once.

        Raises:
            StoreError: the directory cannot be used; StoreLockedError when another coordinator has it.
            OSError: the address cannot be bound.
            KeyFileError: the keys cannot be used.
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
        self._store = open_store(self.path, TABLES, self._store_options)
        self._opened.callback(self._store.close)
        self._started_at = time.monotonic()
        self._read_books()
        self._store.note_read()
        self._is_serving = True
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
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, TCP_IDLE_SECONDS),
            (zmq.TCP_KEEPALIVE_INTVL, TCP_PROBE_SECONDS),
            (zmq.TCP_KEEPALIVE_CNT, TCP_PROBES_MAX),
        ):
            self._socket.setsockopt(name, value)
        door = self._door
        if door is not None:
            door.open(context)  # before the address is there: without its answers nobody may come in
            self._opened.callback(door.close)
            door.protect(self._socket)
        self._look_after(self._socket)
        self._binding = ServedAddress(self._socket, self.address, batch_max())
        self._opened.callback(self._binding.leave)
        self._connections.gate = self._binding.gate
        self.address = self._binding.address

    def _look_after(self, socket: zmq.Socket[bytes]) -> None:
        host = self._host_options
        self._connections = Connections(
            socket,
            self.options.peer_limits,
            connections_max=host.connections(),
            bytes_max=host.bytes_waiting_max,
            clock=time.monotonic,
        )
        self._opened.callback(self._connections.close)
        self._sender = Sender(socket, self._connections)
        self._pools = None if self._door is None else KeyPools(self._door, self._connections)
        greet = None if self._pools is None else self._pools.greet
        self._reception = Reception(socket, self._sender, self._connections, greet)
        self._beats = Beats(self._reception, self._sender)
        self._guard = MemoryGuard(self._connections, host.memory_max)

    def run(self) -> None:
        """Serves until `stop`; raises StoreError when the disk fails, and MemoryLimitError when there is no memory for
        it, upon which the process should end.
        """
        monitor, busy = self._connections.monitor, BusyPoll(self._host_options.busy_poll)
        poller = zmq.Poller()
        for one in (self._socket, self._wake, monitor):
            poller.register(one, zmq.POLLIN)
        door = self._door
        if door is not None:
            poller.register(door.zap, zmq.POLLIN)
        while not self._is_stopping:
            patience = self._patience()
            if self._beats.gather(self._machine, self._wake_at):
                patience = 0
            self._connections.watch_gate(poller)
            ready = dict(busy.wait(poller.poll, patience))
            if ready.pop(monitor, None) is not None:
                self._connections.hear()
            if self._socket not in ready:
                self._connections.note_drained()
            if door is not None:
                self._turn_door(door)
            if self._connections.ended:
                self._machine.forget_watchers(self._connections.take_ended())
            now = time.monotonic()
            self._guard.watch(now)
            self._connections.let_in(now, ready)
            has_come = ready or self._reception.has_first
            if now >= self._due_at or (has_come and not self._beats.take(self._machine, now)):
                self._turn()
            self._store.rest(time.monotonic())  # answers have left: nobody waits for it
            if now >= self.pulse.next_at:
                self.pulse.beat(now, f"listens at {self.address}")
        self._sender.send(self._machine.books.waits.unhurried.receipts)
        log.info("stopped after %d commits", self.commits)

    def _turn_door(self, door: Door) -> None:
        if door.turn():
            door.protect(self._socket)
            self._binding.renew()
            self._connections.gate = self._binding.gate
        if self._pools is not None:
            self._pools.renew()

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
        """Returns the milliseconds until something is due; at least two turns in a heartbeat interval, to notice a
        stall.
        """
        if self._unreachable:
            self._due_at = 0.0  # what could not be delivered goes back at once
            return 0
        now = _now()
        at_latest = self._turned_at + self.options.heartbeat_interval / 2
        seconds = min(self._machine.next_at(now), at_latest) - now.monotonic
        if self._reception.is_holding or self._machine.books.loaded:
            seconds = min(seconds, HELD_PATIENCE)
        self._due_at = now.monotonic + seconds
        if self._door is not None:
            seconds = min(seconds, KEYS_INTERVAL)
        if self._connections.gate is not None and self._connections.gate.is_busy:
            seconds = min(seconds, SIP_INTERVAL)
        self._wake_at = min(now.monotonic + seconds, self._guard.next_at, self.pulse.next_at, self._store.rest_at)
        return max(0, int((self._wake_at - now.monotonic) * 1000) + 1)

    def _turn(self) -> None:
        """Takes one turn, whatever comes in it.

        A fault of this program must not stop it, nor may books that are half changed be used: they are read again, and
        the messages are handled one by one, so that only the one that does it is refused.
        """
        try:
            self._step()
            self._faults = 0
            return
        except StoreFullError as error:
            self._chronicle.tell_unfit(f"a turn does not fit the store ({error}); its messages are handled one by one")
            self._machine.blame(_now())
            self._read_books(self._machine)
        except StoreCorruptError as error:
            self._mend(error)
        except FAULTS:
            self._faults += 1
            if self._faults > FAULTS_MAX:
                raise
            log.exception("a turn failed; its messages are handled one by one")
            self._read_books(self._machine)
        for one in self._reception.received:
            self._step_alone(one)

    def _step_alone(self, one: Received, tries: int = TRIES_MAX, refusal: Error | None = None) -> None:
        try:
            self._step([(one.peer, refusal or read(one))])
        except StoreFullError as error:
            self._try_again(one, error, tries, refusal)
        except StoreCorruptError as error:  # what is set aside is not met again
            self._mend(error)
            self._step_alone(one, tries, refusal)
        except FAULTS:
            if refusal is not None:
                raise
            log.exception("a message could not be handled and is refused")
            self._read_books(self._machine)
            refusal = Error(None, "invalid", "this message cannot be handled; the log says why")
            self._step_alone(one, tries, refusal)

    def _try_again(self, one: Received, error: StoreFullError, tries: int, refusal: Error | None) -> None:
        """Handles a message without what did not fit the store beside it, or answers that the message does not."""
        is_innocent = self._machine.blame(_now())
        self._read_books(self._machine)
        if is_innocent and tries:
            self._step_alone(one, tries - 1, refusal)
            return
        self._chronicle.tell_unfit(f"a message does not fit the store and is refused: {error}")
        message = read(one)
        request = getattr(message, "request", getattr(message, "number", None))
        self._sender.forget()
        self._unreachable = self._sender.send([(one.peer, Error(request, "busy", why_unfit(self._store)))])

    def _step(self, messages: Iterable[tuple[Peer, ToCoordinator | Error]] | None = None) -> None:
        """Lets the machine take a turn, and sends what it hands out, which is committed by then (protocol 6.1).

        Args:
            messages: what has come; None takes what comes.
        """
        self._sender.forget()
        outbox: list[tuple[Peer, FromCoordinator]] = []
        if messages is None:
            messages = self._reception.turn(outbox)
        slow = self._connections.slow_peers()
        if self._beats.failed:
            self._unreachable += self._beats.failed
            self._beats.failed = []
        self._turned_at = time.monotonic()
        self._machine.turn(_now(), messages, self._unreachable, outbox, slow)
        self._unreachable = self._sender.send(outbox)  # first: all that follows, nobody waits for
        self.commits += 1
        if self._store.commit_seconds:  # else nothing was written
            self._commit_times.note(self._store.commit_seconds)
        self._write_log(outbox)
        if self._door is not None:
            self._door.write_down()

    def _write_log(self, sent: list[tuple[Peer, FromCoordinator]]) -> None:
        now, books, chronicle = time.monotonic(), self._machine.books, self._chronicle
        if books.worker_notes:
            chronicle.tell_workers(now, books.worker_notes)
            books.worker_notes.clear()
        chronicle.tell_each_refusal(now, sent)
        why_full = self._store.why_full if self._store.is_full else ""
        chronicle.look(now, books.counters, self._reception.refused, why_full=why_full)

    # Books.

    def _mend(self, error: StoreCorruptError) -> None:
        """Has set aside what a turn met that is damaged, and reads the books without it; raises what cannot be."""
        log.error("a turn met something that is damaged: %s", error)
        self._store.mend(error)
        self._read_books(self._machine)

    def _read_books(self, before: Machine | None = None) -> None:
        """Makes the machine anew, as soon as the store has room for that; from the one before it takes what did not fit
        the store, and its counters. What it meets that is damaged is set aside.
        """
        while True:
            while self._store.damages:
                damage = self._store.damages.pop(0)
                log.error("%s is damaged, %s: %s", self.path, "put right" if damage.is_mended else "set aside", damage)
            try:
                self._make_machine(before)
            except StoreCorruptError as error:
                self._store.mend(error)
            except StoreFullError as error:
                if not self._is_serving or self._is_stopping:
                    raise
                self._chronicle.tell_unfit(f"the books cannot be opened again yet: {error}")
                self.pulse.beat(time.monotonic(), "waits for room on its disk")
                time.sleep(ROOM_PAUSE)
            else:
                break
        for note in self._machine.recounted:
            log.error("after what was damaged was set aside: %s", note)

    def _make_machine(self, before: Machine | None) -> None:
        guard = None if self._door is None else self._door.guard
        self._machine = Machine(self.options, _now(), self._store, self._about, CALENDAR, guard, before)
        self._machine.books.waits.reads_slowly = self._reads_slowly

    def _reads_slowly(self, peer: Peer) -> bool:
        return self._connections.is_behind(peer)  # there are none yet when the books are read first

    def _about(self) -> dict[str, Any]:
        from zq import __version__

        return {
            "version": __version__,
            "uptime": round(time.monotonic() - self._started_at, 3),
            "commits": self.commits,
            "commit": self._commit_times.as_map(),
            "store": self._store.info()._asdict(),
            "journal": self._store.about_journal(),
            "damaged": self._machine.damaged,
            "recounted": self._machine.righted._asdict(),
            "memory": self._guard.about(),
            "connections": self._connections.about(),
            "refused": dict(self._reception.refused),
            **({} if self._door is None else {"keys": self._door.about()}),
        }


def _now() -> Now:
    return Now(time.monotonic(), time.time())
