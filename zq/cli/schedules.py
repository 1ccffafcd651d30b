"""Commands about recurring tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Limit, Priority, QueueName, Timeout, Ttl, connected
from zq.cli.line import completing
from zq.cli.output import as_map, echo, fail, print_fields, print_rows
from zq.cli.tasks import parse
from zq.wire.limits import CatchUp

SCHEDULE_COLUMNS = [
    "name",
    "queue",
    "every",
    "cron",
    "timezone",
    "catch_up",
    "is_paused",
    "next_time",
    "fired",
    "last_time",
]
SCHEDULE_DROPS = ["catch_up", "last_time", "fired", "timezone", "is_paused", "queue", "every", "cron", "next_time"]

Name = Annotated[str, typer.Argument(help="Name of the schedule.", autocompletion=completing.schedule_names)]
Every = Annotated[float | None, typer.Option(min=1.0, help="Seconds between two tasks.")]
Cron = Annotated[str | None, typer.Option(help="Cron expression, such as '30 2 * * MON-FRI'.")]


def list_schedules(
    limit: Limit = None, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False
) -> None:
    """List schedules by name, with when each comes next.

    Examples:
        zq schedules ls
    """
    with connected(address, timeout) as client:
        print_rows(map(as_map, client.schedules.list(limit)), SCHEDULE_COLUMNS, as_json=as_json, drops=SCHEDULE_DROPS)


def show(name: Name, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show a schedule.

    Examples:
        zq schedules show nightly
    """
    with connected(address, timeout) as client:
        print_fields(as_map(client.schedules.show(name)), as_json=as_json)


def add(
    name: Name,
    queue: QueueName,
    payload: Annotated[str, typer.Argument(help="The payload as JSON.")],
    every: Every = None,
    cron: Cron = None,
    timezone: Annotated[str, typer.Option(help="In which the cron expression is meant.")] = "UTC",
    catch_up: Annotated[
        CatchUp, typer.Option(help="What is done about times that were missed: nothing, one task, or all of them.")
    ] = "one",
    priority: Priority = 4,
    ttl: Ttl = None,
    unique: Annotated[
        str | None, typer.Option(help="Unique key: no task is stored while one of it waits or runs.")
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Make a schedule, or give the one of this name another task; its times begin anew only if they are others.

    Examples:
        zq schedules add heartbeat pings null --every 60
        zq schedules add nightly reports '{"kind": "sales"}' --cron '30 2 * * *' --timezone Europe/Berlin
    """
    with connected(address, timeout) as client:
        made = client.schedules.define(
            name,
            queue,
            parse(payload),
            every=every,
            cron=cron,
            timezone=timezone,
            catch_up=catch_up,
            priority=priority,
            ttl=ttl,
            unique=unique,
        )
        print_fields(as_map(made), as_json=as_json)


def set_schedule(
    name: Name,
    every: Every = None,
    cron: Cron = None,
    timezone: Annotated[str | None, typer.Option(help="In which the cron expression is meant.")] = None,
    catch_up: Annotated[
        CatchUp | None,
        typer.Option(help="What is done about times that were missed: nothing, one task, or all of them."),
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Change when a schedule fires; what is not named stays as it is.

    Examples:
        zq schedules set nightly --cron '0 3 * * *'
    """
    if all(one is None for one in (every, cron, timezone, catch_up)):
        raise typer.BadParameter("nothing to set: give --every, --cron, --timezone or --catch-up")
    with connected(address, timeout) as client:
        changed = client.schedules.set(name, every=every, cron=cron, timezone=timezone, catch_up=catch_up)
        print_fields(as_map(changed), as_json=as_json)


def run(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Submit the task of a schedule now, paused or not, and print its id; its times stay what they are.

    Examples:
        zq schedules run nightly
    """
    with connected(address, timeout) as client:
        echo(client.schedules.run(name).last_id or "")


def pause(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a schedule fire no more until it is resumed.

    Examples:
        zq schedules pause nightly
    """
    with connected(address, timeout) as client:
        client.schedules.pause(name)
        echo(f"{name} is paused", err=True)


def resume(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Let a paused schedule fire again; what it missed is left out.

    Examples:
        zq schedules resume nightly
    """
    with connected(address, timeout) as client:
        client.schedules.resume(name)
        echo(f"{name} goes on", err=True)


def remove(name: Name, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Forget a schedule; tasks that it has stored stay.

    Examples:
        zq schedules rm nightly
    """
    with connected(address, timeout) as client:
        if not client.schedules.delete(name):
            fail(f"there is no schedule {name}")
        echo(f"{name} is forgotten", err=True)
