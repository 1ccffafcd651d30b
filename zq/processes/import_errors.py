"""Why a module cannot be imported, in words for who wrote it.

A user's module is imported by zq in many places: the command line, a child of a worker, a stage of a pipeline. What it
raises there is told as Python would have told it for a plain `import`: its own traceback, without the frames of zq and
of importlib that stand above it.
"""

from __future__ import annotations

import ast
import functools
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

_PACKAGES = Path(__file__).resolve().parents[2]

OWN_FOLDERS = (f"{_PACKAGES}/zq/", f"{_PACKAGES}/patterns/")
"""Of zq and of the package that stands on it."""

IMPORT_MACHINERY = ("<frozen importlib", "<frozen runpy", "<frozen zipimport")


class ModuleFailedError(ValueError):
    """A module raised something when it was imported, or what it imports is missing; the text has its traceback.

    Attributes:
        files: that the traceback names.
    """

    def __init__(self, text: str, files: Iterable[str]) -> None:
        super().__init__(text)
        self.files = tuple(files)


class StartedOnImportError(RuntimeError):
    """A module does when it is imported what belongs under its main guard."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f'{what} while its module is imported for what it defines: put the run under `if __name__ == "__main__":`'
        )


def words_of(error: BaseException, place: str) -> BaseException:
    """Returns what to raise for something that was raised while a module was imported; it may be the same.

    Args:
        error: that was raised.
        place: the module name or file that was to be imported.
    """
    match error:
        case StartedOnImportError() | KeyboardInterrupt() | GeneratorExit():
            return error
        case ModuleNotFoundError(name=str(name)) if place == name or place.startswith(f"{name}."):
            return ValueError(f"there is no module {place}: {error}")
        case SyntaxError(filename=str(file)) if Path(file).is_file():
            return ModuleFailedError(f"{file} line {error.lineno} is not Python: {error.msg}", files_of(error))
    return ModuleFailedError(f"{place} cannot be imported:\n{own_traceback(error)}", files_of(error))


def own_traceback(error: BaseException) -> str:
    """Returns the traceback of an exception without the frames of zq and of the machinery of imports."""
    try:
        told = traceback.TracebackException.from_exception(error)
        _cut(told)
        return "".join(told.format()).rstrip()
    except Exception:  # an exception may be anybody's code, and this is where it becomes words
        return f"{type(error).__name__}, which cannot be printed"


def _cut(told: traceback.TracebackException | None) -> None:
    while told is not None:
        told.stack[:] = [frame for frame in told.stack if not _is_own(frame.filename)]
        _cut(told.__context__)
        for one in getattr(told, "exceptions", None) or ():
            _cut(one)
        told = told.__cause__


def _is_own(file: str) -> bool:
    return file.startswith((*IMPORT_MACHINERY, *OWN_FOLDERS)) or file.endswith("/importlib/__init__.py")


def files_of(error: BaseException | None) -> Iterator[str]:
    """Yields the files that the traceback of an exception names, and the one that a SyntaxError is about."""
    if isinstance(error, SyntaxError) and error.filename:
        yield error.filename
    if error is not None:
        yield from (frame.filename for frame in traceback.extract_tb(error.__traceback__))


# The main part of a script.


def is_in_main_part(module: ModuleType, name: str) -> bool:
    """Returns whether a global name of this process's script is bound in its main part alone, under
    `if __name__ == "__main__":`, which other processes do not run.

    Args:
        module: that has it.
        name: at the top of the module; what follows a dot is not looked at.
    """
    file = file_of(module)
    return module is sys.modules.get("__main__") and file is not None and name.partition(".")[0] in _main_names(file)


def has_main_part(module: ModuleType) -> bool:
    """Returns whether the file of a module has a main part."""
    file = file_of(module)
    return file is not None and any(_is_guard(node) for node in _top_of(file))


def file_of(module: ModuleType | None) -> str | None:
    """Returns the file of a module, None when it is in none.

    Python takes `__file__` from a script when it has come to its end, while threads of it may still run.
    """
    file = getattr(module, "__file__", None) or getattr(getattr(module, "__loader__", None), "path", None)
    return file if isinstance(file, str) else None


@functools.lru_cache(maxsize=16)
def _main_names(file: str) -> frozenset[str]:
    inside: set[str] = set()
    outside: set[str] = set()
    for node in _top_of(file):
        if isinstance(node, ast.If) and _is_guard(node):
            inside |= _bound_by(node.body)
            outside |= _bound_by(node.orelse)
        else:
            outside |= _bound_by([node])
    return frozenset(inside - outside)


def _top_of(file: str) -> list[ast.stmt]:
    try:
        return ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # it is no source, or has been edited since
        return []


def _is_guard(node: ast.stmt) -> bool:
    match node:
        case ast.If(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
            sides = (left, right)
            names = [side.id for side in sides if isinstance(side, ast.Name)]
            return names == ["__name__"] and any(
                isinstance(side, ast.Constant) and side.value == "__main__" for side in sides
            )
    return False


def _bound_by(statements: Iterable[ast.AST]) -> set[str]:
    """Returns the names that some statements bind, those inside of functions and classes not among them."""
    found: set[str] = set()
    waiting = list(statements)
    while waiting:
        match waiting.pop():
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.alias(name=name, asname=asname):
                found.add((asname or name).partition(".")[0])
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case node:
                waiting += ast.iter_child_nodes(node)
    return found
