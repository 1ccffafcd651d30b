"""How a link gets in: which key its socket shows, and what it means when a handshake fails.

libzmq tells why a handshake failed, more or less: that the coordinator does not admit the key (AUTH), that one side
speaks CURVE and the other does not (PROTOCOL), or nothing (NO_DETAIL), because the other side just hung up. That is
what a coordinator does that has not the key which it should have, and also what dies, and what stands before it when it
is dead. So then whoever is there is asked for its greeting, the first bytes of ZMTP, in which it says what it speaks.

A coordinator that is flooded hangs up on honest peers, too, when a handshake takes too long. So it is only said that
it has another key when it has hung up for a while and did nothing else, and never when it has proved its key before.

A key may trust several coordinators' keys: after a handshake that failed the next one is tried.
"""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq

from zq.errors import AccessDeniedError, KeyFileError
from zq.keys.own import KeySource, kept_key, resolve_key

if TYPE_CHECKING:
    from zq.keys.key import Key

logger = logging.getLogger(__name__)

ADMITTANCE_EVENTS = int(
    zmq.Event.DISCONNECTED
    | zmq.Event.HANDSHAKE_FAILED_AUTH
    | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
)
"""What a link's monitor has to tell."""

MECHANISM_MISMATCH = 0x1100_0002
"""ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH, of zmq.h."""

DENIED_STATUS = 400
"""Of ZAP: this key is not admitted. 300 and 500 are troubles of the authenticator, which pass."""

ROUNDS = 2
"""Of trying all the coordinators' keys, before it is said that nobody there has one: a coordinator may have ended in
the middle of a handshake once.
"""

HUNG_UP_SECONDS = 10.0
"""For which whoever is there has to hang up each time, for the same reason: more than three handshakes may take."""

GREETING_TIMEOUT = 1.0
"""Seconds for a greeting, which is answered by ZeroMQ's own thread, however busy the coordinator is."""

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03"
"""Signature and major version (rfc.zeromq.org/spec/37): what the other side must have to go on with its own greeting. A
mechanism that is not its own would make it hang up.
"""

MECHANISM = slice(12, 32)
"""Where a greeting says it: behind a signature of 10 bytes and a version of 2."""

_EVENT = struct.Struct("=HI")


class Break(NamedTuple):
    """What a monitor told of a connection that broke, or was never made."""

    event: int  # of zmq.Event
    value: int

    @property
    def is_doubtful(self) -> bool:
        """Whether whoever is there has to be asked what it speaks, to know what the break means."""
        return self.event == zmq.Event.HANDSHAKE_FAILED_NO_DETAIL


class Entrance:
    """The key of one link. Whoever drives the link uses it.

    Args:
        key: of the link; see `zq.keys.own.resolve_key`, which says what it raises, too.
        clock: monotonic.

    Attributes:
        has_proved: whether whoever is there has proved a key that this one trusts.
    """

    def __init__(self, address: str, key: KeySource | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.has_proved = False
        self._clock = clock
        self._source = kept_key(key, address)
        self._key = resolve_key(key, address)
        self._address = address
        self._server = 0  # which of the key's servers is tried
        self._refusals = 0  # in a row, by someone who may be another than the one who is looked for
        self._refused_since = 0.0

    def secure(self, socket: zmq.Socket[Any]) -> None:
        """Prepares a socket that is about to connect."""
        if self._key is not None:
            self._key.secure(socket, self._key.servers[self._server % len(self._key.servers)])

    def look(self, monitor: zmq.Socket[bytes]) -> AccessDeniedError | None:
        """Reads what a monitor tells, and judges it; asks for a greeting if need be, which takes GREETING_TIMEOUT at
        most.
        """
        told = read_break(monitor)
        return self.judge(told, mechanism_at(self._address) if told.is_doubtful else None)

    def judge(self, told: Break, mechanism: str | None) -> AccessDeniedError | None:
        """Returns an error when the coordinator lets nobody in with this key, and None when the connection just broke.

        Args:
            mechanism: what is spoken there, of a break that is doubtful; see `mechanism_at`.
        """
        event, value = told
        if not told.is_doubtful:
            self._refusals = 0
        if event == zmq.Event.HANDSHAKE_FAILED_AUTH and value == DENIED_STATUS:
            text = (
                f"does not admit the key {self._name}: it is unknown there, revoked or expired; `zq keys allow` there"
            )
        elif event == zmq.Event.HANDSHAKE_FAILED_PROTOCOL and value == MECHANISM_MISMATCH:
            text = self._mismatch()
        elif told.is_doubtful:
            found = self._look_again(mechanism)
            if found is None:
                return None
            text = found
        else:
            self.has_proved |= event == zmq.Event.DISCONNECTED  # whoever was there had let it in
            return None
        if self._has_changed():
            return None
        return AccessDeniedError(f"the coordinator at {self._address} {text}")

    @property
    def _name(self) -> str:
        return "" if self._key is None else f"{self._key.name} ({self._key.public})"

    def _mismatch(self) -> str:
        if self._key is None:
            return (
                "admits nobody without a key: give one as key= (access_key= of an Executor), ZQ_KEY or `zq --key FILE`"
            )
        return f"has no keys, and so cannot show that it is the one which the key {self._key.name} trusts"

    def _look_again(self, speaks: str | None) -> str | None:
        """Returns what to say of someone who hung up, or None when it may have been an accident."""
        if speaks is None:
            self._refusals = 0
            return None
        if (speaks == "CURVE") != (self._key is not None):
            return self._mismatch()
        if self._key is None:
            return None
        self._server += 1
        return self._hung_up(self._key)

    def _hung_up(self, key: Key) -> str | None:
        now = self._clock()
        if not self._refusals:
            self._refused_since = now
        self._refusals += 1
        if self._refusals < ROUNDS * len(key.servers) or self._has_changed():
            return None
        if now < self._refused_since + HUNG_UP_SECONDS:
            return None
        self._refusals -= len(key.servers)
        if self.has_proved:
            logger.warning("%s hangs up: it is overloaded, or has another key than before; trying on", self._address)
            return None
        return (
            f"has none of the keys that the key {key.name} trusts (its line `servers`), "
            "or nobody there who looks at keys"
        )

    def _has_changed(self) -> bool:
        """Looks for the key again: its file, or the coordinator's own key, may have been replaced since."""
        try:
            found = resolve_key(self._source, self._address)
        except (KeyFileError, ValueError) as error:
            logger.warning("the key that was read before is used on: %s", error)
            return False
        has_changed, self._key = found != self._key, found
        if has_changed:
            self._server = self._refusals = 0
            self.has_proved = False
        return has_changed


def read_break(monitor: zmq.Socket[bytes]) -> Break:
    """Returns the first event that waits; what comes after it follows from it."""
    return Break(*_EVENT.unpack(monitor.recv_multipart(zmq.NOBLOCK)[0]))


def mechanism_at(address: str) -> str | None:
    """Returns which security mechanism is spoken at an address, or None when ZeroMQ is not spoken there (now)."""
    try:
        with _connected(address) as stream:
            stream.settimeout(GREETING_TIMEOUT)
            stream.sendall(GREETING)
            greeting = b""
            while len(greeting) < MECHANISM.stop:
                part = stream.recv(MECHANISM.stop - len(greeting))
                if not part:
                    return None
                greeting += part
    except (OSError, ValueError):
        return None
    if greeting[:1] != b"\xff":
        return None
    return greeting[MECHANISM].rstrip(b"\0").decode("ascii", "replace")


def _connected(address: str) -> socket.socket:
    transport, _, place = address.partition("://")
    if transport == "tcp":
        host, _, port = place.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), GREETING_TIMEOUT)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(GREETING_TIMEOUT)
        stream.connect(f"\0{place[1:]}" if place.startswith("@") else place)
    except BaseException:
        stream.close()
        raise
    return stream
