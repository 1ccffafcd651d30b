"""Clients and workers of two teams at one coordinator, over a real socket and a real store."""

import asyncio
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
        assert [row["name"] for row in other.query("queues")] == ["orders"]


def test_handlers_see_the_names_of_their_namespace(team: zq.Client, client: zq.Client) -> None:
    seen: dict[str, Any] = {}
    worker = zq.Worker(team.address, name="shop", namespace="team-a")

    @worker.task("orders")
    def bake(task: zq.Task) -> str:
        seen.update(id=task.id, queue=task.queue, topic=task.topic)
        task.forward("boxes", 1)
        task.forward("/audit", 2)
        return "baked"

    team.bind("menu.*", "orders")
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        receipt = team.publish("menu.new", {}, id="news")
        assert receipt.receipts["orders"].result(10) == "baked"
        assert [row["name"] for row in team.query("workers")] == ["shop"]
    finally:
        worker.stop()
        thread.join(20)

    assert seen == {"id": "news.1", "queue": "orders", "topic": "menu.new"}
    assert [task.payload for task in team.pull("boxes", wait=10)] == [1]
    assert [task.payload for task in client.pull("audit", wait=10)] == [2]
    assert client.query("bindings")[0]["pattern"] == "team-a/menu.*"


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
    task.fail("burnt", final=True)
    [notice] = team.pull("complaints", wait=10)
    assert (notice.headers["zq-id"], notice.headers["zq-queue"]) == (receipt.id, "orders")
    assert team.retry(notice.headers["zq-id"])


def test_full_namespace_is_busy_and_says_so(team: zq.Client, client: zq.Client) -> None:
    client.set_namespace("team-a", max_tasks=3)
    team.submit_many("orders", range(3))

    with pytest.raises(zq.BusyError, match="namespace team-a is full: 3 of 3 tasks"):
        team.submit("more", 1)

    client.submit("more", 1)


def test_policies_and_operations_are_of_the_namespace(team: zq.Client, client: zq.Client) -> None:
    team.set_queue("orders", max_tasks=5)
    team.submit_many("orders", range(4))
    client.submit("orders", 1)

    assert client.query("queue", queue="team-a/orders")["policies"]["max_tasks"] == 5
    assert team.queues.move("orders", "later") == 4
    assert team.queues.purge("later") == 4
    assert [row["queue"] for row in team.queues.operations()] == ["orders", "later"]
    assert client.query("queue", queue="orders")["waiting"] == 1


def test_namespace_comes_from_the_environment(
    coordinator: zq.Coordinator, client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQ_NAMESPACE", "team-c")
    with zq.Client(coordinator.address) as one:
        one.submit("orders", 1)

    assert [row["name"] for row in client.query("queues")] == ["team-c/orders"]


@pytest.mark.parametrize("name", ["/a", "a/", "a//b", "a b", "a#", "x" * 65])
def test_what_cannot_be_a_namespace_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected a namespace"):
        zq.Client("ipc:///tmp/nobody", namespace=name)
    with pytest.raises(ValueError, match="expected a namespace"):
        zq.Worker("ipc:///tmp/nobody", namespace=name)


def test_app_submits_and_works_in_its_namespace(client: zq.Client, coordinator: zq.Coordinator) -> None:
    app = zq.App(coordinator.address, namespace="team-a")

    @app.task
    def bake(task: zq.Task, pizza: str) -> list[str]:
        return [task.queue, pizza]

    async def bake_two() -> list[Any]:
        first, second = await bake.asubmit("funghi"), await bake.asubmit("marinara")
        return [await first.result(10), await second.result(10)]

    receipt = bake.submit("regina")
    assert [row["name"] for row in client.query("queues")] == ["team-a/bake"]
    with app, app.worker(name="shop"):
        assert receipt.result(10) == ["bake", "regina"]
        assert asyncio.run(bake_two()) == [["bake", "funghi"], ["bake", "marinara"]]
        assert [row["name"] for row in client.query("workers")] == ["team-a/shop"]
    assert (app.namespace, zq.App(namespace="").namespace) == ("team-a", None)


def test_worker_of_an_app_may_be_in_another_namespace(coordinator: zq.Coordinator) -> None:
    app = zq.App(coordinator.address, namespace="team-a")
    bake = app.task(_bake)

    with zq.Client(coordinator.address, namespace="team-b") as other, app.worker(namespace="team-b"):
        assert other.submit("_bake", {}).result(10) == "baked"

    assert bake.submit().status().state == "waiting"
    app.close()


def _bake() -> str:
    return "baked"


def test_app_takes_its_namespace_from_the_environment_when_it_is_needed(
    client: zq.Client, coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zq.App(coordinator.address) as app:
        monkeypatch.setenv("ZQ_NAMESPACE", "team-a")
        app.task(_bake).submit()

        assert app.namespace == "team-a"
    assert [row["name"] for row in client.query("queues")] == ["team-a/_bake"]


@pytest.mark.parametrize("make", [zq.App, zq.App.memory, zq.Executor])
def test_what_cannot_be_a_namespace_is_refused_at_once(make: Any) -> None:
    with pytest.raises(ValueError, match="expected a namespace like team-a"):
        make(namespace="team a")


def test_executor_calls_in_its_namespace(
    client: zq.Client, coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQ_EXECUTOR_ALLOW", "builtins")
    with zq.Executor(coordinator.address, max_workers=1, namespace="team-a") as executor:
        assert executor.submit(pow, 2, 8).result(60) == 256

        assert [row["name"] for row in client.query("queues")] == ["team-a/zq.executor"]
        assert [row["name"].partition("/")[0] for row in client.query("workers")] == ["team-a"]


def test_executor_of_an_app_is_in_the_namespace_of_the_app(
    client: zq.Client, coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZQ_EXECUTOR_ALLOW", "builtins")
    app = zq.App(coordinator.address, namespace="team-a")
    with zq.Executor(app, max_workers=1) as ours, zq.Executor(app, max_workers=1, namespace="team-b") as theirs:
        assert ours.submit(pow, 2, 8).result(60) == theirs.submit(pow, 2, 8).result(60) == 256

        assert {row["name"] for row in client.query("queues")} == {"team-a/zq.executor", "team-b/zq.executor"}


def test_app_in_memory_has_the_names_of_its_namespace() -> None:
    app = zq.App.memory(namespace="team-a")

    @app.task
    def bake(task: zq.Task) -> str:
        task.forward("/audit", task.id)
        return task.queue

    receipt = bake.options(id="order-1").submit()

    assert receipt.result() == "bake"
    assert receipt.id == "order-1"
    assert [task.payload for task in app.client.pull("/audit")] == ["order-1"]
    assert [row["name"] for row in app.client.query("queues")] == ["bake"]
    with zq.App(namespace="team-a").in_memory() as other:
        assert other.namespace == "team-a"
