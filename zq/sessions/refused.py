"""What is raised where a coordinator answered with an error."""

from __future__ import annotations

from zq.errors import BusyError, RemoteProtocolError, ZqError

BUSY_RETRY_AFTER = 5.0
"""Seconds after which a full store, or a peer at one of its limits, is worth trying again: an error does not say."""


def error_of(code: str, text: str, request: int | None = None) -> ZqError:
    """Returns the exception for an error message."""
    return BusyError(BUSY_RETRY_AFTER, text) if code == "busy" else RemoteProtocolError(code, text, request)
