"""Commands that look at a coordinator as a whole."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, For, Json, Limit, Queue, Timeout, connected
from zq.cli.line.nearest import did_you_mean
from zq.cli.output import echo, is_terminal, print_events, print_fields, print_json, terminal_width

if TYPE_CHECKING:
    from zq.client.events import Event

END_LOOK_INTERVAL = 0.25
"""Seconds between two looks at whether the time to follow events is over."""

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
    from zq.client.events import shown
    from zq.wire.questions import EVENT_KINDS

    unknown = [one for one in kind or [] if one not in EVENT_KINDS]
    if unknown:
        meant = did_you_mean(unknown[0], EVENT_KINDS)
        raise typer.BadParameter(f"expected --kind as one of {', '.join(EVENT_KINDS)}, got {unknown[0]!r}{meant}")
    patience = idle if seconds is None else min(seconds, END_LOOK_INTERVAL, END_LOOK_INTERVAL if idle is None else idle)
    with connected(address, timeout) as client, client.events(queue, kind, timeout=patience) as stream:
        for event in islice(_followed(stream, seconds, idle), limit):
            if as_json:
                print_json(asdict(event))
            else:
                about = {"queue": event.queue, "tasks": shown(event), "worker": event.worker, "token": event.token}
                detail = {name: value for name, value in about.items() if value not in (None, "")}
                print_events([{"time": event.time, "event": event.kind, "detail": detail, "text": event.text}])
            sys.stdout.flush()


def _followed(stream: Iterator[Event], seconds: float | None, idle: float | None) -> Iterator[Event]:
    """Yields events until the time is over, or none came for so long; of a stream that gives up now and then."""
    started_at = heard_at = time.monotonic()
    while True:
        event = next(stream, None)
        now = time.monotonic()
        if event is not None:
            heard_at = now
            yield event
        elif seconds is None or (idle is not None and now - heard_at >= idle):
            return
        if seconds is not None and now - started_at >= seconds:
            return
