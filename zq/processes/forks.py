"""What a forked child must not keep of its parent: it would hold it after the parent has let go of it, or has died.

A fork copies every descriptor, while the threads that served them stay behind: the lock of a directory and the port of
a coordinator would be held by a process that knows of neither. Only forks that Python itself makes are seen here
(`os.fork`, `multiprocessing`, `pty`); what is started by `subprocess` inherits nothing in the first place.
"""

from __future__ import annotations

import itertools
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

_numbers = itertools.count()
_drops: dict[int, Callable[[], None]] = {}
_is_watching = False


def drop_in_forks(drop: Callable[[], None]) -> Callable[[], None]:
    """Has a function called in every process that is forked from this one, and returns one that ends that.

    Args:
        drop: lets go of something; the OSErrors that it raises are of no interest, as the parent still has it.
    """
    global _is_watching  # noqa: PLW0603 - hooks at a fork can be set, and never be taken back
    if not _is_watching:
        _is_watching = True
        os.register_at_fork(after_in_child=_drop_all)
    number = next(_numbers)
    _drops[number] = drop

    def forget() -> None:
        _drops.pop(number, None)

    return forget


def _drop_all() -> None:
    """In a forked child, before anything else runs there."""
    for drop in list(_drops.values()):
        try:
            drop()
        except OSError:
            pass
    _drops.clear()


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
