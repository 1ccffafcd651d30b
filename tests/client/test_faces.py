"""What blocks and what awaits are two faces of the same: the same names, the same parameters, the same returns."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import zq
from zq.client.calls import Face

TWINS = {name: f"Async{name}" for name in dir(zq) if f"Async{name}" in dir(zq)}

DUNDERS = {"__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__", "__anext__": "__next__"}
"""What Python calls otherwise where it awaits."""

ALONE = {"AsyncClient.close_now": "what is no coroutine must be able to close a client of coroutines"}
"""Members that only one face has, each with its reason."""


def members_of(kind: type[Any]) -> dict[str, Any]:
    """Returns what people may use, under the names of what blocks."""
    found = {DUNDERS.get(name, name): getattr(kind, name) for name in dir(kind)}
    return {
        name: value
        for name, value in found.items()
        if (not name.startswith("_") or name in DUNDERS.values() or name == "__init__")
        and f"{kind.__name__}.{name}" not in ALONE
    }


def plain(annotation: object) -> str:
    """Returns an annotation with the names of what blocks; a D is what carries calls out, in either way."""
    return re.sub(r"\bAsync(?=[A-Z])", "", re.sub(r"\bD\b", "Driver", str(annotation)))


def shape_of(name: str, member: Any) -> list[str]:
    """Returns what a caller must know of a member: what it is, its parameters and what it returns."""
    if isinstance(member, property):
        # Each property has a getter.
        return ["property", f"returns {plain(inspect.signature(member.fget).return_annotation)}"]  # type: ignore[arg-type]
    if not callable(member):
        return ["field"]
    signature = inspect.signature(member)
    parameters = [
        f"{one.kind.description} {one.name}: {plain(one.annotation)}"
        + ("" if one.default is one.empty else f" = {one.default!r}")
        for one in signature.parameters.values()
    ]
    return ["method", *parameters, f"returns {plain(signature.return_annotation)}"]


def differences(face: type[Any], twin: type[Any]) -> list[str]:
    ours, theirs = members_of(face), members_of(twin)
    found = [f"{face.__name__} has no {name}" for name in theirs.keys() - ours.keys()]
    found += [f"{twin.__name__} has no {name}" for name in ours.keys() - theirs.keys()]
    for name in ours.keys() & theirs.keys():
        one, other = shape_of(name, ours[name]), shape_of(name, theirs[name])
        found += [f"{face.__name__}.{name}: {a!r} and {b!r}" for a, b in zip(one, other, strict=False) if a != b]
        if len(one) != len(other):
            found.append(f"{face.__name__}.{name}: {len(one)} and {len(other)} parts")
        if inspect.iscoroutinefunction(ours[name]) or inspect.isasyncgenfunction(ours[name]):
            found.append(f"{face.__name__}.{name} must not be awaited")
    return sorted(found)


@pytest.mark.parametrize("name", TWINS)
def test_both_faces_have_the_same_members_with_the_same_signatures(name: str) -> None:
    assert not differences(getattr(zq, name), getattr(zq, TWINS[name]))


def test_every_face_has_a_twin() -> None:
    faces = {name for name in dir(zq) if isinstance(kind := getattr(zq, name), type) and issubclass(kind, Face)}

    assert faces == {name for pair in TWINS.items() for name in pair if name in faces}
    assert {"Client", "Queues", "DeadLetters", "Schedules", "Topics", "Namespaces", "Workers"} <= faces


def test_what_only_one_face_has_is_there() -> None:
    for name in ALONE:
        kind, _, member = name.partition(".")
        assert hasattr(getattr(zq, kind), member)


@pytest.mark.parametrize("name", [*TWINS, *TWINS.values()])
def test_booleans_are_given_by_name(name: str) -> None:
    kind = getattr(zq, name)
    by_place = [
        f"{member}: {one.name}"
        for member, value in members_of(kind).items()
        if callable(value)
        for one in inspect.signature(value).parameters.values()
        if str(one.annotation).startswith("bool") and one.kind is not one.KEYWORD_ONLY
    ]

    assert not by_place


class Oven:
    def __init__(self, size: int) -> None: ...

    @property
    def heat(self) -> float:
        return 0.0

    def bake(self, pizza: str, *, is_hot: bool = True) -> list[str]:
        return []

    def pizzas(self) -> Iterator[str]:
        yield ""

    def open(self) -> None: ...


class AsyncOven:
    def __init__(self, size: int, door: str) -> None: ...

    @property
    def heat(self) -> int:
        return 0

    async def bake(self, pizza: str, is_hot: bool = False) -> tuple[str, ...]:
        return ()

    async def pizzas(self) -> AsyncIterator[str]:
        yield ""

    async def close(self) -> None: ...


def test_planted_differences_are_found() -> None:
    assert differences(Oven, AsyncOven) == [
        "AsyncOven has no open",
        "Oven has no close",
        "Oven.__init__: 'returns None' and 'positional or keyword door: str'",
        "Oven.__init__: 4 and 5 parts",
        "Oven.bake: 'keyword-only is_hot: bool = True' and 'positional or keyword is_hot: bool = False'",
        "Oven.bake: 'returns list[str]' and 'returns tuple[str, ...]'",
        "Oven.heat: 'returns float' and 'returns int'",
    ]
