"""The commands that stay, as processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import zq
from zq.wire.address import is_local

PATIENCE = 60.0
"""Seconds for a process to end; none needs a tenth of it."""


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a command of zq, and sees to it that it ends."""
    child = subprocess.Popen(
        [sys.executable, "-m", "zq.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate(timeout=PATIENCE)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zq.cli", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **environment}, check=False
    )


@contextmanager
def coordinator(data: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Runs a coordinator; yields it and its address, which it says when it is ready."""
    with process("coordinator", "--data", str(data), "--bind", "tcp://127.0.0.1:*", *options) as child:
        assert child.stderr is not None
        line = child.stderr.readline()
        match = re.match(r"zq coordinator ready on (\S+), data in (.+), guarantee: ", line)
        assert match is not None, line + child.stderr.read()
        assert match[2] == str(data)
        yield child, match[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_coordinator_cleanly_and_its_tasks_are_there_again(
    number: signal.Signals, tmp_path: Path
) -> None:
    with coordinator(tmp_path / "orders.zq") as (child, address):
        assert run("submit", "orders", "{}", "--id", "order-1", "--address", address).returncode == 0
        child.send_signal(number)

        assert child.wait(PATIENCE) == 0

    with coordinator(tmp_path / "orders.zq") as (_, address):
        shown = run("tasks", "show", "order-1", "--json", "--address", address)
    assert json.loads(shown.stdout)["state"] == "waiting"


def test_second_coordinator_on_a_directory_is_refused(tmp_path: Path) -> None:
    with coordinator(tmp_path / "orders.zq"):
        second = run("coordinator", "--data", str(tmp_path / "orders.zq"), "--bind", "tcp://127.0.0.1:*")

    assert second.returncode == 1
    assert "orders.zq" in second.stderr
    assert "Traceback" not in second.stderr


def test_coordinator_listens_where_its_environment_looks_for_one_and_says_so(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/socket"
    with process("coordinator", "--data", str(tmp_path / "orders.zq"), ZQ_ADDRESS=address) as child:
        assert child.stderr is not None
        first, second = child.stderr.readline(), child.stderr.readline()
        status = run("status", "--json", ZQ_ADDRESS=address)

    assert first.startswith(f"zq coordinator listens on {address}, which ZQ_ADDRESS says; --bind or ZQ_BIND")
    assert second.startswith(f"zq coordinator ready on {address},")
    assert status.returncode == 0


def test_address_in_use_is_1(tmp_path: Path) -> None:
    with coordinator(tmp_path / "one.zq") as (_, address):
        second = run("coordinator", "--data", str(tmp_path / "two.zq"), "--bind", address)

    assert second.returncode == 1
    assert f"cannot bind {address}" in second.stderr


def test_settings_may_come_from_the_environment(tmp_path: Path) -> None:
    environment = {"ZQ_GONE_AFTER": "0.5", "ZQ_DATA": str(tmp_path / "orders.zq")}

    result = run("coordinator", **environment)

    assert result.returncode == 2
    assert "suspect_after <= gone_after" in result.stderr


def test_address_beyond_this_machine_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    result = run("coordinator", "--data", str(tmp_path / "orders.zq"), "--bind", "tcp://*:7700")

    assert result.returncode == 2
    assert "--insecure-bind" in result.stderr
    assert not (tmp_path / "orders.zq").exists()


@pytest.mark.parametrize("address", ["nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:port", "127.0.0.1:7700", "ipc://"])
def test_address_that_cannot_be_bound_is_a_usage_error(tmp_path: Path, address: str) -> None:
    result = run("coordinator", "--data", str(tmp_path / "orders.zq"), "--bind", address)

    assert result.returncode == 2
    assert "expected an address like tcp://127.0.0.1:7700" in result.stderr


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:7700",
        "tcp://127.9.9.9:*",
        "tcp://[::1]:7700",
        "tcp://localhost:1",
        "tcp://lo:1",
        "ipc:///tmp/zq",
    ],
)
def test_addresses_of_this_machine_are_local(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://*:7700",
        "tcp://0.0.0.0:7700",
        "tcp://[::]:7700",
        "tcp://10.0.0.1:7700",
        "tcp://eth0:7700",
        "tcp://127.0.0.1.example.org:7700",
        "ws://127.0.0.1:7700",
        "nonsense",
    ],
)
def test_addresses_that_others_may_reach_are_not_local(address: str) -> None:
    assert not is_local(address)


def test_burst_worker_does_what_waits_and_ends(tmp_path: Path) -> None:
    with coordinator(tmp_path / "orders.zq") as (_, address), zq.Client(address) as client:
        receipts = client.submit_many("orders", [{"pizza": str(number)} for number in range(20)])

        result = run("worker", "tests.cli.kitchen:worker", "--burst", "--concurrency", "2", ZQ_ADDRESS=address)

        assert result.returncode == 0, result.stderr
        assert [receipt.result(PATIENCE) for receipt in receipts] == [{"baked": str(number)} for number in range(20)]
    assert "zq worker kitchen takes tasks of orders, processes" in result.stderr


def test_worker_runs_handlers_in_children_by_default(tmp_path: Path) -> None:
    with (
        coordinator(tmp_path / "orders.zq") as (_, address),
        zq.Client(address) as client,
        process("worker", "tests.cli.kitchen:worker", "--name", "shop-7", ZQ_ADDRESS=address) as worker,
    ):
        handler_process = client.submit("processes", None).result(PATIENCE)

        assert handler_process != worker.pid
        assert [row["name"] for row in client.query("workers")] == ["shop-7"]
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0


def test_worker_without_children_runs_handlers_itself(tmp_path: Path) -> None:
    with (
        coordinator(tmp_path / "orders.zq") as (_, address),
        zq.Client(address) as client,
        process("worker", "tests.cli.kitchen:worker", "--processes", "0", ZQ_ADDRESS=address) as worker,
    ):
        assert client.submit("processes", None).result(PATIENCE) == worker.pid


def test_burst_worker_without_a_coordinator_is_69() -> None:
    result = run("worker", "tests.cli.kitchen:worker", "--burst", "--address", "tcp://127.0.0.1:1")

    assert result.returncode == 69


def test_result_that_does_not_come_in_time_is_75(tmp_path: Path) -> None:
    with coordinator(tmp_path / "orders.zq") as (_, address):
        result = run("submit", "orders", "{}", "--id", "mine", "--wait", "--for", "0.2", "--address", address)

    assert result.returncode == 75
    assert "task mine has not ended within 0.2 s" in result.stderr


def test_interrupted_command_is_130(tmp_path: Path) -> None:
    with (
        coordinator(tmp_path / "orders.zq") as (_, address),
        process("submit", "orders", "{}", "--wait", "--address", address) as child,
    ):
        assert child.stderr is not None
        assert "waiting for the end" in child.stderr.readline()
        child.send_signal(signal.SIGINT)

        assert child.wait(PATIENCE) == 130


def test_bench_measures_what_it_says() -> None:
    result = run("bench", "--tasks", "500", "--batch", "50", "--single", "10", "--size", "100", "--json")

    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert (figures["tasks"], figures["batch"], figures["single"], figures["done"]) == (500, 50, 10, 510)
    assert figures["accepted_per_second"] > 0
    assert figures["done_per_second"] > 0
    assert 0 < figures["receipt_p50"] <= figures["receipt_p99"]


def test_bench_prints_its_parameters_for_people(tmp_path: Path) -> None:
    with coordinator(tmp_path / "orders.zq") as (_, address):
        result = run("bench", "--tasks", "100", "--batch", "10", "--single", "0", "--address", address)

    assert result.returncode == 0, result.stderr
    assert "100 tasks of 200 bytes in batches of 10" in result.stdout
    assert "end to end" in result.stdout


def test_bench_does_not_touch_the_coordinator_of_the_shell(tmp_path: Path) -> None:
    with coordinator(tmp_path / "orders.zq") as (_, address), zq.Client(address) as client:
        result = run("bench", "--tasks", "10", "--single", "0", ZQ_ADDRESS=address)

        assert result.returncode == 0, result.stderr
        assert client.query("queues") == []


def test_module_that_is_not_python_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import zq\nworker = = zq.Worker()\n")

    result = run("worker", f"{tmp_path}/shop.py:worker")

    assert result.returncode == 2
    assert f"{tmp_path}/shop.py line 2 is not Python: invalid syntax" in result.stderr


def test_module_that_runs_its_worker_when_it_is_imported_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "eager.py").write_text(
        "import zq\nworker = zq.Worker(name='eager')\n@worker.task('q')\ndef run(task):\n    return 1\nworker.run()\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "zq.cli", "worker", "eager:worker"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == (
        "zq: eager:worker: worker eager is started while its module is imported for what it defines: "
        'put the run under `if __name__ == "__main__":`\n'
    )
