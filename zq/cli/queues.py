"""Commands about queues: their counts, their policies."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Limit, QueueName, Timeout, changes_of, connected, say_if_new
from zq.cli.output import as_map, echo, print_fields, print_rows

QUEUE_COLUMNS = [
    "name",
    "waiting",
    "parked",
    "scheduled",
    "leased",
    "dead",
    "done",
    "rate",
    "max_tasks",
    "assign",
    "workers",
]
QUEUE_DROPS = ["assign", "max_tasks", "parked", "done", "rate", "workers", "scheduled", "leased", "dead", "waiting"]

MaxTasks = Annotated[int | None, typer.Option(min=1, help="Unfinished tasks above which submits are refused as busy.")]
MaxBytes = Annotated[int | None, typer.Option(min=1, help="Bytes of payloads above which submits are refused as busy.")]
Overflow = Annotated[
    Literal["refuse", "dead-oldest"] | None, typer.Option(help="What happens above --max-tasks or --max-bytes.")
]
Assign = Annotated[
    Literal["least-loaded", "hash"] | None, typer.Option(help="How workers are chosen; hash goes by the task's key.")
]
MaxAttempts = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Starts that may fail or be lost before a task is dead.")
]
Retry = Annotated[
    str | None,
    typer.Option(
        help="Delay before a failed task is tried again: none, constant:5, linear:5:60, exponential:1:2:60 ..."
    ),
]
OnExpired = Annotated[
    Literal["drop", "dead"] | None, typer.Option(help="What becomes of a task that was not started within its ttl.")
]
Default = Annotated[
    list[str] | None, typer.Option(help="Name of a policy to put back to its default; may be given several times.")
]


def list_queues(
    limit: Limit = None, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False
) -> None:
    """List the queues: tasks by state, and tasks finished a second.

    Examples:
        zq queues ls
        zq queues ls --json
    """
    with connected(address, timeout) as client:
        print_rows(client.query("queues", limit=limit), QUEUE_COLUMNS, as_json=as_json, drops=QUEUE_DROPS)


def show(name: QueueName, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show a queue: its counts, and its policies as they were set; what was not set is the default.

    Examples:
        zq queues show orders
    """
    with connected(address, timeout) as client:
        print_fields(as_map(client.queues.show(name)), as_json=as_json)


def set_queue(
    name: QueueName,
    max_tasks: MaxTasks = None,
    max_bytes: MaxBytes = None,
    overflow: Overflow = None,
    assign: Assign = None,
    ageing: Annotated[float | None, typer.Option(help="Seconds of waiting that count as one step of priority.")] = None,
    max_attempts: MaxAttempts = None,
    retry: Retry = None,
    fair: Annotated[bool | None, typer.Option("--fair/--unfair", help="Whether keys take turns.")] = None,
    on_expired: OnExpired = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Tasks that may be leased at once.")] = None,
    key_concurrency: Annotated[int | None, typer.Option(min=1, help="Tasks of one key that may be.")] = None,
    rate: Annotated[float | None, typer.Option(help="Tasks leased a second, in the long run.")] = None,
    burst: Annotated[int | None, typer.Option(min=1, help="Tasks at once after a quiet time.")] = None,
    key_rate: Annotated[float | None, typer.Option(help="As --rate, for each key.")] = None,
    key_burst: Annotated[int | None, typer.Option(min=1, help="As --burst, for each key.")] = None,
    alert_waiting: Annotated[int | None, typer.Option(min=1, help="Waiting tasks at which an alert goes on.")] = None,
    alert_age: Annotated[float | None, typer.Option(help="Seconds that a task has waited, likewise.")] = None,
    alert_dead: Annotated[int | None, typer.Option(min=1, help="Dead letters, likewise.")] = None,
    default: Default = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Set policies of a queue, at once and over restarts; what is not named stays as it is. A queue is made if
    need be.

    Examples:
        zq queues set orders --max-tasks 100000 --rate 50
        zq queues set orders --retry exponential:1:2:60 --max-attempts 8
        zq queues set orders --default rate
    """
    named = dict(locals())  # every parameter is a policy, under its own name, but for these:
    for other in ("name", "default", "address", "timeout", "as_json"):
        del named[other]
    changes = changes_of(named, default or [])
    if not changes:
        raise typer.BadParameter("nothing to set: give a policy, such as --max-tasks")
    with connected(address, timeout) as client:
        print_fields(as_map(client.queues.set(name, **changes)), as_json=as_json)


def pause(name: QueueName, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Pause a queue: submits are accepted and what runs goes on, but nothing is assigned.

    Examples:
        zq queues pause orders
    """
    with connected(address, timeout) as client:
        say_if_new(client, name)
        waiting = client.queues.pause(name).waiting
        echo(f"{name} is paused, {waiting} wait", err=True)


def resume(name: QueueName, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a paused or draining queue go on.

    Examples:
        zq queues resume orders
    """
    with connected(address, timeout) as client:
        say_if_new(client, name)
        waiting = client.queues.resume(name).waiting
        echo(f"{name} goes on, {waiting} wait", err=True)
