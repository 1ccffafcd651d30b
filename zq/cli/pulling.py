"""Commands that take tasks and end them, for workers that are shell scripts."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, For, Json, QueueName, Timeout, connected, in_words
from zq.cli.output import TIMED_OUT, echo, print_json
from zq.cli.tasks import parse
from zq.errors import RemoteProtocolError, ZqError

Handle = Annotated[str, typer.Argument(help="Handle of the task, as zq pull printed it.")]


def pull(
    queue: QueueName,
    max_tasks: Annotated[int, typer.Option(min=1, max=1000, help="At most so many tasks together.")] = 1,
    seconds: For = 0.0,
    lease: Annotated[
        float, typer.Option(min=0.001, max=43_200, help="Seconds until they go to somebody else, unless prolonged.")
    ] = 30.0,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,  # noqa: ARG001 - it is what is printed in any case
) -> None:
    """Take tasks to work on, one JSON object a line: end each with `zq pulled done HANDLE` or `zq pulled fail
    HANDLE`. The exit code is 75 when nothing came.

    Examples:
        zq pull orders
        zq pull orders --for 20 --lease 60
        zq pull orders --max-tasks 100 --for 5
    """
    with connected(address, timeout) as client:
        left = client.pull(queue, max_tasks=max_tasks, wait=seconds or 0.0, lease=lease)
        if not left:
            try:
                client.queues.show(queue)
                text = f"nothing waits in {queue} that could be taken now"
            except RemoteProtocolError as error:
                text = in_words(client, error)
            echo(f"zq: {text}", err=True)
            raise typer.Exit(TIMED_OUT)
        try:
            while left:
                task = left[0]
                row = {"handle": task.handle, "id": task.id, "attempt": task.attempt, "key": task.key}
                print_json({**row, "headers": task.headers, "payload": task.payload})
                del left[0]
        finally:
            for task in left:  # whose handles nobody has read
                with suppress(ZqError):
                    task.release()


def done(
    handle: Handle,
    result: Annotated[str | None, typer.Argument(help="The result as JSON. [default: none]")] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Complete a pulled task; refused when it is somebody else's by now.

    Examples:
        zq pulled done "$HANDLE"
        zq pulled done "$HANDLE" '{"baked": "diavola"}'
    """
    with connected(address, timeout) as client:
        client.pulled(handle).done(None if result is None else parse(result))


def fail(
    handle: Handle,
    error: Annotated[str, typer.Argument(help="Why, for people.")] = "failed from the command line",
    retry_in: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds until the next attempt. [default: as its retry policy]")
    ] = None,
    is_final: Annotated[bool, typer.Option("--final", help="Make a dead letter of it at once.")] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Report that a pulled task failed.

    Examples:
        zq pulled fail "$HANDLE" "the oven is cold" --retry-in 60
        zq pulled fail "$HANDLE" "no such pizza" --final
    """
    with connected(address, timeout) as client:
        client.pulled(handle).fail(error, retry_in=retry_in, is_final=is_final)


def release(handle: Handle, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Give a pulled task back, as if it had never been pulled.

    Examples:
        zq pulled release "$HANDLE"
    """
    with connected(address, timeout) as client:
        client.pulled(handle).release()


def extend(
    handle: Handle,
    lease: Annotated[float, typer.Argument(min=0.001, max=43_200, help="Seconds from now.")],
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Prolong the lease of a pulled task, and of what was leased together with it.

    Examples:
        zq pulled extend "$HANDLE" 60
    """
    with connected(address, timeout) as client:
        client.pulled(handle).extend(lease)
