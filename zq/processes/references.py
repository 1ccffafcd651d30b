"""How a thing is named so that another process can import it: `module:name`, or `path/file.py:name` for a script.

Functions, workers, apps and pipelines travel by name and never by value: what a process runs is what stands in its own
files. The name may have dots (`module:Class.method`).

A script, which has no module name by which it could be imported, is named by its file, and whoever loads one gets it by
one rule: *a file is run once in a process, as a module that stays*. It is run under the name `__mp_main__`, as in
multiprocessing, so that `if __name__ == "__main__"` keeps its main part from running there; a second script in the same
process has a number behind that name. It is in `sys.modules` from the beginning, so that classes of it are found by
their module. The script that the process itself was started with is that module, and is never run again; the same is
true of `python -m package.module`, which is named by its module.

A worker is named in the same way, and `...@part` names a part of what is there. That is a `zq.Worker`, a `zq.App`, or
any object with the method `__zq_worker__(part)`, which returns a `zq.Worker` for a part of it (None: for all): so
packages over zq bring workers of their own to `zq worker` and to child processes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from zq.processes.endpoints import kept_path
from zq.processes.import_errors import (
    ModuleFailedError,
    StartedOnImportError,
    file_of,
    has_main_part,
    is_in_main_part,
    words_of,
)

__all__ = ["ModuleFailedError", "StartedOnImportError"]

MAIN = "__main__"
MAIN_OF_CHILD = "__mp_main__"

PART_SEPARATOR = "@"

_scripts: dict[str, ModuleType] = {}
"""The scripts that were run here, by their resolved files."""

_lock = threading.RLock()
"""Guards `_scripts` and `_lent`: a file is run once, whoever asks for it at the same time."""

_lent: list[ModuleType] = []
"""Main programs of this process that are not the user's, each until a script has taken its place."""

_replaced: list[ModuleType] = []
"""Main programs whose places are taken; they live on."""


class _Loading(threading.local):
    depth = 0


_loading = _Loading()


class _Served:
    """What this process, a child of a worker, was started for."""

    is_loading = False  # in whatever thread the module does something meanwhile
    provider: object = None


_served = _Served()


# Names.


def reference_to(function: Callable[..., Any], *, held_as: str | None = None) -> str:
    """Returns the name by which another process can import a function.

    Args:
        function: to be named; also a class, or a method of one.
        held_as: attribute in which what has its name may hold the function, instead of being it.

    Raises:
        ValueError: no other process can import it; the text says why.
    """
    owner = getattr(function, "__self__", None)
    qualname: str | None = getattr(function, "__qualname__", None)
    module_name = getattr(function, "__module__", None) or "builtins"
    if isinstance(owner, type) and qualname is not None:  # a method of a class, perhaps inherited
        module_name, qualname = owner.__module__, f"{owner.__qualname__}.{function.__name__}"
    if not qualname:
        raise ValueError(f"a {type(function).__name__} has no name to import it by")
    if "<lambda>" in qualname:
        raise ValueError("a lambda has no name to import it by")
    if "<" in qualname:
        raise ValueError(f"{qualname} exists only while the function around it runs")
    module = sys.modules.get(module_name)
    found = _walk(module, qualname)
    is_held = held_as is not None and getattr(found, held_as, None) is function
    if module is None or not (is_held or found is function or found == function):
        raise ValueError(
            f"there is another thing, or nothing, at {module_name}.{qualname}; "
            "methods of objects, partial and decorated functions have no name of their own"
        )
    place = place_of(module)
    if place is None:
        raise ValueError(f"{qualname} was typed in or read from standard input, and is in no file")
    if is_in_main_part(module, qualname):
        raise ValueError(f'{qualname} is made under `if __name__ == "__main__":`, which other processes do not run')
    return f"{place}:{qualname}"


def reference_to_object(thing: object, near: Iterable[Any] = ()) -> str:
    """Returns the name by which another process finds an object that is a global variable of a module.

    Args:
        thing: to be named.
        near: functions in whose modules it is looked for first; then comes the main program, then all other modules.

    Raises:
        ValueError: it is none that another process could import; the text is the end of a sentence about it.
    """
    why = "must be a global variable of a module"
    names = [module_name_of(one) for one in near]
    for module_name in dict.fromkeys([*names, MAIN, *sys.modules]):
        module = sys.modules.get(module_name or "")
        if not isinstance(module, ModuleType):  # there may be anything
            continue
        for name, value in list(vars(module).items()):
            if value is not thing:
                continue
            place = place_of(module)
            if place is None:
                why = "was typed in or read from standard input, and is in no file"
            elif is_in_main_part(module, name):
                why = 'is made under `if __name__ == "__main__":`, which other processes do not run'
            else:
                return f"{place}:{name}"
    raise ValueError(why)


def module_name_of(function: Any) -> str | None:
    """Returns the name of the module in which a callable was written, None when it does not know."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__module__", None)
    return name if isinstance(name, str) else None


def label_of(function: Any) -> str:
    """Returns how a callable is called in messages, whatever it is."""
    if isinstance(function, functools.partial):
        return f"partial of {label_of(function.func)}"
    qualname = getattr(function, "__qualname__", None)
    return qualname if isinstance(qualname, str) else f"{type(function).__qualname__} object"


def place_of(module: ModuleType) -> str | None:
    """Returns the module name or the file by which another process can load a module, or None."""
    if not is_script(module.__name__):
        return module.__name__
    spec = getattr(module, "__spec__", None)
    if spec is not None and not is_script(spec.name):
        return str(spec.name)  # python -m package.module, or python -m package
    file = file_of(module)
    return None if file is None or not Path(file).is_file() else str(Path(file).resolve())


def is_script(module_name: str) -> bool:
    """Returns whether a module of this name is the main program of a process, or was run as one."""
    return module_name == MAIN or module_name.startswith(MAIN_OF_CHILD)


def named_by(function: Callable[..., Any]) -> Any:
    """Returns what the module of a function has under its name, which may hold it; None when there is nothing."""
    qualname = getattr(function, "__qualname__", None)
    return None if qualname is None else _walk(sys.modules.get(function.__module__), qualname)


def _walk(found: Any, qualname: str) -> Any:
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


# Things.


def load_reference(reference: str) -> Any:
    """Imports what a reference names.

    Raises:
        ValueError: there is no such thing, or its file is not Python; ModuleFailedError, which is one, when the module
            raised something.
        StartedOnImportError: the module does when it is imported what belongs under its main guard.
    """
    place, separator, qualname = reference.rpartition(":")
    if not separator or not place or not qualname:
        raise ValueError(f"expected module:name or file.py:name, got {reference!r}")
    module = load_module(place)
    found = _walk(module, qualname)
    if found is None:
        hint = '; its part under `if __name__ == "__main__":` is not run here' if has_main_part(module) else ""
        raise ValueError(f"there is no {qualname} in {place}{hint}")
    return found


def load_module(place: str) -> ModuleType:
    """Imports the module of a place, a module name or a file; raises as `load_reference`."""
    _check_place(place)
    _loading.depth += 1
    try:
        return _load(place)
    except BaseException as error:  # SystemExit, too, is how a module may fail
        told = words_of(error, place)
        if told is error:
            raise
        raise told from error
    finally:
        _loading.depth -= 1


def refuse_while_loading(what: str, cause: BaseException | None = None) -> None:
    """Refuses what a module must not do when it is imported by its reference: each process that it starts would import
    it again.

    Args:
        what: is done, as the beginning of a sentence.
        cause: error by which that was found.

    Raises:
        StartedOnImportError: this thread is importing something by its reference.
    """
    if _loading.depth > 0 or _served.is_loading:
        raise StartedOnImportError(what) from cause


def refuse_if_served(provider: object, what: str) -> None:
    """Refuses what a module, or a thread that it has left, must not do with the worker or app of which this process is
    a child.

    Args:
        provider: the worker or app.
        what: is done, as the beginning of a sentence.

    Raises:
        StartedOnImportError: this process was started to run its handlers.
    """
    if provider is _served.provider:
        raise StartedOnImportError(what)


def loaded_module(place: str) -> ModuleType | None:
    """Returns the module of this process that is at a place (module name or file); None when it is not loaded."""
    for name in (MAIN, MAIN_OF_CHILD):  # the second one may be from multiprocessing
        module = sys.modules.get(name)
        if module is not None and place_of(module) == place:
            return module
    return _scripts.get(place) or sys.modules.get(place)


def source_of(reference: str) -> tuple[str, int] | None:
    """Returns the file of the module that a reference has loaded, and when it was changed, in nanoseconds; None when it
    is in no file.
    """
    place = reference.rpartition(":")[0]
    module = loaded_module(str(Path(place).resolve()) if place.endswith(".py") else place)
    file = file_of(module)
    try:
        return None if file is None else (file, Path(file).stat().st_mtime_ns)
    except OSError:  # it is in an archive, or has gone since
        return None


def kept_reference(reference: str) -> str:
    """Returns a reference that still means the same when this program has gone to another folder."""
    place, separator, rest = reference.rpartition(":")
    return f"{kept_path(place)}{separator}{rest}" if place.endswith(".py") else reference


def _check_place(place: str) -> None:
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise ValueError(f"there is no file {place}")
    elif "/" in place or not all(place.split(".")):
        raise ValueError(f"expected the name of a module, or a file that ends in .py, got {place!r}")


def _load(place: str) -> ModuleType:
    if place.endswith(".py"):
        file = str(Path(place).resolve())
        with _lock:
            return loaded_module(file) or _run_file(file)
    own = loaded_module(place)
    return own if own is not None and is_script(own.__name__) else importlib.import_module(place)


def own_folder() -> str:
    """Returns the folder that this process is in, where the modules of a user are looked for.

    Raises:
        ValueError: it was removed.
    """
    try:
        return str(Path.cwd())
    except OSError:
        raise ValueError("the folder that this was started in is not there any more: go to another one") from None


def lend_main() -> None:
    """Says that the main program of this process is none of the user's: the first script that is run here takes its
    place, so that multiprocessing finds in it what is pickled here, and gives it to what it starts.
    """
    _lent.append(sys.modules[MAIN])


def _run_file(file: str) -> ModuleType:
    name = MAIN_OF_CHILD
    while name in sys.modules and not _lent:
        name = f"{MAIN_OF_CHILD}{int(name.removeprefix(MAIN_OF_CHILD) or 1) + 1}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    replaced = _lent.pop() if _lent else None
    if replaced is not None:
        module.__spec__ = None  # as of any script that is run; a name in there would be one to import it by
        sys.modules[MAIN] = module  # which an import of multiprocessing puts under its own name
    sys.modules[name] = _scripts[file] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:  # as an import does: who asks again finds out again
        del sys.modules[name], _scripts[file]
        if replaced is not None:
            sys.modules[MAIN] = replaced
            _lent.append(replaced)
        raise
    _replaced.extend([] if replaced is None else [replaced])
    return module


# Workers.


def load_provider(spec: str) -> Any:
    """Imports what a spec names; of what has `__zq_worker__`, the worker that this returns.

    Raises:
        ValueError: there is no such thing, or it has no such part.
    """
    place, _, name = spec.rpartition(":")
    name, separator, part = name.partition(PART_SEPARATOR)
    found = load_reference(f"{place}:{name}" if separator else spec)
    make = getattr(found, "__zq_worker__", None)
    if make is not None:
        return make(part or None)
    if separator:
        raise ValueError(f"a {type(found).__name__} has no parts, so there is no {part!r} of {place}:{name}")
    return found


def load_handlers(spec: str) -> Mapping[str, Any]:
    """Imports a worker by its spec and returns its handlers, by queue; in a child process of that worker.

    Raises:
        ValueError: there is no such worker.
    """
    _served.is_loading = True
    try:
        worker = _served.provider = load_provider(spec)
    finally:
        _served.is_loading = False
    handlers = getattr(worker, "handlers", None)
    if not isinstance(handlers, Mapping) or not handlers:
        raise ValueError(f"expected a zq.Worker with handlers at {spec}, got {type(worker).__name__}")
    return handlers
