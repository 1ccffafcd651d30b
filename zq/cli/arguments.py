"""Options that several commands share, and the client that two of them make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zq.cli.output import exit_codes

if TYPE_CHECKING:
    from zq.client.client import Client

Address = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", envvar="ZQ_ADDRESS", help="Address of the coordinator. [default: tcp://127.0.0.1:7700]"
    ),
]
KeyFile = Annotated[
    str | None,
    typer.Option("--key", envvar="ZQ_KEY", help="File of the key that is shown to a coordinator with keys."),
]
Json = Annotated[bool, typer.Option("--json", "-j", help="Print JSON, one object a line.")]
Plain = Annotated[
    bool,
    typer.Option("--plain", help="Print tables as in a pipe, tab-separated and whole, in a terminal, too."),
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the coordinator.")]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", help="A header as name=text; may be given several times.")
]
Queue = Annotated[str | None, typer.Option("--queue", "-q", help="Only this queue. [default: all]")]
Rows = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many rows. [default: all]")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many rows.")]

TIMEOUT = 5.0

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@contextmanager
def connected(address: str | None, timeout: float) -> Iterator[Client]:
    """Yields a client of a coordinator; its errors end the command, with their exit codes."""
    from zq.client.client import Client
    from zq.processes.logs import configure_log

    configure_log("warning")  # who waits hears when the coordinator is gone
    with exit_codes(), Client(address, timeout=timeout) as client:
        yield client


def changes_of(named: Mapping[str, Any], defaults: Iterable[str]) -> dict[str, Any]:
    """Returns what was given of some options, and None for those that go back to their defaults."""
    given = {name: value for name, value in named.items() if value is not None}
    return given | {name.replace("-", "_"): None for name in defaults}


def parse_headers(texts: list[str] | None) -> dict[str, str] | None:
    if not texts:
        return None
    if not all("=" in text for text in texts):
        raise typer.BadParameter("expected each header as name=text")
    return {name: text for name, _, text in (one.partition("=") for one in texts)}


def parse_seconds(text: str) -> float:
    """Returns a duration such as 90, 90s, 5m, 2h or 1d in seconds; raises ValueError."""
    unit = UNITS.get(text[-1:])
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"expected a duration like 90, 90s, 5m, 2h or 1d, got {text!r}")
    return seconds
