"""Options as programs say them: one check with the readers of the wire, whatever the form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest

import zq
from zq.submit_options import (
    SubmitOptions,
    check_id,
    check_name,
    check_queue,
    check_seconds,
    make_header_list,
    make_options,
)
from zq.wire import limits
from zq.wire.messages import DEFAULT_OPTIONS, Options
from zq.wire.options import publication_fault, read_asked_options, read_header_list, read_options, schedule_fault
from zq.wire.retry import RetryPolicy
from zq.wire.unique import Unique
from zq.wire.values import Malformed


class Level(IntEnum):
    HIGH = 7


class Street(StrEnum):
    ELM = "elm"


class Fate(str, Enum):  # noqa: UP042 - its str() is its name, unlike that of a StrEnum
    GIVEN_UP = "cancel"


class Seconds(float):
    """As numpy's numbers are."""


SAID_AND_SENT: list[tuple[Any, Any]] = [
    ({}, {}),
    ({"priority": 7}, {"priority": 7}),
    ({"priority": Level.HIGH, "key": Street.ELM, "on_lost": Fate.GIVEN_UP}, {"priority": 7, "key": "elm", "on_lost": "cancel"}),
    ({"delay": Seconds(5), "timeout": 30, "ttl": 60}, {"delay": 5.0, "timeout": 30.0, "ttl": 60.0}),
    ({"at": datetime(2030, 1, 1, tzinfo=UTC)}, {"at": 1893456000.0}),
    ({"retry": "constant:5", "max_attempts": 3}, {"retry": ("constant", 5.0, 2.0, 60.0), "max_attempts": 3}),
    ({"retry": zq.RetryPolicy.none()}, {"retry": ("none", 1.0, 2.0, 60.0)}),
    ({"retry": ["linear", 1, 2, 60]}, {"retry": ("linear", 1.0, 2.0, 60.0)}),
    ({"unique": "k"}, {"unique": ("k", "ended", "keep")}),
    ({"unique": zq.Unique("k", "started")}, {"unique": ("k", "started", "keep")}),
    ({"headers": MappingProxyType({"a": Street.ELM})}, {"headers": {"a": "elm"}}),
    ({"group": ["g", [0, 1]]}, {"group": ("g", (0, 1))}),
    ({"key": "k", "ordered": True, "on_dead": Street.ELM}, {"key": "k", "ordered": True, "on_dead": "elm"}),
    (dict.fromkeys(["at", "ttl", "key", "max_attempts", "retry", "timeout", "headers", "on_dead", "group", "unique"]), {}),
]  # fmt: skip


@pytest.mark.parametrize(("said", "sent"), SAID_AND_SENT, ids=lambda one: ",".join(one) or "nothing")
def test_what_a_program_says_is_brought_into_the_form_in_which_it_travels(said: Any, sent: Any) -> None:
    made = make_options(**said)

    assert made == read_options(sent) == DEFAULT_OPTIONS._replace(**sent)
    assert all(
        type(one) in (bool, int, float, str, dict, Unique, RetryPolicy, tuple) for one in made if one is not None
    )


def test_every_option_of_a_submit_can_be_read_and_travels() -> None:
    assert SubmitOptions.__annotations__.keys() == set(Options._fields)
    for name in Options._fields:
        wrong: Any = {name: object()}
        with pytest.raises((TypeError, ValueError), match=name):
            make_options(**wrong)


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        ({"priority": "7"}, TypeError, "expected priority from 0 to 9, got '7'"),
        ({"priority": True}, TypeError, "expected priority from 0 to 9, got True"),
        ({"priority": None}, TypeError, "expected priority from 0 to 9, got None"),
        ({"delay": "5"}, TypeError, "expected delay in seconds, got '5'"),
        ({"delay": float("inf")}, ValueError, "expected delay from 0 to 31536000 seconds, got inf"),
        ({"key": 5}, TypeError, "expected key as text, got 5"),
        ({"key": "ä" * 65}, ValueError, "expected key of at most 128 bytes, got 130"),
        ({"retry": 5}, TypeError, "expected retry as a RetryPolicy or text such as none"),
        ({"unique": 5}, TypeError, "expected unique as a key or a zq.Unique, got 5"),
        ({"unique": ""}, ValueError, "expected a unique key of 1 to 128 bytes, got 0"),
        ({"unique": "k", "group": ("g", (0,))}, ValueError, "expected unique or group, got both"),
        ({"headers": [1]}, TypeError, "expected headers as a mapping of text to text"),
        ({"headers": {"h" * 129: ""}}, ValueError, "expected the name of a header of at most 128 characters, got 129"),
        (
            {"headers": {"zq-topic": "x"}},
            ValueError,
            "header 'zq-topic' cannot be given: names that begin with zq- are set",
        ),
        ({"headers": MappingProxyType({"zq-mine": "x"})}, ValueError, "header 'zq-mine' cannot be given"),
        ({"group": "g"}, TypeError, r"expected group as \[id, path\], got 'g'"),
        ({"group": ("g", ())}, ValueError, "expected a path of at least one number"),
        ({"group": ("g", (-1,))}, ValueError, "expected a number of a path from 0 to 2147483647, got -1"),
        ({"at": 1.0, "delay": 1.0}, ValueError, "expected delay or at, got both"),
        ({"ordered": 1}, TypeError, "expected ordered as true or false, got 1"),
        ({"nonsense": 1}, TypeError, "unknown option 'nonsense'; expected one of priority, delay"),
    ],
)
def test_what_cannot_be_is_refused_in_words(said: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        make_options(**said)


def test_reserved_headers_may_be_asked_for_and_are_read_in_answers() -> None:
    topic = f"{limits.RESERVED_HEADER_PREFIX}topic"

    assert make_header_list({topic: "orders"}) == [topic, "orders"]
    assert read_options({"headers": {topic: "orders"}}).headers == {topic: "orders"}
    with pytest.raises(Malformed, match="cannot be given"):
        read_asked_options({"headers": {topic: "orders"}})
    assert make_options(headers={"zq": "1", "Zq-topic": "2"}).headers == {"zq": "1", "Zq-topic": "2"}


def test_headers_of_options_are_those_of_the_moment() -> None:
    headers = {"a": "b"}
    made = make_options(headers=headers)
    headers["c"] = "d"

    assert made.headers == {"a": "b"}


def test_names_and_ids_and_seconds_are_checked_by_the_same_readers() -> None:
    assert check_name("queue", Street.ELM) == "elm"
    assert check_id("order-1") == "order-1"
    assert check_seconds("retry_in", 5) == 5.0
    for wrong in ("", "two words", "\ud800", "n" * 129):
        with pytest.raises(ValueError, match=r"expected queue of (1 to|at most) 128 bytes"):
            check_name("queue", wrong)
    with pytest.raises(TypeError, match="expected queue as text, got 5"):
        check_name("queue", 5)
    with pytest.raises(ValueError, match="expected an id without #, got 'a#1'"):
        check_id("a#1")
    with pytest.raises(TypeError, match="expected an id as text, got None"):
        check_id(None)


def test_headers_travel_as_a_list_where_there_are_no_maps() -> None:
    assert read_header_list(("a", "1", "b", "2")) == {"a": "1", "b": "2"}
    for wrong in (("a",), ("a", 1), "ab", {"a": "b"}):
        with pytest.raises(Malformed, match="expected headers as a list of names and texts in turn"):
            read_header_list(wrong)


def test_schedules_and_publications_have_no_options_that_say_when_or_whose() -> None:
    assert schedule_fault(make_options(key="k", priority=7)) is None
    assert all(schedule_fault(one) for one in (make_options(delay=1.0), make_options(at=1.0), make_options(group=("g", (0,)))))  # fmt: skip
    assert publication_fault(make_options(key="k", delay=1.0)) is None
    assert all(publication_fault(one) for one in (make_options(unique="k"), make_options(group=("g", (0,)))))


A: Any = "3"  # what no type checker would let through
NUMBER: Any = 3

WRONG: dict[str, tuple[Callable[[zq.Client], object], str]] = {
    "concurrency": (lambda client: zq.Worker(concurrency=A), "expected concurrency as a whole number from 1 to 1000"),
    "processes": (lambda client: zq.Worker(processes=A), "expected processes as a whole number from 0 to 1000"),
    "timeout": (lambda client: zq.Client(timeout=A), "expected timeout as seconds, got '3'"),
    "payload_bytes_max": (lambda client: zq.Client(payload_bytes_max=A), "expected payload_bytes_max as a whole"),
    "max_workers": (lambda client: zq.Executor(max_workers=A), "expected max_workers as a whole number, got '3'"),
    "map_bytes": (lambda client: zq.LmdbOptions(map_bytes=A), "map_bytes must be a whole number, got '3'"),
    "heartbeat": (
        lambda client: zq.CoordinatorOptions(heartbeat_interval=A),
        "expected heartbeat_interval as a number",
    ),
    "keep_count": (lambda client: zq.CoordinatorOptions(keep_count=A), "expected keep_count as a whole number"),
    "wait": (lambda client: client.pull("q", wait=A), "expected wait as seconds, got '3'"),
    "result": (lambda client: client.result("a", timeout=A), "expected timeout as seconds, got '3'"),
    "id": (lambda client: client.result(NUMBER), "expected an id as text, got 3"),
    "request": (lambda client: client.request("q", 1, A), "expected timeout as seconds, got '3'"),
    "handle": (lambda client: client.pulled(NUMBER), "expected a handle as text, got 3"),
    "done": (lambda client: client.settle(done=[A]), "expected pulled tasks, or tuples"),
    "done pair": (lambda client: client.settle(done=[(A, 1)]), "expected pulled tasks, or tuples"),
    "failed": (lambda client: client.settle(failed=[A]), "expected pulled tasks, or tuples"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_value_of_another_type_is_a_type_error_in_words(case: str) -> None:
    call, text = WRONG[case]
    with zq.Client("tcp://127.0.0.1:9") as client, pytest.raises(TypeError, match=text):
        call(client)


@pytest.mark.parametrize("queue", ["q/", "q//b", "/", "/q/", "//q"])
def test_a_queue_that_has_no_name_within_a_namespace_is_refused(queue: str) -> None:
    with pytest.raises(ValueError, match="expected queue with something on both sides of each /"):
        check_queue(queue)
    with pytest.raises(ValueError, match="expected queue with something on both sides of each /"):
        zq.Worker().task(queue)
    assert check_queue("/q") == "/q"
    assert check_queue("team/eu/q") == "team/eu/q"
