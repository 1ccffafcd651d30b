"""Commands that do something to a whole queue; those that cannot be undone show what they would do, and ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, IsDry, IsSure, Json, QueueName, Timeout, ask, connected, say_if_new
from zq.cli.live.progress import operation_progress
from zq.cli.output import echo, is_terminal, print_json, print_rows

if TYPE_CHECKING:
    from zq.client.client import Client
    from zq.client.queues import QueueStatus, SweptState

States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        "-s",
        help="waiting, parked, scheduled or dead; may be given several times. [default: waiting, scheduled]",
    ),
]


def purge(
    name: QueueName,
    states: States = None,
    is_sure: IsSure = False,
    is_dry: IsDry = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """End the tasks of a queue as cancelled, or give its dead letters up; what runs goes on.

    Examples:
        zq queues purge orders --dry-run
        zq queues purge orders --state dead --yes
    """
    with connected(address, timeout) as client:
        named = _named(states)
        if _is_wanted(client, name, named, "purge", is_sure=is_sure, is_dry=is_dry):
            with operation_progress(client, name, f"purging {name}", _sum(client, name, named)):
                count = client.queues.purge(name, named)
            echo(f"purged {count:,} tasks", err=True)


def move(
    name: QueueName,
    to: Annotated[str, typer.Argument(help="The queue to which they go; it is made if need be.")],
    states: States = None,
    is_sure: IsSure = False,
    is_dry: IsDry = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Move the tasks of a queue to another, with their order, attempts and history; what runs goes on.

    Examples:
        zq queues move orders orders-later --yes
    """
    with connected(address, timeout) as client:
        named = _named(states)
        if _is_wanted(client, name, named, f"move to {to}", is_sure=is_sure, is_dry=is_dry):
            with operation_progress(client, name, f"moving {name} to {to}", _sum(client, name, named)):
                count = client.queues.move(name, to, named)
            echo(f"moved {count:,} tasks to {to}", err=True)


def delete(
    name: QueueName,
    may_purge: Annotated[bool, typer.Option("--purge", help="Also when it is not empty: end what is in it.")] = False,
    is_sure: IsSure = False,
    is_dry: IsDry = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Forget a queue, its policies and its bindings; workers that ask for it make it anew.

    Examples:
        zq queues rm orders
        zq queues rm orders --purge --yes
    """
    every: list[SweptState] = ["waiting", "parked", "scheduled", "dead"]
    with connected(address, timeout) as client:
        what = "purge and delete" if may_purge else "delete"
        if _is_wanted(client, name, every, what, is_sure=is_sure, is_dry=is_dry):
            with operation_progress(client, name, f"deleting {name}", _sum(client, name, every)):
                is_done = client.queues.delete(name, may_purge=may_purge)
            echo(f"deleted {name}" if is_done else f"{name} goes when its running tasks have ended", err=True)


def drain(name: QueueName, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Accept nothing new in a queue and let it run empty; `resume` undoes it.

    Examples:
        zq queues drain orders
    """
    with connected(address, timeout) as client:
        say_if_new(client, name)
        queue = client.queues.drain(name)
        echo(f"{name} drains, {_counts(queue, ('waiting', 'parked', 'scheduled', 'leased'))} are left", err=True)


def list_operations(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the operations on whole queues that go on, and the last that are done.

    Examples:
        zq queues operations
    """
    with connected(address, timeout) as client:
        columns = ["id", "kind", "queue", "to", "states", "state", "tasks", "started_time", "finished_time"]
        print_rows(
            client.query("operations"),
            columns,
            as_json=as_json,
            drops=["finished_time", "started_time", "states", "to", "tasks", "kind"],
        )


def _named(states: list[str] | None) -> list[SweptState]:
    from zq.client.queues import checked

    named = checked(states or ["waiting", "scheduled"])
    return [*named, "parked"] if "waiting" in named else named


def _sum(client: Client, name: str, states: Iterable[str]) -> int:
    """Returns how many tasks there are to be touched; those that are parked are among the waiting ones."""
    queue, named = client.queues.show(name), set(states)
    return sum(getattr(queue, state) for state in named - ({"parked"} if "waiting" in named else set()))


def _is_wanted(client: Client, name: str, states: list[SweptState], what: str, *, is_sure: bool, is_dry: bool) -> bool:
    """Shows what would be touched, and asks unless that was answered before."""
    queue = client.queues.show(name)
    counts = _counts(queue, states)
    if is_dry:
        if is_terminal():
            echo(f"{counts}: {what}")
        else:
            print_json({state: getattr(queue, state) for state in sorted(set(states))})
        return False
    if not is_sure:
        ask(f"{counts}: {what}?")
    return True


def _counts(queue: QueueStatus, states: Iterable[str]) -> str:
    """Returns counts for people; those that are parked are among the waiting ones."""
    order = ("waiting", "scheduled", "leased", "dead") if "waiting" in states else ("parked", "scheduled", "dead")
    counts = {state: getattr(queue, state) for state in order if state in states}
    shown = [f"{count:,} {state}" for state, count in counts.items() if count]
    return ", ".join(shown) or "nothing"
