"""Commands about groups."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Limit, Timeout, connected
from zq.cli.line import completing
from zq.cli.output import FAILED, echo, fail, print_fields, print_rows

Id = Annotated[
    str,
    typer.Argument(help="Id of the group, which is that of its callback, too.", autocompletion=completing.group_ids),
]

GROUP_COLUMNS = ["id", "state", "policy", "size", "joined", "outstanding", "callback", "opened_time", "reason"]
GROUP_DROPS = ["policy", "opened_time", "joined", "callback", "size", "reason", "outstanding", "state"]


def list_groups(
    state: Annotated[
        Literal["open", "done", "failed", "cancelled"] | None, typer.Option("--state", "-s", help="Only these.")
    ] = None,
    limit: Limit = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """List groups: how many members each was opened for, and how many it still waits for.

    Examples:
        zq groups ls
        zq groups ls --state open --json
    """
    with connected(address, timeout) as client:
        print_rows(client.query("groups", state=state, limit=limit), GROUP_COLUMNS, as_json=as_json, drops=GROUP_DROPS)


def show(id: Id, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show a group: what it waits for, or how it ended.

    Examples:
        zq groups show night-42
    """
    with connected(address, timeout) as client:
        group = client.query("group", id=id)
        print_fields(group, as_json=as_json)
        if group["state"] == "unknown":
            raise typer.Exit(FAILED)


def cancel(id: Id, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Cancel an open group with all of its members.

    Examples:
        zq groups cancel night-42
    """
    with connected(address, timeout) as client:
        if client.query("group", id=id)["state"] != "open":
            fail(f"{id} is not an open group")
        echo(f"cancelled {client.cancel(id)}, the callback counted in", err=True)
