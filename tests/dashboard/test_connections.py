"""Connections of which nothing comes, and what the log has of requests: the real server, over real sockets."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable

import httpx2
import pytest

import zq
from tests.dashboard.test_streams import served
from zq.dashboard import connections
from zq.dashboard.connections import OnceInAWhile

ADDRESS = "tcp://127.0.0.1:1"
"""Where no coordinator is: nothing here asks one."""


def connected(url: str) -> socket.socket:
    found = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
    found.settimeout(60)
    return found


def read_to_end(connection: socket.socket) -> bytes:
    """Returns what comes before the other side ends the connection."""
    parts = []
    try:
        while part := connection.recv(1 << 16):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("beginning", [b"", b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_connection_without_a_whole_request_is_cut(monkeypatch: pytest.MonkeyPatch, beginning: bytes) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.2)
    with served(address=ADDRESS) as url, connected(url) as silent:
        silent.sendall(beginning)

        assert read_to_end(silent) == b""


def test_bytes_that_are_no_request_yet_do_not_prolong_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    with served(address=ADDRESS) as url, connected(url) as dripping:
        dripping.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ")
        dripping.settimeout(0.05)
        assert _drip_until_cut(dripping)


def _drip_until_cut(connection: socket.socket) -> bool:
    for _ in range(1000):  # longer than the wait, by far
        try:
            connection.sendall(b"x")
            if connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def test_rest_of_a_body_that_nobody_reads_does_not_hold_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.dashboard.serving.IDLE_SECONDS", 0.3)
    with served(address=ADDRESS) as url, connected(url) as dripping:
        dripping.sendall(b"POST /api/v1/tasks/submit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n")
        assert dripping.recv(100).startswith(b"HTTP/1.1 415")
        dripping.settimeout(0.05)
        assert _drip_until_cut(dripping)


def test_who_takes_nothing_of_an_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "TAKE_SECONDS", 0.3)
    request = b"GET /static/vendor/uPlot.iife.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served(address=ADDRESS) as url, connected(url) as slow:
        assert _is_cut(lambda: slow.sendall(request * 100))


def _is_cut(send: Callable[[], None]) -> bool:
    for _ in range(10_000):
        try:
            send()
        except ConnectionError:  # not that it took too long
            return True
    return False


def test_silent_connections_lock_nobody_out_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.5)
    monkeypatch.setattr("zq.dashboard.serving.CONNECTIONS_MAX", 5)
    with served(address=ADDRESS) as url:
        silent = [connected(url) for _ in range(8)]
        for one in silent:
            assert read_to_end(one) == b""
            one.close()

        assert httpx2.get(f"{url}/livez", timeout=30).status_code == 200


# The log.


def test_log_of_requests_has_no_token_and_nothing_searched_for(caplog: pytest.LogCaptureFixture) -> None:
    token = "correct-horse-battery-staple"
    with caplog.at_level(logging.INFO), served(address=ADDRESS, is_logging=True, token=token) as url:
        assert httpx2.get(f"{url}/", params={"token": token}, timeout=30).status_code == 200
        assert httpx2.get(f"{url}/api/v1/tasks", params={"token": token, "key": "k"}, timeout=30).status_code == 401

    said = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert [re.sub(r"^[0-9.:]+ - ", "", line) for line in said] == [
        '"GET / HTTP/1.1" 200',
        '"GET /api/v1/tasks HTTP/1.1" 401',
    ]
    assert token not in "".join(said)


def test_same_warning_is_logged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("zq.dashboard.connections.time.monotonic", lambda: now)
    sparing = OnceInAWhile()
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 0, "Invalid HTTP request received.", None, None)

    assert [sparing.filter(record), sparing.filter(record)] == [True, False]
    now += connections.REPEAT_SECONDS
    assert sparing.filter(record)


def test_served_dashboard_answers_as_before(coordinator: zq.Coordinator) -> None:
    with served(address=coordinator.address) as url, httpx2.Client(base_url=url, timeout=30) as browser:
        for _ in range(3):  # on one connection
            assert browser.get("/readyz").text == "ok\n"
        body = {"queue": "orders", "payload": "x" * 500_000}
        assert browser.post("/api/v1/tasks/submit", json=body).json()["is_duplicate"] is False
