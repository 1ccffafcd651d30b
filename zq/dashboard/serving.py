"""The dashboard as a process: it listens, says where, and serves until it is told to end."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from zq.dashboard.app import make_app
from zq.dashboard.connections import CONNECTIONS_MAX, IDLE_SECONDS, OnceInAWhile, PatientProtocol, WithoutQuery
from zq.dashboard.options import DashboardOptions

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
        make_server(options, is_logging=is_logging).run(sockets=[listening])
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


def make_server(options: DashboardOptions, *, is_logging: bool = False) -> uvicorn.Server:
    """Returns what serves a dashboard on sockets that it is given."""
    logging.getLogger("uvicorn.access").addFilter(_WITHOUT_QUERY)
    logging.getLogger("uvicorn.error").addFilter(_ONCE_IN_A_WHILE)
    config = uvicorn.Config(
        make_app(options),
        http=PatientProtocol,
        access_log=is_logging,
        log_config=None,
        log_level="warning" if not is_logging else "info",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=END_SECONDS,
        lifespan="on",
        ws="none",
    )
    return uvicorn.Server(config)


_WITHOUT_QUERY: Final = WithoutQuery()
_ONCE_IN_A_WHILE: Final = OnceInAWhile()


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
