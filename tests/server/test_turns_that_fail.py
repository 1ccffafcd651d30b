"""What becomes of a message whose turn fails, and whose refusal finds no room either."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zq.core.coordinator import Machine
from zq.errors import StoreFullError
from zq.server import loop
from zq.server.loop import Server
from zq.wire.messages import Error, Ping


def test_refusal_beside_which_something_does_not_fit_the_store_is_said_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fates = [ValueError("in the turn"), ValueError("alone"), StoreFullError("beside its refusal"), None]
    said: list[Any] = []

    def step(messages: Any = None) -> None:
        said.append(messages)
        if (fate := fates.pop(0)) is not None:
            raise fate

    server = Server(tmp_path / "data.zq", bind=f"ipc://{tmp_path}/socket")
    server.open()
    try:
        monkeypatch.setattr(server, "_step", step)
        monkeypatch.setattr(Machine, "blame", lambda self, now: True)
        monkeypatch.setattr(loop, "read", lambda one: one.message)
        came = SimpleNamespace(peer=b"peer", message=Ping(1))
        server._reception.received = [came]  # type: ignore[list-item]  # enough of a message
        server._turn()
    finally:
        server.close()

    assert fates == []
    assert [type(messages[0][1]) for messages in said[1:]] == [Ping, Error, Error]
