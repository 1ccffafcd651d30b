"""Clients and workers of two teams at one coordinator, over a real socket and a real store."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "orders.zq", bind=f"ipc://{tmp_path}/socket") as one:
        yield one


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    """Returns a client in no namespace."""
    with zq.Client(coordinator.address, timeout=20.0, namespace="") as one:
        yield one


@pytest.fixture
def team(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address, timeout=20.0, namespace="team-a") as one:
        yield one


def test_same_names_and_ids_of_two_teams_do_not_meet(team: zq.Client, coordinator: zq.Coordinator) -> None:
    with zq.Client(coordinator.address, namespace="team-b") as other:
        mine = team.submit("orders", "a", id="order-1")
        theirs = other.submit("orders", "b", id="order-1")
        assert (mine.id, theirs.id) == ("order-1", "order-1")

        [task] = team.pull("orders", wait=10)
        assert (task.id, task.queue, task.payload) == ("order-1", "orders", "a")
        task.done("mine")

        assert mine.result(10) == team.result("order-1", 10) == "mine"
        assert other.status("order-1").state == "waiting"
        assert [queue.name for queue in other.queues.list()] == ["orders"]


def test_handlers_see_the_names_of_their_namespace(team: zq.Client, client: zq.Client) -> None:
    seen: dict[str, Any] = {}
    worker = zq.Worker(team.address, name="shop", namespace="team-a")

    @worker.task("orders")
    def bake(task: zq.Task) -> str:
        seen.update(id=task.id, queue=task.queue, topic=task.topic)
        task.forward("boxes", 1)
        task.forward("/audit", 2)
        return "baked"

    team.topics.bind("menu.*", "orders")
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        receipt = team.publish("menu.new", {}, id="news")
        assert receipt.receipts["orders"].result(10) == "baked"
        assert [worker.name for worker in team.workers.list()] == ["shop"]
    finally:
        worker.stop()
        thread.join(20)

    assert seen == {"id": "news.1", "queue": "orders", "topic": "menu.new"}
    assert [task.payload for task in team.pull("boxes", wait=10)] == [1]
    assert [task.payload for task in client.pull("audit", wait=10)] == [2]
    assert client.topics.list()[0].pattern == "team-a/menu.*"


def test_groups_and_notices_stay_within_the_namespace(team: zq.Client) -> None:
    group = team.group([1, 2], queue="slices", callback="joined")
    for task in team.pull("slices", max_tasks=5, wait=10):
        task.done(task.payload * 10)
    [joined] = team.pull("joined", wait=10)
    assert (joined.id, joined.payload) == (group.id, [10, 20])
    joined.done("whole")
    assert group.result(10) == "whole"

    receipt = team.submit("orders", 1, on_dead="complaints")
    [task] = team.pull("orders", wait=10)
    task.fail("burnt", is_final=True)
    [notice] = team.pull("complaints", wait=10)
    assert (notice.headers["zq-id"], notice.headers["zq-queue"]) == (receipt.id, "orders")
    assert team.dead.replay(notice.headers["zq-id"])


def test_full_namespace_is_busy_and_says_so(team: zq.Client, client: zq.Client) -> None:
    client.namespaces.set("team-a", max_tasks=3)
    team.submit_many("orders", range(3))

    with pytest.raises(zq.BusyError, match="namespace team-a is full: 3 of 3 tasks"):
        team.submit("more", 1)

    client.submit("more", 1)


def test_policies_and_operations_are_of_the_namespace(team: zq.Client, client: zq.Client) -> None:
    team.queues.set("orders", max_tasks=5)
    team.submit_many("orders", range(4))
    client.submit("orders", 1)

    policies = client.queues.show("team-a/orders").policies
    assert policies is not None
    assert policies.max_tasks == 5
    assert team.queues.move("orders", "later") == 4
    assert team.queues.purge("later") == 4
    assert [one.queue for one in team.queues.operations()] == ["orders", "later"]
    assert client.queues.show("orders").waiting == 1


def test_namespace_comes_from_the_environment(
    coordinator: zq.Coordinator, client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQ_NAMESPACE", "team-c")
    with zq.Client(coordinator.address) as one:
        one.submit("orders", 1)

    assert [queue.name for queue in client.queues.list()] == ["team-c/orders"]


@pytest.mark.parametrize("name", ["/a", "a/", "a//b", "a b", "a#", "x" * 65])
def test_what_cannot_be_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a namespace"):
        zq.Client("ipc:///tmp/nobody", namespace=name)
    with pytest.raises(ValueError, match="expected a namespace"):
        zq.Worker("ipc:///tmp/nobody", namespace=name)
