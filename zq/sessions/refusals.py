"""What an error of the coordinator becomes for whoever asked."""

from __future__ import annotations

from typing import Final

from zq.errors import AccessDeniedError, BusyError, RemoteProtocolError, ZqError

DENIED_CODE: Final = "denied"
"""The code of an error that says: the key that this connection showed may not do that (protocol 5)."""

BUSY_CODE: Final = "busy"
"""The code of an error that says: a limit is reached, or the store is full."""

BUSY_RETRY_AFTER: Final = 5.0
"""Seconds after which a full store, or a peer at one of its limits, is worth trying again: an error does not say."""


def remote_error(code: str, text: str, request: int | None = None) -> ZqError:
    """Returns the error to raise for one that the coordinator sent."""
    if code == DENIED_CODE:
        return AccessDeniedError(text)
    if code == BUSY_CODE:
        return BusyError(BUSY_RETRY_AFTER, text)
    return RemoteProtocolError(code, text, request)
