"""`zq dev`: real members in a pipe and in a terminal, and that none of them is left."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import zq
from tests.cli.starting.watching import PATIENCE, needs_proc, needs_tmux, processes_with, terminal, wait_for, watched
from zq.cli.starting import places
from zq.cli.starting.ports import owner_of_port

SHOP = """
import zq
app = zq.App()
@app.task
def bake():
    return "VERSION 1"
"""

TYPED_SHOP = """
import zq
app = zq.App()
@app.task(queue="orders")
def bake(pizza: str, slices: int = 8) -> dict[str, str]:
    return {"baked": pizza}
"""

FREE = ("--bind", "tcp://127.0.0.1:*")


def work_of(address: str) -> object:
    with zq.Client(address) as client:
        return client.submit("bake", {}).result(PATIENCE)


@needs_proc
def test_everything_runs_reloads_is_started_again_and_ends(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with watched(tmp_path, "dev", "shop:app", *FREE, "--no-dashboard", "--processes", "0") as command:
        address = command.line("zq dev ", "ZQ_ADDRESS=")
        assert command.line("zq dev ", "| submit ") == f"zq submit bake '{{}}' --wait -a {address}"
        assert work_of(address) == "VERSION 1"

        (tmp_path / "shop.py").write_text(SHOP.replace("VERSION 1", "VERSION 2"))
        command.line("worker ", "shop.py changed")
        wait_for(lambda: work_of(address) == "VERSION 2")

        (worker,) = [
            number for number, line in command.processes().items() if "starting.member" in line and " worker " in line
        ]
        os.kill(worker, signal.SIGKILL)
        command.line("worker ", "died of signal 9 (SIGKILL); it is started again in")
        wait_for(lambda: command.count("takes tasks of") >= 3)
        assert work_of(address) == "VERSION 2"

        command.process.send_signal(signal.SIGTERM)
        assert command.end() == 0
        wait_for(lambda: not command.processes())
    assert (tmp_path / ".zq" / ".gitignore").read_text() == "*\n"
    assert (tmp_path / ".zq" / "coordinator").is_dir()


@needs_proc
def test_end_of_the_coordinator_ends_all(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with watched(tmp_path, "dev", "shop:app", *FREE, "--no-dashboard", "--ephemeral") as command:
        command.line("zq dev ", "| submit ")
        (number,) = [one for one, line in command.processes().items() if " coordinator " in line]
        os.kill(number, signal.SIGKILL)

        assert command.end() == 1
        assert "coordinator | died of signal 9 (SIGKILL); all else ends, too" in command.text
        assert command.text.endswith("zq dev      | ended, because the coordinator died of signal 9 (SIGKILL)\n")
        wait_for(lambda: not command.processes())
    assert not (tmp_path / ".zq").exists()


@needs_proc
def test_nothing_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    with watched(tmp_path, "dev", "shop:app", *FREE, "--no-dashboard", "--processes", "1") as command:
        work_of(command.line("zq dev ", "ZQ_ADDRESS="))
        assert len(command.processes()) > 3
        command.process.kill()

        wait_for(lambda: not command.processes())


def test_module_that_is_not_there_ends_it_in_words(tmp_path: Path) -> None:
    with watched(tmp_path, "dev", "nowhere:app", *FREE, "--no-dashboard") as command:
        assert command.end() == 2
        assert "worker      | zq: there is no module nowhere" in command.text
        assert "Traceback" not in command.text


@needs_proc
def test_port_that_is_taken_is_said_with_who_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        monkeypatch.setattr(places, "COORDINATOR_PORT", port)

        assert places.bind_of_coordinator(None, said.append) == "tcp://127.0.0.1:*"

    assert said[0].startswith(f"port {port} belongs to process {os.getpid()} (")
    assert said[0].endswith("); the coordinator takes another one")


@needs_proc
def test_port_of_a_zq_command_is_said_with_that_command(tmp_path: Path) -> None:
    with watched(tmp_path, "dev", *FREE, "--no-dashboard", "--ephemeral") as command:
        port = int(command.line("zq dev ", "ZQ_ADDRESS=").rpartition(":")[2])

        assert "(zq coordinator --data " in owner_of_port(port)


@needs_proc
def test_command_that_is_suggested_works_where_it_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.py").write_text(TYPED_SHOP)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
    monkeypatch.setenv("ZQ_ADDRESS", address)
    monkeypatch.delenv("ZQ_BIND", raising=False)
    with watched(tmp_path, "dev", "shop:app", "--no-dashboard", "--ephemeral", "--processes", "0") as command:
        assert command.line("zq dev ", "ZQ_ADDRESS=") == address
        zq_, *words = shlex.split(command.line("zq dev ", "| submit "))

        done = subprocess.run(
            [sys.executable, "-m", "zq.cli", *words, "--timeout", str(PATIENCE)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

        assert (zq_, "-a" in words) == ("zq", False)
        assert (done.returncode, done.stdout) == (0, '{"baked": "..."}\n'), done.stderr
        assert "zq example" not in command.text


def test_address_of_the_environment_is_taken_when_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.delenv("ZQ_BIND", raising=False)
    monkeypatch.setenv("ZQ_ADDRESS", "tcp://192.0.2.1:7700")
    assert places.bind_of_environment(said.append) is None
    assert "tcp://192.0.2.1:7700" in said.pop()
    assert places.option_for("tcp://127.0.0.1:7700") == " -a tcp://127.0.0.1:7700"
    monkeypatch.setenv("ZQ_ADDRESS", "ipc://./zq.socket")
    assert places.bind_of_environment(said.append) == "ipc://./zq.socket"
    assert places.option_for("ipc://./zq.socket") == ""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        monkeypatch.setenv("ZQ_BIND", f"tcp://127.0.0.1:{one.getsockname()[1]}")
        assert places.bind_of_environment(said.append) is None
    assert "the coordinator takes another one" in said[0]


@needs_tmux
@needs_proc
@pytest.mark.parametrize("columns", [80, 160])
def test_terminal_shows_what_to_do_next(columns: int, tmp_path: Path) -> None:
    pytest.importorskip("starlette", reason="the extra dashboard is not installed")
    (tmp_path / "shop.py").write_text(SHOP)
    with terminal(tmp_path, columns, "dev", "shop:app", *FREE, "--dashboard-bind", "127.0.0.1:0") as screen:
        screen.line("zq dev      | submit       zq submit bake '{}' --wait -a tcp://127.0.0.1:")
        assert "http://127.0.0.1:" in screen.line("zq dev      | dashboard ")
        screen.line("dashboard   | zq dashboard ready on http://127.0.0.1:")
        screen.line("coordinator | zq coordinator ready on tcp://127.0.0.1:")

        screen.press("C-c")

        screen.line("ended with 0")
        wait_for(lambda: not processes_with(screen.mark))
