"""What `import zq`, `import patterns` and `import patterns.guide` offer.

The same names for people, for type checkers and at run time, and a name for everything that is handed out.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import patterns
import patterns.errors
import patterns.guide
import zq
import zq.errors

ROOT = Path(__file__).parent.parent

EXPORTING = (zq, patterns, patterns.guide)

PACKAGES = pytest.mark.parametrize("package", EXPORTING, ids=lambda package: package.__name__)

INNER: dict[str, str] = {
    "zq.app.app.TaskDecorator": "used at once, as a decorator",
    "zq.wire.messages.Group": "what a handler has collected, for the worker that takes it",
    "zq.worker.run.WorkerRun": "one run of a worker, for what runs workers; people call run and stop",
    "patterns.work.plan.Plan": "what an engine needs of a pipeline",
    "patterns.pipeline.pipeline.Piece": "a pipeline of one, and to people a pipeline",
    **{
        f"patterns.pipeline.stages.{name}": "as Piece"
        for name in ("BatchPiece", "FanOut", "Gather", "Route", "Scatter")
    },
}
"""Classes without a public name that public methods return all the same, each with its reason."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Source(NamedTuple):
    """What a module defines, and where the names come from that it imports, also those for type checkers alone."""

    classes: dict[str, ast.ClassDef]
    functions: dict[str, Function]
    imported: dict[str, str]


@cache
def source_of(module: str) -> Source:
    path = ROOT / module.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    functions = {node.name: node for node in tree.body if isinstance(node, Function)}
    return Source(classes, functions, imported)


def names_for_type_checkers(package: ModuleType) -> dict[str, str]:
    """Returns the names imported under TYPE_CHECKING, with their modules."""
    assert package.__file__ is not None
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {
        alias.name: node.module or "" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def names_at_run_time(package: ModuleType) -> dict[str, str]:
    """Returns the names that are loaded when they are asked for, with their modules."""
    modules: dict[str, str] = package._NAMES
    return {name: module for module, names in modules.items() for name in names.split()}


def errors_of(package: ModuleType) -> set[str]:
    return {name for name in source_of(f"{package.__name__}.errors").classes if not name.startswith("_")}


@PACKAGES
def test_names_are_the_same_for_people_type_checkers_and_at_run_time(package: ModuleType) -> None:
    assert names_for_type_checkers(package) == names_at_run_time(package)
    assert set(package.__all__) - {"__version__"} == names_at_run_time(package).keys()
    assert dir(package) == sorted(set(package.__all__))
    assert len(package.__all__) == len(set(package.__all__))


@PACKAGES
def test_every_name_is_there_and_is_that_of_its_module(package: ModuleType) -> None:
    for name, module in names_at_run_time(package).items():
        assert getattr(package, name) is getattr(importlib.import_module(module), name), name


@PACKAGES
def test_what_is_not_exported_is_not_there(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Pizza'"):
        package.Pizza  # noqa: B018 - it raises


@pytest.mark.parametrize("package", [zq, patterns], ids=["zq", "patterns"])
def test_every_public_error_is_exported(package: ModuleType) -> None:
    assert errors_of(package) <= set(package.__all__)


@pytest.mark.parametrize("module", [zq.errors, patterns.errors], ids=["zq", "patterns"])
def test_tree_of_errors_names_each(module: ModuleType) -> None:
    named = set(re.findall(r"── (\w+)", module.__doc__ or ""))

    assert named == set(source_of(module.__name__).classes) - {"ZqError"}


def home_of(module: str, name: str) -> str | None:
    """Returns `module.name` of a class of ours as a module knows it under a name; None for any other name."""
    source = source_of(module)
    if name in source.classes:
        return f"{module}.{name}"
    found = source.imported.get(name, "")
    home, _, name = found.rpartition(".")
    if home == "zq":  # patterns take what zq exports
        home = names_at_run_time(zq).get(name, "")
    if not home.startswith(("zq.", "patterns.")) or name not in source_of(home).classes:
        return None
    return f"{home}.{name}"


def public_methods(home: str) -> Iterator[tuple[str, Function]]:
    """Yields the public methods and properties of a class and of its bases, with the modules that they are in."""
    module, _, name = home.rpartition(".")
    defined = source_of(module).classes[name]
    for node in defined.body:
        if isinstance(node, Function) and (not node.name.startswith("_") or node.name.endswith("__")):
            yield module, node
    for base in ast.walk(ast.Tuple([*defined.bases])):
        if isinstance(base, ast.Name) and (found := home_of(module, base.id)) is not None:
            yield from public_methods(found)


def returned_by(module: str, function: Function) -> Iterator[str]:
    """Yields the classes of ours in what a function says that it returns."""
    if function.returns is None:
        return
    for node in ast.walk(function.returns):
        if isinstance(node, ast.Name) and (found := home_of(module, node.id)) is not None:
            yield found


def handed_out(package: ModuleType) -> Iterator[tuple[str, str]]:
    """Yields what hands out a class of ours, and which."""
    for name, module in names_at_run_time(package).items():
        source = source_of(module)
        if name in source.classes:
            for home, method in public_methods(f"{module}.{name}"):
                for found in returned_by(home, method):
                    yield f"{name}.{method.name}", found
        elif name in source.functions:
            for found in returned_by(module, source.functions[name]):
                yield name, found


@PACKAGES
def test_every_class_that_is_handed_out_is_exported(package: ModuleType) -> None:
    exported = {f"{module}.{name}" for one in EXPORTING for name, module in names_at_run_time(one).items()}

    missing = {f"{by}: {home}" for by, home in handed_out(package) if home not in exported and home not in INNER}

    assert missing == set()


def test_classes_without_a_name_are_still_handed_out() -> None:
    found = {home for package in EXPORTING for _, home in handed_out(package)}

    assert INNER.keys() <= found
