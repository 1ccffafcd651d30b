"""Writes the reference: a page of Python names from the docstrings, one of commands from the help texts.

`python docs/reference/generate.py` writes what the site does at each build, into docs/reference/generated.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import patterns
import zq
from zq.cli.app import app

GROUPS = {
    "client": "Clients",
    "receipts": "Receipts, pulled tasks and groups",
    "nouns": "The nouns of a client",
    "worker": "Workers and apps",
    "coordinator": "Coordinators",
    "values": "Values",
    "errors": "Errors",
    "patterns": "Pipelines",
}
"""Pages of Python names, in their order."""

_RECEIPTS = re.compile(r"Async|Receipts?$|PulledTask|^Group$|EventStream")
_VALUES = re.compile(r"Status$|^(Event|TaskEvent|Reason|DeadLetter|TopicBinding)$")


def group_of(name: str, found: Any) -> str:
    """Returns the page on which a name of zq is."""
    home: str = getattr(found, "__module__", "") or ""
    if inspect.isclass(found) and issubclass(found, BaseException) and home == "zq.errors":
        return "errors"
    if name in ("Client", "AsyncClient"):
        return "client"
    if home.startswith("zq.client") and _RECEIPTS.search(name) and not _is_noun(name):
        return "receipts"
    if home.startswith("zq.client") and _is_noun(name):
        return "nouns"
    if home.startswith(("zq.app", "zq.worker", "zq.executor")) or name in ("Task", "Bury", "Retry"):
        return "worker"
    if home.startswith(("zq.server", "zq.core", "zq.store", "zq.keys")):
        return "coordinator"
    return "values"


def _is_noun(name: str) -> bool:
    return hasattr(zq.Client, _noun(name)) and isinstance(getattr(zq.Client, _noun(name)), property)


def _noun(name: str) -> str:
    return {"deadletters": "dead"}.get(name.removeprefix("Async").lower(), name.removeprefix("Async").lower())


def pages() -> dict[str, list[str]]:
    """Returns the public names by page, as they are imported."""
    found: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in sorted(dir(zq)):
        if not name.startswith("_"):
            found[group_of(name, getattr(zq, name))].append(f"zq.{name}")
    found["patterns"] = [f"patterns.{name}" for name in sorted(dir(patterns)) if not name.startswith("_")]
    return found


def python_page(title: str, names: list[str]) -> str:
    """Returns a page of names in reStructuredText."""
    parts = [title, "=" * len(title), ""]
    for name in names:
        package, _, attribute = name.rpartition(".")
        found = getattr(zq if package == "zq" else patterns, attribute)
        directive = "autoclass" if inspect.isclass(found) else "autofunction" if callable(found) else "autodata"
        parts += [f".. {directive}:: {name}"]
        if directive == "autoclass":
            parts += ["   :members:"]
            if not issubclass(found, BaseException):
                parts += ["   :inherited-members: Exception, Mapping, Executor, dict, tuple, object"]
        parts += [""]
    return "\n".join(parts)


def twin_of(name: str, text: str) -> str | None:
    """Returns what an awaited method does, with the arguments and errors of the twin that it refers to; None when it
    says all itself.
    """
    referred = re.search(r"[Aa]s `(?:zq\.)?(\w+)\.(\w+)`", text)
    if "Async" not in name or referred is None:
        return None
    said = inspect.getdoc(getattr(getattr(zq, referred[1], None), referred[2], None))
    if said is None:
        return None
    if text.startswith("As "):
        return said
    _, _, rest = said.partition("\n")
    return f"{text.strip()}\n\n{rest.strip()}" if rest.strip() else None


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yields all commands with their whole names."""
    yield path, command
    if hasattr(command, "list_commands"):  # a group; its class is typer's own
        context = command.context_class(command)
        for name in sorted(command.list_commands(context)):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from commands(found, f"{path} {name}")


def command_page() -> str:
    """Returns the page of commands in reStructuredText."""
    parts = ["Commands", "========", ""]
    for path, command in commands(typer.main.get_command(app), "zq"):
        parts += [path, "-" * len(path), "", *_said(command.help), ""]
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
        usage = " ".join((path, *(f"[{one.name}]" if not one.required else f"{one.name}" for one in arguments)))
        parts += ["::", "", f"    {usage}{' [options]' if options else ''}", ""]
        for one in (*arguments, *options):
            parts += _parameter(one)
        parts += _said(command.epilog)
    return "\n".join(parts)


def _parameter(one: Any) -> list[str]:
    name = ", ".join((*one.opts, *one.secondary_opts)) if one.param_type_name == "option" else one.name or ""
    said = " ".join(_said(getattr(one, "help", None) or "")).strip() or "\\"
    variable = f" Variable: ``{one.envvar}``." if isinstance(one.envvar, str) else ""
    return [f"``{name}``", f"    {said}{variable}", ""]


def _said(text: str | None) -> list[str]:
    """Returns a help text as lines of paragraphs; what reStructuredText would take for its own is escaped."""
    plain = inspect.cleandoc(text or "").replace("\b", "")
    plain = re.sub(r"\[/?(?:bold|dim|italic|cyan|green|yellow|red|code)[^\]]*\]", "", plain)
    parts = re.split(r"(`[^`\n]*`)", plain.replace("\\", "\\\\"))
    shown = (part if part.startswith("`") else re.sub(r"([*_|<>])", r"\\\1", part) for part in parts)
    return [f"| {line}" if line.startswith(" ") else line for line in "".join(shown).splitlines()] + [""]


def write(folder: Path) -> None:
    """Writes all pages; those that are as they were are left alone, so that they are not read again."""
    folder.mkdir(exist_ok=True)
    texts = {f"{group}.rst": python_page(GROUPS[group], names) for group, names in pages().items()}
    texts["commands.rst"] = command_page()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).with_name("generated"))
