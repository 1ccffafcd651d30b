"""Addresses of sockets as ZeroMQ takes them: whether they need IPv6, and why one cannot be bound, in words; and such
addresses and paths as mean the same for good, wherever this program goes (`os.chdir`).

ZeroMQ resolves names and numbers of IPv6 only for a socket that has that option, and then resolves names to nothing
else: it is set for each address by what the address needs.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
from pathlib import Path

FILE_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103
"""Bytes of the path of a socket's file, as `zq.wire.address` has them."""

_TCP = re.compile(r"tcp://(?:\[(?P<number>[^\]]*)\]|(?P<name>[^:]*)):(?P<port>[^:]*)")


def kept_path(path: str | os.PathLike[str]) -> Path:
    """Returns a path that still means the same when this program has gone to another folder. In a folder that was
    removed, where nothing can be found in any case, it stays as it is.
    """
    try:
        return Path(path).absolute()
    except OSError:
        return Path(path)


def kept_address(address: str) -> str:
    """Returns an address that still means the same when this program has gone to another folder. One whose whole path
    is longer than that of a socket may be stays as it is.
    """
    path = address.removeprefix("ipc://")
    if path == address or path[:1] in ("/", "@", "*", ""):
        return address
    whole = str(kept_path(path))
    return f"ipc://{whole}" if len(os.fsencode(whole)) <= FILE_PATH_BYTES_MAX else address


def check_port(address: str) -> str:
    """Returns an address whose port, if it is one of TCP, can be: ZeroMQ takes the last 16 bits of any number.

    Raises:
        ValueError: the port is none from 1 to 65535, and no `*`, which takes a free one.
    """
    found = _TCP.fullmatch(address)
    port = "*" if found is None else found["port"]
    if port != "*" and not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"expected a port from 1 to 65535, got {address!r}")
    return address


def needs_ipv6(address: str) -> bool:
    """Returns whether what connects to an address needs the option: its host is a number of IPv6, or a name that has
    no other; a name is looked up.
    """
    found = _TCP.fullmatch(address)
    if found is None:
        return False
    name = found["name"]
    if name is None:
        return True
    return not _has_numbers(name, socket.AF_INET) and _has_numbers(name, socket.AF_INET6)


def is_looked_up(address: str) -> bool:
    """Whether `needs_ipv6` asks for the host of an address, and may wait for an answer: it is a name."""
    found = _TCP.fullmatch(address)
    name = None if found is None else found["name"]
    return name is not None and not name.replace(".", "").isdigit()


def _has_numbers(name: str, family: socket.AddressFamily) -> bool:
    try:
        return bool(socket.getaddrinfo(_quick(name), None, family, socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False


def _quick(name: str) -> str | bytes:
    """Returns a name as bytes, for which no codec of international names is loaded, unless it needs that."""
    return name.encode() if name.isascii() else name


def bind_error(address: str, number: int | None) -> OSError:
    """Returns the error of an address that cannot be bound, which says what to do.

    Args:
        number: of the error, as the system or ZeroMQ tells it.
    """
    number = number or errno.EIO
    match number:
        case errno.EADDRINUSE:
            why = f"{os.strerror(number)}: another program serves there; end it, or choose another address"
        case errno.ENODEV | errno.EADDRNOTAVAIL:
            why = f"{os.strerror(number)}: this machine has no such address or interface"
        case errno.ENAMETOOLONG:
            why = f"{os.strerror(number)}: the path of a socket may have 107 bytes, on some systems 103"
        case _:
            why = os.strerror(number)
    return OSError(number, f"cannot bind {address}: {why}")
