"""What the interface tells of a coordinator."""

from __future__ import annotations

from starlette.testclient import TestClient

import zq


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
