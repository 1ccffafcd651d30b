"""Many small leases, which a child process gets together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import zq
from tests.process.kitchen import PATIENCE
from tests.worker import loud_shop
from zq.wire.messages import Assign
from zq.worker.child_runner import ChildRunner


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many leases went to a child in each message."""
    counts: list[int] = []
    write = ChildRunner._write

    def counting(self: ChildRunner, process: Any, message: Any) -> bool:
        if isinstance(message, Assign):
            counts.append(len(message.assignments))
        return write(self, process, message)

    monkeypatch.setattr(ChildRunner, "_write", counting)
    return counts


def open_shop(coordinator: zq.Coordinator, processes: int) -> zq.Worker:
    worker = zq.Worker(coordinator.address, name="shop", processes=processes)
    worker.handlers.update(loud_shop.worker.handlers)
    worker.spec = "tests.worker.loud_shop:worker"
    return worker


def test_child_that_ends_at_one_of_many_small_leases_is_charged_with_that_one_only(
    coordinator: zq.Coordinator, client: zq.Client, sent: list[int]
) -> None:
    payloads = [None if at == 300 else at for at in range(600)]
    receipts = client.submit_many("frail", payloads, batch_size=1)
    with open_shop(coordinator, 1):
        attempts = [receipt.result(timeout=PATIENCE) for receipt in receipts]

    assert attempts == [2 if at == 300 else 1 for at in range(600)]
    assert max(sent) > 1


def test_small_leases_before_and_behind_a_slow_one_do_not_wait_for_it(
    coordinator: zq.Coordinator, client: zq.Client, tmp_path: Path, sent: list[int]
) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.touch()
    payloads = [str(there)] * 300 + [str(missing)] + [str(there)] * 300
    receipts = list(client.submit_many("held", payloads, batch_size=1))
    slow = receipts.pop(300)
    with open_shop(coordinator, 2):
        others = {receipt.result(timeout=PATIENCE) for receipt in receipts}
        missing.touch()
        slow.result(timeout=PATIENCE)

    assert len(others) == 2
    assert max(sent) > 1
