"""What a dashboard is told when it starts, and what of it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import zq

Redact = Callable[[Any, Mapping[str, Any]], Any]
"""Called with what would be shown, and what is known of its task (`id`, `queue`, `field`); returns what is shown."""

DASHBOARD_BIND: Final = "127.0.0.1:7780"

TOKEN_CHARS_MIN: Final = 16
"""Fewer could be guessed over a network."""

STREAMS_MAX: Final = 100
"""Event streams at a time: each is a connection and some 100 KiB of what waits for it."""


@dataclass(frozen=True, slots=True)
class DashboardOptions:
    """What a dashboard is told.

    Attributes:
        bind: HOST:PORT to listen on; port 0 takes a free one.
        address: of the coordinator; None as of `zq.Client`.
        key: that is shown, or its file, to the coordinator; None as of `zq.Client`.
        namespace: in which all names are; None as of `zq.Client`.
        token: that every request must bring; None only on loopback.
        hosts: names under which browsers may reach it, beside those of loopback, of `bind`, and addresses.
        is_read_only: whether everything that changes something is refused.
        redact: what payloads, results and errors go through before they are shown; None shows them.
        streams_max: event streams at a time.

    Raises:
        ValueError: others could reach it and there is no token, or something else cannot be.
    """

    bind: str = DASHBOARD_BIND
    address: str | None = None
    key: str | zq.Key | None = None
    namespace: str | None = None
    token: str | None = None
    hosts: tuple[str, ...] = ()
    is_read_only: bool = False
    redact: Redact | None = None
    streams_max: int = STREAMS_MAX

    def __post_init__(self) -> None:
        host, _ = self.place
        token = self.token
        if token is not None and (len(token) < TOKEN_CHARS_MIN or not token.isascii() or not token.isprintable()):
            raise ValueError(
                f"expected a token of {TOKEN_CHARS_MIN} ASCII characters or more; "
                "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
            )
        if token is None and not is_loopback(host):
            raise ValueError(
                f"{self.bind} can be reached by other machines, and whoever reaches it can see and end tasks: "
                "bind 127.0.0.1:PORT, or set a token (ZQ_DASHBOARD_TOKEN or --token)"
            )

    @property
    def place(self) -> tuple[str, int]:
        """The host and port of `bind`; raises ValueError."""
        host, separator, port = self.bind.rpartition(":")
        if not (separator and host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
            raise ValueError(
                f"expected the dashboard's address as HOST:PORT, such as {DASHBOARD_BIND}, got {self.bind!r}"
            )
        return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Returns whether only this machine can reach what listens on a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
