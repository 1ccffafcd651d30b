"""What clients return has everything that the coordinator says, in its order."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

import zq
from zq.cli.output import as_map
from zq.client.insight import value_of


@pytest.fixture
def client() -> zq.Client:
    """Returns a client of a coordinator in memory that has one of everything."""
    app = zq.App.memory()

    @app.task(queue="orders")
    def bake(pizza: str) -> None: ...

    client = app.client
    for id in ("a", "b", "c", "d"):
        client.submit("orders", {"pizza": id}, id=id, key="customer-42")
    client.dead.bury("a", "no oven")
    client.dead.bury("b", "no oven")
    client.dead.start_replay(0.001, queue="orders", reason="oven")
    client.queues.set("orders", max_tasks=10, fair=True, concurrency=1)
    client.queues.set("team/orders", rate=5.0)
    client.queues.purge("team/orders")
    client.namespaces.set("team", max_tasks=7)
    client.topics.bind("orders.#", "orders", {"size": "large"})
    client.schedules.define("bread", "orders", {"pizza": "bread"}, every=3600.0)
    app.run_pending(1)
    return client


def listed(value: Any) -> Any:
    """Returns a value as a message has it: in lists and maps."""
    if isinstance(value, dict):
        return {name: listed(one) for name, one in value.items()}
    return [listed(one) for one in value] if isinstance(value, tuple | list) else value


def check(values: list[Any], rows: list[dict[str, Any]]) -> None:
    assert values
    assert [listed(as_map(value)) for value in values] == listed(rows)
    assert [list(as_map(value)) for value in values] == [list(row) for row in rows]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    """Returns what is said of a queue whose times are not asked for, which the value says by None, in its order."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        shown[name] = value
        if name == "alerts":
            shown |= {"wait": None, "run": None}
    return shown


def test_a_queue_is_what_the_coordinator_says(client: zq.Client) -> None:
    check([client.queues.show("orders")], [untimed(client.query("queue", queue="orders"))])
    check([client.queues.pause("orders")], [untimed(client.query("queue", queue="orders"))])
    assert client.queues.show("orders").closed_by == ("paused",)
    policies = client.queues.show("orders").policies
    assert policies is not None
    assert (policies.max_tasks, policies.fair, policies.rate) == (10, True, None)


def test_a_list_of_queues_leaves_out_what_it_does_not_tell(client: zq.Client) -> None:
    found = client.queues.list()

    assert [(one.name, one.closed_by, one.held_keys, one.policies) for one in found] == [
        ("orders", None, None, None),
        ("team/orders", None, None, None),
    ]
    shown = {name: value for name, value in listed(as_map(found[0])).items() if value is not None}
    assert shown == client.query("queues")[0]


def test_a_dead_letter_is_what_the_coordinator_says(client: zq.Client) -> None:
    rows = client.query("tasks", state="dead")["rows"]
    left_out = {"state": "dead", "tasks": 1}  # which go without saying

    found = [as_map(letter) for letter in client.dead.list(queue="orders", reason="OVEN")]

    assert [letter["id"] for letter in found] == ["b"]  # the replay has brought the other back
    assert [{**letter, **left_out} for letter in found] == rows


def test_all_else_is_what_the_coordinator_says(client: zq.Client) -> None:
    check(client.queues.operations(), client.query("operations"))
    check(client.dead.replays(), client.query("replays"))
    check(client.schedules.list(), client.query("schedules"))
    check([client.schedules.show("bread")], [client.query("schedule", name="bread")])
    check(client.namespaces.list(), client.query("namespaces"))
    check(client.topics.list(queue="orders"), client.query("bindings"))
    check(client.workers.list(), client.query("workers"))


def test_a_value_leaves_out_what_a_newer_coordinator_says() -> None:
    row = {"id": "r", "rate": 1.0, "queue": None, "reason": None, "to": None, "started_time": 5.0, "moved": 3}

    value = value_of(zq.ReplayStatus, {**row, "mood": "good"})

    assert as_map(value) == row


@pytest.mark.parametrize(
    "kind",
    [
        zq.TopicBinding,
        zq.DeadLetter,
        zq.NamespaceStatus,
        zq.OperationStatus,
        zq.QueueStatus,
        zq.ReplayStatus,
        zq.ScheduleStatus,
        zq.WorkerStatus,
    ],
)
def test_values_are_frozen(kind: type[Any]) -> None:
    value = kind(**{one.name: None for one in fields(kind)})

    with pytest.raises(FrozenInstanceError):
        setattr(value, fields(kind)[0].name, "another")
