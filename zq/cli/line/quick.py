"""Values of options and arguments, without pydantic: typer loads it for the first value that it reads, which takes
longer than most commands.

What is plainly of its type is read here: text, numbers within their bounds, one of some words, a path, and lists of
these. Everything else, all that is wrong included, goes the way of typer, whose messages stay the same. A typer that
reads values in another way is left alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

UNSURE: Any = object()
"""Stands for: typer shall say."""


class QuickValues:
    """Takes the place of what typer makes to read the values of one parameter."""

    def __init__(self, parameter: Any) -> None:
        self._descriptor = parameter.type_descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Returns a value as its type; raises as typer does."""
        is_many = bool(param.multiple) or param.nargs == -1
        if value is None:
            return () if is_many else None
        found = read(value, self._descriptor)
        if found is not UNSURE:
            return found
        from typer._coercion import build_runtime_param

        return build_runtime_param(self._descriptor).coerce(value, param=param, ctx=ctx)


def make_quick(parameters: list[Any]) -> list[Any]:
    """Has the values of parameters read here, where typer allows it; returns them."""
    for one in parameters:
        if hasattr(one, "type_descriptor") and getattr(one, "_runtime_param", UNSURE) is None:
            one._runtime_param = QuickValues(one)  # noqa: SLF001 - there is no other way in
    return parameters


def read(value: Any, descriptor: Any) -> Any:
    """Returns a value as its type, or UNSURE."""
    about = descriptor.parameter_info
    if about.parser is not None or getattr(about, "click_type", None) is not None:
        return UNSURE
    annotation = descriptor.annotation
    if get_origin(annotation) is not list:
        return _read_one(value, annotation, about)
    if isinstance(value, str) or not isinstance(value, list | tuple):
        return UNSURE
    found = [_read_one(one, get_args(annotation)[0], about) for one in value]
    return UNSURE if any(one is UNSURE for one in found) else found


def _read_one(value: Any, annotation: Any, about: Any) -> Any:
    if annotation is str:
        return value if isinstance(value, str) else UNSURE
    if annotation is Path:
        is_plain = not (about.exists or about.resolve_path or about.writable or about.path_type)
        return Path(value) if is_plain and isinstance(value, str | Path) else UNSURE
    if get_origin(annotation) is Literal:
        return value if value in get_args(annotation) else UNSURE
    return _read_number(value, annotation, about) if annotation in (int, float) else UNSURE


def _read_number(value: Any, annotation: Any, about: Any) -> Any:
    if isinstance(value, str):
        digits = value.removeprefix("-")
        is_plain = digits.isdecimal() if annotation is int else digits.replace(".", "", 1).isdecimal()
        if not (digits.isascii() and is_plain and len(digits) < 16):
            return UNSURE
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return UNSURE
    number = annotation(value)
    is_within = (about.min is None or number >= about.min) and (about.max is None or number <= about.max)
    return number if is_within else UNSURE
