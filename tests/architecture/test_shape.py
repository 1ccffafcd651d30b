"""The shape of the code, as tests: what the core may not know, how long files and functions get."""

from __future__ import annotations

import ast
import io
import re
import tokenize

from tests.architecture.tree import ROOT, all_imports, module_name, parsed, sources

FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60
COLUMNS = 120

LONG_FILES: dict[str, str] = {}
"""Files that may be longer, each with its reason."""

LONG_FUNCTIONS: dict[str, str] = {
    "zq/cli/tasks.py:submit": "every option of a submit is a parameter of it, which is how typer reads them",
    "zq/cli/serving.py:coordinator": "the same, for every setting of a coordinator",
    "patterns/commands.py:run": "the same, for every option of a run",
}
"""Functions (`path:name`) that may be longer, each with its reason."""

OUTSIDE_THE_CORE = {"asyncio", "lmdb", "logging", "os", "random", "secrets", "threading", "time", "uuid", "zmq"}
"""Clocks, chance, disks, sockets and threads: what the core gets as arguments (docs/architecture.md, the map)."""

FORBIDDEN_EVERYWHERE = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "click"}
"""Formats that run what they read; and click, since typer carries its own."""


def test_there_is_something_to_look_at() -> None:
    modules = {module_name(path) for path in sources("zq", "patterns")}

    assert {"zq", "zq.errors", "zq.core.coordinator", "zq.cli", "patterns"} <= modules


def test_core_knows_no_clock_no_chance_no_disk_and_no_socket() -> None:
    found = [
        one for one in all_imports("zq/core", "zq/sessions", "zq/wire") if one.module.split(".")[0] in OUTSIDE_THE_CORE
    ]

    assert not found, "\n".join(map(str, found))


def test_lmdb_is_known_to_the_store_alone() -> None:
    found = {one.by for one in all_imports("zq", "patterns") if one.module.split(".")[0] == "lmdb"}

    names = ("lmdb", "carrying", "copying", "damage", "draft", "engine")
    assert found == {f"zq.store.{name}" for name in names}


def test_nothing_loads_what_could_run() -> None:
    found = [one for one in all_imports("zq", "patterns") if one.module.split(".")[0] in FORBIDDEN_EVERYWHERE]

    assert not found, "\n".join(map(str, found))


LOADERS = {
    "zq.cli.line.commands": "of the commands only the one is loaded that is asked for; they are named in a table",
    "zq.lazy": "the names of a package are loaded when they are first used",
    "zq.processes.birth": "a child runs the module that its parent names by its `__name__`",
    "zq.processes.references": "what a user names is loaded by that name",
}
"""Who loads modules by a text, which no rule of imports can read, each with its reason."""


def test_modules_are_loaded_by_a_text_where_it_must_be() -> None:
    found = {
        module_name(path)
        for path in sources("zq", "patterns")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name | ast.Attribute)
        if (node.id if isinstance(node, ast.Name) else node.attr) in {"import_module", "__import__"}
    }

    assert found == LOADERS.keys()


DIRECTIVE = re.compile(r"# (noqa: [A-Z0-9, ]+|type: ignore\[[\w, -]+\]|fmt: skip)")


def test_comments_keep_within_the_columns_too() -> None:
    # The linter leaves out lines that end in a directive; a reason behind one belongs on a line above.
    long = [
        f"{path.relative_to(ROOT)} line {token.start[0]}"
        for path in sources("zq", "patterns", "tests", "examples", "benchmarks")
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        if token.type == tokenize.COMMENT and token.end[1] > COLUMNS and not DIRECTIVE.fullmatch(token.string)
    ]

    assert not long, "\n".join(long)


def test_files_have_names_that_say_something() -> None:
    found = [
        path for path in sources("zq", "patterns") if path.stem in {"common", "compat", "helpers", "misc", "utils"}
    ]

    assert not found


def test_files_and_functions_can_be_read_in_one_sitting() -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in sources("zq", "patterns")
    }
    functions = {
        f"{path.relative_to(ROOT).as_posix()}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in sources("zq", "patterns")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {
        name: count for name, count in functions.items() if count > FUNCTION_LINES_MAX
    }.keys() <= LONG_FUNCTIONS.keys()
    assert {name: count for name, count in lines.items() if count > FILE_LINES_MAX}.keys() <= LONG_FILES.keys()


def test_exceptions_to_the_length_are_still_needed() -> None:
    short = [
        name for name in LONG_FILES if len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX
    ]

    assert not short
