"""A worker says when its coordinator does not answer, and when it has been let in."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import zq
from tests.process.kitchen import wait_until
from zq.sockets import silence


def test_worker_without_a_coordinator_says_so_and_that_it_is_connected_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(silence, "QUIET_TOLD", 0.05)
    caplog.set_level(logging.INFO)
    address = f"ipc://{tmp_path}/socket"
    worker = zq.Worker(address, name="shop")
    worker.task("q")(lambda task: None)
    with worker:
        wait_until(lambda: caplog.messages, "a word")
        assert caplog.messages == [f"no answer yet from {address}; trying on"]
        with zq.Coordinator(tmp_path / "s.zq", bind=address):
            wait_until(lambda: len(caplog.messages) >= 3, "the end of it")
            connected = [one for one in caplog.messages if one.startswith(("connected to", "worker shop is connected"))]
            assert len(connected) == 2


def test_worker_calls_back_when_it_is_let_in_and_not_before(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/socket"
    worker = zq.Worker(address)
    worker.task("q")(lambda task: None)
    called: list[int] = []
    worker.on_connected = lambda: called.append(1)
    with worker:
        assert called == []
        with zq.Coordinator(tmp_path / "s.zq", bind=address):
            wait_until(lambda: called, "the call")

    assert called == [1]
