"""The commands of `zq`, one line each, and the options that stand before them.

Nothing of a command is loaded before it is asked for; the list of all of them is made of the lines below.

Other packages add commands by an entry point in the group `zq.commands` whose value is a typer.Typer. They are looked
for only when a command is not one of zq's own, and by `zq commands`: reading the metadata of all packages takes longer
than most commands.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zq.cli.arguments import Json, KeyFile, Plain
from zq.cli.line.commands import WIDTH_MAX, Added, CommandGroup, Verb, Verbs, adopt, first_paragraph, load_function
from zq.cli.line.nearest import did_you_mean
from zq.cli.line.settings import environment, settings_of
from zq.cli.output import EXIT_CODES, INTERRUPTED, echo, exit_codes, plain_output

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "zq.commands"

TREE: dict[str, dict[str, Verb | Verbs | Added]] = {
    "Start": {
        "coordinator": Verb("zq.cli.serving:coordinator", "Run a coordinator, which keeps the queues."),
        "worker": Verb("zq.cli.serving:worker", "Run a worker, an app or the stages of a pipeline."),
        "pipeline": Added("Run pipelines that are composed in code."),
        "work": Verb("zq.cli.starting.work:work", "Run a program for each task of a queue."),
        "dev": Verb("zq.cli.starting.dev:dev", "Run all that development needs, in one terminal."),
        "demo": Verb("zq.cli.starting.demo:demo", "Watch a town of pizza shops, of which one explodes now and then."),
        "bench": Verb("zq.cli.serving:bench", "Measure how many tasks a second there are."),
    },
    "Look": {
        "dashboard": Verb("zq.cli.web.dashboard:dashboard", "Show a coordinator in the browser."),
        "status": Verb("zq.cli.listing:status", "Show what the coordinator has and does."),
        "top": Verb("zq.cli.live.commands:top", "Show queues, workers and failures live."),
        "metrics": Verb("zq.cli.live.metrics:metrics", "Print what is counted, for Prometheus."),
        "stat": Verb("zq.cli.live.commands:stat", "Print rates and depths, a line a second."),
        "events": Verb("zq.cli.listing:events", "Follow what happens, an event a line."),
        "health": Verb("zq.cli.starting.health:health", "Say whether a coordinator or a worker does its work."),
        "why": Verb("zq.cli.tasks:why", "Say why a task does not run now."),
        "tasks": Verbs(
            "Look at tasks, cancel them, try dead ones again.",
            {
                "ls": "zq.cli.tasks:list_tasks",
                "show": "zq.cli.tasks:show",
                "trace": "zq.cli.tasks:trace",
                "cancel": "zq.cli.tasks:cancel",
                "retry": "zq.cli.tasks:retry",
                "bury": "zq.cli.tasks:bury",
            },
        ),
        "queues": Verbs(
            "Look at queues, set their policies, and purge, move or delete them.",
            {
                "ls": "zq.cli.queues:list_queues",
                "show": "zq.cli.queues:show",
                "set": "zq.cli.queues:set_queue",
                "pause": "zq.cli.queues:pause",
                "resume": "zq.cli.queues:resume",
                "drain": "zq.cli.queue_operations:drain",
                "purge": "zq.cli.queue_operations:purge",
                "move": "zq.cli.queue_operations:move",
                "rm": "zq.cli.queue_operations:delete",
                "operations": "zq.cli.queue_operations:list_operations",
            },
        ),
        "workers": Verbs(
            "Look at workers, and tell them to drain, resume, stop or resize.",
            {
                "ls": "zq.cli.steering.workers:list_workers",
                "drain": "zq.cli.steering.workers:drain",
                "resume": "zq.cli.steering.workers:resume",
                "stop": "zq.cli.steering.workers:stop",
                "resize": "zq.cli.steering.workers:resize",
            },
        ),
        "dead": Verbs(
            "Look at dead letters, replay or purge them.",
            {
                "ls": "zq.cli.dead:list_dead",
                "show": "zq.cli.dead:show",
                "replay": "zq.cli.dead:replay",
                "kick": "zq.cli.dead:kick",
                "replays": "zq.cli.dead:list_replays",
                "stop": "zq.cli.dead:stop",
                "purge": "zq.cli.dead:purge",
            },
        ),
        "groups": Verbs(
            "Look at groups of tasks whose results are joined, and cancel them.",
            {
                "ls": "zq.cli.groups:list_groups",
                "show": "zq.cli.groups:show",
                "cancel": "zq.cli.groups:cancel",
            },
        ),
    },
    "Act": {
        "submit": Verb("zq.cli.tasks:submit", "Submit a task, and print its id."),
        "publish": Verb("zq.cli.topics:publish", "Publish a task to every queue that is bound to a topic."),
        "pull": Verb("zq.cli.pulling:pull", "Take tasks to work on, one JSON object a line."),
        "pulled": Verbs(
            "End tasks that were pulled, or prolong their leases.",
            {
                "done": "zq.cli.pulling:done",
                "fail": "zq.cli.pulling:fail",
                "release": "zq.cli.pulling:release",
                "extend": "zq.cli.pulling:extend",
            },
        ),
        "schedules": Verbs(
            "Make, look at and change recurring tasks.",
            {
                "ls": "zq.cli.schedules:list_schedules",
                "show": "zq.cli.schedules:show",
                "add": "zq.cli.schedules:add",
                "set": "zq.cli.schedules:set_schedule",
                "run": "zq.cli.schedules:run",
                "pause": "zq.cli.schedules:pause",
                "resume": "zq.cli.schedules:resume",
                "rm": "zq.cli.schedules:remove",
            },
        ),
        "topics": Verbs(
            "Look at the bindings of queues to topics, and change them.",
            {
                "ls": "zq.cli.topics:list_bindings",
                "match": "zq.cli.topics:match",
                "bind": "zq.cli.topics:bind",
                "unbind": "zq.cli.topics:unbind",
            },
        ),
    },
    "Care": {
        "doctor": Verb("zq.cli.care.looking:doctor", "Look a coordinator's directory over, or repair it."),
        "salvage": Verb("zq.cli.care.copies:salvage", "Save what can be read of a damaged directory."),
        "backup": Verb("zq.cli.care.copies:backup", "Copy a coordinator's directory, also while it serves."),
        "restore": Verb("zq.cli.care.copies:restore", "Make a coordinator's directory from a backup."),
        "compact": Verb("zq.cli.care.copies:compact", "Write a data file anew without what is free in it."),
        "namespaces": Verbs(
            "Look at namespaces, and limit what their queues hold together.",
            {
                "ls": "zq.cli.namespaces:list_namespaces",
                "show": "zq.cli.namespaces:show",
                "set": "zq.cli.namespaces:set_namespace",
            },
        ),
        "keys": Verbs(
            "Make keys, let them in, and take their rights away.",
            {
                "new": "zq.cli.keys:new",
                "allow": "zq.cli.keys:allow",
                "revoke": "zq.cli.keys:revoke",
                "rotate": "zq.cli.keys:rotate",
                "ls": "zq.cli.keys:list_keys",
            },
        ),
        "context": Verbs(
            "Look at the contexts in zq.toml: address, key and namespace by a name.",
            {
                "ls": "zq.cli.contexts:list_contexts",
                "show": "zq.cli.contexts:show",
            },
        ),
        "cheat": Verb("zq.cli.guides.cheat:cheat", "Show recipes: command lines for what is often done."),
        "commands": Verb("zq.cli.app:list_all_commands", "List every command, those that packages add too."),
    },
}
"""All commands by the headings of `zq --help`."""


class Root(CommandGroup):
    """The commands of zq, and those of packages that add some."""

    entries = {name: entry for commands in TREE.values() for name, entry in commands.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command by its name, or None."""
        if cmd_name.startswith("-") or not isinstance(self.entries.get(cmd_name), Added | None):
            return super().get_command(ctx, cmd_name)
        if cmd_name not in self.commands:
            found = added_commands().get(cmd_name)
            if found is None:
                return None
            self.commands[cmd_name] = adopt(found.load())
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the signature of typer
        """Writes the list of commands, of which none is loaded for it."""
        width = max(map(len, self.entries))
        for heading, commands in TREE.items():
            with formatter.section(heading):
                formatter.write_dl([(f"{name:<{width}}", entry.help) for name, entry in commands.items()])

    def _fail(self, ctx: Any, typed: str) -> None:
        known = [*self.list_commands(ctx), *added_commands()]
        ctx.fail(f"No such command {typed!r}{did_you_mean(typed, known) or '.'}")


def added_commands() -> dict[str, EntryPoint]:
    """Returns the entry points of packages that add commands, by the names of these."""
    from importlib.metadata import entry_points

    return {one.name: one for one in entry_points(group=GROUP)}


def own_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yields every command of zq's own, such as `tasks ls`, and its function."""
    for name, entry in Root.entries.items():
        if isinstance(entry, Verb):
            yield name, load_function(entry.place)
        elif isinstance(entry, Verbs):
            for verb, place in entry.commands.items():
                yield f"{name} {verb}", load_function(place)


def list_all_commands(as_json: Json = False) -> None:
    """List every command with what it does, those that other packages add too.

    Examples:
        zq commands
        zq commands --json
    """
    from zq.cli.output import print_rows

    root = typer.main.get_command(app)
    with exit_codes(), typer.Context(root, info_name="zq") as context:
        names = [*Root.entries, *sorted(added_commands().keys() - Root.entries.keys())]
        print_rows(_rows_of(root, names, context), ["command", "help"], as_json=as_json)


def _rows_of(group: Any, names: list[str], context: Any, prefix: str = "") -> Iterator[dict[str, Any]]:
    for name in names:
        command = group.get_command(context, name)
        if command is None:  # an entry point of a package that is not there
            continue
        if hasattr(command, "list_commands"):
            yield from _rows_of(command, command.list_commands(context), context, f"{prefix}{name} ")
        else:
            yield {"command": f"{prefix}{name}", "help": first_paragraph(command.help)}


app = typer.Typer(
    cls=Root,
    name="zq",
    help="Durable task queues on ZeroMQ, with no broker to install.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH_MAX},
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
    is_plain: Plain = False,
) -> None:
    """Durable task queues on ZeroMQ, with no broker to install."""
    if name:
        with exit_codes():
            settings = settings_of(name, is_explicit=_is_option(context, "name"))
        context.with_resource(environment(settings))
    given = {"ZQ_KEY": (key, "key"), "ZQ_NAMESPACE": (namespace, "namespace")}
    context.with_resource(
        environment({name: text for name, (text, option) in given.items() if _is_option(context, option)})
    )
    context.with_resource(plain_output(is_plain))


def _is_option(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line, and not by the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def run() -> None:
    """Runs the command of the process' arguments."""
    try:
        typer.main.get_command(app)(prog_name="zq")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
