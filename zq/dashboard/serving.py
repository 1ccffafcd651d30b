"""The dashboard as a process: it listens, says where, and serves until it is told to end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from zq.dashboard.app import make_app
from zq.dashboard.options import DashboardOptions

CONNECTIONS_MAX = 400
"""Connections at a time, event streams included; more are answered 503."""

KEEP_ALIVE_SECONDS = 15
END_SECONDS = 2


def serve(options: DashboardOptions, *, is_logging: bool = False, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Args:
        options: what the dashboard is told.
        is_logging: whether each request is logged.
        on_ready: called with the address of the page once it listens.

    Raises:
        OSError: the place is taken, say.
    """
    listening = listen(*options.place)
    before = signal.signal(signal.SIGTERM, _end)  # uvicorn raises again what has ended it, and that is no failure
    try:
        host, port = listening.getsockname()[:2]
        on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        config = uvicorn.Config(
            make_app(options),
            access_log=is_logging,
            log_config=None,
            log_level="warning" if not is_logging else "info",
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=END_SECONDS,
            lifespan="on",
            ws="none",
        )
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


def _end(number: int, frame: FrameType | None) -> None:  # the signature of signal handlers
    """Nothing is left to do when this comes: the server has ended."""


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens; raises OSError, with the place in its text."""
    family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen(128)
    except OSError as error:
        found.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return found
