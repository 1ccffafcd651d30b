"""Addresses at which a coordinator and its peers meet."""

import re

DEFAULT_ADDRESS = "tcp://127.0.0.1:7700"
"""Where a coordinator is, and is looked for, when nobody says otherwise."""

_ADDRESS = re.compile(r"tcp://(?:\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]*]+):(?P<port>[0-9]{1,5})|ipc://\S+")


def check_address(address: str) -> str:
    """Returns an address that can be connected to.

    Raises:
        ValueError: it is not tcp://host:port or ipc://path.
        TypeError: it is no text.
    """
    if not isinstance(address, str):
        raise TypeError(f"expected an address as text, got {address!r}")
    match = _ADDRESS.fullmatch(address)
    if match is None or (match["port"] is not None and not 1 <= int(match["port"]) <= 65535):
        raise ValueError(f"expected an address like tcp://host:7700 or ipc:///path/to/socket, got {address!r}")
    return address
