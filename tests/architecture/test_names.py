"""One name, one thing: no class and no constant of the product has a name that another one has, too."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.architecture.tree import module_name, parsed, sources

OF_ZQ = "patterns see nothing of zq but its public names, and mean the same by it"
PLACE = "a table, and the place of what is in it"
STATE = "a word for a state or an end, which several kinds of things have: a command, an operation, a group"

CONSTANTS_TWICE: dict[str, str] = {
    "ACCESS_DENIED": OF_ZQ,
    "CANCELLED": STATE,
    "DEAD": PLACE,
    "DONE": STATE,
    "FAILED": STATE,
    "HANDSHAKE_TIMEOUT": OF_ZQ,
    "INTERRUPTED": OF_ZQ,
    "NOBLOCK": "zmq's own, as a plain number, which costs less at each call than its enum",
    "PARKED": PLACE,
    "SCHEDULED": PLACE,
    "USAGE": OF_ZQ,
    "WAITING": STATE,
}
"""Names of constants that stand in several modules, each with its reason. Those that begin with an underscore are known
in one file only, and are not looked at.
"""

SHOWN = "what travels, by the name that docs/protocol.md gives it, and what a program sees of it, by its public name"

CLASSES_TWICE: dict[str, str] = {
    "Event": SHOWN,
    "Group": SHOWN,
    "Receipt": SHOWN,
}
"""Names of classes that stand in several modules, private ones too, each with its reason."""

Found = dict[str, set[str]]


def constants_in(tree: ast.Module) -> Iterator[str]:
    """Yields the constants of a module; a single letter is a variable for types."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                names = [one.id for one in ast.walk(target) if isinstance(one, ast.Name)]
                yield from (name for name in names if re.fullmatch(r"[A-Z][A-Z0-9_]+", name))


def classes_in(tree: ast.Module) -> Iterator[str]:
    """Yields the classes of a module, those inside of others and of functions, too, and its names for types.

    The parameters of commands (`Annotated[...]`, as typer reads them) and variables for types are neither.
    """
    yield from (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = ast.unparse(node.value)
            is_type = re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", node.targets[0].id) is not None
            if is_type and not text.startswith(("Annotated[", "TypeVar(", "ParamSpec(")):
                yield node.targets[0].id


def borne_twice(found: Iterable[tuple[str, str]]) -> Found:
    """Returns the names that several modules define, with these."""
    modules: Found = defaultdict(set)
    for module, name in found:
        modules[name].add(module)
    return {name: homes for name, homes in modules.items() if len(homes) > 1}


def all_of(names_in: Callable[[ast.Module], Iterator[str]]) -> list[tuple[str, str]]:
    """Returns module and name of everything of a kind in the product."""
    return [(module_name(path), name) for path in sources("zq", "patterns") for name in names_in(parsed(path))]


def wrong(found: Found, allowed: dict[str, str]) -> list[str]:
    return [f"{name}: {', '.join(sorted(homes))}" for name, homes in sorted(found.items()) if name not in allowed]


@pytest.mark.parametrize(
    ("names_in", "allowed"), [(classes_in, CLASSES_TWICE), (constants_in, CONSTANTS_TWICE)], ids=["class", "constant"]
)
def test_no_name_is_borne_twice(names_in: Callable[[ast.Module], Iterator[str]], allowed: dict[str, str]) -> None:
    twice = wrong(borne_twice(all_of(names_in)), allowed)

    assert not twice, "\n" + "\n".join(twice)


def test_a_planted_class_is_found() -> None:
    planted = ast.parse("class Batch: ...\ndef make():\n    class _Reader: ...\nclass _Reader: ...\nTaskState = str\n")
    found = [*all_of(classes_in), *(("patterns.planted", name) for name in classes_in(planted))]

    assert wrong(borne_twice(found), CLASSES_TWICE) == [
        "Batch: patterns.planted, zq.wire.messages",
        "TaskState: patterns.planted, zq.core.state.transitions",
    ]


def test_a_planted_constant_is_found() -> None:
    planted = ast.parse("VERSION, OTHER = 2, 3\n_HIDDEN = 1\nT = TypeVar('T')\n")
    found = [*all_of(constants_in), *(("patterns.planted", name) for name in constants_in(planted))]

    assert wrong(borne_twice(found), CONSTANTS_TWICE) == ["VERSION: patterns.planted, zq.wire.limits"]


def test_every_exception_is_still_needed() -> None:
    assert CLASSES_TWICE.keys() <= borne_twice(all_of(classes_in)).keys()
    assert CONSTANTS_TWICE.keys() <= borne_twice(all_of(constants_in)).keys()
