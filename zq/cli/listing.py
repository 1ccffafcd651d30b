"""Commands that look at a coordinator as a whole."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Queue, Timeout, connected
from zq.cli.output import print_events, print_fields, print_json, print_rows


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it: live in a terminal, else a line a second.")
    ] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show what the coordinator has and does."""
    if watch:
        from zq.cli.live.commands import watch_status

        watch_status(address, timeout, as_json=as_json)
        return
    with connected(address, timeout) as client:
        print_fields(client.query("status"), as_json=as_json)


def events(
    queue: Queue = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", "-k", help="Only this kind; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="End after so many events.")] = None,
    idle: Annotated[float | None, typer.Option(min=0.0, help="End after so many seconds without an event.")] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Follow what happens, an event a line, until it is interrupted. A slow reader misses some, and is told how
    many.
    """
    from zq.client.events import shown

    with connected(address, timeout) as client, client.events(queue, kind, timeout=idle) as stream:
        for event in islice(stream, limit):
            if as_json:
                print_json(asdict(event))
            else:
                about = {"queue": event.queue, "tasks": shown(event), "worker": event.worker, "token": event.token}
                detail = {name: value for name, value in about.items() if value not in (None, "")}
                print_events([{"time": event.time, "event": event.kind, "detail": detail, "text": event.text}])
            sys.stdout.flush()


def list_workers(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the workers: state, what they hold, when they were heard (seconds ago)."""
    with connected(address, timeout) as client:
        columns = ["name", "state", "queues", "credit", "held", "running", "heard_ago", "connected_for", "done"]
        print_rows(client.query("workers"), columns, as_json=as_json)
