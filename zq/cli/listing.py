"""Commands that look at a coordinator as a whole."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import islice
from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, For, Json, Limit, Queue, Timeout, connected
from zq.cli.line.nearest import did_you_mean
from zq.cli.output import echo, is_terminal, print_events, print_fields, print_json, terminal_width

SCREEN_ROWS_MAX = 500
"""Queues and workers that are looked at for one screen."""


def status(
    with_all: Annotated[bool, typer.Option("--all", help="Also what is used of which limits.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on showing it: live in a terminal, else a line a second.")
    ] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show what the coordinator has and does: what waits and runs, who works, store, memory and connections.

    In a pipe, and with --plain, it prints all figures, one a line.

    Examples:
        zq status
        zq status --all
        zq status --watch
        zq status --json
    """
    if watch:
        from zq.cli.live.commands import watch_status

        watch_status(address, timeout, as_json=as_json)
        return
    with connected(address, timeout) as client:
        found = client.query("status")
        if as_json or not is_terminal():
            print_fields(found, as_json=as_json)
            return
        from zq.cli.look.screen import status_lines

        queues = client.query("queues", limit=SCREEN_ROWS_MAX)
        workers = client.query("workers", limit=SCREEN_ROWS_MAX)
        first, *lines = status_lines(found, queues, workers, terminal_width(), with_all=with_all)
        echo(first, is_bold=True)
        echo("\n".join(lines))


def events(
    queue: Queue = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", "-k", help="Only this kind; repeatable.")] = None,
    limit: Limit = None,
    seconds: For = None,
    idle: Annotated[float | None, typer.Option(min=0.0, help="End after so many seconds without an event.")] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Follow what happens, an event a line, until it is interrupted. A slow reader misses some, and is told how
    many.

    Examples:
        zq events
        zq events --queue orders --kind failed --kind dead
        zq events --limit 10 --for 60 --json
    """
    from threading import Timer

    from zq.client.events import shown
    from zq.wire.questions import EVENT_KINDS

    unknown = [one for one in kind or [] if one not in EVENT_KINDS]
    if unknown:
        meant = did_you_mean(unknown[0], EVENT_KINDS)
        raise typer.BadParameter(f"expected --kind as one of {', '.join(EVENT_KINDS)}, got {unknown[0]!r}{meant}")
    with connected(address, timeout) as client, client.events(queue, kind, timeout=idle) as stream:
        if seconds is not None:
            end = Timer(seconds, stream.close)
            end.daemon = True
            end.start()
        for event in islice(stream, limit):
            if as_json:
                print_json(asdict(event))
            else:
                about = {"queue": event.queue, "tasks": shown(event), "worker": event.worker, "token": event.token}
                detail = {name: value for name, value in about.items() if value not in (None, "")}
                print_events([{"time": event.time, "event": event.kind, "detail": detail, "text": event.text}])
            sys.stdout.flush()
