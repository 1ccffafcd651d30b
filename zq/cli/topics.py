"""Commands about topics: publishing, and which queues are bound to what."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from zq.cli.arguments import (
    TIMEOUT,
    Address,
    Delay,
    Headers,
    Json,
    Limit,
    Priority,
    Queue,
    QueueName,
    TaskKey,
    Timeout,
    connected,
    known_names,
    parse_headers,
)
from zq.cli.line import completing
from zq.cli.line.nearest import did_you_mean
from zq.cli.output import echo, fail, fail_with, ids_at_least, print_json, print_rows
from zq.cli.tasks import BadLineError, parse, read_lines
from zq.errors import BusyError, InvalidTaskError, UnroutableError
from zq.processes.shown import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zq.client.client import Client
    from zq.client.publications import PublishReceipt
    from zq.client.receipt import Receipt
    from zq.submit_options import SubmitOptions

Pattern = Annotated[
    str,
    typer.Argument(
        help="Dot-separated words; * stands for one word, # for none or more (quote them).",
        autocompletion=completing.topic_patterns,
    ),
]


def publish(
    topic: Annotated[str, typer.Argument(help="Dot-separated words, such as orders.eu.created.")],
    payload: Annotated[
        str, typer.Argument(help="The payload as JSON, or - for one JSON value a line on standard input.")
    ],
    id: Annotated[
        str | None, typer.Option(help="Id of the publication: published twice it is stored once. [default: made]")
    ] = None,
    priority: Priority = 4,
    delay: Delay = 0.0,
    key: TaskKey = None,
    headers: Headers = None,
    optional: Annotated[
        bool, typer.Option("--optional", help="It is no error that no queue is bound to the topic.")
    ] = False,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Publish a task to every queue that is bound to a topic, in one transaction, and print the ids of the tasks.

    Examples:
        zq publish orders.eu.created '{"pizza": "margherita"}'
        zq publish orders.eu.created - < lines.jsonl
    """
    options: SubmitOptions = {"priority": priority, "delay": delay, "key": key, "headers": parse_headers(headers)}
    with connected(address, timeout) as client:
        if payload == "-" and id is not None:
            raise ValueError("--id is for a single payload, not for lines of standard input")
        receipts, refusal = _send(client, topic, payload, id, options, is_mandatory=not optional)
        for at, receipt in enumerate(receipts):
            with ids_at_least(one.id for one in islice(receipts, at, None)):
                _print(receipt, as_json=as_json)
        if refusal is not None:
            fail(f"{len(receipts)} published, the rest was refused: {refusal}" if receipts else str(refusal))


def _send(
    client: Client, topic: str, payload: str, id: str | None, options: SubmitOptions, *, is_mandatory: bool
) -> tuple[Sequence[PublishReceipt[Receipt]], Exception | None]:
    try:
        if payload == "-":
            return client.publish_many(topic, read_lines(), is_mandatory=is_mandatory, **options), None
        return [client.publish(topic, parse(payload), id=id, is_mandatory=is_mandatory, **options)], None
    except (BusyError, InvalidTaskError, UnroutableError) as error:
        return error.accepted, error
    except BadLineError as error:
        fail_with(error)


def _print(receipt: PublishReceipt[Receipt], *, as_json: bool) -> None:
    if as_json:
        print_json({"id": receipt.id, "tasks": {queue: one.id for queue, one in receipt.receipts.items()}})
        return
    for queue, one in receipt.receipts.items():
        echo(f"{one.id}\t{queue}")
    if not receipt.receipts:
        echo(f"{receipt.id}: no queue is bound to the topic", err=True)


def list_bindings(
    queue: Queue = None, limit: Limit = None, address: Address = None, timeout: Timeout = TIMEOUT, as_json: Json = False
) -> None:
    """List the bindings: which queue gets what is published to which topics.

    Examples:
        zq topics ls
        zq topics ls --queue invoices
    """
    with connected(address, timeout) as client:
        rows = client.query("bindings", queue=queue, limit=limit)
        if not as_json:
            for row in rows:
                row["headers"] = [f"{name}={text}" for name, text in row["headers"].items()] or None
        print_rows(rows, ["pattern", "queue", "headers"], as_json=as_json, drops=["headers"])


def match(
    topic: Annotated[str, typer.Argument(help="A topic, as it is published to.")],
    headers: Headers = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
    as_json: Json = False,
) -> None:
    """Print the queues that a publication to a topic would reach; nothing is published.

    Examples:
        zq topics match orders.eu.created
    """
    with connected(address, timeout) as client:
        queues = client.topics.match(topic, parse_headers(headers))
        if as_json:
            print_json(queues)
            return
        for queue in queues:
            echo(printable(queue))
        if not queues:
            fail(f"no queue is bound to {topic}{did_you_mean(topic, known_names(client, 'bindings', 'pattern'))}")


def bind(
    pattern: Pattern,
    queue: QueueName,
    headers: Headers = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Bind a queue to a pattern of topics; with headers, only what has all of them.

    Examples:
        zq topics bind 'orders.*.created' invoices
        zq topics bind 'orders.#' audit --header city=rome
    """
    with connected(address, timeout) as client:
        is_new = client.topics.bind(pattern, queue, parse_headers(headers))
        echo(f"{queue} {'gets' if is_new else 'has been getting'} what matches {pattern}", err=True)


def unbind(
    pattern: Pattern,
    queue: QueueName,
    headers: Headers = None,
    address: Address = None,
    timeout: Timeout = TIMEOUT,
) -> None:
    """Remove the bindings of a queue with a pattern: with headers, only the one with exactly these.

    Examples:
        zq topics unbind 'orders.#' audit
    """
    with connected(address, timeout) as client:
        count = client.topics.unbind(pattern, queue, parse_headers(headers))
        if not count:
            meant = did_you_mean(pattern, known_names(client, "bindings", "pattern"))
            fail(f"{queue} was not bound to {pattern}{meant}")
        echo(f"removed {count}", err=True)
