"""Commands about dead letters."""

from __future__ import annotations

from typing import Annotated

import typer

from zq.cli.arguments import TIMEOUT, Address, IsSure, Json, Limited, Queue, QueueName, Reason, Timeout, ask, connected
from zq.cli.line import completing
from zq.cli.live.progress import progress
from zq.cli.output import as_map, echo, fail, print_fields, print_rows
from zq.cli.tasks import payload_of

Id = Annotated[
    str | None,
    typer.Argument(help="Id of one task. [default: all of the queue and reason]", autocompletion=completing.dead_ids),
]

DEAD_COLUMNS = ["id", "queue", "attempts", "failures", "finished_time", "reason"]
DEAD_DROPS = ["attempts", "failures", "finished_time", "queue", "reason"]
REPLAY_COLUMNS = ["id", "rate", "queue", "reason", "to", "started_time", "moved"]
REPLAY_DROPS = ["started_time", "to", "reason", "moved", "rate", "queue"]


def list_dead(
    queue: Queue = None,
    reason: Reason = None,
    limit: Limited = 100,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """List dead letters, with the reason of each; `zq tasks show ID` has its whole history.

    Examples:
        zq dead ls
        zq dead ls --queue orders --reason TimeoutError
        zq dead ls --json
    """
    from zq.client.browsing import search

    with connected(address, timeout) as client:
        found = search("dead", queue=queue, reason=reason, limit=limit)
        print_rows(found.rows(client.query), DEAD_COLUMNS, as_json=as_json, drops=DEAD_DROPS)


def replay(
    id: Id = None,
    queue: Queue = None,
    reason: Reason = None,
    to: Annotated[str | None, typer.Option(help="Queue to which they go. [default: back to their own]")] = None,
    limit: Limited = 1000,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, max=100_000, help="Bring them all back, so many a second. [default: at once, --limit]"),
    ] = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Put dead tasks back into their queues, the most urgent first, with no attempts charged.

    Examples:
        zq dead replay order-17
        zq dead replay --queue orders --reason TimeoutError --limit 100
        zq dead replay --queue orders --rate 50
    """
    if rate is not None and id is not None:
        raise typer.BadParameter("--rate is for many, not for the one task of an id")
    with connected(address, timeout) as client:
        if rate is not None:
            started = client.dead.start_replay(rate, queue=queue, reason=reason, to=to)
            print_rows([as_map(started)], REPLAY_COLUMNS, as_json=as_json, drops=REPLAY_DROPS)
            echo(f"replay {started.id} goes on by itself; zq dead replays shows it", err=True)
            return
        count = client.dead.replay(id, queue=queue, reason=reason, to=to, limit=limit)
        if id is not None and not count:
            fail(f"{id} is not a dead letter")
        echo(f"{count} wait again", err=True)


def kick(
    queue: QueueName,
    count: Annotated[int, typer.Argument(min=1, max=1000, help="At most so many.")] = 1,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Put the first dead tasks of a queue back into it.

    Examples:
        zq dead kick orders 10
    """
    with connected(address, timeout) as client:
        echo(f"{client.dead.replay(queue=queue, limit=count)} wait again", err=True)


def list_replays(address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """List the replays that are going on.

    Examples:
        zq dead replays
    """
    with connected(address, timeout) as client:
        print_rows(map(as_map, client.dead.replays()), REPLAY_COLUMNS, as_json=as_json, drops=REPLAY_DROPS)


def stop(
    id: Annotated[str, typer.Argument(help="Id of the replay, as zq dead replays shows it.")],
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Stop a replay; what it has brought back stays back.

    Examples:
        zq dead stop 1
    """
    with connected(address, timeout) as client:
        if not client.dead.stop_replay(id):
            fail(f"there is no replay {id}, or no longer")
        echo(f"replay {id} is stopped", err=True)


def purge(
    id: Id = None,
    queue: Queue = None,
    reason: Reason = None,
    is_sure: IsSure = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Give dead letters up for good.

    Examples:
        zq dead purge order-17
        zq dead purge --queue orders --reason 'no such pizza' --yes
    """
    with connected(address, timeout) as client:
        if not is_sure and id is None:
            found = client.dead.list(queue=queue, reason=reason, limit=1000)
            count = f"{len(found)} or more" if len(found) == 1000 else str(len(found))
            ask(f"give up {count} dead letters?")
        total = 0
        with progress("giving dead letters up") as advance:
            while count_now := client.dead.purge(id, queue=queue, reason=reason):
                total += count_now
                advance(total)
        if id is not None and not total:
            fail(f"{id} is not a dead letter")
        echo(f"{total} given up", err=True)


def show(
    id: Annotated[str, typer.Argument(help="Id of the dead letter.", autocompletion=completing.dead_ids)],
    payload: Annotated[bool, typer.Option("--payload", "-p", help="Show its payload, too.")] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show a dead letter: its reason in full, and what happened to it.

    Examples:
        zq dead show order-17
        zq dead show order-17 --payload --json
    """
    with connected(address, timeout) as client:
        found = client.query("task", id=id)
        if found["state"] != "dead":
            fail(f"{id} is not a dead letter, its state is {found['state']}")
        if payload:
            found["payload"] = payload_of(client, id)
        print_fields(found, as_json=as_json)
