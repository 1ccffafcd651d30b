"""Where what is started listens, and where it keeps its data."""

from __future__ import annotations

import importlib.util
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zq.processes.ports import owner_of_port

LOOPBACK = "127.0.0.1"

DATA_FOLDER = Path(".zq")

EXTRA_OF_DASHBOARD = "starlette", "uvicorn"

WITHOUT_DASHBOARD = "no dashboard: pip install 'zqkit[dashboard]' (in a checkout: pip install '.[dashboard]')"

Say = Callable[[str], None]


def free_port(wanted: int, what: str, say: Say) -> int:
    """Returns a port of the loopback interface that is free: the wanted one, or another; then it is said who has that.

    Args:
        wanted: the usual one.
        what: that is to listen there.
        say: how it is said.
    """
    if _is_free(wanted):
        return wanted
    port = _any_port()
    say(f"port {wanted} belongs to {owner_of_port(wanted)}; the {what} takes port {port}")
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has only just been closed is free
        try:
            one.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        port: int = one.getsockname()[1]
    return port


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
        with tempfile.TemporaryDirectory(prefix="zq-") as folder:
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
