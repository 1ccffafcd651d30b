"""`zq health`, and what coordinator and worker tell a service manager."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.cli.conftest import Invoke
from tests.cli.test_processes import PATIENCE, process

LONG_AGO = 1_000_000_000


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.settimeout(PATIENCE)
        yield one


def heard_until(manager: socket.socket, line: str) -> list[str]:
    found: list[str] = []
    while line not in found:
        found += manager.recv(4096).decode().split("\n")
    return found


def test_coordinator_that_answers_is_healthy(invoke: Invoke) -> None:
    plain, as_json = invoke("health"), invoke("health", "--json")

    assert (plain.exit_code, as_json.exit_code) == (0, 0)
    assert plain.stdout.startswith("the coordinator at ipc://")
    found = json.loads(as_json.stdout)
    assert (found["is_healthy"], found["problems"]) == (True, [])
    assert found["store"]["is_full"] is False


def test_full_coordinator_is_not_healthy(tmp_path: Path, invoke_alone: Invoke) -> None:
    full = zq.LmdbOptions(free_bytes_min=1 << 60)  # more than any disk has
    with zq.Coordinator(tmp_path / "orders.zq", bind=f"ipc://{tmp_path}/socket", store_options=full) as coordinator:
        result = invoke_alone("health", "--address", coordinator.address)

    assert result.exit_code == 1
    assert f"answers, but it accepts nothing new: the disk of {tmp_path}/orders.zq is low" in result.stdout


def test_coordinator_that_is_not_there_is_69(invoke_alone: Invoke) -> None:
    assert invoke_alone("health", "--address", "tcp://127.0.0.1:1", "--timeout", "0.2").exit_code == 69


def test_worker_is_healthy_as_long_as_it_gives_signs_of_life(
    tmp_path: Path, coordinator: zq.Coordinator, invoke_alone: Invoke
) -> None:
    file = tmp_path / "health"
    arguments = ("worker", "tests.cli.kitchen:worker", "--processes", "0", "--health-file", str(file))
    with process(*arguments, ZQ_ADDRESS=coordinator.address) as worker, zq.Client(coordinator.address) as client:
        client.submit("processes", None).result(PATIENCE)
        healthy = invoke_alone("health", "--file", str(file), "--json")

        assert (healthy.exit_code, json.loads(healthy.stdout)["pid"]) == (0, worker.pid)

        worker.send_signal(signal.SIGSTOP)  # as a loop that hangs
        os.utime(file, (LONG_AGO, LONG_AGO))
        old = invoke_alone("health", "--file", str(file), "--max-age", "30")
        worker.send_signal(signal.SIGCONT)

        assert old.exit_code == 1
        assert "more than 30 s is too long" in old.stdout
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0
    gone = invoke_alone("health", "--file", str(file))
    assert (gone.exit_code, gone.stdout) == (
        1, f"there is no {file}: the worker has not started, or has ended\n"
    )  # fmt: skip


def test_file_of_something_else_is_a_usage_error(tmp_path: Path, invoke_alone: Invoke) -> None:
    (tmp_path / "health").write_text("[]")

    result = invoke_alone("health", "--file", str(tmp_path / "health"))

    assert result.exit_code == 2
    assert "is not what zq worker --health-file writes" in result.stderr


def test_look_at_a_file_loads_nothing_of_a_client(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['zq', 'health', '--file', '/nowhere']\n"
        "try:\n    from zq.cli import main; main()\nexcept SystemExit: pass\n"
        "print(sorted({'zmq', 'msgpack', 'zq.client.client'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_service_manager_is_told_of_a_coordinator(tmp_path: Path, manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "300000"}
    bind = f"ipc://{tmp_path}/socket"
    with process("coordinator", "--data", str(tmp_path / "data"), "--bind", bind, **environment) as coordinator:
        assert heard_until(manager, f"STATUS=listens at {bind}")[0] == "READY=1"
        heard_until(manager, "WATCHDOG=1")
        coordinator.send_signal(signal.SIGTERM)

        assert "STOPPING=1" in heard_until(manager, "STOPPING=1")
        assert coordinator.wait(PATIENCE) == 0


def test_service_manager_is_told_of_a_worker(coordinator: zq.Coordinator, manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "300000", "ZQ_ADDRESS": coordinator.address}
    with process("worker", "tests.cli.kitchen:worker", "--processes", "0", **environment) as worker:
        heard_until(manager, "READY=1")
        heard_until(manager, "STATUS=connected, 0 leases in hand")
        heard_until(manager, "WATCHDOG=1")
        worker.send_signal(signal.SIGTERM)

        heard_until(manager, "STOPPING=1")
        assert worker.wait(PATIENCE) == 0
