"""Commands that tell a worker what to do, from wherever its coordinator can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Timeout, connected
from zq.cli.line import completing
from zq.cli.output import echo, print_rows

if TYPE_CHECKING:
    from zq.client.workers import WorkerStatus

Name = Annotated[
    str,
    typer.Argument(help="Name of the worker, as `zq workers ls` shows it.", autocompletion=completing.worker_names),
]

WORKER_COLUMNS = [
    "name",
    "state",
    "queues",
    "credit",
    "held",
    "running",
    "heard_ago",
    "connected_for",
    "done",
    "concurrency",
]
WORKER_DROPS = ["concurrency", "connected_for", "credit", "done", "running", "queues", "held", "heard_ago", "state"]


def list_workers(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the workers: state, what they hold, when they were heard (seconds ago). What keeps one from working is said
    on stderr.

    Examples:
        zq workers ls
        zq workers ls --json
    """
    with connected(address, timeout) as client:
        rows = client.query("workers")
    print_rows(rows if as_json else map(_for_people, rows), WORKER_COLUMNS, as_json=as_json, drops=WORKER_DROPS)
    for row in rows:
        if row.get("trouble"):
            echo(f"worker {row['name']} cannot start its child processes: {row['trouble']}", err=True)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    is_draining = row.get("is_draining") and row["state"] == "live"
    return {**row, "state": "draining" if is_draining else row["state"]}


def drain(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a worker finish what runs, and take no more until it is resumed; it stays connected.

    Examples:
        zq workers drain shop-1
    """
    with connected(address, timeout) as client:
        before = client.workers.drain(name)
    echo(f"worker {name} drains: {_what_runs(before)}", err=True)


def resume(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a worker that drains take tasks again.

    Examples:
        zq workers resume shop-1
    """
    with connected(address, timeout) as client:
        client.workers.resume(name)
    echo(f"worker {name} takes tasks", err=True)


def stop(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a worker finish what runs, and end, as SIGTERM does.

    Examples:
        zq workers stop shop-1
    """
    with connected(address, timeout) as client:
        before = client.workers.stop(name)
    echo(f"worker {name} ends: {_what_runs(before)}", err=True)


def resize(
    name: Name,
    size: Annotated[
        int, typer.Argument(min=1, max=1000, help="Child processes, if it has some, else threads and coroutines.")
    ],
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Let a worker run more or fewer tasks at once, until it ends; what runs is finished first.

    Examples:
        zq workers resize shop-1 8
    """
    with connected(address, timeout) as client:
        before = client.workers.resize(name, size)
    echo(f"worker {name} is to run {size} at once, and had {before.processes or before.concurrency}", err=True)


def _what_runs(before: WorkerStatus) -> str:
    return "nothing runs" if not before.running else f"{before.running} tasks run"
