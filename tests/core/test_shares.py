"""Limits and counts of namespaces, on a coordinator with literal times."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.counting import calls_of
from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import Batch, Command, Error, Options, Publish, Published, Submit


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_limit_is_on_all_queues_of_the_namespace_together(desk: Desk) -> None:
    desk.command("set-namespace", name="team-a", max_tasks=5)
    assert desk.submit("a", 3, queue="team-a/orders").accepted
    assert desk.submit("b", 2, queue="team-a/eu/orders").accepted

    [refused] = desk.submit("c", queue="team-a/more").refused

    assert (refused.code, refused.reason) == ("busy", "namespace team-a is full: 5 of 5 tasks")
    assert desk.submit("d", 9, queue="team-ab/orders").accepted
    assert desk.submit("e", 9, queue="orders").accepted


def test_limits_hold_over_a_restart_and_can_be_taken_away(desk: Desk) -> None:
    desk.submit("a", queue="team-a/orders")
    desk.command("set-namespace", name="team-a", max_tasks=1)
    desk.restart()
    assert desk.submit("b", queue="team-a/orders").refused

    desk.command("set-namespace", name="team-a", max_tasks=None)
    assert desk.submit("b", queue="team-a/orders").accepted
    desk.restart()
    assert desk.submit("c", queue="team-a/orders").accepted


def test_bytes_of_a_namespace_are_limited(desk: Desk) -> None:
    desk.command("set-namespace", name="team-a", max_bytes=3)
    assert desk.submit("a", 2, queue="team-a/orders").accepted

    [refused] = desk.submit("b", 2, queue="team-a/more").refused

    assert refused.reason == "namespace team-a is full: 2 of 3 bytes, and the batch has 2"


def test_room_comes_back_when_tasks_end(desk: Desk) -> None:
    desk.command("set-namespace", name="t", max_tasks=1)
    desk.submit("a", queue="t/q")
    [lease] = assigned(desk.hello(b"w", "shop", queues=("t/q",)))
    assert desk.submit("b", queue="t/q").refused
    desk.settle(b"w", done(lease))
    assert desk.submit("b", queue="t/q").accepted


def test_publication_counts_in_every_queue_of_the_namespace(desk: Desk) -> None:
    desk.command("set-namespace", name="t", max_tasks=3)
    desk.command("bind", pattern="t/a", queue="t/one")
    desk.command("bind", pattern="t/a", queue="t/two")
    payloads = pack_payloads([encode_payload(0)] * 2)

    answer = only(desk.say(CLIENT, Publish(1, "p", "t/a", Options(), True, *payloads)), Published)

    assert answer.refused is not None
    assert answer.refused.reason == "namespace t is full: 0 of 3 tasks"


def test_namespaces_are_listed_with_what_they_hold(desk: Desk) -> None:
    desk.submit("a", 3, queue="team-a/eu/orders")
    desk.submit("b", 2, queue="team-a/orders", delay=9.0)
    desk.submit("c", queue="orders")
    desk.command("set-namespace", name="empty", max_tasks=7)

    rows = {row["name"]: row for row in desk.query("namespaces")}

    assert list(rows) == ["empty", "team-a", "team-a/eu"]
    assert (rows["team-a"]["queues"], rows["team-a"]["waiting"], rows["team-a"]["scheduled"]) == (2, 3, 2)
    assert (rows["team-a/eu"]["waiting"], rows["empty"]["max_tasks"]) == (3, 7)
    assert [row["name"] for row in desk.query("namespaces", namespace="team-a")] == ["team-a/eu"]


def test_questions_within_a_namespace_are_about_it_alone(desk: Desk) -> None:
    for queue in ("team-a/orders", "orders"):
        desk.submit(f"{queue}-waiting", queue=queue)
        desk.submit(f"{queue}-later", queue=queue, delay=9.0)
        desk.command("bind", pattern="a", queue=queue)
    desk.hello(b"w", "team-a/shop", queues=("team-a/more",))
    desk.hello(b"v", "shop", queues=("more",))

    def names(what: str, field: str = "name", **arguments: Any) -> list[str]:
        found = desk.query(what, namespace="team-a", **arguments)
        return [row[field] for row in (found["rows"] if what == "tasks" else found)]

    assert names("queues") == ["team-a/more", "team-a/orders"]
    assert names("tasks", "id", state="waiting") == ["team-a/orders-waiting"]
    assert names("tasks", "id", state="scheduled") == ["team-a/orders-later"]
    assert names("bindings", "queue") == ["team-a/orders"]
    assert names("workers") == ["team-a/shop"]
    status = desk.query("status", namespace="team-a")
    assert (status["queues"], status["workers"], status["waiting"]) == (2, 1, 1)


def test_dead_letters_of_others_are_not_touched_from_within_a_namespace(desk: Desk) -> None:
    for peer, queue in ((b"w", "team-a/orders"), (b"v", "orders")):
        desk.submit(f"bad-{queue}", queue=queue, max_attempts=1)
        [lease] = assigned(desk.hello(peer, queue, queues=(queue,)))
        desk.settle(peer, failed(lease), credit=0)

    assert desk.command("replay", namespace="team-a") == 1
    assert desk.task("bad-orders")["state"] == "dead"
    assert desk.command("purge-dead", namespace="team-a") == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "/a", "max_tasks": 1}, "expected a namespace like"),
        ({"name": "a", "max_tasks": -1}, "expected max_tasks from 0"),
        ({"name": "a", "tasks": 1}, "expected max_tasks and max_bytes"),
    ],
)
def test_limits_that_cannot_be_are_refused(desk: Desk, arguments: dict[str, Any], text: str) -> None:
    [answer] = desk.say(CLIENT, Command(1, "set-namespace", arguments))

    assert isinstance(answer, Error)
    assert text in answer.text


def test_taken_away_limits_count_again_what_is_there_when_they_are_set_again(desk: Desk) -> None:
    desk.submit("a", 3, queue="t/a")
    desk.command("set-namespace", name="t", max_tasks=9)
    desk.command("set-namespace", name="t", max_tasks=None)
    desk.submit("b", 4, queue="t/b")

    assert desk.command("set-namespace", name="t", max_tasks=8)["waiting"] == 7
    assert desk.submit("c", 2, queue="t/new").refused
    assert desk.submit("d", 1, queue="t/new").accepted


def test_deleted_queue_is_in_its_namespace_no_more(desk: Desk) -> None:
    desk.command("set-namespace", name="t", max_tasks=3)
    desk.submit("a", 3, queue="t/a")
    desk.command("delete", id="d", queue="t/a", purge=True)
    desk.wait(1.0)

    assert desk.command("set-namespace", name="t", max_tasks=3)["queues"] == 0
    assert desk.submit("b", 3, queue="t/a").accepted


def test_submit_costs_the_same_however_many_namespaces_have_limits(desk: Desk) -> None:
    limits = 50

    def cost(round: str) -> int:
        queues = [f"{round}/{number}" for number in range(20)]
        desk.hello(b"w", round, queues=tuple(queues))
        batches = [Batch(f"{queue}-x", queue, Options(), *pack_payloads([b"\xc0"])) for queue in queues]
        return calls_of(lambda: desk.say(CLIENT, Submit(1, tuple(batches))))

    desk.command("set-namespace", name="few", max_tasks=1000)
    few = cost("few")
    for number in range(limits):
        desk.command("set-namespace", name=f"n{number}", max_tasks=1)
        desk.submit(f"s{number}", queue=f"n{number}/q")
    desk.command("set-namespace", name="many", max_tasks=1000)

    assert cost("many") <= few + limits // 2  # what else has changed since is counted once


def test_limits_cost_the_same_however_many_queues_the_others_have(desk: Desk) -> None:
    def cost(name: str) -> int:
        return calls_of(lambda: desk.command("set-namespace", name=name, max_tasks=5))

    few = cost("a")
    for number in range(200):
        desk.submit(f"x{number}", queue=f"other/q{number}")
    desk.query("status")  # what has changed since somebody asked is added up once

    assert cost("b") <= few + 20
