"""Placeholders in the arguments of a program: `{}` is the payload, `{pizza}` or `{order.pizzas.0}` a value in it.

What is in the braces must be a name: letters, digits and underscores, with dots between the steps. All else in braces
stays as it is, so that JSON and the programs of awk need no escapes; `{{pizza}}` is the text `{pizza}`. Values go into
one argument each, as they are: there is no shell, and nothing is split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

RUNNING_CODE: dict[str, str] = {
    **dict.fromkeys(("sh", "bash", "dash", "ash", "ksh", "zsh", "fish", "python", "pypy"), "c"),
    **dict.fromkeys(("perl", "ruby", "node", "lua"), "e"),
    "php": "r",
}
"""Programs by the option whose value is code: somebody's payload in it would be code, too. Versions do not matter."""


class Placeholder(NamedTuple):
    """A placeholder: the steps from the payload to its value; none is the payload itself."""

    steps: tuple[str, ...]


ArgumentPiece = str | Placeholder


class PlaceMissingError(ValueError):
    """A payload has not what a placeholder asks for, or it cannot be an argument."""


def read_argument(text: str) -> list[ArgumentPiece]:
    """Returns the pieces of an argument: texts and placeholders."""
    pieces: list[ArgumentPiece] = []
    for piece in _pieces(text):
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


def _pieces(text: str) -> Iterator[ArgumentPiece]:
    at = 0
    while (opened := text.find("{", at)) >= 0:
        yield text[at:opened]
        is_escaped = text.startswith("{{", opened)
        start = opened + 1 + is_escaped
        end = start
        while end < len(text) and (text[end].isalnum() or text[end] in "_."):
            end += 1
        name = text[start:end]
        steps = tuple(name.split(".")) if name else ()
        if not all(steps) or not text.startswith("}}" if is_escaped else "}", end):
            yield "{"
            at = opened + 1
        elif is_escaped:
            yield f"{{{name}}}"
            at = end + 2
        else:
            yield Placeholder(steps)
            at = end + 1
    yield text[at:]


def has_places(arguments: list[list[ArgumentPiece]]) -> bool:
    """Returns whether there is a placeholder in the arguments of a program."""
    return any(isinstance(piece, Placeholder) for argument in arguments for piece in argument)


def check_no_code(arguments: list[list[ArgumentPiece]]) -> None:
    """Refuses placeholders where a program would run what a payload says.

    Raises:
        ValueError: the program runs code that it is given as an argument, and there is a placeholder in that.
    """
    program = str(arguments[0][0]).rpartition("/")[2] if arguments[0] else ""
    flag = RUNNING_CODE.get(program.rstrip("0123456789.-"))
    if flag is None:
        return
    for option, code in pairwise(arguments[1:]):
        flags = str(option[0]) if option else ""
        if flags.startswith("-") and not flags.startswith("--") and flag in flags:
            if has_places([code]):
                raise ValueError(
                    f"{program} would run what the payload says as code; give values as arguments behind the code, "
                    "as in: sh -c 'bake \"$1\"' sh {pizza}. Braces that are no placeholder are written twice: {{pizza}}"
                )
            return


def fill(argument: list[ArgumentPiece], payload: Any) -> str:
    """Returns an argument with the values of a payload in it: text as it is, all else as JSON.

    Raises:
        PlaceMissingError: the payload has no such value, or the value cannot be an argument.
    """
    text = "".join(piece if isinstance(piece, str) else _text_at(piece, payload) for piece in argument)
    if "\0" in text:
        raise PlaceMissingError("an argument of a program cannot have a zero byte in it")
    return text


def _text_at(place: Placeholder, payload: Any) -> str:
    value = payload
    for step in place.steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise PlaceMissingError(f"the payload has nothing at {{{'.'.join(place.steps)}}}")
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """Returns a value as a JSON document on one line.

    Raises:
        PlaceMissingError: JSON cannot hold it.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise PlaceMissingError(
            f"JSON cannot hold the payload: {error}; --input text passes bytes as they are"
        ) from None
