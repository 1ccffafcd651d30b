"""Commands about single tasks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Limit, Queue, Timeout
from zq.cli.listing import ask
from zq.cli.output import FAILED, exit_codes, fail, print_fields, print_json, print_rows

Id = Annotated[str, typer.Argument(help="Id of the task, as submit printed it.")]

COLUMNS = ["id", "queue", "state", "priority", "key", "attempts", "worker", "accepted_time"]


def submit(
    queue: Annotated[str, typer.Argument(help="Name of the queue.")],
    payload: Annotated[str, typer.Argument(help="The payload as JSON, or - for one JSON value a line on standard input.")],
    id: Annotated[str | None, typer.Option(help="Id of the task: submitted twice it is stored once. [default: made]")] = None,
    priority: Annotated[int, typer.Option(min=0, max=9, help="9 is served first.")] = 4,
    delay: Annotated[float, typer.Option(min=0.0, help="Seconds before it may start.")] = 0.0,
    key: Annotated[str | None, typer.Option(help="Key for consistent hashing.")] = None,
    on_lost: Annotated[
        Literal["reassign", "cancel", "dead"], typer.Option(help="What happens when its worker dies.")
    ] = "reassign",
    max_attempts: Annotated[int | None, typer.Option(min=1, max=1000, help="Starts before it is a dead letter.")] = None,
    run_timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds that it may run. [default: no limit]")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the result and print it.")] = False,
    wait_timeout: Annotated[float | None, typer.Option(min=0.0, help="Seconds to wait for the result.")] = None,
    address: Address = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Submit a task, and print its receipt: durable when it is printed."""
    from zq.client import Client
    from zq.task import SubmitOptions

    options: SubmitOptions = {"priority": priority, "delay": delay, "key": key, "on_lost": on_lost}
    if max_attempts is not None:
        options["max_attempts"] = max_attempts
    if run_timeout is not None:
        options["timeout"] = run_timeout
    with exit_codes(), Client(address, timeout=timeout) as client:
        if payload == "-" and id is not None:
            raise ValueError("--id is for a single task, not for lines of standard input")
        receipts = []
        for value in _payloads(payload):
            receipt = client.submit(queue, value, id=id, **options)
            receipts.append(receipt)
            if not wait:
                _print_receipt(receipt, as_json=as_json)
        if wait:
            for receipt in receipts:
                result = receipt.result(timeout=wait_timeout)
                print_json({"id": receipt.id, "result": result} if as_json else result)


def _payloads(payload: str) -> Iterator[Any]:
    """Yields the payloads of the command line or of standard input."""
    lines = sys.stdin if payload == "-" else [payload]
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"expected JSON, got {line.strip()[:60]!r} in line {number}: {error}") from None


def _print_receipt(receipt: Any, *, as_json: bool) -> None:
    if as_json:
        print_json({"id": receipt.id, "position": receipt.position, "eta": receipt.eta})
    else:
        typer.echo(receipt.id)
        eta = "" if receipt.eta is None else f", about {receipt.eta:.1f} s"
        typer.echo(f"accepted at place {receipt.position}{eta}", err=True)


def list_tasks(
    state: Annotated[
        Literal["waiting", "scheduled", "leased", "dead"], typer.Option("--state", "-s", help="Which tasks.")
    ] = "waiting",
    queue: Queue = None,
    limit: Limit = 100,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """List tasks in the order of service."""
    with exit_codes():
        rows = ask(address, timeout, "tasks", queue=queue, state=state, limit=limit)
        print_rows(rows, COLUMNS, as_json=as_json)


def show(id: Id, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show a task: where it is, and what happened to it."""
    with exit_codes():
        task = ask(address, timeout, "task", id=id)
        print_fields(task, as_json=as_json)
        if task["state"] == "unknown":
            raise typer.Exit(FAILED)


def cancel(id: Id, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Cancel a task, or all tasks of a batch, that have not ended."""
    from zq.client import Client

    with exit_codes(), Client(address, timeout=timeout) as client:
        count = client.cancel(id)
        if not count:
            fail(f"nothing of {id} was there to cancel: it has ended, or is not known")
        typer.echo(f"cancelled {count}", err=True)


def retry(id: Id, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Put a dead task back into its queue, with no attempts charged."""
    from zq.client import Client

    with exit_codes(), Client(address, timeout=timeout) as client:
        if not client.command("retry", id=id):
            fail(f"{id} is not a dead letter")
        typer.echo(f"{id} waits again", err=True)


def list_dead(
    queue: Queue = None, limit: Limit = 100, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False
) -> None:
    """List dead letters, with the reason of each."""
    with exit_codes():
        rows = ask(address, timeout, "tasks", queue=queue, state="dead", limit=limit)
        print_rows(rows, ["id", "queue", "attempts", "finished_time", "reason"], as_json=as_json)


def replay(queue: Queue = None, limit: Limit = 1000, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Put dead tasks back into their queues, the oldest first."""
    from zq.client import Client

    with exit_codes(), Client(address, timeout=timeout) as client:
        count = client.command("replay", queue=queue, limit=limit)
        typer.echo(f"{count} wait again", err=True)
