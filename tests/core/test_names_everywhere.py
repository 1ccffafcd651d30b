"""Names come in by every message, and each is judged by the same rules: what can be none is refused in words, nothing
comes of it, and the words repeat little of it, and nothing that a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgpack
import pytest

from tests.core.desk import CLIENT, Desk
from tests.core.test_names_in_answers import ARGUMENTS
from tests.wire.test_examples import _good
from zq.core.arguments import READERS
from zq.errors import SHORT_CHARS, RemoteProtocolError
from zq.wire import limits
from zq.wire.codec import KINDS, decode_for_coordinator, decode_from_coordinator, encode_answer
from zq.wire.messages import Answer, Command, Error, FromClient, FromWorker, Query
from zq.wire.questions import NAMES_IN_COMMANDS, NAMES_IN_QUERIES

NEVER: Final = {
    "control": "a\x1b[31mred",
    "newline": "a\nb",
    "bidi override": "a\u202eb",
    "invisible": "a\u200bb",
    "space": "a b",
    "long": "x" * 200,
    "very long": "x" * 60_000,
    "long in bytes": "\u00e4" * 100,
    "empty": "",
    "surrogate": "a\ud800",
}
"""What no name may be."""

EMPTY_PARTS: Final = ("team-a/", "a//b", "/")
"""What only the name of a queue, or of a namespace, may not be."""

FREE: Final = {
    ("Submit", "options", "key"): "the key of tasks",
    ("Submit", "options", "headers"): "passed on untouched",
    ("Publish", "options", "headers"): "passed on untouched",
    ("Settle", "failed"): "the error of a handler",
    ("Goodbye", "reason"): "why a worker cannot work",
    ("About", "host"): "what its machine calls itself",
    ("About", "trouble"): "why a worker cannot work",
    ("Schedule", "cron"): "what the calendar judges",
    ("Schedule", "timezone"): "what the calendar judges",
    ("Query", "arguments"): "judged by what is asked",
    ("Command", "arguments"): "judged by what is asked",
}
"""Text that is no name, by kind and field: it has a limit, and is escaped or cut where it is shown."""

QUEUES: Final = {
    ("Submit", "batches", 1), ("Pull", "queue"), ("Open", "group", 4), ("Schedule", "batch", 1), ("Hello", "queues"),
}  # fmt: skip


def to_coordinator() -> list[tuple[str, Any]]:
    """Returns the kind and the plain value of each example of a message to a coordinator."""
    by_number = {kind.number: kind for kind in KINDS if kind.said_by != "coordinator"}
    found = [msgpack.unpackb(one.values[1]) for one in _good()]
    return [(by_number[value[1]].message.__name__, value) for value in found if value[1] in by_number]


def fields_of(kind: str) -> tuple[str, ...]:
    [fields] = [one.message._fields for one in KINDS if one.message.__name__ == kind]
    return tuple(fields)


def texts_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields where texts are in a plain value."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, list):
        for place, one in enumerate(value):
            yield from texts_in(one, (*path, place))
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from texts_in(one, (*path, name))


def replaced(value: Any, path: tuple[Any, ...], text: str) -> Any:
    if not path:
        return text
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], text)
    return copy


def packed(value: Any) -> bytes:
    return bytes(msgpack.packb(value, unicode_errors="surrogatepass"))


def is_free(kind: str, path: tuple[Any, ...]) -> bool:
    field = fields_of(kind)[path[0] - 2]
    if (kind, field) in FREE:
        return bool(field != "failed" or path[-1] == 3)  # its id is one
    is_header = (kind, "options", "headers") in FREE and "headers" in path
    return is_header or (kind, "options", path[-1]) in FREE


CASES = [
    pytest.param(kind, value, path, id=f"{kind}-{'.'.join(map(str, (fields_of(kind)[path[0] - 2], *path[1:])))}")
    for kind, value in to_coordinator()
    for path in texts_in(value)
]


def test_every_kind_that_has_text_is_tried() -> None:
    tried = {one.values[0] for one in CASES}
    kinds = {one.__name__ for union in (FromClient, FromWorker) for one in union.__args__}

    assert kinds - tried == {"Ping", "Extend", "Withdraw", "Confirm", "Heartbeat", "Release", "Started", "Progress"}


@pytest.mark.parametrize(("kind", "value", "path"), CASES)
def test_what_no_name_may_be_is_refused_in_every_message(kind: str, value: Any, path: tuple[Any, ...]) -> None:
    decode_for_coordinator(packed(value))
    for text in NEVER.values():
        data = packed(replaced(value, path, text))
        try:
            decode_for_coordinator(data)
        except RemoteProtocolError as error:
            check_words(error.text, text)
        else:
            assert is_free(kind, path), text


def test_names_of_queues_have_no_empty_part_in_any_message() -> None:
    seen = set()
    for kind, value in to_coordinator():
        for path in texts_in(value):
            field = fields_of(kind)[path[0] - 2]
            is_queue = {(kind, field), (kind, field, path[-1])} & QUEUES
            if (
                is_queue
                or path[-1] == "on_dead"
                or (field == "done" and path[-2:-1] != () and path[-1] == 1 and len(path) > 3)
            ):
                seen.add(kind)
                for text in EMPTY_PARTS:
                    with pytest.raises(RemoteProtocolError, match="expected"):
                        decode_for_coordinator(packed(replaced(value, path, text)))
    assert seen == {"Submit", "Pull", "Open", "Schedule", "Hello", "Settle"}
    for text in ("team-a/", "team-a/q", "q"):
        decode_for_coordinator(packed([1, 12, 7, text, [], 5.0, 0]))
    for text in ("/", "a//", "//"):
        with pytest.raises(RemoteProtocolError, match="expected queue"):
            decode_for_coordinator(packed([1, 12, 7, text, [], 5.0, 0]))


def test_ids_leave_the_separator_to_their_tasks_in_every_message() -> None:
    for message in (
        [1, 1, 7, [["a#1", "q", None, bytes(4), b""]]],
        [1, 3, 7, "a#1", 0, 1],
        [1, 9, 7, ["a#1", 1, "all", False, None, None]],
        [1, 10, 7, "a#1", "t", None, True, bytes(4), b""],
        [1, 11, 7, ["a#1", "q", None, bytes(4), b""], 5.0, None, "UTC", "one"],
        [1, 22, 7, None, [[1, "a#1", 0, 1, b"", b"", []]], []],
        [1, 22, 7, None, [], [[1, "a#1", 0, "e", None, False]]],
        [1, 1, 7, [["a", "q", {"group": ["a#1", [0]]}, bytes(4), b""]]],
    ):
        with pytest.raises(RemoteProtocolError, match="without #"):
            decode_for_coordinator(packed(message))


# Queries and commands.


ASKED: Final = [
    *((Query, what, arguments) for what in NAMES_IN_QUERIES for arguments in ARGUMENTS.get(what, [{}])),
    *((Command, verb, arguments) for verb in NAMES_IN_COMMANDS for arguments in ARGUMENTS.get(verb, [{}])),
]

FREE_ARGUMENTS: Final = {"reason", "key"}

NAMED: Final = sorted(READERS.keys() - FREE_ARGUMENTS - {"cursor"})


@pytest.fixture(scope="module")
def desk() -> Desk:
    desk = Desk()
    desk.submit("fine", 3)
    desk.submit("odd", 2, queue="held")
    return desk


def check_words(said: str, text: str) -> None:
    """What is said about a text is short, and nothing in it is obeyed by a terminal."""
    assert said.isprintable(), said
    assert len(said) < 900
    assert len(text) <= SHORT_CHARS or text[: SHORT_CHARS + 2] not in said
    said.encode()


def refused(desk: Desk, kind: Any, what: str, arguments: dict[str, Any], text: str) -> None:
    """Asks by way of the decoder, and checks the words."""
    number = 5 if kind is Query else 6
    queues = set(desk.machine.books.queues)
    try:
        message = decode_for_coordinator(packed([1, number, 7, what, arguments]))
    except RemoteProtocolError as error:
        check_words(error.text, text)
        return
    [answer] = desk.say(CLIENT, message)
    assert isinstance(answer, Error), (arguments, answer)
    assert decode_from_coordinator(encode_answer(answer)) == answer
    check_words(answer.text, text)
    assert set(desk.machine.books.queues) == queues


@pytest.mark.parametrize(("kind", "what", "arguments"), ASKED, ids=lambda one: one if isinstance(one, str) else "")
def test_what_no_name_may_be_is_refused_in_every_argument(
    desk: Desk, kind: Any, what: str, arguments: dict[str, Any]
) -> None:
    names = [*(name for name in arguments if name in NAMED), "namespace"]
    for name in names:
        odd = [*NEVER.values(), *(EMPTY_PARTS if name in ("queue", "to", "namespace") else ())]
        for text in odd:
            refused(desk, kind, what, {**arguments, name: text}, text)
        for value in (5, 1.5, True, ["a"]):
            refused(desk, kind, what, {**arguments, name: value}, "")


def test_every_argument_that_is_a_name_is_judged() -> None:
    named = {
        name
        for questions in (NAMES_IN_QUERIES, NAMES_IN_COMMANDS)
        for one in questions.values()
        for name in one.arguments
    }

    assert named <= set(NAMED)


@pytest.mark.parametrize("name", ["queue", "to", "worker", "name", "id", "pattern", "topic", "namespace"])
@pytest.mark.parametrize("text", NEVER)
def test_argument_is_judged_whoever_gets_it(desk: Desk, name: str, text: str) -> None:
    """Also where it is not looked at: a table of arguments by name has no gaps."""
    for kind, what in ((Query, "status"), (Query, "queues"), (Command, "pause")):
        arguments = {"queue": "fine", name: NEVER[text]} if kind is Command else {name: NEVER[text]}
        refused(desk, kind, what, arguments, NEVER[text])


@pytest.mark.parametrize("verb", ["set-queue", "pause", "drain", "resume"])
def test_queue_that_is_there_can_be_named_whatever_it_is_called(verb: str) -> None:
    desk = Desk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(READERS, "queue", lambda value: value)
        patch.setattr("zq.core.admin.commands.queue_in", lambda arguments, what: arguments[what])
        desk.command("set-queue", queue="x\ny", max_tasks=5)

    assert desk.command(verb, queue="x\ny")["name"] == "x\ny"
    assert desk.query("queue", queue="x\ny")["policies"]["max_tasks"] == 5
    desk.command("delete", id="d", queue="x\ny")
    assert desk.query("queues") == []


@pytest.mark.parametrize("text", NEVER.values())
def test_other_texts_of_a_command_are_repeated_in_part_only(desk: Desk, text: str) -> None:
    commands: tuple[tuple[str, dict[str, Any]], ...] = (
        ("set-queue", {"queue": "q", "retry": text}),
        ("set-queue", {"queue": "q", "overflow": text}),
        ("set-queue", {"queue": "q", text: 5}),
        ("set-namespace", {"name": "n", text: 5}),
        ("set-schedule", {"name": "n", text: 5}),
        ("set-schedule", {"name": "n", "catch_up": text}),
        ("purge", {"id": "i", "queue": "q", "states": [text]}),
        ("bind", {"pattern": "p", "queue": "q", "headers": [text]}),
        (text, {}),
    )
    for verb, arguments in commands:
        refused(desk, Command, verb, arguments, text)
    queries: tuple[tuple[str, dict[str, Any]], ...] = (
        ("tasks", {"state": text}),
        ("tasks", {"headers": [text]}),
        ("groups", {"state": text}),
        ("queues", {"limit": text}),
        ("queues", {"cursor": text or "x"}),
        (text, {}),
    )
    for what, arguments in queries:
        refused(desk, Query, what, arguments, text)


@pytest.mark.parametrize("text", ["a\x1b[31mred", "a\nb", "\u202e", "r" * limits.TEXT_CHARS_MAX])
def test_free_text_is_looked_for_or_cut(desk: Desk, text: str) -> None:
    for message in (
        Query(1, "tasks", {"reason": text}),
        Query(1, "tasks", {"key": text[:100]}),
        Command(1, "purge-dead", {"reason": text}),
    ):
        [answer] = desk.say(CLIENT, message)
        assert isinstance(answer, Answer)
