"""Every limit of the protocol holds on the border: what is at it is let through, and one more is refused.

Limits of bindings, of what a publication reaches and of pulls that wait are the core's, and tested there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from math import inf, nextafter
from pathlib import Path
from typing import Any

import msgpack
import pytest

import zq
from tests.core.desk import CLIENT, Desk, only
from tests.wire.test_examples import _good
from tests.wire.test_refusals import BATCH, frame, hello, submit
from zq.errors import RemoteProtocolError
from zq.wire import limits
from zq.wire.codec import decode_for_coordinator, decode_from_coordinator, encode
from zq.wire.messages import Answer, Batch, Done, Options, Receipt, Settle, Submit

ROOT = Path(__file__).parents[2]

LIMITS = {name for name in vars(limits) if name.isupper()}

ONE = bytes(4)
"""The ends of a batch of one task with an empty payload."""


def payload_of(size: int) -> bytes:
    """Returns one payload of so many bytes."""
    return bytes(size) if size < 5 else b"\xc6" + (size - 5).to_bytes(4, "big") + bytes(size - 5)


def batch_of(tasks: int, size: int) -> bytes:
    """Returns a submit of one batch, the last of whose payloads has all the bytes."""
    return submit(ends=bytes(4 * (tasks - 1)) + size.to_bytes(4, "little"), blob=payload_of(size))


def with_option(name: str, make: Callable[[Any], Any]) -> Callable[[Any], bytes]:
    return lambda value: submit(options={name: make(value)})


def frame_of(size: int) -> bytes:
    """Returns a submit of so many bytes, of two batches."""
    first, second = (
        frame(1, 7, [["b", "q", None, end.to_bytes(4, "little"), payload_of(end)]]) for end in (8 << 20, 1 << 20)
    )
    end = size - len(first) - (len(second) - (1 << 20)) + len(frame(1, 7, []))
    blobs = [payload_of(8 << 20), payload_of(end)]
    return frame(1, 7, [["b", "q", None, len(blob).to_bytes(4, "little"), blob] for blob in blobs])


def pull(most: int = 1, wait: float = 0.0, lease: float = 30.0) -> bytes:
    return frame(2, 1, "c", "q", most, wait, lease)


def follow(kinds: int = 0, lease: float = 1.0) -> bytes:
    return frame(12, 1, None, ["done"] * kinds, lease, 0)


def schedule(every: float = 1.0, catch_up: str = "skip") -> bytes:
    return frame(11, 1, BATCH, every, None, "UTC", catch_up)


def failure(error: str) -> bytes:
    return frame(22, 1, 1, [], [[1, "b", 0, error, None, False]])


EDGES: list[tuple[str, float, Callable[[Any], bytes], str]] = [
    ("version", limits.VERSION, lambda n: msgpack.packb([n, 7, 1]), "version"),
    ("bytes of a frame", limits.FRAME_BYTES_MAX, frame_of, "too-large"),
    ("tasks of a batch", limits.BATCH_TASKS_MAX, lambda n: batch_of(n, 0), "too-large"),
    ("bytes of a batch", limits.BATCH_BYTES_MAX, lambda n: batch_of(2, n), "too-large"),
    ("bytes of a payload", limits.PAYLOAD_BYTES_CEILING, lambda n: batch_of(1, n), "too-large"),
    ("batches of a submit", limits.MESSAGE_BATCHES_MAX, lambda n: frame(1, 7, [BATCH] * n), "too-large"),
    (
        "entries of a settle",
        limits.MESSAGE_BATCHES_MAX,
        lambda n: frame(22, 1, 1, [[1, "b", 0, 1, b"", b"", []]] * n, []),
        "too-large",
    ),
    (
        "batches that a settle forwards",
        limits.FORWARDS_MAX,
        lambda n: frame(
            22,
            1,
            1,
            [[1, "b", 0, 1, b"", b"", [BATCH] * 2]] * (n // 2) + [[1, "b", 0, 1, b"", b"", [BATCH] * (n % 2)]],
            [],
        ),
        "too-large",
    ),
    ("leases of a worker", limits.HELD_MAX, lambda n: hello(held=[[i, []] for i in range(n)]), "malformed"),
    ("credit", limits.CREDIT_MAX, lambda n: hello(credit=n), "malformed"),
    ("bytes of an id", limits.ID_BYTES_MAX, lambda n: submit(id="i" * n), "too-large"),
    (
        "bytes of an id that is not ASCII",
        limits.ID_BYTES_MAX,
        lambda n: submit(id="ä" * 60 + "i" * (n - 120)),
        "too-large",
    ),
    ("bytes of a name", limits.NAME_BYTES_MAX, lambda n: submit(queue="q" * n), "too-large"),
    ("bytes of a key", limits.NAME_BYTES_MAX, with_option("key", lambda n: "ä" * 60 + "k" * (n - 120)), "too-large"),
    (
        "bytes of a unique key",
        limits.NAME_BYTES_MAX,
        with_option("unique", lambda n: ["k" * n, "ended", "keep"]),
        "malformed",
    ),
    (
        "bytes of a publication's id",
        limits.PUBLICATION_ID_BYTES_MAX,
        lambda n: frame(10, 1, "p" * n, "t", None, True, ONE, b""),
        "too-large",
    ),
    ("characters of an error", limits.TEXT_CHARS_MAX, lambda n: failure("ä" * n), "too-large"),
    ("headers", limits.HEADERS_MAX, with_option("headers", lambda n: {str(i): "" for i in range(n)}), "too-large"),
    (
        "characters of a header",
        limits.HEADER_CHARACTERS_MAX,
        with_option("headers", lambda n: {"h": "x" * n}),
        "too-large",
    ),
    ("attempts", limits.ATTEMPTS_MAX, with_option("max_attempts", int), "malformed"),
    (
        "growth of delays",
        limits.RETRY_FACTOR_MAX,
        with_option("retry", lambda n: ["exponential", 1, n, 60]),
        "malformed",
    ),
    ("first delay", limits.DELAY_MAX, with_option("retry", lambda n: ["constant", n, 2, 60]), "malformed"),
    ("delay", limits.DELAY_MAX, with_option("delay", float), "malformed"),
    ("timeout", limits.DELAY_MAX, with_option("timeout", float), "malformed"),
    ("time of a task", limits.TIME_MAX, with_option("at", float), "malformed"),
    (
        "members of a group",
        limits.GROUP_MEMBERS_MAX,
        lambda n: frame(9, 1, ["g", n, "all", False, None, None]),
        "too-large",
    ),
    ("numbers of a path", limits.PATH_MAX, with_option("group", lambda n: ["g", [0] * n]), "too-large"),
    ("number of a path", limits.PATH_NUMBER_MAX, with_option("group", lambda n: ["g", [n]]), "malformed"),
    ("tasks of a pull", limits.BATCH_TASKS_MAX, lambda n: pull(most=n), "malformed"),
    ("lease of a pull", limits.LEASE_MAX, lambda n: pull(lease=n), "malformed"),
    ("message of events that was seen", limits.SEEN_MAX, lambda n: frame(12, 1, None, [], 1.0, n), "malformed"),
    ("lease of an extend", limits.LEASE_MAX, lambda n: frame(8, 1, 1, n), "malformed"),
    ("wait of a pull", limits.WAIT_MAX, lambda n: pull(wait=n), "malformed"),
    ("lease of a follow", limits.FOLLOW_MAX, lambda n: follow(lease=n), "malformed"),
    ("kinds of a follow", limits.EVENT_KINDS_MAX, lambda n: follow(kinds=n), "too-large"),
]
"""What is limited, the limit, how a message with so much of it is made, and the code with which one more is refused."""


@pytest.mark.parametrize(("limit", "make", "code"), [pytest.param(*edge, id=what) for what, *edge in EDGES])
def test_limit_is_accepted_and_one_more_refused(limit: float, make: Callable[[Any], bytes], code: str) -> None:
    more = limit + 1 if isinstance(limit, int) else nextafter(limit, inf)
    decode_for_coordinator(make(limit))

    with pytest.raises(RemoteProtocolError) as caught:
        decode_for_coordinator(make(more))

    assert caught.value.code == code


def test_schedule_may_not_be_faster_than_the_limit() -> None:
    decode_for_coordinator(schedule(every=limits.EVERY_MIN))

    with pytest.raises(RemoteProtocolError, match="every as a number from 1"):
        decode_for_coordinator(schedule(every=nextafter(limits.EVERY_MIN, 0.0)))


def test_schedule_has_one_of_the_ways_to_catch_up() -> None:
    for way in limits.CATCH_UP:
        decode_for_coordinator(schedule(catch_up=way))

    with pytest.raises(RemoteProtocolError, match="catch_up as one of skip, one, all"):
        decode_for_coordinator(schedule(catch_up="most"))


def test_ids_of_batches_leave_the_separator_to_their_tasks() -> None:
    decode_for_coordinator(frame(4, 1, f"b{limits.TASK_SEPARATOR}3"))

    with pytest.raises(RemoteProtocolError, match="batch id without #"):
        decode_for_coordinator(submit(id=f"b{limits.TASK_SEPARATOR}3"))


def test_client_sends_payloads_up_to_the_limit() -> None:
    head = 5  # of a msgpack bin
    client = zq.App.memory().client
    client.submit("q", bytes(limits.PAYLOAD_BYTES_MAX - head))

    with pytest.raises(zq.PayloadTooLargeError):
        client.submit("q", bytes(limits.PAYLOAD_BYTES_MAX - head + 1))


@pytest.mark.parametrize(("more", "refused"), [(0, 0), (1, 1)])
def test_coordinator_takes_payloads_up_to_the_limit(more: int, refused: int) -> None:
    size = limits.PAYLOAD_BYTES_MAX + more
    batch = Batch("b", "q", Options(), size.to_bytes(4, "little"), bytes(size))

    receipt = only(Desk().say(CLIENT, Submit(1, (batch,))), Receipt)

    assert len(receipt.refused) == refused


# Nesting.


def nested(levels: int) -> Any:
    """Returns a list of a map of a list ..., of so many levels."""
    value: Any = 1
    for level in range(levels):
        value = {"in": value} if level % 2 else [value]
    return value


def depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    return 0 if parts is None else 1 + max(map(depth, parts), default=0)


def test_answer_may_nest_to_the_limit() -> None:
    value = nested(limits.DEPTH_MAX - 1)  # the message itself is the first level

    assert decode_from_coordinator(encode(Answer(1, value))) == Answer(1, value)


@pytest.mark.parametrize("levels", [limits.DEPTH_MAX, limits.DEPTH_MAX + 1, 60, 500])
def test_answer_that_nests_deeper_is_refused(levels: int) -> None:
    with pytest.raises(RemoteProtocolError, match="too-large: expected at most 8 levels of nesting in a message"):
        decode_from_coordinator(encode(Answer(1, nested(levels))))


def test_deepest_request_nests_to_the_limit() -> None:
    forward = Batch("f", "q", Options(group=("g", (0, 1))), ONE, b"")
    message = Settle(1, 1, (Done(1, "b", 0, 1, b"", b"", (forward,)),), ())

    assert depth(msgpack.unpackb(encode(message))) == limits.DEPTH_MAX
    assert decode_for_coordinator(encode(message)) == message


def deepened(value: Any, level: int = 1) -> Iterator[Any]:
    """Yields a message once for each value in it, with something in its place that nests deeper than the limit."""
    if level > 1:
        yield nested(limits.DEPTH_MAX + 2 - level)
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, part in parts:
        for one in deepened(part, level + 1):
            changed = value.copy()
            changed[place] = one
            yield changed


@pytest.mark.parametrize("data", [pytest.param(one.values[1], id=one.id) for one in _good()])
def test_no_message_nests_deeper_than_the_limit_anywhere(data: bytes) -> None:
    for message in deepened(msgpack.unpackb(data)):
        assert depth(message) > limits.DEPTH_MAX
        for decode in (decode_for_coordinator, decode_from_coordinator):
            with pytest.raises(RemoteProtocolError):
                decode(msgpack.packb(message))


# All of them.


@cache
def limits_named_in(folder: str) -> set[str]:
    """Returns the names of limits that files of a folder take from their module."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "zq.wire.limits":
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "limits":
                found.add(node.attr)
    return found


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_limit_is_used_and_tested(name: str) -> None:
    assert name in limits_named_in("zq"), "no part of the product looks at it"
    assert name in limits_named_in("tests"), "no test names it: it should be tested at its edge"
