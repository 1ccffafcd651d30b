"""Signs of life: what a service manager is told, over a real socket of its kind, and the file that is touched."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from zq.processes.pulse import FILE_INTERVAL, Pulse, ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.setblocking(False)
        yield one


def heard(manager: socket.socket) -> list[list[str]]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return found


def test_manager_hears_ready_life_and_end(manager: socket.socket) -> None:
    pulse = Pulse(ServiceManager(manager.getsockname(), 3.0))

    for now, text in ((10.0, "connected"), (10.5, "connected"), (11.0, "connected"), (12.0, "busy")):
        pulse.beat(now, text)
    pulse.stopping()

    assert heard(manager) == [
        ["READY=1", "STATUS=connected"],
        ["WATCHDOG=1"],
        ["WATCHDOG=1", "STATUS=busy"],
        ["STOPPING=1", "STATUS=ending"],
    ]
    assert pulse.next_at == 13.0


def test_manager_that_does_not_watch_hears_ready_once(manager: socket.socket) -> None:
    pulse = Pulse(ServiceManager(manager.getsockname()))

    pulse.beat(10.0, "connected")

    assert pulse.next_at == inf
    assert heard(manager) == [["READY=1", "STATUS=connected"]]


@pytest.mark.skipif(not hasattr(socket, "SO_PASSCRED"), reason="only Linux has abstract addresses")
def test_manager_may_be_at_an_abstract_address() -> None:
    name = f"zq-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(f"\0{name}")
        one.setblocking(False)
        ServiceManager(f"@{name}").tell("READY=1")

        assert heard(one) == [["READY=1"]]


def test_environment_names_the_manager_and_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/none")
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))

    found = ServiceManager.take()

    assert (found.is_there, found.beat_interval) == (True, 10.0)
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    found.tell("READY=1")  # nobody listens there, which is nobody's trouble


@pytest.mark.parametrize(("number", "microseconds"), [("1", "30000000"), ("", "0"), ("", "soon")])
def test_watch_that_is_not_for_this_process_is_none(
    number: str, microseconds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/none")
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", number)

    assert ServiceManager.take().beat_interval is None


def test_file_has_the_last_sign_of_life_until_the_end(tmp_path: Path) -> None:
    file = tmp_path / "health"
    pulse = Pulse(ServiceManager(None), file)
    assert json.loads(file.read_text())["text"] == "starting"

    pulse.beat(10.0, "connected")

    assert json.loads(file.read_text())["text"] == "connected"
    assert pulse.next_at == 10.0 + FILE_INTERVAL
    pulse.close()
    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_written_is_said_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "run").mkdir()
    pulse = Pulse(ServiceManager(None), tmp_path / "run" / "health")
    pulse.close()
    (tmp_path / "run").rmdir()

    with caplog.at_level(logging.WARNING):
        pulse.beat(10.0, "connected")

    assert "cannot be written: No such file or directory" in caplog.text
