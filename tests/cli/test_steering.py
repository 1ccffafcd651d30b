"""Workers are steered by commands."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import zq
from tests.cli.conftest import Invoke
from tests.process.kitchen import wait_until


@pytest.fixture
def shop(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    worker = zq.Worker(coordinator.address, name="shop-1")
    worker.task("orders")(lambda task: None)
    with worker, zq.Client(coordinator.address) as client:
        wait_until(lambda: [one for one in client.workers.list() if one.pid], "it says what it is")
        yield client


def test_worker_is_drained_resumed_and_resized(shop: zq.Client, invoke: Invoke) -> None:
    assert invoke("workers", "drain", "shop-1").stderr == "worker shop-1 drains: nothing runs\n"
    wait_until(lambda: shop.workers.list()[0].is_draining, "it drains")
    assert "draining" in invoke("workers", "ls").stdout
    assert json.loads(invoke("workers", "ls", "--json").stdout.splitlines()[0])["is_draining"] is True

    assert invoke("workers", "resume", "shop-1").exit_code == 0
    assert invoke("workers", "resize", "shop-1", "3").exit_code == 0
    wait_until(lambda: shop.workers.list()[0].concurrency == 3, "its size")
    assert "draining" not in invoke("workers", "ls").stdout


def test_worker_is_stopped(shop: zq.Client, invoke: Invoke) -> None:
    assert "there is no worker 'shop1'; did you mean 'shop-1'?" in invoke("workers", "stop", "shop1").stderr
    assert invoke("workers", "stop", "shop-1").stderr == "worker shop-1 ends: nothing runs\n"
    wait_until(lambda: not shop.workers.list(), "it has left")
    result = invoke("workers", "stop", "shop-1")

    assert result.exit_code == 1
    assert "there is no worker 'shop-1'" in result.stderr
