"""All commands of the command line, as data: those of packages that add some, too."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from zq.cli.app import app

ROOT: Any = typer.main.get_command(app)


def all_commands() -> dict[str, Any]:
    """Returns every command by its whole name, such as `tasks ls`."""
    return dict(_walk(ROOT, typer.Context(ROOT, info_name="zq"), ""))


def _walk(group: Any, context: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from _walk(command, context, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def options_of(command: Any) -> dict[str, Any]:
    """Returns the options of a command by their long names."""
    return {opt: one for one in command.params for opt in (*one.opts, *one.secondary_opts) if opt.startswith("--")}


def words_of(line: str) -> list[str]:
    """Returns the words of a command behind `zq`, without what a shell does with them: pipes and files."""
    words = shlex.split(re.split(r" (?:\d?>|<|\|)", line)[0], comments=True)
    assert words[0] == "zq", line
    return words[1:]


def read(words: list[str]) -> Any:
    """Reads a line as `zq` would, down to the values of all options, and runs nothing; returns the context of the
    command.
    """
    context = ROOT.make_context("zq", list(words))
    command, rest = ROOT, [*context._protected_args, *context.args]
    while hasattr(command, "list_commands"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
    return context
