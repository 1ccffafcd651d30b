"""The commands of `zq` and what they share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from zq.cli import (
    dead,
    groups,
    keys,
    listing,
    namespaces,
    pulling,
    queue_operations,
    queues,
    schedules,
    serving,
    tasks,
    topics,
)
from zq.cli.extending import ExtensibleGroup
from zq.cli.output import EXIT_CODES, INTERRUPTED, echo

app = typer.Typer(
    cls=ExtensibleGroup,
    name="zq",
    help="Durable task queues on ZeroMQ, with no broker to install.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from zq import __version__

        echo(__version__)
        raise typer.Exit


@contextmanager
def _environment(namespace: str) -> Iterator[None]:
    """Lets everything that a command makes, its child processes too, be in a namespace."""
    before = os.environ.get("ZQ_NAMESPACE")
    os.environ["ZQ_NAMESPACE"] = namespace
    try:
        yield
    finally:
        if before is None:
            del os.environ["ZQ_NAMESPACE"]
        else:
            os.environ["ZQ_NAMESPACE"] = before


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-N", envvar="ZQ_NAMESPACE", help="Namespace in which all names are, such as team-a."
        ),
    ] = None,
) -> None:
    """Durable task queues on ZeroMQ, with no broker to install."""
    if namespace is not None:
        context.with_resource(_environment(namespace))


app.command()(serving.coordinator)
app.command()(serving.worker)
app.command()(serving.bench)
app.command()(tasks.submit)
app.command()(pulling.pull)
app.command()(topics.publish)
app.command()(tasks.why)
app.command()(listing.status)
app.command()(listing.events)

_GROUPS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "tasks",
        "Look at tasks, cancel them, try dead ones again.",
        {
            "ls": tasks.list_tasks,
            "show": tasks.show,
            "trace": tasks.trace,
            "cancel": tasks.cancel,
            "retry": tasks.retry,
            "bury": tasks.bury,
        },
    ),
    (
        "groups",
        "Look at groups of tasks whose results are joined, and cancel them.",
        {"ls": groups.list_groups, "show": groups.show, "cancel": groups.cancel},
    ),
    ("workers", "Look at workers.", {"ls": listing.list_workers}),
    (
        "queues",
        "Look at queues, set their policies, and purge, move or delete them.",
        {
            "ls": queues.list_queues,
            "show": queues.show,
            "set": queues.set_queue,
            "pause": queues.pause,
            "resume": queues.resume,
            "drain": queue_operations.drain,
            "purge": queue_operations.purge,
            "move": queue_operations.move,
            "rm": queue_operations.delete,
            "operations": queue_operations.list_operations,
        },
    ),
    (
        "namespaces",
        "Look at namespaces, and limit what their queues hold together.",
        {"ls": namespaces.list_namespaces, "show": namespaces.show, "set": namespaces.set_namespace},
    ),
    (
        "topics",
        "Look at the bindings of queues to topics, and change them.",
        {"ls": topics.list_bindings, "match": topics.match, "bind": topics.bind, "unbind": topics.unbind},
    ),
    (
        "pulled",
        "End tasks that were pulled, or prolong their leases.",
        {"done": pulling.done, "fail": pulling.fail, "release": pulling.release, "extend": pulling.extend},
    ),
    (
        "schedules",
        "Make, look at and change recurring tasks.",
        {
            "ls": schedules.list_schedules,
            "show": schedules.show,
            "add": schedules.add,
            "set": schedules.set_schedule,
            "pause": schedules.pause,
            "resume": schedules.resume,
            "rm": schedules.remove,
        },
    ),
    (
        "dead",
        "Look at dead letters, replay or purge them.",
        {
            "ls": dead.list_dead,
            "replay": dead.replay,
            "kick": dead.kick,
            "replays": dead.list_replays,
            "stop": dead.stop,
            "purge": dead.purge,
        },
    ),
    (
        "keys",
        "Make keys, let them in, and take their rights away: in the coordinator's directory of keys.",
        {"new": keys.new, "allow": keys.allow, "revoke": keys.revoke, "rotate": keys.rotate, "ls": keys.list_keys},
    ),
]
for _name, _help, _commands in _GROUPS:
    _group = typer.Typer(name=_name, help=_help, no_args_is_help=True, epilog=EXIT_CODES)
    for _verb, _function in _commands.items():
        _group.command(_verb)(_function)
    app.add_typer(_group)


def run() -> None:
    """Runs the command of the process' arguments."""
    try:
        app(prog_name="zq")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
