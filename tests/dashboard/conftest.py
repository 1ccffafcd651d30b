"""A coordinator, and the dashboard's application before it, without a network between it and the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

import zq

pytest.importorskip("starlette", reason="the extra dashboard is not installed")
pytest.importorskip("httpx2", reason="the extra test is not installed")

from starlette.testclient import TestClient

from zq.dashboard.app import make_app
from zq.dashboard.options import DashboardOptions


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    """Returns a coordinator within this process."""
    options = zq.CoordinatorOptions(max_attempts=1)
    with zq.Coordinator(tmp_path / "orders.zq", bind=f"ipc://{tmp_path}/socket", options=options) as found:
        yield found


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address) as found:
        yield found


class OpenSite(Protocol):
    """Makes a dashboard of the coordinator, and a browser of it."""

    def __call__(self, **options: Any) -> TestClient: ...


@pytest.fixture
def open_site(coordinator: zq.Coordinator) -> Iterator[OpenSite]:
    with ExitStack() as stack:

        def make(*, base_url: str = "http://127.0.0.1:7780", **options: Any) -> TestClient:
            app = make_app(DashboardOptions(**{"address": coordinator.address, **options}))
            return stack.enter_context(TestClient(app, base_url=base_url))

        yield make


@pytest.fixture
def site(open_site: OpenSite) -> TestClient:
    """Returns a browser of a dashboard as it is without options."""
    return open_site()
