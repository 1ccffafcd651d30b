"""Reads the arguments of queries and commands (protocol 4); what cannot be is told to who asked.

Names are judged in one place, `checked`, before a query or command sees them: by the name of the argument, as the same
names are judged in every other message.
"""

from collections.abc import Callable, Container
from typing import Any, Final, ParamSpec, TypeVar

from zq.errors import cut, short
from zq.wire.limits import ID_BYTES_MAX, NAME_BYTES_MAX
from zq.wire.namespaces import check_namespace
from zq.wire.options import read_header_list
from zq.wire.topics import NAMESPACE_SEPARATOR
from zq.wire.values import Malformed, TooLarge, field, read_name, read_queue, read_text

P = ParamSpec("P")
T = TypeVar("T")

LIST_MAX = 1000
"""Rows in an answer, and tasks that one command changes: bounds what a question costs everyone else."""

CURSOR_CHARS_MAX: Final = 1100
"""Of a cursor: the longest key of a table in hexadecimal, and what stands beside it."""

HOLDER_BYTES_MAX: Final = NAME_BYTES_MAX + 20
"""Of the name of a holder: that of a worker, or of a client and the number of its pull."""


class InvalidRequestError(Exception):
    """A question that can be read but not answered; the text goes to who asked, under the code, and
    repeats little of what was sent.
    """

    code = "invalid"

    def __init__(self, text: str) -> None:
        super().__init__(cut(text))


READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "id": field(read_name, "id", ID_BYTES_MAX + 5),
    "queue": field(read_queue, "queue"),
    "to": field(read_queue, "to"),
    "worker": field(read_name, "worker", HOLDER_BYTES_MAX),
    "name": field(read_name, "name"),
    "namespace": check_namespace,
    "pattern": field(read_name, "pattern"),
    "topic": field(read_name, "topic"),
    "cursor": field(read_text, "cursor", CURSOR_CHARS_MAX),
    # Free text: only looked for, or shown where it is escaped.
    "reason": field(read_text, "reason"),
    "key": field(read_text, "key", NAME_BYTES_MAX),
}
"""How an argument of a name is read, whatever is asked; arguments that are not here are numbers, truths, or one of a
few words.
"""


def checked(arguments: dict[str, Any], queues: Container[str]) -> dict[str, Any]:
    """Returns arguments whose names can be names.

    Args:
        arguments: as they came.
        queues: those that there are: whatever they are called, they can be named.

    Raises:
        InvalidRequestError: one cannot be.
    """
    for name, value in arguments.items():
        reader = READERS.get(name)
        if reader is not None and value is not None and not (name == "queue" and value in queues):
            judged(reader, value)
    return arguments


def text_in(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"expected text for {name}, got {short(value)}")
    return value


def optional_text_in(arguments: dict[str, Any], name: str) -> str | None:
    return None if arguments.get(name) is None else text_in(arguments, name)


def number_in(arguments: dict[str, Any], name: str, least: float, most: float) -> float:
    value = arguments.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequestError(f"expected {name} from {least:g} to {most:g}, got {short(value)}")
    return float(value)


def flag_in(arguments: dict[str, Any], name: str) -> bool:
    """Reads whether something is asked for; not, when nothing is said about it."""
    value = arguments.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequestError(f"expected {name} as true or false, got {short(value)}")
    return value


def judged(check: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Returns what a check of something returns; if it finds a fault, that is told to who asked."""
    try:
        return check(*arguments, **named)
    except (Malformed, TooLarge, ValueError) as error:
        raise InvalidRequestError(str(error)) from None


def name_in(arguments: dict[str, Any], what: str) -> str:
    """Reads a name, as new ones may be."""
    return judged(read_name, arguments.get(what), what)


def queue_in(arguments: dict[str, Any], what: str) -> str:
    """Reads the name of a queue, as new ones may be."""
    return judged(read_queue, arguments.get(what), what)


def optional_name_in(arguments: dict[str, Any], what: str) -> str | None:
    return None if arguments.get(what) is None else name_in(arguments, what)


def headers_in(arguments: dict[str, Any]) -> dict[str, str] | None:
    """Reads headers, or None when nothing is said about them."""
    return None if arguments.get("headers") is None else judged(read_header_list, arguments["headers"])


def limit_in(arguments: dict[str, Any], default: int) -> int:
    value = arguments.get("limit", default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LIST_MAX:
        raise InvalidRequestError(f"expected limit from 1 to {LIST_MAX}, got {short(value)}")
    return value


def prefix(arguments: dict[str, Any]) -> str:
    """Returns what the names must begin with that a question is about: those of its namespace, or all."""
    namespace = arguments.get("namespace")
    return "" if namespace is None else f"{namespace}{NAMESPACE_SEPARATOR}"
