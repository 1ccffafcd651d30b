"""Who is let in: names, tokens, where requests come from, their kind and size, and what answers carry."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

import zq
from tests.dashboard.conftest import OpenSite
from zq.dashboard.options import DashboardOptions

TOKEN = "correct-horse-battery-staple"


# Where it may listen.


@pytest.mark.parametrize("bind", ["0.0.0.0:7780", "[::]:7780", "192.0.2.7:7780", "example.org:7780"])
def test_what_other_machines_reach_needs_a_token(bind: str) -> None:
    with pytest.raises(ValueError, match=r"(?s)can be reached by other machines.* set a token"):
        DashboardOptions(bind=bind)

    DashboardOptions(bind=bind, token=TOKEN)


@pytest.mark.parametrize("bind", ["127.0.0.1:7780", "127.8.8.8:0", "[::1]:7780", "localhost:7780"])
def test_loopback_needs_none(bind: str) -> None:
    DashboardOptions(bind=bind)


@pytest.mark.parametrize("bind", ["7780", ":7780", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000"])
def test_place_that_cannot_be_is_refused_in_words(bind: str) -> None:
    with pytest.raises(ValueError, match="expected the dashboard's address as HOST:PORT"):
        DashboardOptions(bind=bind)


@pytest.mark.parametrize("token", ["short", "ä" * 20, "with\nlines-and-more-of-them"])
def test_token_that_is_none_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="expected a token of 16 ASCII characters"):
        DashboardOptions(token=token)


# The name it is asked by.


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example", "[::1", "a b"]
)
def test_other_names_are_refused(site: TestClient, host: str) -> None:
    for path in ("/", "/api/v1/session", "/static/main.js", "/livez"):
        answer = site.get(path, headers={"host": host})

        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "host"


@pytest.mark.parametrize("host", ["127.0.0.1:7780", "localhost:9", "LOCALHOST", "[::1]:7780", "192.0.2.7"])
def test_names_of_this_machine_and_addresses_are_answered(site: TestClient, host: str) -> None:
    assert site.get("/livez", headers={"host": host}).status_code == 200


def test_name_that_it_was_told_is_answered(open_site: OpenSite) -> None:
    site = open_site(hosts=("zq.example.org",))

    assert site.get("/livez", headers={"host": "zq.example.org"}).status_code == 200
    assert site.get("/livez", headers={"host": "example.org"}).status_code == 400


# The token.


@pytest.fixture
def locked(open_site: OpenSite) -> TestClient:
    return open_site(token=TOKEN)


@pytest.mark.parametrize(
    "path", ["/api/v1/session", "/api/v1/events", "/static/main.js", "/api/v1/no-such", "/metrics"]
)
def test_nothing_is_told_without_the_token(locked: TestClient, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}, {"cookie": "zq=1; zq-0=x"}):
        answer = locked.get(path, headers=headers)

        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "token"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_token_lets_programs_in(locked: TestClient) -> None:
    answer = locked.get("/api/v1/session", headers={"authorization": f"Bearer {TOKEN}"})

    assert answer.json()["is_connected"] is True


def test_token_in_the_address_makes_a_cookie_once(locked: TestClient) -> None:
    before = locked.get("/")
    wrong = locked.get("/", params={"token": "wrong-wrong-wrong-wrong"})
    opened = locked.get("/", params={"token": TOKEN})

    cookie = opened.headers["set-cookie"]
    assert before.status_code == wrong.status_code == 401
    assert "set-cookie" not in before.headers | wrong.headers
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie + opened.text
    assert locked.get("/api/v1/session").status_code == 200  # the browser has it now
    assert locked.get("/").text != opened.text


def test_token_in_the_address_opens_the_page_alone(locked: TestClient) -> None:
    assert locked.get("/api/v1/session", params={"token": TOKEN}).status_code == 401


def test_what_watches_processes_needs_no_token(locked: TestClient) -> None:
    assert locked.get("/livez").text == locked.get("/readyz").text == "ok\n"


# What changes something.


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
        {"origin": ""},
        {"origin": "http://127.0.0.1:8000"},  # another program's page on this machine
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
def test_other_pages_change_nothing(site: TestClient, client: zq.Client, headers: dict[str, str]) -> None:
    answer = site.post("/api/v1/queues/orders/drain", json={}, headers=headers)

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "cross-origin"
    assert client.queues.list() == []


@pytest.mark.parametrize("place", ["cross-site", "same-site"])
def test_other_pages_lead_here_and_ask_nothing(site: TestClient, place: str) -> None:
    headers = {"sec-fetch-site": place}

    for path in ("/", "/livez", "/readyz"):
        assert site.get(path, headers=headers).status_code == 200
    for path in ("/api/v1/session", "/api/v1/events", "/metrics", "/static/main.js"):
        answer = site.get(path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross-origin")


@pytest.mark.parametrize("place", ["same-origin", "none"])
def test_own_pages_and_typed_addresses_are_answered(site: TestClient, place: str) -> None:
    assert site.get("/api/v1/session", headers={"sec-fetch-site": place}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"sec-fetch-site": "same-origin", "origin": "http://127.0.0.1:7780"}])
def test_own_pages_and_programs_do(site: TestClient, headers: dict[str, str]) -> None:
    assert site.post("/api/v1/queues/orders/drain", json={}, headers=headers).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_forms_change_nothing(site: TestClient, client: zq.Client, kind: str) -> None:
    answer = site.post("/api/v1/queues/orders/drain", content=b"{}", headers={"content-type": kind})

    assert answer.status_code == 415
    assert client.queues.list() == []


def test_dashboard_that_only_shows_changes_nothing(open_site: OpenSite, client: zq.Client) -> None:
    from zq.dashboard.app import ENDPOINTS

    site = open_site(is_read_only=True)
    for endpoint in ENDPOINTS:
        if endpoint.method == "POST":
            answer = site.post(endpoint.path.format(name="orders", id="orders"), json={})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read-only")
    assert client.queues.list() == []
    assert site.get("/api/v1/session").json()["is_read_only"] is True


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_refused(site: TestClient, method: str) -> None:
    answer = site.request(method, "/api/v1/queues/orders/pause")

    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method"


def test_address_is_for_its_own_methods(site: TestClient) -> None:
    assert site.get("/api/v1/queues/orders/pause").status_code == 405
    assert site.post("/api/v1/session", json={}).status_code == 405


def test_head_answers_without_a_body(site: TestClient) -> None:
    for path in ("/api/v1/session", "/api/v1/events", "/livez"):
        answer = site.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


# Sizes.


def test_large_body_is_refused(site: TestClient) -> None:
    large = b'{"queue": "q", "payload": "' + b"x" * (1 << 20) + b'"}'

    def pieces() -> object:
        yield large  # without a length

    for content in (large, pieces()):
        answer = site.post(
            "/api/v1/tasks/submit",
            content=content,  # type: ignore[arg-type]
            headers={"content-type": "application/json"},
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too-large")


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000, b'{"unknown": 1}'])
def test_body_that_is_no_object_is_refused_in_words(site: TestClient, body: bytes) -> None:
    answer = site.post("/api/v1/queues/q/purge", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid"


# What answers carry.


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/v1/session", "/api/v1/no-such", "/livez", "/no-such"])
def test_every_answer_says_what_browsers_may_do(site: TestClient, path: str) -> None:
    headers = site.get(path).headers

    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../options.py",
        "/static/%2e%2e/options.py",
        "/static/..%2foptions.py",
        "/static/%2e%2e%2foptions.py",
        "/static//etc/passwd",
        "/static/....//options.py",
        "/static/..\\options.py",
        "/static/%00",
        "/static/",
        "/static",
        "/../../etc/passwd",
        "//etc/passwd",
    ],
)
def test_files_of_others_are_not_served(site: TestClient, path: str) -> None:
    answer = site.get(f"http://127.0.0.1:7780{path}")

    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text
    assert "DashboardOptions" not in answer.text


def test_fault_of_the_dashboard_tells_nothing_of_itself(
    site: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr("zq.dashboard.upstream.Upstream.query", fail)
    answer = site.get("/api/v1/queues/orders")

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    assert "inside" not in answer.text
    assert "RuntimeError: inside" in caplog.text  # where it belongs


def test_text_of_strangers_stays_text(site: TestClient, client: zq.Client) -> None:
    bad = "</script><script>alert(1)</script>\u2028\x00\x1b[31m"
    id = client.submit("orders", {bad: [bad, b"\xff", float("nan")]}, key="k").id

    answer = site.get(f"/api/v1/tasks/{id}/payload")

    assert answer.headers["content-type"] == "application/json"
    assert answer.content.isascii()
    assert answer.json()["payload"] == {bad: [bad, {"$bytes": "ff"}, None]}
