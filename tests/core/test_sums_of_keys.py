"""The status of a bounded key: the sums over what it may see, whatever its patterns, at a bounded cost."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.core.cost import calls_of
from tests.core.guarded import GuardedDesk, task
from zq.core.rights.sums import QUEUES_LOOKED_AT_MAX, outermost
from zq.wire.messages import Command, Hello, Query, Submit

NAMES = ("a/x", "a/x-1", "a/b/x", "ab/x", "x", "x-1", "b/x-2", "b/y")

RIGHTS: tuple[dict[str, Any], ...] = (
    {"namespaces": ("a",)},
    {"namespaces": ("a/b", "a", "b")},
    {"namespaces": ("a", "none"), "work": ("x*",)},
    {"namespaces": ("a", "b"), "submit": ("x",), "work": (), "look": ("*-1", "x*")},
    {"submit": ("x",), "work": ("x*", "*-2"), "look": ()},
    {"submit": (), "work": (), "look": ()},
    {"submit": ("nothing",), "work": (), "look": ("b/*",)},
)


def status(desk: GuardedDesk, peer: bytes) -> Any:
    return desk.say(peer, Query(1, "status", {}))[0].value


@pytest.mark.parametrize("rights", RIGHTS)
def test_sums_are_those_over_what_may_be_seen(rights: dict[str, Any]) -> None:
    desk = GuardedDesk()
    dice = random.Random(0)
    for name in NAMES:
        for number in range(dice.randrange(1, 9)):
            desk.boss(Submit(1, (task(f"{name}-{number}", name),)))
        desk.boss(Command(1, "bury", {"id": f"{name}-0", "reason": "burnt"}))
        desk.say(desk.let(f"worker of {name}", "worker"), Hello(f"w-{name}", "1", (name, "q"), 0, 1, ()))

    peer = desk.let("till", "client", **rights)
    shown = status(desk, peer)

    may = desk.rights["till"].may_see
    queues = [queue for name, queue in desk.machine.books.queues.items() if may(name)]
    workers = [one for one in desk.machine.books.workers.values() if any(map(may, one.queues))]
    assert (shown["queues"], shown["workers"]) == (len(queues), len(workers))
    assert shown["waiting"] == sum(queue.total_waiting for queue in queues)
    assert shown["dead"] == sum(queue.dead for queue in queues)
    assert "is_partial" not in shown


def test_sums_cost_no_more_with_many_queues() -> None:
    desk = GuardedDesk()
    count = 3 * QUEUES_LOOKED_AT_MAX
    for number in range(count):
        desk.boss(Command(1, "set-queue", {"queue": f"a/{number}", "fair": True}))
    bounded = desk.let("bounded", "client", namespaces=("a",), work=("*0",))
    free = desk.let("free", "client", namespaces=("a",))
    desk.boss(Query(1, "status", {}))  # what has changed is added up

    assert calls_of(lambda: status(desk, free)) < 1000
    assert calls_of(lambda: status(desk, bounded)) < 40 * QUEUES_LOOKED_AT_MAX
    shown = status(desk, bounded)
    assert shown["is_partial"] and shown["queues"] <= QUEUES_LOOKED_AT_MAX
    assert status(desk, free)["queues"] == count


def test_outermost_namespaces_are_in_no_other() -> None:
    assert outermost(("a/b", "ab", "a", "c/d", "a")) == ["a", "ab", "c/d"]
