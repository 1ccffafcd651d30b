"""Options and arguments that several commands share, and the client that two of them make."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zq.cli.line import completing
from zq.cli.line.nearest import did_you_mean
from zq.cli.output import USAGE, echo, exit_codes, fail

if TYPE_CHECKING:
    from zq.client.client import Client
    from zq.errors import RemoteProtocolError

Address = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", envvar="ZQ_ADDRESS", help="Address of the coordinator. [default: tcp://127.0.0.1:7700]"
    ),
]
KeyFile = Annotated[
    str | None,
    typer.Option("--key", envvar="ZQ_KEY", help="File of the key that is shown to a coordinator with keys."),
]
Json = Annotated[bool, typer.Option("--json", "-j", help="Print JSON, one object a line.")]
Plain = Annotated[
    bool, typer.Option("--plain", help="Print tables as in a pipe, tab-separated and whole, in a terminal, too.")
]
Timeout = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait for the coordinator.")]
For = Annotated[
    float | None, typer.Option("--for", min=0.0, help="Seconds after which it waits, or follows, no longer.")
]
Headers = Annotated[
    list[str] | None, typer.Option("--header", "-H", help="A header as name=text; may be given several times.")
]
Queue = Annotated[
    str | None,
    typer.Option("--queue", "-q", help="Only this queue. [default: all]", autocompletion=completing.queue_names),
]
QueueName = Annotated[str, typer.Argument(help="Name of the queue.", autocompletion=completing.queue_names)]
TaskId = Annotated[
    str, typer.Argument(help="Id of the task, as submit printed it.", autocompletion=completing.task_ids)
]
Limit = Annotated[
    int | None, typer.Option("--limit", "-n", min=1, help="At most so many.", show_default="all there are")
]
Limited = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")]
IsSure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
IsDry = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")]
Delay = Annotated[float, typer.Option(min=0.0, help="Seconds before it may start.")]
Ttl = Annotated[float | None, typer.Option(min=0.001, help="Seconds in which it must be started. [default: no limit]")]
TaskKey = Annotated[str | None, typer.Option("--key", help="What tasks share that belong together: a customer, say.")]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Only with this in the reason.")]
Priority = Annotated[int, typer.Option(min=0, max=9, help="9 is served first.")]

TIMEOUT = 5.0

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

NAMES_COMPARED_MAX = 1000
"""Names among which one is looked for that may have been meant."""


@contextmanager
def connected(address: str | None, timeout: float) -> Iterator[Client]:
    """Yields a client of a coordinator; its errors end the command, with their exit codes."""
    from zq.client.client import Client
    from zq.errors import RemoteProtocolError
    from zq.processes.logs import configure_log

    configure_log("warning")  # who waits hears when the coordinator is gone
    with _refusals_said_once(), exit_codes(), Client(address, timeout=timeout) as client:
        try:
            yield client
        except RemoteProtocolError as error:
            fail(in_words(client, error))


@contextmanager
def _refusals_said_once() -> Iterator[None]:
    """Keeps out of the log that nobody is let in: it is what the command ends with, and so says."""
    import logging

    from zq.errors import AccessDeniedError

    def is_news(record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and any(isinstance(one, AccessDeniedError) for one in record.args))

    log = logging.getLogger("zq.sockets.channel")
    log.addFilter(is_news)
    try:
        yield
    finally:
        log.removeFilter(is_news)


NO_QUEUE = "there is no queue "

SUGGESTIONS = {
    NO_QUEUE: ("queues", "name"),
    "there is no schedule ": ("schedules", "name"),
    "there is no worker ": ("workers", "name"),
}
"""How the coordinator says that it has none of a name, and which listing has those that there are."""


def in_words(client: Client, error: RemoteProtocolError) -> str:
    """Returns what the coordinator refused, without its code; of a name that is not there, what may have been meant."""
    for beginning, (listing, column) in SUGGESTIONS.items():
        if error.text.startswith(beginning):
            typed = error.text.removeprefix(beginning).strip("'\"")
            return f"{error.text}{did_you_mean(typed, known_names(client, listing, column))}"
    return error.text


def say_if_new(client: Client, queue: str) -> None:
    """Says of a queue that is not there that what follows makes it: it may be a misspelt one."""
    from zq.errors import RemoteProtocolError

    try:
        client.queues.show(queue)
    except RemoteProtocolError as error:
        if not error.text.startswith(NO_QUEUE):
            raise
        echo(f"zq: {in_words(client, error).removesuffix('?')}: a queue of this name is made", err=True)


def known_names(client: Client, listing: str, column: str = "name") -> list[str]:
    """Returns the first names of a listing; none when they cannot be known."""
    from zq.errors import ZqError

    try:
        return [str(row[column]) for row in client.query(listing, limit=NAMES_COMPARED_MAX)]
    except ZqError:
        return []


def ask(question: str) -> None:
    """Asks whether something that cannot be undone is wanted; ends the command when it is not, or where nobody can be
    asked.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        fail(f"{question} say --yes where nobody can be asked", USAGE)
    try:
        is_wanted = typer.confirm(question, err=True)
    except typer.Abort:
        is_wanted = False
    if not is_wanted:
        fail("nothing was done")


def changes_of(named: Mapping[str, Any], defaults: Iterable[str]) -> dict[str, Any]:
    """Returns what was given of some options, and None for those that go back to their defaults."""
    given = {name: value for name, value in named.items() if value is not None}
    return given | {name.replace("-", "_"): None for name in defaults}


def parse_headers(texts: list[str] | None) -> dict[str, str] | None:
    if not texts:
        return None
    if not all("=" in text for text in texts):
        raise typer.BadParameter("expected each header as name=text")
    return {name: text for name, _, text in (one.partition("=") for one in texts)}


def parse_seconds(text: str) -> float:
    """Returns a duration such as 90, 90s, 5m, 2h or 1d in seconds; raises ValueError."""
    unit = UNITS.get(text[-1:])
    try:
        seconds = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise ValueError(f"expected a duration like 90, 90s, 5m, 2h or 1d, got {text!r}")
    return seconds
