"""A coordinator in this process, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import zq


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "s.zq", bind=f"ipc://{tmp_path}/socket") as coordinator:
        yield coordinator


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address) as client:
        yield client
