"""Where what is started listens, and where it keeps its data."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zq.cli.starting.ports import owner_of_port
from zq.processes.endpoints import kept_address
from zq.processes.own_folder import own_folder
from zq.wire.address import DEFAULT_ADDRESS, is_local

LOOPBACK = "127.0.0.1"
COORDINATOR_PORT = 7700
DASHBOARD_PORT = 7780

DATA_FOLDER = Path(".zq")

EXTRA_OF_DASHBOARD = "starlette", "uvicorn"

WITHOUT_DASHBOARD = "no dashboard: pip install 'zqkit[dashboard]' (in a checkout: pip install '.[dashboard]')"

TellLine = Callable[[str], None]


def bind_of_coordinator(given: str | None, say: TellLine) -> str:
    """Returns where a coordinator is to listen: where it is told, at the usual port, or at any other when somebody else
    has that, which is said.
    """
    if given is not None:
        return given
    return f"tcp://{LOOPBACK}:{'*' if _is_taken(COORDINATOR_PORT, 'coordinator', say) else COORDINATOR_PORT}"


def bind_of_environment(say: TellLine) -> str | None:
    """Returns where the programs of this environment look for a coordinator, if one may listen there; None: nobody has
    said, or it is elsewhere or another's, which is said.
    """
    address = os.environ.get("ZQ_BIND") or os.environ.get("ZQ_ADDRESS")
    if not address:
        return None
    port = address.rpartition(":")[2]
    if not is_local(address):
        say(f"{address}, which ZQ_ADDRESS or ZQ_BIND says, is not of this machine; the coordinator takes another one")
    elif not (address.startswith("tcp:") and port.isdecimal() and _is_taken(int(port), "coordinator", say)):
        return address
    return None


def leave_key(say: TellLine) -> None:
    """Takes the key of this environment out of it, for this process and what it starts: the coordinator that they are
    for has no keys, and whoever shows one does not trust it.
    """
    if os.environ.pop("ZQ_KEY", None):
        say(
            "ZQ_KEY is for another coordinator, this one has no keys: run `unset ZQ_KEY` where you type commands for it"
        )


def option_for(address: str) -> str:
    """Returns what commands in this environment need to find a coordinator, with a space before it; empty: nothing."""
    known = kept_address(os.environ.get("ZQ_ADDRESS") or DEFAULT_ADDRESS)
    return "" if kept_address(address) == known else f" -a {address}"


def bind_of_dashboard(given: str | None, say: TellLine) -> str:
    """Returns where a dashboard is to listen, in the same way."""
    if given is not None:
        return given
    return f"{LOOPBACK}:{0 if _is_taken(DASHBOARD_PORT, 'dashboard', say) else DASHBOARD_PORT}"


def _is_taken(port: int, what: str, say: TellLine) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has only just been closed is free
        try:
            one.bind((LOOPBACK, port))
        except OSError:
            say(f"port {port} belongs to {owner_of_port(port)}; the {what} takes another one")
            return True
    return False


def has_dashboard() -> bool:
    """Returns whether what the dashboard needs is installed."""
    return all(importlib.util.find_spec(one) is not None for one in EXTRA_OF_DASHBOARD)


@contextmanager
def data_folder(data: Path | None, *, is_ephemeral: bool) -> Iterator[Path]:
    """Yields the folder for data: the given one, `.zq`, which is kept out of git, or one that is removed at the end.

    Raises:
        ValueError: a folder was given for data that is not to be kept.
        OSError: it cannot be made.
    """
    if is_ephemeral:
        if data is not None:
            raise ValueError("--data and --ephemeral exclude each other: one keeps the data, the other does not")
        with own_folder("dev") as folder:
            yield Path(folder)
        return
    if data is None:
        data = DATA_FOLDER
        data.mkdir(exist_ok=True)
        ignored = data / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="utf-8")
    data.mkdir(parents=True, exist_ok=True)
    yield data
