"""Commands about dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, Json, Limit, Queue, Timeout, connected
from zq.cli.output import as_map, echo, fail, print_fields, print_rows
from zq.cli.tasks import payload_of

Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Only those whose reason contains this text.")]
Id = Annotated[str | None, typer.Argument(help="Id of one task. [default: all of the queue and reason]")]

DEAD_COLUMNS = ["id", "queue", "attempts", "failures", "finished_time", "reason"]
REPLAY_COLUMNS = ["id", "rate", "queue", "reason", "to", "started_time", "moved"]


def list_dead(
    queue: Queue = None,
    reason: Reason = None,
    limit: Limit = 100,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """List dead letters, with the reason of each; `zq tasks show ID` has its whole history."""
    from zq.client.browsing import search

    with connected(address, timeout) as client:
        found = search("dead", queue=queue, reason=reason, limit=limit)
        print_rows(found.rows(client.query), DEAD_COLUMNS, as_json=as_json)


def replay(
    id: Id = None,
    queue: Queue = None,
    reason: Reason = None,
    to: Annotated[str | None, typer.Option(help="Queue to which they go. [default: back to their own]")] = None,
    limit: Limit = 1000,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, max=100_000, help="Bring them all back, so many a second. [default: at once, --limit]"),
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Put dead tasks back into their queues, the most urgent first, with no attempts charged."""
    if rate is not None and id is not None:
        raise typer.BadParameter("--rate is for many, not for the one task of an id")
    with connected(address, timeout) as client:
        if rate is not None:
            started = client.dead.start_replay(rate, queue=queue, reason=reason, to=to)
            print_rows([as_map(started)], REPLAY_COLUMNS, as_json=as_json)
            echo(f"replay {started.id} goes on by itself; zq dead replays shows it", err=True)
            return
        count = client.dead.replay(id, queue=queue, reason=reason, to=to, limit=limit)
        if id is not None and not count:
            fail(f"{id} is not a dead letter")
        echo(f"{count} wait again", err=True)


def kick(
    queue: Annotated[str, typer.Argument(help="Name of the queue.")],
    count: Annotated[int, typer.Argument(min=1, max=1000, help="At most so many.")] = 1,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Put the first dead tasks of a queue back into it."""
    with connected(address, timeout) as client:
        echo(f"{client.dead.replay(queue=queue, limit=count)} wait again", err=True)


def list_replays(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the replays that are going on."""
    with connected(address, timeout) as client:
        print_rows(map(as_map, client.dead.replays()), REPLAY_COLUMNS, as_json=as_json)


def stop(
    id: Annotated[str, typer.Argument(help="Id of the replay, as zq dead replays shows it.")],
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Stop a replay; what it has brought back stays back."""
    with connected(address, timeout) as client:
        if not client.dead.stop_replay(id):
            fail(f"there is no replay {id}, or no longer")
        echo(f"replay {id} is stopped", err=True)


def purge(
    id: Id = None,
    queue: Queue = None,
    reason: Reason = None,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Give dead letters up for good."""
    with connected(address, timeout) as client:
        if not is_sure and id is None:
            found = client.dead.list(queue=queue, reason=reason, limit=1000)
            count = f"{len(found)} or more" if len(found) == 1000 else str(len(found))
            if not typer.confirm(f"give up {count} dead letters?", err=True):
                fail("nothing was done")
        total = 0
        while count_now := client.dead.purge(id, queue=queue, reason=reason):
            total += count_now
        if id is not None and not total:
            fail(f"{id} is not a dead letter")
        echo(f"{total} given up", err=True)


def show(
    id: Annotated[str, typer.Argument(help="Id of the dead letter.")],
    payload: Annotated[bool, typer.Option("--payload", "-p", help="Show its payload, too.")] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show a dead letter: its reason in full, and what happened to it."""
    with connected(address, timeout) as client:
        found = client.query("task", id=id)
        if found["state"] != "dead":
            fail(f"{id} is not a dead letter, its state is {found['state']}")
        if payload:
            found["payload"] = payload_of(client, id)
        print_fields(found, as_json=as_json)
