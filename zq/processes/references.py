"""How a worker is named so that another process finds it: `module:attribute` or `path.py:attribute`, and `...@part` for
a part of what is there.

What is there is a `zq.Worker`, a `zq.App`, or any object with the method `__zq_worker__(part)`, which returns a
`zq.Worker` for a part of it (None: for all): so packages over zq bring workers of their own to `zq worker` and to child
processes.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAIN_OF_CHILD = "__mp_main__"
"""The name under which a script is run in a child, as in multiprocessing: `if __name__ == "__main__"` keeps it from
running there.
"""

PART_SEPARATOR = "@"


def load_handlers(spec: str) -> Mapping[str, Any]:
    """Imports a worker by its spec and returns its handlers, by queue.

    Raises:
        ValueError: there is no such worker.
    """
    worker = load_provider(spec)
    handlers = getattr(worker, "handlers", None)
    if not isinstance(handlers, Mapping) or not handlers:
        raise ValueError(f"expected a zq.Worker with handlers at {spec}, got {type(worker).__name__}")
    return handlers


def load_provider(spec: str) -> Any:
    """Imports what a spec names; of what has `__zq_worker__`, the worker that this returns.

    Raises:
        ValueError: there is no such thing, or it has no such part.
    """
    place, _, name = spec.rpartition(":")
    name, separator, part = name.partition(PART_SEPARATOR)
    found = load_attribute(f"{place}:{name}" if separator else spec)
    make = getattr(found, "__zq_worker__", None)
    if make is not None:
        return make(part or None)
    if separator:
        raise ValueError(f"a {type(found).__name__} has no parts, so there is no {part!r} of {place}:{name}")
    return found


def load_attribute(spec: str) -> Any:
    """Imports `module:attribute`, or runs `path.py` and takes the attribute; raises ValueError when there is none, or
    it cannot be read as Python.
    """
    place, separator, name = spec.rpartition(":")
    if not separator or not place or not name:
        raise ValueError(f"expected module:attribute, got {spec!r}")
    try:
        found: Any = _run_file(place, name) if place.endswith(".py") else _import(place, name)
    except ModuleNotFoundError as error:
        raise ValueError(f"there is no module {place}: {error}") from error
    except SyntaxError as error:
        raise ValueError(f"{error.filename} line {error.lineno} is not Python: {error.msg}") from error
    if found is None:
        raise ValueError(f"there is no {name} in {place}")
    return found


def _import(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name, None)


def _run_file(path: str, name: str) -> Any:
    """Runs a script as a module that stays: what it defines can be found again by its module's name."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(MAIN_OF_CHILD, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[MAIN_OF_CHILD] = module
    spec.loader.exec_module(module)
    return getattr(module, name, None)
