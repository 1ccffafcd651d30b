"""Commands about namespaces: what their queues have together, and how much that may be."""

from __future__ import annotations

from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Limit, Timeout, changes_of, connected, known_names
from zq.cli.line import completing
from zq.cli.line.nearest import did_you_mean
from zq.cli.output import as_map, fail, print_fields, print_rows

NAMESPACE_COLUMNS = [
    "name",
    "queues",
    "waiting",
    "scheduled",
    "leased",
    "dead",
    "done",
    "bytes",
    "max_tasks",
    "max_bytes",
]
NAMESPACE_DROPS = ["max_bytes", "max_tasks", "done", "bytes", "scheduled", "leased", "queues", "dead", "waiting"]

Name = Annotated[
    str, typer.Argument(help="Name of the namespace, such as team-a.", autocompletion=completing.namespace_names)
]


def list_namespaces(
    limit: Limit = None, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False
) -> None:
    """List the namespaces that queues are in, or that have limits: tasks of all of their queues by state.

    Examples:
        zq namespaces ls
    """
    with connected(address, timeout) as client:
        print_rows(client.query("namespaces", limit=limit), NAMESPACE_COLUMNS, as_json=as_json, drops=NAMESPACE_DROPS)


def show(name: Name, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show a namespace.

    Examples:
        zq namespaces show team-a
    """
    with connected(address, timeout) as client:
        found = client.query("namespaces", name=name)
        if not found:
            meant = did_you_mean(name, known_names(client, "namespaces"))
            fail(f"there is no namespace {name!r}: no queue is in it, and it has no limits{meant}")
        print_fields(found[0], as_json=as_json)


def set_namespace(
    name: Name,
    max_tasks: Annotated[
        int | None, typer.Option(min=0, help="Unfinished tasks in all of its queues above which submits are refused.")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(min=0, help="Bytes of the payloads of these tasks.")] = None,
    default: Annotated[
        list[str] | None, typer.Option(help="Name of a limit to take away; may be given several times.")
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Limit what the queues of a namespace hold together, at once and over restarts.

    Examples:
        zq namespaces set team-a --max-tasks 100000
        zq namespaces set team-a --default max-tasks
    """
    for one in default or []:
        if one.replace("-", "_") not in ("max_tasks", "max_bytes"):
            raise typer.BadParameter(f"expected max-tasks or max-bytes as --default, got {one}")
    limits = changes_of({"max_tasks": max_tasks, "max_bytes": max_bytes}, default or [])
    if not limits:
        raise typer.BadParameter("nothing to set: give a limit, such as --max-tasks")
    with connected(address, timeout) as client:
        print_fields(as_map(client.namespaces.set(name, **limits)), as_json=as_json)
