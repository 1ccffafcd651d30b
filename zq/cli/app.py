"""The commands of `zq` and what they share.

Other packages add commands by an entry point in the group `zq.commands` whose value is a typer.Typer. They are looked
for only when a command is not one of zq's own, and for the list in `zq --help`: reading the metadata of all packages
takes longer than most commands.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zq.cli import (
    contexts,
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
from zq.cli.arguments import KeyFile
from zq.cli.output import EXIT_CODES, INTERRUPTED, echo, exit_codes
from zq.cli.starting import dev, work
from zq.cli.web import dashboard

GROUP = "zq.commands"


class ExtensibleGroup(TyperGroup):
    """The commands of zq, and those of packages that add some."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands."""
        own = super().list_commands(ctx)
        return [*own, *sorted(_added().keys() - set(own))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command by its name, or None."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name.startswith("-"):
            return own
        found = _added().get(cmd_name)
        return None if found is None else typer.main.get_command(found.load())


def _added() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}


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


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has done it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--context",
            envvar="ZQ_CONTEXT",
            metavar="NAME",
            help="Address, key and namespace by a name in zq.toml; `zq context ls` lists them.",
        ),
    ] = None,
    key: KeyFile = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-N", envvar="ZQ_NAMESPACE", help="Namespace in which all names are, such as team-a."
        ),
    ] = None,
) -> None:
    """Durable task queues on ZeroMQ, with no broker to install."""
    if name:
        with exit_codes():
            settings = contexts.settings_of(name, is_explicit=_is_option(context, "name"))
        context.with_resource(contexts.environment(settings))
    given = {"ZQ_KEY": (key, "key"), "ZQ_NAMESPACE": (namespace, "namespace")}
    context.with_resource(
        contexts.environment({name: text for name, (text, option) in given.items() if _is_option(context, option)})
    )


def _is_option(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line, and not by the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def takes_key(command: Callable[..., None]) -> Callable[..., None]:
    """Returns a command with the option --key, too, if it is one that talks to a coordinator (and so has an address),
    and has no option of that name: tasks have keys of another kind.
    """
    signature = inspect.signature(command, eval_str=True)
    if "address" not in signature.parameters or "key" in signature.parameters:
        return command

    @functools.wraps(command)
    def with_key(*arguments: Any, key: str | None = None, **options: Any) -> None:
        with contexts.environment({} if key is None else {"ZQ_KEY": key}):
            command(*arguments, **options)

    added = inspect.Parameter("key", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=KeyFile)
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    at = [one.name for one in parameters].index("address") + 1
    with_key.__signature__ = signature.replace(parameters=[*parameters[:at], added, *parameters[at:]])  # type: ignore[attr-defined]
    with_key.__annotations__ = {**command.__annotations__, "key": KeyFile}
    return with_key


for _command in (
    *(serving.coordinator, serving.worker, work.work, dev.dev, serving.bench),
    *(tasks.submit, pulling.pull, topics.publish, tasks.why, listing.status, listing.events),
    dashboard.dashboard,
):
    app.command()(takes_key(_command))

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
        "context",
        "Look at the contexts in zq.toml: address, key and namespace by a name.",
        {"ls": contexts.list_contexts, "show": contexts.show},
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
        _group.command(_verb)(takes_key(_function))
    app.add_typer(_group)


def run() -> None:
    """Runs the command of the process' arguments."""
    try:
        app(prog_name="zq")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
