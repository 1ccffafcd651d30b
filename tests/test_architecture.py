"""The shape of the code, as tests: which way imports point, what the core may not know, how long files and functions get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60

LONG_FILES: dict[str, str] = {
    "zq/client/async_client.py": "the same methods, awaited",
    "zq/client/client.py": "one method for each call, each with its arguments and what it raises: the face of the library",
}
"""Files that may be longer, each with its reason."""

LONG_FUNCTIONS: dict[str, str] = {
    "zq/cli/tasks.py:submit": "every option of a submit is a parameter of it, which is how typer reads them",
}
"""Functions (`path:name`) that may be longer, each with its reason."""

OUTSIDE_THE_CORE = {"asyncio", "lmdb", "logging", "os", "random", "secrets", "threading", "time", "uuid", "zmq"}
"""Clocks, chance, disks, sockets and threads: what the core gets as arguments (README, map of the files)."""

FORBIDDEN_EVERYWHERE = {"pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "click"}
"""Formats that run what they read; and click, since typer carries its own."""

LAYERS = ("errors", "wire", "submit_options", "task", "core", "store", "shells", "cli", "pytest_plugin")
"""Each may import those before it, and itself."""


class Import(NamedTuple):
    """`module` is imported by the module `by`; `name` is what is taken from it, if anything."""

    by: str
    module: str
    name: str | None
    line: int
    is_typing_only: bool

    def __str__(self) -> str:
        return f"{self.by} line {self.line} imports {self.module}" + (f".{self.name}" if self.name else "")


def sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[Import]:
    """Yields every import of a file, also those inside of functions and those for type checkers."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    by = module_name(path)
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING"
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(by, alias.name, None, node.lineno, id(node) in typing_only)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{by} line {node.lineno}: imports are absolute in this project"
            for alias in node.names:
                yield Import(by, node.module or "", alias.name, node.lineno, id(node) in typing_only)


def all_imports(*packages: str) -> list[Import]:
    return [found for path in sources(*packages) for found in imports_of(path)]


def is_under(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def layer_of(module: str) -> str:
    """Returns the layer of a module of zq; what has no layer of its own is a shell."""
    second = module.split(".")[1]
    return second if second in LAYERS else "shells"


def target_of(found: Import) -> str:
    """Returns the module that an import loads: `from zq.core import books` loads zq.core.state.books."""
    if found.name is not None and (ROOT / found.module.replace(".", "/") / f"{found.name}.py").exists():
        return f"{found.module}.{found.name}"
    return found.module


def test_there_is_something_to_look_at() -> None:
    modules = {module_name(path) for path in sources("zq", "patterns")}

    assert {"zq", "zq.errors", "zq.core.coordinator", "zq.cli", "patterns"} <= modules


def test_core_knows_no_clock_no_chance_no_disk_and_no_socket() -> None:
    found = [one for one in all_imports("zq/core") if one.module.split(".")[0] in OUTSIDE_THE_CORE]

    assert not found, "\n".join(map(str, found))


def test_imports_point_one_way() -> None:
    wrong = [
        found
        for found in all_imports("zq")
        if found.by != "zq" and is_under(found.module, "zq") and found.module != "zq"
        if LAYERS.index(layer_of(target_of(found))) > LAYERS.index(layer_of(found.by))
    ]

    assert not wrong, "\n".join(map(str, wrong))


def test_lower_layers_take_nothing_but_the_version_from_the_package_itself() -> None:
    # `import zq` names everything there is, so whoever imports it from below could reach what is above.
    wrong = [
        found
        for found in all_imports("zq")
        if found.module == "zq" and found.name != "__version__" and layer_of(found.by) not in ("cli", "pytest_plugin")
    ]

    assert not wrong, "\n".join(map(str, wrong))


def test_there_is_no_cycle() -> None:
    graph: dict[str, set[str]] = {}
    for found in all_imports("zq"):
        target = target_of(found)
        if not found.is_typing_only and found.by != "zq" and target != "zq" and is_under(target, "zq"):
            graph.setdefault(found.by, set()).add(target)

    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which shows the cycle

    assert order.index("zq.errors") < order.index("zq.server.loop")


def test_nothing_in_zq_knows_patterns() -> None:
    found = [one for one in all_imports("zq") if is_under(one.module, "patterns")]

    assert not found, "\n".join(map(str, found))


def test_patterns_see_only_what_zq_exports() -> None:
    found = [one for one in all_imports("patterns") if one.module.startswith("zq.")]

    assert not found, "\n".join(map(str, found))


def test_only_one_module_knows_lmdb() -> None:
    found = {one.by for one in all_imports("zq", "patterns") if one.module.split(".")[0] == "lmdb"}

    assert found == {"zq.store.lmdb"}


def test_nothing_loads_what_could_run() -> None:
    found = [one for one in all_imports("zq", "patterns") if one.module.split(".")[0] in FORBIDDEN_EVERYWHERE]

    assert not found, "\n".join(map(str, found))


def test_files_have_names_that_say_something() -> None:
    found = [
        path for path in sources("zq", "patterns") if path.stem in {"common", "compat", "helpers", "misc", "utils"}
    ]

    assert not found


@pytest.mark.parametrize("path", sources("zq", "patterns"), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_can_be_read_in_one_sitting(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    functions = {
        f"{name}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    too_long = {key: lines for key, lines in functions.items() if lines > FUNCTION_LINES_MAX}
    assert too_long.keys() <= LONG_FUNCTIONS.keys(), too_long
    lines = len(text.splitlines())
    assert lines <= FILE_LINES_MAX or name in LONG_FILES, f"{lines} lines"


def test_exceptions_to_the_length_are_still_needed() -> None:
    short = [
        name for name in LONG_FILES if len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= FILE_LINES_MAX
    ]

    assert not short
