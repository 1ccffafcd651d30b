"""What the interface tells of a coordinator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import zq
from zq.dashboard.app import make_app
from zq.dashboard.options import DashboardOptions


def test_session_tells_what_is_looked_at(site: TestClient, coordinator: zq.Coordinator) -> None:
    session = site.get("/api/v1/session").json()

    assert session["address"] == coordinator.address
    assert session["is_connected"] is True
    assert session["coordinator_version"] == zq.__version__
    assert session["is_read_only"] is session["redacts"] is False


def test_queue_is_paused_and_resumed(site: TestClient, client: zq.Client) -> None:
    client.submit("team/orders", 1)

    paused = site.post("/api/v1/queues/team%2Forders/pause", json={})
    waiting = client.pull("team/orders")
    resumed = site.post("/api/v1/queues/team%2Forders/resume", json={})

    assert paused.json()["policies"]["paused"] is True
    assert waiting == []
    assert resumed.json()["policies"]["paused"] is False
    assert [task.payload for task in client.pull("team/orders", wait=10)] == [1]


def test_overview_has_status_rates_failures_and_times(site: TestClient, client: zq.Client) -> None:
    id = client.submit("orders", 1).id
    (task,) = client.pull("orders")
    task.fail("no oven")

    overview = site.get("/api/v1/overview").json()

    assert overview["status"]["dead"] == 1
    assert overview["rates"].keys() >= {"accepted", "done", "failed", "dead", "retried"}
    assert overview["wait"].keys() == overview["run"].keys() == {"p50", "p95", "p99"}
    assert [(row["id"], row["error"], row["is_dead"]) for row in overview["failures"]] == [(id, "no oven", True)]
    assert site.get("/api/v1/failures?queue=orders").json()["rows"] == overview["failures"]


def test_queues_are_listed_by_prefix_and_page(site: TestClient, client: zq.Client) -> None:
    for name in ("a.1", "a.2", "a.3", "b.1"):
        client.submit(name, 1)

    first = site.get("/api/v1/queues?limit=2").json()
    second = site.get("/api/v1/queues", params={"limit": 2, "cursor": first["cursor"]}).json()
    found = site.get("/api/v1/queues?prefix=b.").json()

    assert [row["name"] for row in (*first["rows"], *second["rows"])] == ["a.1", "a.2", "a.3", "b.1"]
    assert second["cursor"] is None
    assert [row["name"] for row in found["rows"]] == ["b.1"]
    assert found["rows"][0]["rates"].keys() == {"in", "out"}
    assert set(found["rows"][0]["spark"]) <= {0.0}


def test_queue_is_shown_with_policies_and_times(site: TestClient, client: zq.Client) -> None:
    client.submit("orders", 1)
    client.pull("orders")[0].done()

    set_to = site.post("/api/v1/queues/orders/policies", json={"max_tasks": 7, "fair": True}).json()
    bad = site.post("/api/v1/queues/orders/policies", json={"max_tasks": "many"})
    queue = site.get("/api/v1/queues/orders").json()

    assert (set_to["policies"]["max_tasks"], queue["policies"]["max_tasks"], queue["policies"]["fair"]) == (7, 7, True)
    assert bad.status_code == 400
    assert queue["run"]["p95"] > 0
    assert site.get("/api/v1/queues/nobody").status_code == 404


def test_queue_is_purged_and_deleted_after_it_was_counted(site: TestClient, client: zq.Client) -> None:
    client.submit_many("orders", range(5))
    client.submit("orders", 1, delay=600)

    dry = site.post("/api/v1/queues/orders/purge", json={"is_dry_run": True}).json()
    bad = site.post("/api/v1/queues/orders/purge", json={"states": ["leased"]})
    full = site.post("/api/v1/queues/orders/delete", json={})
    purged = site.post("/api/v1/queues/orders/purge", json={}).json()
    deleted = site.post("/api/v1/queues/orders/delete", json={}).json()

    assert dry == purged == {"count": 6}
    assert bad.status_code == full.status_code == 400
    assert deleted == {"is_deleted": True}
    assert [row["kind"] for row in site.get("/api/v1/operations").json()["rows"]] == ["purge", "delete"]


def test_workers_are_shown_and_told_what_to_do(
    site: TestClient, client: zq.Client, coordinator: zq.Coordinator
) -> None:
    worker = zq.Worker(coordinator.address, name="cook", concurrency=2)
    is_started, may_end = threading.Event(), threading.Event()

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        is_started.set()
        may_end.wait(60)

    with worker:
        receipt = client.submit("orders", 1)
        assert is_started.wait(60)
        wait_until(lambda: site.get("/api/v1/workers/cook").json()["running"] == 1)
        shown = site.get("/api/v1/workers/cook").json()
        drained = site.post("/api/v1/workers/cook/drain", json={})
        wait_until(lambda: site.get("/api/v1/workers").json()["rows"][0]["is_draining"])
        resized = site.post("/api/v1/workers/cook/resize", json={"size": 5})
        bad = site.post("/api/v1/workers/cook/resize", json={"size": "many"})
        may_end.set()
        receipt.result(60)

    assert [task["id"] for task in shown["tasks"]] == [receipt.id]
    assert drained.status_code == resized.status_code == 200
    assert bad.status_code == 400
    assert site.get("/api/v1/workers/nobody").status_code == 404
    assert site.post("/api/v1/workers/nobody/drain", json={}).status_code in (400, 404)


def wait_until(is_so: Callable[[], bool]) -> None:
    waiter = threading.Event()
    for _ in range(600):
        if is_so():
            return
        waiter.wait(0.05)
    raise AssertionError("it did not come to be so")


def test_schedules_are_run_paused_and_deleted(site: TestClient, client: zq.Client) -> None:
    client.schedules.define("nightly", "orders", 1, every=3600)

    run = site.post("/api/v1/schedules/nightly/run", json={})
    paused = site.post("/api/v1/schedules/nightly/pause", json={}).json()
    resumed = site.post("/api/v1/schedules/nightly/resume", json={}).json()
    listed = site.get("/api/v1/schedules").json()["rows"]
    deleted = site.post("/api/v1/schedules/nightly/delete", json={}).json()

    assert run.status_code == 200
    assert client.queues.show("orders").waiting == 1
    assert (paused["is_paused"], resumed["is_paused"]) == (True, False)
    assert [row["name"] for row in listed] == ["nightly"]
    assert deleted == {"is_deleted": True}
    assert site.post("/api/v1/schedules/nightly/run", json={}).status_code == 404


def test_topics_and_namespaces_are_listed(site: TestClient, client: zq.Client) -> None:
    client.topics.bind("orders.*", "bake")
    client.namespaces.set("team", max_tasks=5)

    topics = site.get("/api/v1/topics").json()["rows"]
    namespaces = site.get("/api/v1/namespaces").json()["rows"]

    assert [(row["pattern"], row["queue"]) for row in topics] == [("orders.*", "bake")]
    assert [(row["name"], row["max_tasks"]) for row in namespaces] == [("team", 5)]


def test_flows_lead_from_topic_to_queue_with_what_waits_there(site: TestClient, client: zq.Client) -> None:
    client.topics.bind("orders.*", "bake")
    client.publish("orders.new", 1)

    flows = site.get("/api/v1/flows").json()

    assert [(edge["origin"], edge["target"], edge["tasks"]) for edge in flows["edges"]] == [
        ("topic:orders.new", "bake", 1)
    ]
    assert [(node["queue"], node["waiting"]) for node in flows["nodes"]] == [("bake", 1)]
    assert flows["is_cut"] is False


def test_flows_are_told_without_a_queue_that_was_deleted(site: TestClient, client: zq.Client) -> None:
    client.topics.bind("gone.*", "bake")
    client.publish("gone.today", 1)
    client.queues.delete("bake", may_purge=True)
    flows = site.get("/api/v1/flows").json()
    assert [edge["target"] for edge in flows["edges"]] == ["bake"]
    assert flows["nodes"] == []


def test_dead_letters_are_counted_by_reason(site: TestClient, client: zq.Client) -> None:
    for number in range(3):
        client.dead.bury(client.submit("orders", number).id, f"no oven {number}")
    client.dead.bury(client.submit("orders", 9).id, "no flour")

    rows = site.get("/api/v1/dead/reasons?queue=orders").json()["rows"]

    assert [(row["queue"], row["count"]) for row in rows] == [("orders", 3), ("orders", 1)]
    assert rows[0]["reason"].startswith("no oven")


@pytest.mark.parametrize(
    "path", ["history?step=7", "history?since=soon", "events?happened=perhaps", "groups?state=odd"]
)
def test_question_that_cannot_be_is_refused_in_words(site: TestClient, path: str) -> None:
    answer = site.get(f"/api/v1/{path}")

    assert answer.status_code == 400
    assert "expected" in answer.json()["error"]["message"]


def test_history_survives_the_restart_of_the_coordinator_and_of_the_dashboard(tmp_path: Path) -> None:
    place: dict[str, Any] = {"path": tmp_path / "d.zq", "bind": f"ipc://{tmp_path}/socket"}
    with zq.Coordinator(**place) as coordinator, zq.Client(coordinator.address) as client:
        client.submit_many("orders", range(7))
        wait_until(lambda: accepted(coordinator.address) == 7)  # when the step of ten seconds is over

    with zq.Coordinator(**place):
        assert accepted(coordinator.address) == 7


def accepted(address: str) -> int:
    """Starts a dashboard and returns how many tasks its history has."""
    app = make_app(DashboardOptions(address=address))
    with TestClient(app, base_url="http://127.0.0.1") as site:
        return sum(row["accepted"] for row in site.get("/api/v1/history?step=10").json()["rows"])


def test_figures_are_served_in_the_format_that_is_asked_for(site: TestClient, client: zq.Client) -> None:
    client.submit("orders", 1)

    answer = site.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    older = site.get("/metrics", headers={"accept": "text/plain"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert older.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'queue="orders"' in answer.text
    assert 'queue="orders"' in older.text
