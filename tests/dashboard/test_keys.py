"""A dashboard before a coordinator with keys: what each role lets it do."""

from __future__ import annotations

import json
from pathlib import Path

from starlette.testclient import TestClient

from tests.dashboard.test_command import ask, dashboard
from tests.door.shop import opened
from zq.dashboard.app import make_app
from zq.dashboard.options import DashboardOptions


def test_key_decides_what_a_dashboard_may_do(tmp_path: Path) -> None:
    with opened(tmp_path, boss="admin", guest="client") as (shop, keys):
        answers = {}
        for name, key in keys.items():
            shop.wait_for(key)
            app = make_app(DashboardOptions(address=shop.address, key=key))
            with TestClient(app, base_url="http://127.0.0.1") as site:
                submitted = site.post("/api/v1/tasks/submit", json={"queue": "orders", "payload": 1})
                found = site.get("/api/v1/tasks").json()["rows"]
                paused = site.post("/api/v1/queues/orders/pause", json={})
                overview = site.get("/api/v1/overview")
                answers[name] = (submitted.status_code, len(found) > 0, overview.status_code, paused)

    *boss, boss_paused = answers["boss"]
    *guest, guest_paused = answers["guest"]
    assert boss == guest == [200, True, 200]
    assert boss_paused.status_code == 200
    assert guest_paused.status_code == 403
    assert guest_paused.json()["error"]["code"] == "denied"


def test_dashboard_without_a_key_says_that_it_is_not_let_in(tmp_path: Path) -> None:
    with opened(tmp_path, boss="admin") as (shop, _), dashboard(shop.address) as (_, port):  # of another process
        session = json.loads(ask(port, "GET", "/api/v1/session")[1])
        status, queues = ask(port, "GET", "/api/v1/queues")
        ready = ask(port, "GET", "/readyz")

    assert session["is_connected"] is False
    assert status in (403, 503)
    assert "key" in json.loads(queues)["error"]["message"]
    assert ready[0] == 503
