"""A coordinator may answer anything: who asked hears of it in words, and the client goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import zq
from tests.client.fake_coordinator import FakeCoordinator
from zq.client.client import Client
from zq.wire.messages import Answer, FromCoordinator, Ping, Submit, ToCoordinator

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, "", "a", b"x", (), (1,), ("a",), ((),), ({},), {}, {"a": 1}, {"rows": 5, "cursor": 1}),
    *(
        {"rows": (1, 2), "cursor": None},
        {"policies": 5},
        {"state": "running"},
        ({"time": "x", "event": {}},),
        {"code": 1},
    ),
)

ASKED: dict[str, Callable[[Client], Any]] = {
    "status": lambda client: client.status("a"),
    "why": lambda client: client.why("a"),
    "trace": lambda client: client.trace("a"),
    "payload": lambda client: client.payload("a"),
    "tasks": lambda client: list(client.tasks(limit=1)),
    "pull": lambda client: client.pull("a"),
    "pulled.extend": lambda client: client.pulled("1:a").extend(5),
    "pulled.release": lambda client: client.pulled("1:a").release(),
    "settle": lambda client: client.settle([client.pulled("1:a")]),
    "publish": lambda client: client.publish("a", 1),
    "group": lambda client: client.group([1], queue="a", id="g"),
    "cancel": lambda client: client.cancel("a"),
    "queues.list": lambda client: client.queues.list(),
    "queues.show": lambda client: client.queues.show("a"),
    "queues.set": lambda client: client.queues.set("a", max_tasks=5),
    "queues.operations": lambda client: client.queues.operations(),
    "dead.list": lambda client: client.dead.list(),
    "dead.replays": lambda client: client.dead.replays(),
    "dead.start_replay": lambda client: client.dead.start_replay(5),
    "schedules.list": lambda client: client.schedules.list(),
    "schedules.show": lambda client: client.schedules.show("a"),
    "schedules.set": lambda client: client.schedules.set("a", every=5),
    "schedules.define": lambda client: client.schedules.define("a", "a", 1, every=5),
    "topics.list": lambda client: client.topics.list(),
    "topics.match": lambda client: client.topics.match("a"),
    "namespaces.list": lambda client: client.namespaces.list(),
    "namespaces.set": lambda client: client.namespaces.set("a", max_tasks=5),
    "workers.list": lambda client: client.workers.list(),
}


@pytest.mark.parametrize("which", ASKED)
def test_answer_that_cannot_be_understood_is_told_in_words(
    coordinator: FakeCoordinator, client: Client, which: str
) -> None:
    answer: Any = None

    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit | Ping):
            return None
        number: Any = message[0]
        return [Answer(number, answer)]

    coordinator.handler = handle
    faults = []
    for answer in ODD:
        try:
            ASKED[which](client)
        except (zq.ZqError, ValueError):
            pass
        except Exception as error:
            faults.append(f"{answer!r}: {error!r}")

    assert faults == []
    assert client.submit("orders", 1).id in coordinator.stored
