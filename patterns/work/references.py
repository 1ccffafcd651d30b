"""How a function is named so that another process can import it: `module:qualname`, or `/path/file.py:qualname` for a
script.

Functions travel by name and never by value: what a process runs is what stands in its own files.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

MAIN_OF_WORKER = "__mp_main__"
"""The name under which a script is run in a worker, as in multiprocessing: `if __name__ == "__main__"` keeps its main
part from running there.
"""

_loading: list[str] = []
"""References that are being imported now: a pipeline must not be run by the import of its own stages."""


def reference_to(function: Callable[..., Any], stage: str) -> str:
    """Returns the name by which another process can import a function.

    Args:
        function: to be named; what a module has under its name may also be a stage made of it.
        stage: name of the stage, for the error.

    Raises:
        ValueError: no other process can import it.
    """
    module_name = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if module_name is None or qualname is None:
        raise _unreachable(stage, f"a {type(function).__name__} has no name to import it by")
    if "<lambda>" in qualname:
        raise _unreachable(stage, "a lambda has no name to import it by")
    if "<locals>" in qualname:
        raise _unreachable(stage, f"{qualname} exists only while the function around it runs")
    module = sys.modules.get(module_name)
    if module is None or not _is_at(module, qualname, function):
        raise _unreachable(stage, f"there is another thing, or nothing, at {module_name}.{qualname}")
    place = _place_of(module)
    if place is None:
        raise _unreachable(stage, f"{qualname} was typed in or read from standard input, and is in no file")
    return f"{place}:{qualname}"


def load_reference(reference: str) -> Any:
    """Imports what a reference names.

    Raises:
        ValueError: there is no such thing.
    """
    place, separator, qualname = reference.rpartition(":")
    if not separator or not place or not qualname:
        raise ValueError(f"expected module:name or file.py:name, got {reference!r}")
    _loading.append(reference)
    try:
        found: Any = _load_file(place) if place.endswith(".py") else _load_module(place)
    finally:
        _loading.pop()
    found = _walk(found, qualname)
    if found is None:
        raise ValueError(f"there is no {qualname} in {place}")
    return found


def named_by(function: Callable[..., Any]) -> Any:
    """Returns what the module of a function has under its name: the function, or a stage made of it; None when there is
    nothing.
    """
    return _walk(sys.modules.get(function.__module__), function.__qualname__)


def is_loading() -> bool:
    """Returns whether this process is importing something by its reference."""
    return bool(_loading)


def _unreachable(stage: str, why: str) -> ValueError:
    return ValueError(
        f"stage {stage}: no other process can import its function: {why}; "
        "define it at the top level of a module or script, or give the stage threads=True"
    )


def _is_at(module: ModuleType, qualname: str, function: Callable[..., Any]) -> bool:
    found = _walk(module, qualname)
    return found is function or getattr(found, "function", None) is function


def _walk(found: Any, qualname: str) -> Any:
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _place_of(module: ModuleType) -> str | None:
    """Returns the module name or the file that another process can load a module by, or None."""
    if module.__name__ not in ("__main__", MAIN_OF_WORKER):
        return module.__name__
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name not in ("__main__", MAIN_OF_WORKER) and not spec.name.endswith(".__main__"):
        return str(spec.name)  # python -m package.module
    file = getattr(module, "__file__", None)
    return None if file is None or not Path(file).is_file() else str(Path(file).resolve())


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(f"there is no module {name}: {error}") from error


def _load_file(path: str) -> ModuleType:
    """Runs a script as a module, once; the process' own script, when it is that, is not run again."""
    resolved = Path(path).resolve()
    for name in ("__main__", MAIN_OF_WORKER):
        loaded = sys.modules.get(name)
        if loaded is not None and Path(getattr(loaded, "__file__", None) or "").resolve() == resolved:
            return loaded
    if not resolved.is_file():
        raise ValueError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(MAIN_OF_WORKER, resolved)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[MAIN_OF_WORKER] = module
    spec.loader.exec_module(module)
    return module
