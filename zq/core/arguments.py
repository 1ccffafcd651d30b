"""Reads the arguments of queries and commands (protocol 4); what cannot be is told to who asked."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from zq.wire.options import read_header_list
from zq.wire.topics import NAMESPACE_SEPARATOR
from zq.wire.values import Malformed, TooLarge, read_name

P = ParamSpec("P")
T = TypeVar("T")

LIST_MAX = 1000
"""Rows in an answer, and tasks that one command changes: bounds what a question costs everyone else."""


class InvalidRequestError(Exception):
    """A question that can be read but not answered; the text goes to who asked, under the code."""

    code = "invalid"


def text_in(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"expected text for {name}, got {value!r}")
    return value


def optional_text_in(arguments: dict[str, Any], name: str) -> str | None:
    return None if arguments.get(name) is None else text_in(arguments, name)


def number_in(arguments: dict[str, Any], name: str, least: float, most: float) -> float:
    value = arguments.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequestError(f"expected {name} from {least:g} to {most:g}, got {value!r}")
    return float(value)


def judged(check: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Returns what a check of something returns; if it finds a fault, that is told to who asked."""
    try:
        return check(*arguments, **named)
    except (Malformed, TooLarge, ValueError) as error:
        raise InvalidRequestError(str(error)) from None


def name_in(arguments: dict[str, Any], what: str) -> str:
    """Reads the name of a queue or its kin, as new ones may be."""
    return judged(read_name, arguments.get(what), what)


def headers_in(arguments: dict[str, Any]) -> dict[str, str] | None:
    """Reads headers, or None when nothing is said about them."""
    return None if arguments.get("headers") is None else judged(read_header_list, arguments["headers"])


def limit_in(arguments: dict[str, Any], default: int) -> int:
    value = arguments.get("limit", default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LIST_MAX:
        raise InvalidRequestError(f"expected limit from 1 to {LIST_MAX}, got {value!r}")
    return value


def prefix(arguments: dict[str, Any]) -> str:
    """Returns what the names must begin with that a question is about: those of its namespace, or all."""
    namespace = arguments.get("namespace")
    return "" if namespace is None else f"{namespace}{NAMESPACE_SEPARATOR}"
