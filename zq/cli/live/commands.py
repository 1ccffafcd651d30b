"""The commands of this folder; what they need is loaded when they run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Timeout, connected
from zq.cli.output import USAGE, exit_codes, fail

Interval = Annotated[float, typer.Option("--interval", "-i", min=0.1, help="Seconds from one look to the next.")]
Lines = Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many.")]


def top(interval: Interval = 1.0, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Watch queues, workers and failures, live, with keys to pause, resume and look closely; ? shows them.

    Examples:
        zq top
        zq top --interval 5
    """
    if not has_terminal():
        fail("zq top needs a terminal; zq stat prints a line a second, also into a pipe", USAGE)
    watch_in_terminal(interval, address, timeout)


def stat(
    interval: Interval = 1.0,
    lines: Lines = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Print a line a second: tasks in, out and failed, what waits and runs, workers, commits, store and memory.

    Examples:
        zq stat
        zq stat --interval 5 --limit 12
        zq stat --json
    """
    from zq.cli.live.stat import print_stat

    with connected(address, timeout) as client:
        print_stat(client, interval, lines, as_json=as_json)


def watch_status(address: str | None, timeout: float, *, as_json: bool) -> None:
    """Does what `zq status --watch` does: a live view in a terminal, else a line a second."""
    if has_terminal() and not as_json:
        watch_in_terminal(1.0, address, timeout)
    else:
        stat(address=address, timeout=timeout, as_json=as_json)


def has_terminal() -> bool:
    """Whether there is a terminal that can do more than lines."""
    try:
        from zq.cli.live.terminal import is_there
    except ImportError:  # no termios: another system than those with terminals of this kind
        return False
    return is_there()


def watch_in_terminal(interval: float, address: str | None, timeout: float) -> None:
    """Shows the live view until somebody quits."""
    import asyncio

    with exit_codes():
        asyncio.run(_watch(interval, address, timeout))
    sys.stdout.flush()


async def _watch(interval: float, address: str | None, timeout: float) -> None:
    from zq.cli.live.watching import watch
    from zq.client.async_client import AsyncClient

    async with AsyncClient(address, timeout=timeout) as client:
        await watch(client, client.address, interval)
