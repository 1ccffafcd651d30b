"""Whoever binds a queue neither breaks what others publish, nor gets what is not meant for him."""

from __future__ import annotations

from typing import Any

from tests.core.desk import only
from tests.core.guarded import GuardedDesk, task
from zq.core.rights.rights import EVERY_QUEUE
from zq.wire.messages import Answer, Command, Error, Options, Publish, Published


def of(*queues: str) -> dict[str, Any]:
    return dict.fromkeys(("submit", "work", "look"), queues)


def publication(id: str, topic: str) -> Publish:
    return Publish(1, id, topic, Options(), True, *task(id, "q")[3:])


def bind(pattern: str, queue: str) -> Command:
    return Command(1, "bind", {"pattern": pattern, "queue": queue})


def test_who_has_some_queues_and_no_namespace_may_not_bind() -> None:
    desk = GuardedDesk()
    keeper = desk.let("keeper", "admin", **of("mine"))

    for pattern in ("#", "orders.*", "orders"):
        assert only(desk.say(keeper, bind(pattern, "mine")), Error).code == "denied"


def test_who_has_some_queues_of_a_namespace_may_bind_them_to_topics_in_it() -> None:
    desk = GuardedDesk()
    keeper = desk.let("keeper", "admin", namespaces=("a",), **of("mine"))

    assert only(desk.say(keeper, bind("a/#", "a/mine")), Answer)
    for pattern, queue in (("#", "a/mine"), ("b/#", "a/mine"), ("a/#", "a/other")):
        assert only(desk.say(keeper, bind(pattern, queue)), Error).code == "denied"


def test_a_publication_goes_to_the_queues_that_its_key_may_submit_to_whatever_else_is_bound() -> None:
    desk = GuardedDesk()
    till = desk.let("till", "client", namespaces=("a",), **of("orders*"))
    keeper = desk.let("keeper", "admin", namespaces=("a",), **of("mine"))
    everybody = desk.let("everybody", "client", submit=EVERY_QUEUE, namespaces=("a",))
    desk.boss(bind("a/orders.*", "a/orders"))
    desk.say(keeper, bind("a/#", "a/mine"))

    assert queues_of(desk.say(till, publication("a/1", "a/orders.new"))) == ["a/orders"]
    assert queues_of(desk.say(till, publication("a/1", "a/orders.new"))) == ["a/orders"]
    assert queues_of(desk.say(everybody, publication("a/2", "a/orders.new"))) == ["a/mine", "a/orders"]
    unheard = only(desk.say(till, publication("a/3", "a/news")), Published).refused
    assert unheard is not None
    assert unheard == only(desk.say(till, publication("a/3", "a/news")), Published).refused
    assert unheard.code == "unroutable"


def queues_of(sent: list[Any]) -> list[str]:
    published = only(sent, Published)
    assert published.refused is None
    return [one.queue for one in published.stored]
