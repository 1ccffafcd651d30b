"""`zq dashboard` as the process that it is, and how it refuses."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import zq
from tests.cli.conftest import Result, run_command

PAGE = re.compile(r"zq dashboard ready on http://127\.0\.0\.1:(\d+)/")

TOKEN = "correct-horse-battery-staple"


def invoke(*arguments: str, **environment: str) -> Result:
    return run_command(("dashboard", *arguments), None, environment)


@contextmanager
def dashboard(address: str, *options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Starts one; yields the process and its port."""
    command = [sys.executable, "-m", "zq.cli", "dashboard", "--bind", "127.0.0.1:0", "-a", address, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment})
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = PAGE.match(line)
        assert found is not None, line
        assert TOKEN not in line
        yield process, int(found[1])
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it(coordinator: zq.Coordinator, number: signal.Signals) -> None:
    with dashboard(coordinator.address) as (process, port):
        assert ask(port, "GET", "/readyz") == (200, "ok\n")
        process.send_signal(number)

        assert process.wait(60) == (0 if number == signal.SIGTERM else 130)


def test_options_and_environment_reach_it(coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path) -> None:
    file = tmp_path / "hooks.py"
    file.write_text("def hide(value, about):\n    return '[hidden]'\n")
    id = client.submit("orders", "4111").id
    options = ("--read-only", "--redact", f"{file}:hide", "--host", "zq.example.org")
    with dashboard(coordinator.address, *options, ZQ_DASHBOARD_TOKEN=TOKEN) as (_, port):
        bearer = f"Bearer {TOKEN}"
        payload = ask(port, "GET", f"/api/v1/tasks/{id}/payload", authorization=bearer, host="zq.example.org")
        session = json.loads(ask(port, "GET", "/api/v1/session", authorization=bearer)[1])
        without = ask(port, "GET", "/api/v1/session")
        traversed = ask(port, "GET", "/static/../../options.py", authorization=bearer)
        change = ask(port, "POST", "/api/v1/queues/orders/pause", authorization=bearer, content_type="application/json")

    assert json.loads(payload[1])["payload"] == "[hidden]"
    assert (session["is_read_only"], session["redacts"]) == (True, True)
    assert (without[0], traversed[0], change[0]) == (401, 404, 403)


def test_place_that_is_taken_is_told_in_words(coordinator: zq.Coordinator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        result = invoke("--bind", place, "-a", coordinator.address)

    assert result.exit_code == 1
    assert f"{place}: Address already in use" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--bind", "0.0.0.0:7780"), "can be reached by other machines"),
        (("--bind", "7780"), "expected the dashboard's address as HOST:PORT"),
        (("--token", "short"), "expected a token of 16 ASCII characters"),
        (("--redact", "no_such_module:hide"), "there is no module no_such_module"),
        (("--redact", "os:curdir"), "expected a function at os:curdir, got str"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments: tuple[str, ...], text: str) -> None:
    result = invoke(*arguments)

    assert result.exit_code == 2
    assert text in result.stderr
