"""Packages whose names are loaded when they are first used, so that importing them costs nothing."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # type checkers take it for that of typing, whose import costs more than that of zq

if TYPE_CHECKING:
    from collections.abc import Callable


def load_lazily(
    package: str, names: dict[str, str], *own: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        names: what it exports, by the module that has them, with spaces between.
        own: what it has itself, and exports, too.
    """
    modules = {name: module for module, some in names.items() for name in some.split()}
    every = sorted([*modules, *own])

    def load(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(modules[name]), name)
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    return load, lambda: every, every
