"""A coordinator, a client of it, and a folder for programs that use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import zq
from tests.scripts.folder import Folder


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "data.zq") as coordinator:
        yield coordinator


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path, coordinator: zq.Coordinator) -> Iterator[Folder]:
    path = tmp_path / "program"
    path.mkdir()
    folder = Folder(path, coordinator.address)
    yield folder
    folder.end()
