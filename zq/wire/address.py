"""Addresses at which a coordinator and its peers meet."""

import re
import sys

DEFAULT_ADDRESS = "tcp://127.0.0.1:7700"
"""Where a coordinator is, and is looked for, when nobody says otherwise."""

SOCKET_PATH_BYTES_MAX = 107 if sys.platform == "linux" else 103
"""Bytes of the path of a socket file, or of an abstract name with its `@`: what the system's own record of it holds."""

_ADDRESS = re.compile(
    r"tcp://(?:\[[0-9A-Fa-f:.]+(?:%[^\]\s]+)?\]|[^\s:/\[\]*]+):(?P<port>[0-9]{1,5})|ipc://(?P<path>[^\0]+)"
)
_BIND = re.compile(
    r"tcp://(?:\[[0-9A-Fa-f:.]+(?:%[^\]\s]+)?\]|[^\s:/\[\]]+):(?:(?P<port>[0-9]{1,5})|\*)|ipc://(?P<path>[^\0]+)"
)

ABSTRACT = "ipc://@"
"""How addresses begin that are names in the kernel (unix(7)): no file, so nobody is kept from them."""


def check_address(address: str) -> str:
    """Returns an address that can be connected to.

    Raises:
        ValueError: it is not tcp://host:port or ipc://path, or the path is too long.
        TypeError: it is no text.
    """
    return _check(_ADDRESS, address, "an address like tcp://host:7700 or ipc:///path/to/socket")


def check_bind_address(address: str) -> str:
    """Returns an address that can be bound: host and port may be `*`; raises as `check_address`."""
    return _check(_BIND, address, "an address like tcp://127.0.0.1:7700, tcp://127.0.0.1:* or ipc://PATH to bind")


def _check(pattern: re.Pattern[str], address: str, expected: str) -> str:
    if not isinstance(address, str):
        raise TypeError(f"expected an address as text, got {address!r}")
    match = pattern.fullmatch(address)
    if match is None or (match["port"] is not None and not 1 <= int(match["port"]) <= 65535) or match["path"] == "@":
        is_unbound = pattern is _ADDRESS and address.endswith(":*")
        why = ", which is not bound yet: a coordinator has its address when it is open" if is_unbound else ""
        raise ValueError(f"expected {expected}, got {address!r}{why}")
    if match["path"] is not None:
        _check_path(match["path"])
    return address


def _check_path(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise ValueError(f"expected the path of a socket in UTF-8, got {path!r}") from None
    if size > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"expected a path of at most {SOCKET_PATH_BYTES_MAX} bytes for a socket, got {size}: {path}")


def is_local(address: str) -> bool:
    """Returns whether only this machine can reach what listens at a ZeroMQ address; a file's mode says who may there,
    so a name without a file is not local.
    """
    from ipaddress import ip_address  # when it is asked, which clients never do

    transport, _, place = address.partition("://")
    if transport != "tcp":
        return transport in ("ipc", "inproc") and not address.startswith(ABSTRACT)
    host = place.rpartition(":")[0].strip("[]")
    try:
        return host in ("localhost", "lo") or ip_address(host).is_loopback
    except ValueError:  # *, or the name of a machine or of an interface
        return False
