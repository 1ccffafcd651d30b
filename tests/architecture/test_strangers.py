"""What docs/security.md says of where strangers' text goes: nothing else prints, matches text, or starts processes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest

from tests.architecture.tree import ROOT, all_imports, is_under, module_name, parsed, sources

PRINTING = {"zq.cli.output", "patterns.commands"}
"""The modules that call what prints, each in one function that escapes."""

USED: dict[str, set[str]] = {
    "re": {"zq.client.pulled", "zq.keys.key", "zq.processes.endpoints", "zq.wire.address", "zq.wire.values"},
    "fnmatch": set(),
    "glob": set(),
    "zoneinfo": {"zq.server.calendar"},
    "runpy": set(),
    "pickle": set(),
    "marshal": set(),
    "shelve": set(),
    "shlex": set(),
    "csv": set(),
    "rich": {
        "zq.cli.live.columns",
        "zq.cli.live.progress",
        "zq.cli.live.terminal",
        "zq.demo.screen",
        "patterns.run.progress",
    },
}
"""Which modules use what does harm with the text of a stranger."""

STARTING = {"zq.cli.reloading", "zq.cli.starting.programs", "zq.processes.children"}
"""The modules that start processes."""

IN_A_LOOP = ("asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "loop.subprocess_exec")
"""How they are started in an event loop; by a variable `loop`, so that it can be found."""


@cache
def all_calls() -> list[tuple[str, str]]:
    """Returns every call: by which module, and of what, as it is written."""
    return [
        (module_name(path), ast.unparse(node.func))
        for path in sources("zq", "patterns")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    ]


def calls(*names: str) -> Iterator[str]:
    """Yields the modules that call one of some functions, by their dotted names."""
    return (module for module, called in all_calls() if called in names)


def test_everything_is_printed_by_what_escapes() -> None:
    assert set(calls("typer.echo", "typer.secho", "click.echo")) == PRINTING
    for module in PRINTING:
        assert list(calls("typer.echo")).count(module) == 1
    assert set(calls("print", "sys.stdout.write")) <= {"zq.core.state.transitions"}  # a picture of its own


@pytest.mark.parametrize("library", USED)
def test_only_these_modules_use_what_a_stranger_could_abuse(library: str) -> None:
    assert {one.by for one in all_imports("zq", "patterns") if is_under(one.module, library)} == USED[library]


def test_only_these_modules_start_processes() -> None:
    ways = "subprocess.Popen", "subprocess.run", "os.system", "os.popen", "os.execv", "os.posix_spawn"
    started = set(calls(*ways, *IN_A_LOOP))

    assert started == STARTING
    assert set(calls("eval", "exec", "__import__", "pickle.loads")) == set()


def test_the_page_names_all_of_them() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = {*STARTING, *PRINTING, *(module for modules in USED.values() for module in modules)}

    assert [module for module in sorted(named) if f"`{module.replace('.', '/')}.py`" not in page] == []
