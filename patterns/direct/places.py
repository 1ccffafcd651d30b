"""Where the sockets of one run are bound: in a private folder, in this process, or on an address that other machines
can reach.
"""

from __future__ import annotations

import itertools
import os
import socket
import tempfile
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from zq.keys.key import Key
from zq.processes.own_folder import OwnFolder

FOLDER_BYTES_MAX = 70
"""Of the folder for temporary files: the path of a socket file may have 107 bytes, on some systems 103."""

_runs = itertools.count(1)


class Places:
    """The places of one run.

    Attributes:
        folder: with the socket files, readable by this user alone; None when there are none.
    """

    def __init__(self, *, host: str | None, is_threaded: bool) -> None:
        """Chooses.

        Args:
            host: address of this machine, when workers on others must reach it; None: no other machine takes part.
            is_threaded: whether all workers are threads of this process.
        """
        self._host = host
        self._run = next(_runs)
        self._is_threaded = is_threaded and host is None
        self._own = _make_folder() if host is None and not is_threaded else None
        self.folder = None if self._own is None else self._own.path

    def close(self) -> None:
        """Removes the folder with everything in it."""
        if self._own is not None:
            self._own.close()

    def place(self, name: str) -> str:
        """Returns the address to bind the socket of that name to."""
        if self._host is not None:
            return f"tcp://[{self._host.strip('[]')}]:*" if ":" in self._host else f"tcp://{self._host}:*"
        return f"inproc://zq-{self._run}-{name}" if self._is_threaded else f"ipc://{self.folder}/{name}"


def _make_folder() -> OwnFolder:
    """Returns a new folder that only this user can enter, on a path short enough for sockets."""
    # A private folder is made inside.
    folder = None if len(os.fsencode(tempfile.gettempdir())) <= FOLDER_BYTES_MAX else "/tmp"  # noqa: S108
    return OwnFolder(within=folder)


def own_host(endpoints: Iterable[str]) -> str | None:
    """Returns the address under which this machine is seen from some endpoints, or None if there are none.

    Raises:
        ValueError: one is not `tcp://host:port`, or its host is unknown.
    """
    found = None
    for endpoint in endpoints:
        address = split_endpoint(endpoint)
        if found is None:
            try:
                found = _way_to(*address)
            except (OSError, UnicodeError) as error:
                raise ValueError(f"there is no way to {endpoint}: {error}") from error
    return found


def _way_to(host: str, port: int) -> str:
    """Returns the address of this machine from which a datagram would leave to another; IPv4 if there is a way."""
    ways = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = min(ways, key=lambda way: way[0] != socket.AF_INET)
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)  # sends nothing; it only finds the way
        return str(probe.getsockname()[0])


def refuse_open(host: str | None, key: Key | None, *, is_allowed: bool) -> None:
    """Raises ValueError when other machines could reach the sockets of a run, and no key keeps them out."""
    if host is not None and key is None and not is_allowed and not is_local_host(host):
        raise ValueError(
            f"other machines can reach the sockets of this run at {host}, and whoever reaches them can give items to its "
            "stages: run it with key= (--key, ZQ_KEY), or with insecure_bind=True (--insecure-bind) on a network that you "
            "trust"
        )


def is_local(endpoint: str) -> bool:
    """Returns whether only this machine can reach an endpoint."""
    return is_local_host(urlsplit(endpoint).hostname or "")


def is_local_host(host: str) -> bool:
    """Returns whether what is bound there can be reached by this machine only."""
    host = host.strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # the name of a machine, an interface, or *
        return False


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Returns host and port of an endpoint.

    Raises:
        ValueError: it is not `tcp://host:port`.
    """
    parts = urlsplit(endpoint)
    try:
        port = parts.port
    except ValueError:  # not a number
        port = None
    if parts.scheme != "tcp" or not parts.hostname or not port:
        raise ValueError(f"expected an endpoint as tcp://host:port, got {endpoint!r}")
    return parts.hostname, port
