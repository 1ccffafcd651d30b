"""The keys of direct runs that other machines take part in.

Two keys meet when a worker that serves is called: that of the caller and that of whoever serves. Each admits, and
trusts, its own public key and those in its `servers`; so one file on all machines is enough, and several files that
name each other do, too. What the caller then says is encrypted, so it can say the key of the run: a new one for each
run, with which all other sockets of the run are bound and connected, and which nobody else has. It is forgotten when
the run is over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import zmq

from patterns.sockets import Frames, Socket, connect, make_socket, send_now
from zq.keys.admission import Admission
from zq.keys.key import Key

STAGE_DOMAIN = "zq.stage"
"""Of ZAP, for the sockets of direct runs."""

HANG_UPS_MAX = 3
"""Handshakes in a row that end without a reason, before that is the reason: a serving process ends after each run, and
may do so in the middle of one.
"""

CALL_EVENTS = int(
    zmq.Event.HANDSHAKE_SUCCEEDED
    | zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
)

_EVENT = struct.Struct("=HI")


def partners(key: Key) -> list[str]:
    """Returns the public keys that a key admits and trusts, its own first."""
    return [*dict.fromkeys((key.public, *key.servers))]


class Security:
    """What secures the sockets of one run in one context.

    Args:
        run: the key of the run; None as long as it is not known, in a process that serves.
        own: that of the process, if it serves.
    """

    def __init__(self, context: zmq.Context[Socket], run: Key | None, own: Key | None = None) -> None:
        self._run = run
        admitted = [] if run is None else [run.public]
        self._admission = Admission(context, STAGE_DOMAIN, *admitted, *([] if own is None else partners(own)))
        self.own = own

    def begin(self, run: Key) -> None:
        """Lets in who has the key of a run."""
        self._run = run
        self._admission.admit(run.public)

    def guard(self, socket: Socket) -> None:
        """Prepares a socket that is about to be bound, and that only the run's own can reach."""
        self._key.guard(socket, STAGE_DOMAIN)

    def secure(self, socket: Socket, server: str = "") -> None:
        """Prepares a socket that is about to be connected.

        Args:
            server: public key of who has bound the other side; empty for that of the run.
        """
        self._key.secure(socket, server or self._key.public)

    @property
    def _key(self) -> Key:
        assert self._run is not None, "a run has begun when its sockets are made"
        return self._run

    def close(self) -> None:
        self._admission.close()


class RunKeys(NamedTuple):
    """What a caller has of keys: its own, that of the run, and what secures the sockets of its context."""

    own: Key
    run: Key
    security: Security


def make_run_keys(context: zmq.Context[Socket], own: Key) -> RunKeys:
    """Returns the keys of a new run, for a caller with a key."""
    run = Key.new("run", "worker")
    return RunKeys(own, run, Security(context, run))


class StageCall:
    """The way to a worker that serves somewhere, until it has answered. It belongs to one thread at a time.

    Args:
        place: tcp://host:port.
        key: of the caller; None for a worker without one.
    """

    def __init__(self, context: zmq.Context[Socket], place: str, key: Key | None) -> None:
        self._place = place
        self._key = key
        servers: Sequence[str | None] = [None] if key is None else partners(key)
        self._sockets = [self._connect(context, server) for server in servers]
        self._monitors = [socket.get_monitor_socket(CALL_EVENTS) for socket in self._sockets]
        self._hang_ups = [0] * len(self._sockets)
        for socket in self._sockets:
            connect(socket, place)

    def _connect(self, context: zmq.Context[Socket], server: str | None) -> Socket:
        socket = make_socket(context, zmq.PUSH)
        if self._key is not None:
            self._key.secure(socket, server)
        return socket

    def say(self, frames: Frames) -> None:
        """Says something to whoever serves there, as soon as it is there: one key at most is the right one."""
        for socket in self._sockets:
            send_now(socket, frames)

    def refusal(self) -> str | None:
        """Returns why nobody there will ever hear it, if that is so."""
        for index, monitor in enumerate(self._monitors):
            while monitor.poll(0):
                event, value = _EVENT.unpack(monitor.recv_multipart()[0])
                if event == zmq.Event.HANDSHAKE_SUCCEEDED:
                    self._hang_ups[index] = 0
                elif event == zmq.Event.HANDSHAKE_FAILED_AUTH and value == 400:
                    return f"{self._place} does not admit {self._name}"
                elif event == zmq.Event.HANDSHAKE_FAILED_NO_DETAIL:
                    self._hang_ups[index] += 1
                elif event == zmq.Event.HANDSHAKE_FAILED_PROTOCOL:
                    return self._mismatch
        if min(self._hang_ups) < HANG_UPS_MAX:
            return None
        if self._key is None:
            return self._mismatch
        return (
            f"{self._place} is served with none of the keys that {self._name} trusts (its line `servers`), or without"
        )

    @property
    def _name(self) -> str:
        return "" if self._key is None else f"the key {self._key.name} ({self._key.public})"

    @property
    def _mismatch(self) -> str:
        if self._key is None:
            return f"{self._place} is served with a key, and admits nobody without one: run with key=, --key or ZQ_KEY"
        return f"{self._place} is served without a key: give it --key, or run without one"

    def close(self) -> None:
        for socket, monitor in zip(self._sockets, self._monitors, strict=True):
            socket.disable_monitor()
            monitor.close(0)
            socket.close(0)
