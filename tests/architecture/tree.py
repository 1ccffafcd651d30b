"""The product's tree as data: its files, what each imports, and what each defines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent


class Import(NamedTuple):
    """`module` is imported by the module `by`; `name` is what is taken from it, if anything."""

    by: str
    module: str
    name: str | None
    line: int = 0

    def __str__(self) -> str:
        return f"{self.by} line {self.line} imports {self.module}" + (f".{self.name}" if self.name else "")


@cache
def sources(*packages: str) -> tuple[Path, ...]:
    return tuple(sorted(path for package in packages for path in (ROOT / package).rglob("*.py")))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """Returns every import of a file, also those inside of functions and those for type checkers."""
    return tuple(_imports_in(module_name(path), parsed(path)))


def _imports_in(by: str, tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(by, alias.name, None, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{by} line {node.lineno}: imports are absolute in this project"
            for alias in node.names:
                yield Import(by, node.module or "", alias.name, node.lineno)


def all_imports(*packages: str) -> list[Import]:
    return [found for path in sources(*packages) for found in imports_of(path)]


def is_under(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def target_of(found: Import) -> str:
    """Returns the module that an import loads: `from zq.core.state import books` loads zq.core.state.books."""
    if found.name is not None:
        place = ROOT / found.module.replace(".", "/") / found.name
        if place.with_suffix(".py").exists() or (place / "__init__.py").exists():
            return f"{found.module}.{found.name}"
    return found.module
