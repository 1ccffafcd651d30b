"""Writes the reference: a page of Python names from the docstrings, one of commands from the help texts.

The README and the changelog, which stand above this folder, become pages as well, with links that lead there.
`python docs/reference/generate.py` writes what the site does at each build, into docs/reference/generated.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import typer

import patterns
import zq
from zq.cli.app import app

ROOT = Path(__file__).parents[2]

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
    for name in sorted(dir(zq), key=lambda name: (name.removeprefix("Async"), name.startswith("Async"))):
        if not name.startswith("_"):
            found[group_of(name, getattr(zq, name))].append(f"zq.{name}")
    found["patterns"] = [f"patterns.{name}" for name in sorted(dir(patterns)) if not name.startswith("_")]
    return found


def python_page(title: str, names: list[str]) -> str:
    """Returns a page of names in reStructuredText."""
    parts = [title, "=" * len(title), ""]
    for name in names:
        package, _, attribute = name.rpartition(".")
        home = zq if package == "zq" else patterns
        found = getattr(home, attribute)
        if not (inspect.isclass(found) or inspect.isroutine(found)):
            parts += _data(home, attribute, found)
            continue
        parts += [f".. {'autoclass' if inspect.isclass(found) else 'autofunction'}:: {name}"]
        if inspect.isclass(found):
            parts += ["   :members:"]
            if not issubclass(found, BaseException):
                parts += ["   :inherited-members: Exception, Mapping, Executor, dict, tuple, object"]
            parts += _fields(found)
        parts += [""]
    return "\n".join(parts)


def _data(home: ModuleType, name: str, value: Any) -> list[str]:
    """Returns the entry of a constant, or of a name for annotations: its value, and what stands below it."""
    shown = repr(value).replace("typing.", "")
    return [f".. py:data:: {home.__name__}.{name}", f"   :value: {shown}", "", f"   {said_of(home, name)}", ""]


def said_of(home: ModuleType, name: str) -> str:
    """Returns the docstring that stands below a name in the module of a package that makes it."""
    statements: list[ast.stmt] = []
    for path in Path(inspect.getfile(home)).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if re.search(rf"^{name}\b.* = ", text, re.MULTILINE):
            statements = ast.parse(text).body
            break
    for made, said in pairwise(statements):
        targets = made.targets if isinstance(made, ast.Assign) else [getattr(made, "target", None)]
        if any(isinstance(one, ast.Name) and one.id == name for one in targets) and isinstance(said, ast.Expr):
            return " ".join(ast.literal_eval(said.value).split())
    return ""


def _fields(found: type[Any]) -> list[str]:
    """Returns the fields of a value with the comments beside them, where its docstring does not tell of them."""
    if (
        not dataclasses.is_dataclass(found)
        or "Attributes:" in (found.__doc__ or "")
        or "Args:" in (found.__doc__ or "")
    ):
        return []
    lines = textwrap.dedent(inspect.getsource(found)).splitlines()
    listed = []
    for one in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_"):
            _, _, comment = lines[(one.end_lineno or 0) - 1].partition("  # ")
            kind = ast.unparse(one.annotation)
            listed += [f"   - ``{one.target.id}``: ``{kind}``{' - ' if comment else ''}{_plain(comment)}"]
    return ["", *listed] if listed else []


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
    _, _, rest = said.partition("\n\n")  # what it does may need more than a line
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
        if examples := getattr(command, "examples", None):
            parts += ["Examples::", "", *(f"    {line}" if line else "" for line in examples), ""]
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
    return [f"| {line}" if line.startswith(" ") else line for line in _plain(plain).splitlines()] + [""]


def _plain(text: str) -> str:
    """Returns a text with what reStructuredText would take for its own escaped, but for names in backticks."""
    parts = re.split(r"(`[^`\n]*`)", text.replace("\\", "\\\\"))
    return "".join(part if part.startswith("`") else re.sub(r"([*_|<>])", r"\\\1", part) for part in parts)


def from_above(name: str) -> str:
    """Returns a page of the folder above this one, with its links as they are from the generated folder."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](../../", text).replace("](CHANGELOG.md)", "](changelog.md)")


def write(folder: Path) -> None:
    """Writes all pages; those that are as they were are left alone, so that they are not read again."""
    folder.mkdir(exist_ok=True)
    texts = {f"{group}.rst": python_page(GROUPS[group], names) for group, names in pages().items()}
    texts["commands.rst"] = command_page()
    texts |= {f"{name.lower()}.md": from_above(f"{name}.md") for name in ("README", "CHANGELOG")}
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).with_name("generated"))
