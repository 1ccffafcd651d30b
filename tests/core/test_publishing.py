"""Publishing, on a coordinator with literal times: all queues or none, once, and known over restarts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, only
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.limits import FANOUT_BYTES_MAX, FANOUT_QUEUES_MAX
from zq.wire.messages import Command, Error, Options, Publish, Published, Pull, Query, Tasks


@pytest.fixture
def desk() -> Desk:
    return Desk()


def publish(
    desk: Desk, topic: str, id: str = "p", count: int = 1, *, is_mandatory: bool = True, **options: Any
) -> Published:
    desk.number += 1
    payloads = pack_payloads([encode_payload(i) for i in range(count)])
    message = Publish(desk.number, id, topic, Options(**options), is_mandatory, *payloads)
    return only(desk.say(CLIENT, message), Published)


def reached(answer: Published) -> list[tuple[str, str]]:
    assert answer.refused is None
    return [(one.queue, one.id) for one in answer.stored]


def counts(desk: Desk) -> dict[str, int]:
    return {row["name"]: row["waiting"] for row in desk.query("queues")}


def test_publication_is_one_batch_in_each_bound_queue(desk: Desk) -> None:
    assert desk.command("bind", pattern="orders.#", queue="kitchen") is True
    assert desk.command("bind", pattern="orders.*", queue="kitchen") is True
    assert desk.command("bind", pattern="*.eu", queue="audit") is True
    assert desk.command("bind", pattern="*.us", queue="elsewhere") is True

    answer = publish(desk, "orders.eu", count=3)

    assert reached(answer) == [("audit", "p.1"), ("kitchen", "p.2")]
    assert counts(desk) == {"kitchen": 3, "audit": 3, "elsewhere": 0}


def test_topic_reaches_the_handler_beside_the_headers(desk: Desk) -> None:
    desk.command("bind", pattern="#", queue="q")
    publish(desk, "orders.eu", headers={"city": "rome"})

    [assignment] = assigned(desk.hello(b"w", "shop"))

    assert assignment.options.headers == {"city": "rome", "zq-topic": "orders.eu"}


def test_repeated_publication_gets_the_same_answer_and_stores_nothing(desk: Desk) -> None:
    desk.command("bind", pattern="a", queue="one")
    first = reached(publish(desk, "a"))
    desk.command("bind", pattern="a", queue="another")
    desk.restart()

    assert reached(publish(desk, "a")) == first
    assert counts(desk) == {"one": 1, "another": 0}


def test_publication_is_known_as_long_as_a_task_of_it_waits() -> None:
    desk = Desk(keep_seconds=10.0, keep_seconds_min=5.0)
    desk.command("bind", pattern="a", queue="one")
    publish(desk, "a")
    desk.wait(100.0, every=1.0)
    assert len(reached(publish(desk, "a"))) == 1
    assert counts(desk) == {"one": 1}

    desk.number += 1
    [assignment] = only(desk.say(CLIENT, Pull(desk.number, "c", "one", 1, 0.0, 30.0)), Tasks).assignments
    desk.settle(CLIENT, done(assignment), credit=None)
    desk.wait(100.0, every=1.0)
    assert desk.query("status")["counters"]["published"] == 1
    publish(desk, "a")
    assert desk.query("status")["counters"]["published"] == 2


def test_full_queue_refuses_the_whole_publication(desk: Desk) -> None:
    desk.command("bind", pattern="a", queue="one")
    desk.command("bind", pattern="a", queue="two")
    desk.command("set-queue", queue="two", max_tasks=2)

    answer = publish(desk, "a", count=3)

    assert answer.stored == ()
    assert answer.refused is not None
    assert (answer.refused.id, answer.refused.code) == ("p", "busy")
    assert "queue two is full" in answer.refused.reason
    assert counts(desk) == {"one": 0, "two": 0}


def test_publishing_to_nobody_is_reported_and_never_confirmed_silently(desk: Desk) -> None:
    desk.command("bind", pattern="a.*", queue="one")

    refused = publish(desk, "b")
    assert refused.refused is not None
    assert refused.refused.code == "unroutable"

    optional = publish(desk, "b", is_mandatory=False)
    assert (optional.stored, optional.refused) == ((), None)


def test_publication_that_reached_nobody_reaches_nobody_when_it_comes_again(desk: Desk) -> None:
    publish(desk, "b", is_mandatory=False)
    desk.command("bind", pattern="b", queue="one")

    assert reached(publish(desk, "b")) == []


def test_bindings_hold_over_a_restart_and_can_be_removed(desk: Desk) -> None:
    desk.command("bind", pattern="a", queue="one")
    desk.command("bind", pattern="a", queue="one", headers=("city", "rome", "size", "large"))
    desk.command("bind", pattern="a", queue="one", headers=("size", "large", "city", "rome"))
    desk.command("bind", pattern="b", queue="two")
    desk.restart()

    assert desk.query("bindings") == [
        {"pattern": "a", "queue": "one", "headers": {}},
        {"pattern": "a", "queue": "one", "headers": {"city": "rome", "size": "large"}},
        {"pattern": "b", "queue": "two", "headers": {}},
    ]
    assert desk.command("bind", pattern="b", queue="two") is False
    assert desk.command("unbind", pattern="a", queue="one", headers=("city", "rome", "size", "large")) == 1
    assert desk.command("unbind", pattern="a", queue="one") == 1
    desk.restart()
    assert [row["pattern"] for row in desk.query("bindings")] == ["b"]
    assert desk.query("match", topic="b") == ["two"]


def test_tasks_of_a_publication_end_independently(desk: Desk) -> None:
    desk.command("bind", pattern="a", queue="one")
    desk.command("bind", pattern="a", queue="two")
    publish(desk, "a", max_attempts=1)

    assert (desk.task("p.1")["queue"], desk.task("p.2")["queue"]) == ("one", "two")
    assert desk.say(CLIENT, Query(1, "task", {"id": "p"}))[0].value["state"] == "unknown"


@pytest.mark.parametrize(
    ("verb", "arguments", "text"),
    [
        ("bind", {"pattern": "a..b", "queue": "q"}, "dot-separated"),
        ("bind", {"pattern": "a b", "queue": "q"}, "spaces"),
        ("bind", {"pattern": "a", "queue": "q q"}, "spaces"),
        ("bind", {"pattern": "a", "queue": "q", "headers": ("x",)}, "names and texts in turn"),
        ("unbind", {"pattern": "a", "queue": ""}, "expected queue"),
    ],
)
def test_binding_that_cannot_be_is_refused(desk: Desk, verb: str, arguments: dict[str, Any], text: str) -> None:
    [answer] = desk.say(CLIENT, Command(1, verb, arguments))

    assert isinstance(answer, Error)
    assert text in answer.text


def test_group_is_refused_for_good(desk: Desk) -> None:
    desk.command("bind", pattern="a", queue="one")
    grouped = publish(desk, "a", group=("g", (0,))).refused
    assert grouped is not None
    assert (grouped.code, "group" in grouped.reason) == ("invalid", True)


def test_publication_writes_bytes_up_to_the_limit_and_more_are_told_to_come_back(desk: Desk) -> None:
    size = 1 << 20
    for number in range(FANOUT_BYTES_MAX // size):
        desk.command("bind", pattern="big", queue=f"q{number}")
    payloads = pack_payloads([b"x" * size])
    [answer] = desk.say(CLIENT, Publish(1, "one", "big", Options(), True, *payloads))
    assert answer.refused is None

    desk.command("bind", pattern="big", queue="more")
    [answer] = desk.say(CLIENT, Publish(2, "two", "big", Options(), True, *payloads))
    assert (answer.stored, answer.refused.code) == ((), "busy")
    assert "above the limit of 67108864 together" in answer.refused.reason


def test_pattern_has_queues_up_to_the_limit_and_publications_that_reach_more_are_told_to_come_back(desk: Desk) -> None:
    for number in range(FANOUT_QUEUES_MAX):
        desk.command("bind", pattern="wide", queue=f"q{number}")
    assert len(reached(publish(desk, "wide", "one"))) == FANOUT_QUEUES_MAX

    [error] = desk.say(CLIENT, Command(1, "bind", {"pattern": "wide", "queue": "more"}))
    assert (error.code, error.text[:32]) == ("busy", "1000 queues are bound to wide wi")
    assert desk.command("bind", pattern="wide", queue="q0") is False  # it is there
    assert desk.command("bind", pattern="wide", queue="some", headers=("a", "b")) is True
    assert len(reached(publish(desk, "wide", "two"))) == FANOUT_QUEUES_MAX

    desk.command("bind", pattern="#", queue="more")
    refused = publish(desk, "wide", "three").refused
    assert refused is not None
    assert (refused.code, refused.reason) == ("busy", "topic wide reaches 1001 queues, the limit is 1000")
    [error] = desk.say(CLIENT, Query(1, "match", {"topic": "wide"}))
    assert error.code == "busy"

    desk.command("unbind", pattern="wide", queue="q0")
    assert len(reached(publish(desk, "wide", "three"))) == FANOUT_QUEUES_MAX
    assert desk.command("bind", pattern="wide", queue="last") is True


def test_there_may_be_bindings_up_to_the_limit() -> None:
    desk = Desk(bindings_max=3)
    for number in (1, 2):
        desk.command("bind", pattern="a", queue=f"q{number}")
    assert desk.command("bind", pattern="b", queue="last") is True

    [refused] = desk.say(CLIENT, Command(1, "bind", {"pattern": "b", "queue": "more"}))
    assert (refused.code, refused.text) == ("busy", "there are 3 bindings, and bindings_max says that there may be 3")
    assert desk.command("bind", pattern="b", queue="last") is False  # one that is there takes no more room


def test_publications_beyond_what_one_step_may_write_are_told_to_come_back(desk: Desk) -> None:
    for number in range(40):
        desk.command("bind", pattern="big", queue=f"q{number}")
    payloads = pack_payloads([b"x" * (1 << 20)])
    sent = desk.turn(
        (CLIENT, Publish(1, "big-1", "big", Options(), True, *payloads)),
        (CLIENT, Publish(2, "big-2", "big", Options(), True, *payloads)),
    )

    first, second = [message for _, message in sent]
    assert len(first.stored) == 40
    assert (second.stored, second.refused.code) == ((), "busy")


def test_task_that_has_the_id_of_a_part_is_not_overwritten(desk: Desk) -> None:
    desk.command("bind", pattern="a", queue="one")
    desk.submit("p.1")

    refused = publish(desk, "a").refused

    assert refused is not None
    assert "there is a task p.1" in refused.reason
