"""Which functions belong to a module, so that whoever may submit calls can have them called, and nothing else.

A path names what it reaches only if that says the same of itself: a function or class belongs to `module:name` when it
is what the module has under this name, when its own `__module__` and `__qualname__` are those of the path, and when no
part of the name is private. So what a module has imported is none of its functions, nor is what hangs on them
(`os.system` of a module that imports os, `__loader__.get_data` of any). Of classes that belong to a module, static and
class methods and inner classes do, too. Names are looked up in the dictionaries of modules and classes and never by
`getattr`, which would run what answers for names that are not there.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from zq.processes.references import load_module, loaded_module, place_of

ALLOW_ALL = "*"
"""In what a worker allows: everything that can be imported, as whoever starts programs here could call it."""

_PLAIN = (types.FunctionType, types.BuiltinFunctionType, type)
"""What says truly where it was defined, unless its author wanted otherwise."""


def is_allowed(place: str, allow: Iterable[str]) -> bool:
    """Returns whether functions of a place, a module name or a file, may be called.

    Args:
        place: a file only if it is listed as it stands; what is below a module has public names only.
        allow: modules and files, or `*`.
    """
    if ALLOW_ALL in allow or (place and place in allow):
        return True
    if place.endswith(".py"):
        return False
    packages = [f"{one}." for one in allow if one and not one.endswith(".py")]
    return any(place.startswith(one) and _is_public(place.removeprefix(one)) for one in packages)


def find_own(path: str, allow: Iterable[str]) -> Callable[..., Any]:
    """Imports the module of a path, and returns what belongs to it under that name.

    Args:
        path: `module:name` or `file.py:name`, of a place that is allowed.
        allow: modules whose classes may have the methods that others inherit.

    Raises:
        ValueError: there is no such function or class, or it belongs to another module; ModuleFailedError, which is
            one, when the module raised something.
        StartedOnImportError: as `load_reference`.
    """
    place, _, qualname = path.rpartition(":")
    if not _is_public(qualname):
        raise ValueError(f"expected public names after the colon of {path}")
    module = load_module(place) if place.endswith(".py") else _load_own(place)
    found: Any = module
    for at, name in enumerate(parts := qualname.split("."), 1):
        found = _in_module(module, name) if at == 1 else _in_class(found, name, allow)
        if found is None or (at < len(parts) and not isinstance(found, type)):
            raise ValueError(f"no public function or class {qualname} was defined in {place}")
    if not callable(found):
        raise ValueError(f"expected a function at {path}, got {type(found).__name__}")
    callee: Callable[..., Any] = found
    return callee


def find_exception(module_name: str, qualname: str) -> type[BaseException] | None:
    """Returns an exception's class that was defined in a module which is loaded here; None when there is none."""
    module = loaded_module(module_name)
    if not isinstance(module, ModuleType):
        return None
    names = qualname.split(".")
    found: Any = vars(module).get(names[0])
    for name in names[1:]:
        found = vars(found).get(name) if isinstance(found, type) else None
    if isinstance(found, type) and issubclass(found, BaseException) and _says(found, module.__name__, qualname):
        return found
    return None


def _load_own(place: str) -> ModuleType:
    """Imports a module by its own name: one that is below another is in a package."""
    for at, sign in enumerate(place):
        if sign == "." and "__path__" not in vars(load_module(place[:at])):
            raise ValueError(f"{place[:at]} is no package")
    module = load_module(place)
    if not isinstance(module, ModuleType) or place_of(module) != place:
        raise ValueError(f"{place} is another name of a module: expected its own")
    return module


def _is_public(names: str) -> bool:
    return all(name.isidentifier() and not name.startswith("_") for name in names.split("."))


def _in_module(module: ModuleType, name: str) -> Any:
    found = vars(module).get(name)
    return found if _says(found, module.__name__, name) else None


def _in_class(owner: type, name: str, allow: Iterable[str]) -> Any:
    """Returns a static or class method or an inner class, perhaps inherited from a class of a module that is allowed,
    too.
    """
    home = next((one for one in owner.__mro__ if name in vars(one)), None)
    if home is None or (home.__module__ != owner.__module__ and not is_allowed(home.__module__, allow)):
        return None
    found = vars(home)[name]
    if isinstance(found, types.ClassMethodDescriptorType):  # of a class written in C
        return getattr(owner, name)
    if isinstance(found, staticmethod | classmethod):
        is_own = _says(found.__func__, home.__module__, f"{home.__qualname__}.{name}")
        return found.__get__(None, owner) if is_own else None
    is_own = isinstance(found, type) and _says(found, home.__module__, f"{home.__qualname__}.{name}")
    return found if is_own else None


def _says(found: Any, module_name: str, qualname: str) -> bool:
    """Returns whether a thing says of itself that it was defined there: a function, a class, or what a decorator has
    put in the place of one with the names of `functools.wraps`.
    """
    return _told(found, "__module__") == module_name and _told(found, "__qualname__") == qualname


def _told(found: Any, name: str) -> str | None:
    if isinstance(found, _PLAIN):
        told = getattr(found, name, None)
    else:
        told = inspect.getattr_static(found, name, None)
        if isinstance(told, types.GetSetDescriptorType | types.MemberDescriptorType):  # a function of another compiler
            told = getattr(found, name, None)
    return told if type(told) is str else None
