"""The door of a coordinator with keys: who gets in (ZAP), and whose each message is.

Theory of operation. ZeroMQ proves by CURVE that a peer has the secret of a public key, and asks over ZAP (RFC 27)
whether that key may come in; without an answer nobody does. The answering socket is the coordinator's own, turned by
the same loop: while the loop does not turn nobody gets in, and when it ends the answering ends with it. So there is no
authenticator that could be dead while the coordinator lives. It is bound before the coordinator's address.

Getting in means little: rights are asked for with every message, by the key that ZeroMQ puts beside it (`User-Id`).

What fails closed, and by what: no domain, or another (ZAP_DOMAIN, ZAP_ENFORCE_DOMAIN, and the answer looks at it); NULL
and PLAIN (the socket speaks CURVE only, and the answer looks at it); no answer (libzmq, with an enforced domain);
unknown, revoked, expired (they have no rights); a directory that cannot be read any more (nobody has).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.utils import z85

from zq.core.rights.guard import Guard
from zq.core.rights.rights import ADMIN_ROLE, Rights
from zq.errors import KeyFileError
from zq.keys.directory import KeyDirectory
from zq.keys.entry import EMBEDDED_NAME
from zq.keys.key import ZAP_DOMAIN, Key
from zq.keys.logbook import Logbook

log = logging.getLogger(__name__)

ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
ZAP_VERSION: Final = b"1.0"

LIBZMQ_MIN: Final = (4, 3, 5)
"""Older ones have holes in CURVE and in what precedes it."""

ANSWERS_MAX: Final = 64
"""Connections that are answered in one turn: a storm of them must not hold up who is in."""

KEYS_INTERVAL: Final = 1.0
"""Seconds between two looks at the directory: how long something lives that was taken away."""


class Door:
    """Of the thread of the coordinator's loop; `open` before the socket is bound, `close` after it is closed.

    Args:
        keys: path of the directory of keys.
        audit: path of the file to which deeds of administration are added; None: they are logged (`zq.audit`).
        own: key of the program that hosts the coordinator, which may do everything; None: it has none.

    Attributes:
        guard: for the machine.
        refused: connections that were not let in.

    Raises:
        KeyFileError: keys cannot be used here.
    """

    def __init__(
        self, keys: str | os.PathLike[str], audit: str | os.PathLike[str] | None = None, own: Key | None = None
    ) -> None:
        check_libzmq()
        self.guard = Guard()
        self.refused = 0
        self._directory = KeyDirectory(Path(keys).absolute())  # also when this program goes to another folder
        self._own = own
        self._logbook = Logbook(audit, self._name_of)
        self._looked_at = 0.0
        self._server: Key
        self._zap: zmq.Socket[bytes]
        self._opened = ExitStack()

    def open(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Reads the keys and listens to whom ZeroMQ asks about.

        Raises:
            KeyFileError: the directory, or the coordinator's own key, cannot be used.
        """
        self._directory.check()
        self._server = self._directory.server_key(time.time())
        self._logbook.open()
        self._opened.callback(self._logbook.close)
        self._directory.look(time.time())
        self.guard.update(self._rights)
        if not self._rights:
            log.warning("no key in %s is good: nobody can come in; `zq keys new NAME` makes one", self._directory.path)
        self._looked_at = time.monotonic()
        self._zap = context.socket(zmq.REP)
        self._zap.linger = 0
        self._zap.bind(ZAP_ENDPOINT)
        self._opened.callback(self._zap.close)

    def protect(self, socket: zmq.Socket[bytes]) -> None:
        """Makes a socket let in only who is let in here; before it is bound."""
        self._server.guard(socket)

    @property
    def own_key(self) -> Key | None:
        """The key of the program that hosts the coordinator, with the coordinator's own of now; any thread may ask."""
        return None if self._own is None else replace(self._own, servers=(self._server.public,))

    @property
    def _rights(self) -> Mapping[str, Rights]:
        """The rights of all who are let in."""
        if self._own is None:
            return self._directory.rights
        return {**self._directory.rights, self._own.public: Rights(self._own.name, ADMIN_ROLE)}

    def _name_of(self, public: str) -> str:
        return EMBEDDED_NAME if self._is_own(public) else self._directory.name_of(public)

    def _is_own(self, public: str) -> bool:
        return self._own is not None and public == self._own.public

    @property
    def zap(self) -> zmq.Socket[bytes]:
        """The socket to wait for, too: `turn` when something is there."""
        return self._zap

    def close(self) -> None:
        self._opened.close()

    # The loop's.

    def turn(self) -> bool:
        """Answers whom ZeroMQ asks about, and looks at the directory when it is time; before each turn of the machine.

        Returns:
            Whether the coordinator has another key of its own: its address is to be bound again, with `protect`.
        """
        self._answer_waiting()
        now = time.monotonic()
        if now < self._looked_at + KEYS_INTERVAL:
            return False
        self._looked_at = now
        if self._directory.look(time.time()):
            self.guard.update(self._rights)
            log.info("the keys have changed: %d are good", len(self._directory.rights))
        return self._has_new_server()

    def _has_new_server(self) -> bool:
        try:
            server = self._directory.server_key(time.time())
        except (KeyFileError, OSError) as error:
            self._logbook.warn("server", f"the coordinator keeps its key, for it cannot be read again: {error}")
            return False
        has_changed = server.public != self._server.public
        if has_changed:
            self._server = server
            log.info("the coordinator's own key is %s from now on", server.public)
        return has_changed

    def greet(self, peer: bytes, frame: Any) -> bool:
        """Tells the guard whose a frame is, as ZeroMQ knows it; returns whether that is new."""
        try:
            public = frame.get("User-Id")
        except zmq.ZMQError:  # a connection that nobody asked about; there is none
            public = ""
        known = self.guard.caller(peer)
        is_new = known is None or known.public != public
        if is_new:
            self.guard.introduce(peer, public, _address_of(frame))
        return is_new

    def write_down(self) -> None:
        """Logs what the guard has noted; after a turn."""
        if self.guard.refusals or self.guard.audits:
            self._logbook.write(self.guard)

    def about(self) -> dict[str, Any]:
        """Returns what the query `status` tells of keys."""
        good = len(self._directory.rights)
        broken = len(self._directory.faults)
        refused = {"refused_connections": self.refused, "refused_messages": self.guard.refused}
        return {"good": good, "broken": broken, **refused, "audit": self._logbook.about()}

    # ZAP.

    def _answer_waiting(self) -> None:
        for _ in range(ANSWERS_MAX):
            try:
                request = self._zap.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._zap.send_multipart(self._answer(request), zmq.NOBLOCK)

    def _answer(self, request: list[bytes]) -> list[bytes]:
        number = request[1] if len(request) > 1 else b""
        public, fault = self._judge(request)
        if fault is None:
            return [ZAP_VERSION, number, b"200", b"OK", public.encode(), b""]
        self.refused += 1
        self._logbook.refuse_connection(public, request[3] if len(request) > 3 else b"", fault)
        return [ZAP_VERSION, number, b"400", b"the key is not let in", b"", b""]

    def _judge(self, request: list[bytes]) -> tuple[str, str | None]:
        """Returns the public key that asks to come in, as far as it is known, and why it may not."""
        if len(request) != 7 or request[0] != ZAP_VERSION:
            return "", "it asked in a way that is not known here"
        domain, mechanism, credentials = request[2], request[5], request[6]
        if domain != ZAP_DOMAIN.encode():
            return "", "it came by another domain"
        if mechanism != b"CURVE" or len(credentials) != 32:
            return "", "it has no CURVE key"
        public = z85.encode(credentials).decode()
        if public not in self._directory.rights and not self._is_own(public):
            return public, "its key is unknown, revoked or expired"
        return public, None


def check_libzmq() -> None:
    """Raises KeyFileError when ZeroMQ cannot be trusted with keys."""
    if zmq.zmq_version_info() < LIBZMQ_MIN or not zmq.has("curve"):
        wanted = ".".join(map(str, LIBZMQ_MIN))
        raise KeyFileError(f"expected libzmq {wanted} or later with CURVE, got {zmq.zmq_version()}")


def _address_of(frame: Any) -> str:
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return ""
