"""Options that several commands share."""

from typing import Annotated

import typer

Address = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", envvar="ZQ_ADDRESS", help="Address of the coordinator. [default: tcp://127.0.0.1:7700]"
    ),
]
Json = Annotated[bool, typer.Option("--json", "-j", help="Print JSON, one object a line.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the coordinator.")]
Queue = Annotated[str | None, typer.Option("--queue", "-q", help="Only this queue. [default: all]")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many rows.")]

TIMEOUT = 5.0
