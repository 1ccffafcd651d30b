"""What an error of the coordinator becomes for whoever asked."""

from __future__ import annotations

from typing import Final

from zq.errors import AccessDeniedError, RemoteProtocolError, ZqError

DENIED_CODE: Final = "denied"
"""The code of an error that says: the key that this connection showed may not do that (protocol 5)."""


def remote_error(code: str, text: str, request: int | None = None) -> ZqError:
    """Returns the error to raise for one that the coordinator sent."""
    return AccessDeniedError(text) if code == DENIED_CODE else RemoteProtocolError(code, text, request)
