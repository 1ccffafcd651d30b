"""The commands of `zq` as a tree of which only that is loaded that is asked for.

A command is a function; what it is told is its signature. Its docstring says in its first paragraphs what it does, and
may end in a part `Examples:` with command lines, indented, each with its comment if it needs one. Help shows them as
they stand.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from zq.cli.arguments import KeyFile, Plain
from zq.cli.line.nearest import did_you_mean
from zq.cli.line.quick import make_quick
from zq.cli.line.settings import environment
from zq.cli.output import EXIT_CODES, plain_output

EXAMPLES = "Examples:"

PYDANTIC_WORDS = "Value error, "
"""Stands before what typer says of a value that is none of some words."""

WIDTH_MAX = 110
"""Columns of help in a wider terminal."""


class Verb(NamedTuple):
    """A command: the function, as module:function, and a line about it for the list of all commands."""

    place: str
    help: str


class Verbs(NamedTuple):
    """Commands behind a common name: a line about them, and the function of each, as module:function."""

    help: str
    commands: Mapping[str, str]


class Added(NamedTuple):
    """A command that an entry point brings and that is known all the same, with a line about it: the list of all
    commands looks at no entry points.
    """

    help: str


def load_function(place: str) -> Callable[..., Any]:
    """Returns a function by module:function."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def split_examples(text: str) -> tuple[str, list[str]]:
    """Returns what a docstring says, and the lines of its examples."""
    said, _, shown = text.partition(f"\n{EXAMPLES}\n")
    return said.strip(), inspect.cleandoc(shown).splitlines() if shown else []


def first_paragraph(text: str | None) -> str:
    """Returns the first paragraph of a text as one line."""
    return " ".join((text or "").partition("\n\n")[0].split())


class CommandWithExamples(TyperCommand):
    """A command whose help ends in examples."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help, self.examples = split_examples(self.help or "")

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the parameters, that for help too."""
        return make_quick(super().get_params(ctx))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Writes the examples as they stand, and what the command says at the end."""
        if self.examples:
            with formatter.section(EXAMPLES[:-1]):
                for line in self.examples:
                    formatter.write(f"  {line}\n" if line else "\n")
        super().format_epilog(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the line; says which option or word may have been meant."""
        try:
            found: list[str] = super().parse_args(ctx, args)
        except Exception as error:
            suggest(error, self)
            raise
        return found


def suggest(error: Any, command: Any) -> None:
    """Adds what may have been meant to an error of typer about an option, or about one of some words."""
    message = getattr(error, "message", None)
    if not isinstance(message, str):
        return
    option = getattr(error, "option_name", None)
    if option is not None:
        if getattr(error, "possibilities", None) is not None:
            error.possibilities = None  # said here, and once
        known = [one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)]
        if option in known:  # it is right, and what comes behind it is not
            return
        error.message = message.rstrip(".") + did_you_mean(option, [one for one in known if one.startswith("--")])
        return
    error.message = message = message.removeprefix(PYDANTIC_WORDS)
    choices = getattr(getattr(error.param, "type_descriptor", None), "choices", None) if _has_param(error) else None
    typed = message.partition("'")[2].partition("'")[0]
    if choices and typed:
        error.message = message.rstrip(".") + did_you_mean(typed, map(str, choices))


def _has_param(error: Any) -> bool:
    return getattr(error, "param", None) is not None


class CommandGroup(TyperGroup):
    """Commands by their names, each loaded when it is asked for."""

    entries: Mapping[str, Verb | Verbs | Added] = {}

    def get_params(self, ctx: Any) -> list[Any]:
        """Returns the parameters, that for help too."""
        return make_quick(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the signature of typer
        """Returns the names of all commands, as they stand."""
        return list(dict.fromkeys([*self.entries, *self.commands]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Returns a command by its name, or None."""
        known = self.commands.get(cmd_name)
        if known is None and (entry := self.entries.get(cmd_name)) is not None:
            known = self.commands[cmd_name] = self.make(cmd_name, entry)
        return known

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes what each command does, in whole sentences."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_paragraph(one.help)) for name, one in found if not one.hidden])

    def make(self, name: str, entry: Verb | Verbs | Added) -> Any:
        """Makes a command."""
        if isinstance(entry, Verbs):
            group = CommandGroup(
                name=name, help=entry.help, no_args_is_help=True, epilog=EXIT_CODES, rich_markup_mode=None
            )
            group.entries = {verb: Verb(place, "") for verb, place in entry.commands.items()}
            return group
        assert isinstance(entry, Verb), f"{name} is brought by an entry point"
        return make_command(name, load_function(entry.place))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Returns the command that is asked for; of one that is not there it says which may have been meant."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-") and not ctx.resilient_parsing:
            self._fail(ctx, args[0])
        return super().resolve_command(ctx, args)

    def _fail(self, ctx: Any, typed: str) -> None:
        ctx.fail(f"No such command {typed!r}{did_you_mean(typed, self.list_commands(ctx)) or '.'}")


def make_command(name: str, function: Callable[..., Any]) -> Any:
    """Makes a command of a function."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, cls=CommandWithExamples)(with_shared_options(function))
    return typer.main.get_command(alone)


def adopt(added: typer.Typer) -> Any:
    """Makes a command of what another package adds, in the manner of ours."""
    for info in added.registered_commands:
        if info.cls is TyperCommand:
            info.cls = CommandWithExamples
    if not isinstance(added.info.cls, type):
        added.info.cls = CommandGroup
    return typer.main.get_command(added)


def with_shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a command with --key, too, if it is one that talks to a coordinator (and so has an address) and has no
    option of that name (tasks have keys of another kind), and with --plain beside --json.
    """
    signature = inspect.signature(function, eval_str=True)
    has_key = "address" in signature.parameters and "key" not in signature.parameters
    has_plain = "as_json" in signature.parameters
    if not has_key and not has_plain:
        return function

    @functools.wraps(function)
    def shared(*arguments: Any, **options: Any) -> Any:
        key = options.pop("key", None) if has_key else None
        is_plain = options.pop("is_plain", False)
        with environment({} if key is None else {"ZQ_KEY": key}), plain_output(is_plain):
            return function(*arguments, **options)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in signature.parameters.values()]
    if has_key:
        at = [one.name for one in parameters].index("address") + 1
        parameters.insert(at, _option("key", None, KeyFile))
    if has_plain:
        parameters.append(_option("is_plain", False, Plain))
    shared.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    shared.__annotations__ = {one.name: one.annotation for one in parameters}
    return shared


def _option(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
