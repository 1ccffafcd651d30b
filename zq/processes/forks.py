"""What a forked child must not keep of its parent: it would hold it after the parent has let go of it, or has died.

A fork copies every descriptor, while the threads that served them stay behind: the lock of a directory and the port of
a coordinator would be held by a process that knows of neither. Only forks that Python itself makes are seen here
(`os.fork`, `multiprocessing`, `pty`); what is started by `subprocess` inherits nothing in the first place.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from zq.processes.copies import watch

_drops: set[_Drop] = set()
"""All that are in force: what is watched must be kept."""


class _Drop:
    """What a copy of this process lets go of, once: a copy of the copy may have another thing of that number."""

    def __init__(self, drop: Callable[[], None]) -> None:
        self._drop: Callable[[], None] | None = drop
        watch(self)

    def become_copy(self) -> None:
        drop, self._drop = self._drop, None
        if drop is not None:
            try:
                drop()
            except OSError:
                pass


def drop_in_forks(drop: Callable[[], None]) -> Callable[[], None]:
    """Has a function called in every process that is forked from this one, and returns one that ends that.

    Args:
        drop: lets go of something; the OSErrors that it raises are of no interest, as the parent still has it.
    """
    one = _Drop(drop)
    _drops.add(one)
    return lambda: _drops.discard(one)


def close_sockets_of(endpoint: str) -> None:
    """Closes the descriptors of this process that listen at an endpoint, or were accepted there.

    ZeroMQ does not tell the descriptors of its sockets, so they are found by the name to which they are bound.

    Args:
        endpoint: as ZeroMQ tells where it has bound a socket.
    """
    for number in [int(file.name) for file in Path("/dev/fd").iterdir()]:
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode) and _is_bound(number, endpoint):
                os.close(number)
        except OSError:  # the descriptor of this listing, for one
            pass


def _is_bound(number: int, endpoint: str) -> bool:
    found = socket.socket(fileno=number)
    try:
        if found.type != socket.SOCK_STREAM:
            return False
        name = found.getsockname()
    finally:
        found.detach()
    transport, _, place = endpoint.partition("://")
    if found.family == socket.AF_UNIX:
        path = "@" + name[1:].decode() if isinstance(name, bytes) else name
        return transport == "ipc" and path == place
    if transport != "tcp" or found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    host, _, port = place.rpartition(":")
    host = host.strip("[]").partition("%")[0]
    return str(name[1]) == port and host in ("0.0.0.0", "::", name[0].partition("%")[0])  # noqa: S104 - compared
