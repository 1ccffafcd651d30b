"""Coordinators with keys, over each transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.keys.gate import ORDERS, Gate


@pytest.fixture(scope="package", autouse=True)
def _keys_are_looked_at_often() -> Iterator[None]:
    """Nobody waits a second for each change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zq.keys.door.KEYS_INTERVAL", 0.02)
        patch.setattr("zq.server.loop.KEYS_INTERVAL", 0.02)
        patch.setattr("zq.sockets.entrance.HUNG_UP_SECONDS", 0.0)
        yield


@pytest.fixture(params=["tcp", "ipc"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gate]:
    bind = "tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path}/door"
    with Gate(tmp_path, bind) as gate:
        yield gate


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[tuple[Gate, str]]:
    """A coordinator with keys over TCP, and the address of one without."""
    with Gate(tmp_path, "tcp://127.0.0.1:*") as gate, zq.Coordinator(tmp_path / "open.zq") as coordinator:
        yield gate, coordinator.address


@pytest.fixture
def key() -> zq.Key:
    return zq.Key.new("shop-1", "client", [ORDERS.public])
