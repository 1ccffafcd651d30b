"""Connections that are not held for ever by who sends nothing, or takes nothing; and what the log has of requests.

uvicorn waits without an end for the first request of a connection, for the rest of one that has begun, and for a reader
that has stopped. Connections are bounded, so a few hundred of these would lock everybody out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX: Final = 400
"""Connections at a time, event streams included; requests on more are answered 503."""

CONNECTIONS_SPARE: Final = 100
"""More than these are cut before they have said anything: each takes a descriptor."""

REQUEST_SECONDS: Final = 10.0
"""In which the first request of a connection must have come, up to the end of its headers."""

IDLE_SECONDS: Final = 15
"""From the end of an answer to the next request on its connection."""

TAKE_SECONDS: Final = 30.0
"""For which somebody may take nothing of an answer. Event streams end earlier, in their own words."""

REPEAT_SECONDS: Final = 60.0
"""In which the log has a warning once, however many connections bring it about."""


class PatientProtocol(H11Protocol):
    """HTTP on one connection, which is cut when nothing comes of it."""

    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX + CONNECTIONS_SPARE:
            transport.abort()
        self.timeout_keep_alive_task = self.loop.call_later(REQUEST_SECONDS, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Reads on. The base has every byte end the wait for a request; here only a whole request does."""
        self.conn.receive_data(data)
        self.handle_events()

    def pause_writing(self) -> None:
        """Begins to wait for somebody who takes nothing."""
        super().pause_writing()
        self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends that wait."""
        super().resume_writing()
        self._end_taking()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends every wait."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._end_taking()

    def _end_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None


class WithoutQuery(logging.Filter):
    """Leaves the query of an address out of the log of requests: it may have the token, and what was searched for."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cuts the record; all are let through."""
        args: Any = record.args
        if isinstance(args, tuple) and len(args) > 2 and isinstance(args[2], str):
            record.args = (*args[:2], args[2].partition("?")[0], *args[3:])
        return True


class OnceInAWhile(logging.Filter):
    """Lets the same warning through once in REPEAT_SECONDS: else whoever connects could fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last_at: dict[str, float] = {}  # by message, of which the server has a handful

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether the record may pass."""
        if record.levelno != logging.WARNING or record.args:
            return True
        now = time.monotonic()
        if now - self._last_at.get(str(record.msg), float("-inf")) < REPEAT_SECONDS:
            return False
        self._last_at[str(record.msg)] = now
        return True
