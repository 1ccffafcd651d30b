"""Commands about single tasks."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from zq.cli.arguments import (
    TIMEOUT,
    Address,
    Delay,
    For,
    Headers,
    Json,
    Priority,
    Queue,
    QueueName,
    Reason,
    TaskId,
    TaskKey,
    Timeout,
    Ttl,
    connected,
    parse_headers,
    parse_seconds,
)
from zq.cli.line import completing
from zq.cli.live.progress import counted, progress
from zq.cli.look.cells import block
from zq.cli.output import (
    FAILED,
    echo,
    fail,
    fail_with,
    ids_at_least,
    print_events,
    print_fields,
    print_json,
    print_rows,
)
from zq.errors import BusyError, InvalidTaskError, TaskError
from zq.processes.shown import printable

if TYPE_CHECKING:
    from zq.client.client import Client
    from zq.client.receipt import Receipt
    from zq.submit_options import SubmitOptions

TASK_COLUMNS = ["id", "queue", "state", "priority", "key", "attempts", "failures", "worker", "accepted_time"]
TASK_DROPS = ["priority", "failures", "attempts", "key", "worker", "accepted_time", "queue", "state"]


def submit(
    queue: QueueName,
    payload: Annotated[
        str, typer.Argument(help="The payload as JSON, or - for one JSON value a line on standard input.")
    ],
    id: Annotated[
        str | None, typer.Option(help="Id of the task: submitted twice it is stored once. [default: made]")
    ] = None,
    priority: Priority = 4,
    delay: Delay = 0.0,
    at: Annotated[
        str | None,
        typer.Option(help="When it may start, instead of --delay: 2026-12-24T18:00+01:00, or seconds since 1970."),
    ] = None,
    ttl: Ttl = None,
    key: TaskKey = None,
    ordered: Annotated[bool, typer.Option("--ordered", help="One task of the key at a time, in order.")] = False,
    unique: Annotated[
        str | None,
        typer.Option(help="Key of which the queue has one task at a time; a duplicate prints that one's id."),
    ] = None,
    unique_until: Annotated[
        Literal["ended", "started"], typer.Option(help="How long the task has its unique key.")
    ] = "ended",
    unique_policy: Annotated[
        Literal["keep", "replace"], typer.Option(help="Whether a waiting task of the same unique key is replaced.")
    ] = "keep",
    on_lost: Annotated[
        Literal["reassign", "cancel", "dead"], typer.Option(help="What happens when its worker dies.")
    ] = "reassign",
    max_attempts: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Starts before it is a dead letter.")
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            help="Delay before a failed task is tried again: none, constant:5, linear:5:60, exponential:1:2:60 ..."
        ),
    ] = None,
    run_timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that it may run. [default: no limit]")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the result and print it.")] = False,
    seconds: For = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Submit a task, and print its id: it is on disk when that is printed.

    Examples:
        zq submit orders '{"pizza": "margherita"}'
        zq submit orders '{"pizza": "margherita"}' --wait --for 30
        zq submit orders 1 --priority 7 --key customer-42 --delay 60
        zq submit orders - < lines.jsonl
    """
    with connected(address, timeout) as client:
        options = _given(
            priority=priority,
            delay=delay,
            at=None if at is None else _parse_time(at),
            ttl=ttl,
            key=key,
            ordered=ordered or None,
            unique=None if unique is None else (unique, unique_until, unique_policy),
            on_lost=on_lost,
            max_attempts=max_attempts,
            retry=retry,
            timeout=run_timeout,
        )
        if payload == "-" and id is not None:
            raise ValueError("--id is for a single task, not for lines of standard input")
        receipts, refusal = _send(client, queue, payload, id, options)
        if wait:
            is_done = _print_results(client, receipts, seconds, as_json=as_json)
        else:
            is_done = _print_receipts(receipts, as_json=as_json)
        if refusal is not None:
            fail(f"{len(refusal.refused) or 1} refused, {len(receipts)} accepted: {refusal}")
        if not is_done:
            raise typer.Exit(FAILED)


def _given(**options: Any) -> SubmitOptions:
    """Returns the options that were given."""
    return cast("SubmitOptions", {name: value for name, value in options.items() if value is not None})


def _parse_time(text: str) -> datetime | float:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected --at as 2026-12-24T18:00+01:00 or as seconds since 1970, got {text!r}") from None


def _send(
    client: Client, queue: str, payload: str, id: str | None, options: SubmitOptions
) -> tuple[Sequence[Receipt], BusyError | InvalidTaskError | None]:
    """Submits one task, or the lines of standard input in batches; returns the receipts, and the refusal of the
    rest.
    """
    try:
        if payload == "-":
            with _progress_of_lines(queue) as advance:
                return client.submit_many(queue, counted(read_lines(), advance), **options), None
        return [client.submit(queue, parse(payload), id=id, **options)], None
    except (BusyError, InvalidTaskError) as error:
        return error.accepted, error
    except BadLineError as error:  # the command was right, what it was fed was not
        fail_with(error)


def _progress_of_lines(queue: str) -> AbstractContextManager[Callable[[int], None]]:
    """Shows how many lines were read, unless somebody types them."""
    if sys.stdin is not None and sys.stdin.isatty():
        return nullcontext(lambda done: None)  # noqa: ARG005
    return progress(f"submitting to {queue}")


class BadLineError(ValueError):
    """A line of standard input is not JSON."""


def parse(text: str) -> Any:
    """Returns what a payload given as JSON says; raises ValueError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON, got {text.strip()[:60]!r}: {error}") from None
    except RecursionError:
        raise ValueError(f"expected JSON, got {text.strip()[:60]!r} ...: it is nested too deeply") from None


def read_lines() -> Iterator[Any]:
    """Yields the payloads on standard input; raises BadLineError, and ValueError when there is none."""
    if sys.stdin is None:
        raise ValueError("expected lines on standard input, which is closed")
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            try:
                yield parse(line)
            except ValueError as error:
                raise BadLineError(f"line {number} of standard input: {error}") from None


def _print_receipts(receipts: Sequence[Receipt], *, as_json: bool) -> bool:
    for at, receipt in enumerate(receipts):
        with ids_at_least(one.id for one in islice(receipts, at, None)):
            if as_json:
                row = {"id": receipt.id, "position": receipt.position, "eta": receipt.eta}
                print_json({**row, "is_duplicate": True} if receipt.is_duplicate else row)
            else:
                echo(receipt.id)
    if len(receipts) == 1 and not as_json:
        if receipts[0].is_duplicate:
            echo("nothing was stored: this task has the unique key", err=True)
            return True
        eta = "" if receipts[0].eta is None else f", about {receipts[0].eta:.1f} s"
        echo(f"accepted at place {receipts[0].position}{eta}", err=True)
    return True


def _print_results(client: Client, receipts: Sequence[Receipt], timeout: float | None, *, as_json: bool) -> bool:
    """Prints how each task ends, in the order of submission; returns whether all are done."""
    if receipts:
        what = receipts[0].id if len(receipts) == 1 else f"{len(receipts)} tasks"
        echo(f"accepted {what}, waiting for the end", err=True)
    from zq.cli.steering.patience import Patience

    give_up_at = None if timeout is None else time.monotonic() + timeout
    is_done = True
    for receipt in receipts:
        try:
            result = Patience(client, receipt).result(give_up_at)
        except TaskError as error:
            is_done = False
            _print_failure(error)
            if as_json:
                print_json({"id": receipt.id, "error": error.reason})
        else:
            with ids_at_least([receipt.id]):
                print_json({"id": receipt.id, "result": result} if as_json else result)
    return is_done


def _print_failure(error: TaskError) -> None:
    """Says how a task failed, with its traceback below if it has one."""
    first, *rest = str(error).rstrip("\n").split("\n")
    echo(f"zq: {printable(first)}", err=True)
    if rest:
        echo("\n".join(block("\n".join(rest))), err=True)


def list_tasks(
    state: Annotated[
        Literal["waiting", "leased", "scheduled", "dead", "done", "cancelled", "expired", "unfinished", "any"],
        typer.Option("--state", "-s", help="Which tasks."),
    ] = "unfinished",
    queue: Queue = None,
    key: Annotated[str | None, typer.Option("--key", "-k", help="Only with this key.")] = None,
    headers: Headers = None,
    worker: Annotated[
        str | None,
        typer.Option(
            "--worker",
            "-w",
            help="Only those it has, has completed, or had when they failed.",
            autocompletion=completing.worker_names,
        ),
    ] = None,
    reason: Reason = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only those accepted longer ago: 90, 90s, 5m, 2h or 1d.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 100,
    all_rows: Annotated[bool, typer.Option("--all", help="All there are, whatever --limit says.")] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """List tasks in the order of service, without --state those that have not ended: waiting, leased, and scheduled,
    retries too. This changes nothing, and reads page by page.

    Examples:
        zq tasks ls
        zq tasks ls --queue orders --state scheduled
        zq tasks ls --state dead --reason TimeoutError --json
    """
    from zq.client.browsing import search

    with connected(address, timeout) as client:
        age = None if older_than is None else parse_seconds(older_than)
        most = None if all_rows else limit
        found = search(
            state,
            queue=queue,
            key=key,
            headers=parse_headers(headers),
            worker=worker,
            reason=reason,
            older_than=age,
            limit=most,
        )
        print_rows(found.rows(client.query), TASK_COLUMNS, as_json=as_json, drops=TASK_DROPS)


def show(
    id: TaskId,
    payload: Annotated[bool, typer.Option("--payload", "-p", help="Show its payload, too.")] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show a task: where it is, and what happened to it.

    Examples:
        zq tasks show 1axtwvpa8dd8-0000000100000001
        zq tasks show order-17 --payload
    """
    with connected(address, timeout) as client:
        task = client.query("task", id=id)
        if payload:
            task["payload"] = payload_of(client, id)
        print_fields(task, as_json=as_json)
        if task["state"] == "unknown":
            raise typer.Exit(FAILED)


def payload_of(client: Client, id: str) -> Any:
    """Returns a payload, and of one that is no msgpack its bytes; None when it is not there any more."""
    from zq.errors import TaskUnknownError

    try:
        return client.payload(id)
    except TaskUnknownError as error:
        echo(f"zq: {error}", err=True)
        return None
    except ValueError:
        return client.query("payload", id=id)


def trace(id: TaskId, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Show everything that has happened to a task, or to a batch, in the order of time.

    Examples:
        zq tasks trace order-17
        zq tasks trace order-17 --json
    """
    with connected(address, timeout) as client:
        events = client.query("trace", id=id)
        print_events(events, as_json=as_json)
        if not events:
            fail(f"{id} is not known, or no longer")


def why(id: TaskId, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False) -> None:
    """Say why a task does not run now: not due, its key is held, no worker, a limit ...

    Examples:
        zq why order-17
    """
    with connected(address, timeout) as client:
        reason = client.why(id)
        if as_json:
            print_json({"id": id, "code": reason.code, "text": reason.text, "details": reason.details})
        else:
            echo(f"{reason.code}: {printable(reason.text)}")
        if reason.code == "unknown":
            raise typer.Exit(FAILED)


def cancel(id: TaskId, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Cancel a task, or all tasks of a batch, that have not ended.

    Examples:
        zq tasks cancel order-17
    """
    with connected(address, timeout) as client:
        count = client.cancel(id)
        if not count:
            fail(f"nothing of {id} was there to cancel: it has ended, or is not known")
        echo(f"cancelled {count}", err=True)


def retry(id: TaskId, address: Address = None, timeout: Timeout = TIMEOUT) -> None:
    """Put a dead task back into its queue, with no attempts charged.

    Examples:
        zq tasks retry order-17
    """
    with connected(address, timeout) as client:
        if not client.dead.replay(id):
            fail(f"{id} is not a dead letter")
        echo(f"{id} waits again", err=True)


def bury(
    id: TaskId,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why, for people.")] = "buried from the command line",
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Make a dead letter of a task, or of all tasks of a batch, that have not ended.

    Examples:
        zq tasks bury order-17 --reason 'no such pizza'
    """
    with connected(address, timeout) as client:
        count = client.dead.bury(id, reason)
        if not count:
            fail(f"nothing of {id} was there to bury: it has ended, or is not known")
        echo(f"buried {count}", err=True)
