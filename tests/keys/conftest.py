"""Coordinators behind a door with keys, over each transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.keys.door import Door

ORDERS = zq.Key.new("orders", "coordinator")


@pytest.fixture(params=["tcp", "ipc"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    bind = "tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path}/door"
    with zq.Coordinator(tmp_path / "orders.zq") as coordinator, Door(coordinator.address, ORDERS, bind) as door:
        yield door


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[tuple[Door, str]]:
    """A door over TCP, and the address of the coordinator behind it, which has no keys."""
    with zq.Coordinator(tmp_path / "orders.zq") as coordinator, Door(coordinator.address, ORDERS) as door:
        yield door, coordinator.address


@pytest.fixture
def key() -> zq.Key:
    return zq.Key.new("shop-1", "client", [ORDERS.public])
