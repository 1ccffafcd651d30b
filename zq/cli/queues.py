"""Commands about queues: their counts, their policies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Timeout
from zq.cli.listing import ask
from zq.cli.output import exit_codes, print_fields, print_rows

COLUMNS = ["name", "waiting", "scheduled", "leased", "dead", "done", "rate", "max_tasks", "assign", "workers"]

Name = Annotated[str, typer.Argument(help="Name of the queue.")]


def list_queues(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the queues: tasks by state, and tasks finished a second."""
    with exit_codes():
        print_rows(ask(address, timeout, "queues"), COLUMNS, as_json=as_json)


def show(name: Name, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show a queue: its counts, and its policies as they were set; what was not set is the default."""
    with exit_codes():
        print_fields(ask(address, timeout, "queue", queue=name), as_json=as_json)


def set_queue(
    name: Annotated[str, typer.Argument(help="Name of the queue; it is made if need be.")],
    max_tasks: Annotated[
        int | None, typer.Option(min=1, help="Unfinished tasks above which submits are refused as busy.")
    ] = None,
    assign: Annotated[
        Literal["least-loaded", "hash"] | None,
        typer.Option(help="How workers are chosen; hash goes by the task's key."),
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Starts that may fail or be lost before a task is dead.")
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            help="Delay before a failed task is tried again: none, constant:5, linear:5:60, exponential:1:2:60 ..."
        ),
    ] = None,
    fair: Annotated[bool | None, typer.Option("--fair/--unfair", help="Whether keys take turns.")] = None,
    on_expired: Annotated[
        Literal["drop", "dead"] | None,
        typer.Option(help="What becomes of a task that was not started within its ttl."),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Tasks that may be leased at once.")] = None,
    key_concurrency: Annotated[int | None, typer.Option(min=1, help="Tasks of one key that may be.")] = None,
    rate: Annotated[float | None, typer.Option(help="Tasks leased a second, in the long run.")] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="Tasks at once after a quiet time.")] = None,
    key_rate: Annotated[float | None, typer.Option(help="As --rate, for each key.")] = None,
    key_burst: Annotated[int | None, typer.Option(min=1, help="As --burst, for each key.")] = None,
    default: Annotated[
        list[str] | None, typer.Option(help="Name of a policy to put back to its default; may be given several times.")
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Set policies of a queue, at once and over restarts; what is not named stays as it is."""
    named: dict[str, Any] = {
        "max_tasks": max_tasks,
        "assign": assign,
        "max_attempts": max_attempts,
        "retry": retry,
        "fair": fair,
        "on_expired": on_expired,
        "concurrency": concurrency,
        "key_concurrency": key_concurrency,
        "rate": rate,
        "burst": burst,
        "key_rate": key_rate,
        "key_burst": key_burst,
    }
    _set(name, named, default or [], address, timeout, as_json=as_json)


def pause(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Pause a queue: submits are accepted and what runs goes on, but nothing is assigned."""
    from zq.client import Client

    with exit_codes(), Client(address, timeout=timeout) as client:
        waiting = client.pause_queue(name)["waiting"]
        typer.echo(f"{name} is paused, {waiting} wait", err=True)


def resume(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a paused queue go on."""
    from zq.client import Client

    with exit_codes(), Client(address, timeout=timeout) as client:
        waiting = client.resume_queue(name)["waiting"]
        typer.echo(f"{name} goes on, {waiting} wait", err=True)


def _set(
    name: str, named: dict[str, Any], defaults: list[str], address: str | None, timeout: float, *, as_json: bool
) -> None:
    from zq.client import Client

    changes: dict[str, Any] = {policy: value for policy, value in named.items() if value is not None}
    changes |= {policy.replace("-", "_"): None for policy in defaults}
    if not changes:
        raise typer.BadParameter("nothing to set: give a policy, such as --max-tasks")
    with exit_codes(), Client(address, timeout=timeout) as client:
        print_fields(client.set_queue(name, **changes), as_json=as_json)
