"""Commands that look at a coordinator as a whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Timeout
from zq.cli.output import exit_codes, print_fields, print_rows


def ask(address: str | None, timeout: float, what: str, **arguments: Any) -> Any:
    """Asks a coordinator one question."""
    from zq.client import Client

    with Client(address, timeout=timeout) as client:
        return client.query(what, **arguments)


def status(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show what the coordinator has and does."""
    with exit_codes():
        print_fields(ask(address, timeout, "status"), as_json=as_json)


def list_workers(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the workers: state, what they hold, when they were heard (seconds ago)."""
    with exit_codes():
        columns = ["name", "state", "queues", "credit", "held", "running", "heard_ago", "connected_for", "done"]
        print_rows(ask(address, timeout, "workers"), columns, as_json=as_json)


QUEUE_COLUMNS = ["name", "waiting", "scheduled", "leased", "dead", "done", "rate", "max_tasks", "assign", "workers"]


def list_queues(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the queues: tasks by state, and tasks finished a second."""
    with exit_codes():
        print_rows(ask(address, timeout, "queues"), QUEUE_COLUMNS, as_json=as_json)


def set_queue(
    name: Annotated[str, typer.Argument(help="Name of the queue; it is made if need be.")],
    max_tasks: Annotated[
        int | None, typer.Option(min=1, help="Unfinished tasks above which submits are refused as busy.")
    ] = None,
    assign: Annotated[
        Literal["least-loaded", "hash"] | None,
        typer.Option(help="How workers are chosen; hash goes by the task's key."),
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Set the limits and the assignment of a queue."""
    from zq.client import Client

    if max_tasks is None and assign is None:
        raise typer.BadParameter("nothing to set: give --max-tasks or --assign")
    changes = {name: value for name, value in (("max_tasks", max_tasks), ("assign", assign)) if value is not None}
    with exit_codes(), Client(address, timeout=timeout) as client:
        print_rows([client.command("set-queue", queue=name, **changes)], QUEUE_COLUMNS, as_json=as_json)
