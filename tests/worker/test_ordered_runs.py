"""Workers that get several ordered tasks of a key at once do them one after the other, whatever fails among them."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

import zq
from tests.worker import slow_shop

PATIENCE = 60.0
QUICK_TASKS = 1000
TASKS = 60


@pytest.mark.parametrize("processes", [0, 2], ids=["threads", "children"])
def test_tasks_of_a_key_run_one_after_the_other_in_their_order(
    coordinator: zq.Coordinator,
    client: zq.Client,
    tmp_path: Path,
    processes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZQ_TEST_LEDGER", str(tmp_path))
    worker = zq.Worker(coordinator.address, name="shop", processes=processes, concurrency=1 if processes else 3)
    for queue in ("ordered", "plain"):
        worker.task(queue)(slow_shop.worker.handlers[queue])
    worker.spec = "tests.worker.slow_shop:worker"
    most = 0
    with worker:
        while most < 2:  # until its credit has grown
            client.submit_many("plain", [None] * QUICK_TASKS, batch_size=100)[-1].result(timeout=PATIENCE)
            (tmp_path / "order").unlink(missing_ok=True)
            options = {"key": "k", "ordered": True, "retry": "constant:0"}
            receipts = [
                receipt
                for _ in range(2)
                for receipt in client.submit_many("ordered", range(TASKS), batch_size=TASKS, **options)  # type: ignore[arg-type]
            ]
            for receipt in receipts:
                receipt.result(timeout=PATIENCE)
            lines = [line.split() for line in (tmp_path / "order").read_text().splitlines()]
            most = max(Counter(token for event, _, _, token in lines if event == "begin").values())

            assert [event for event, *_ in lines[::2]] == ["begin"] * (len(lines) // 2)
            assert [begin[1:] for begin in lines[::2]] == [end[1:] for end in lines[1::2]], "two ran at once"
            ended = [id for id, _ in groupby(id for event, id, *_ in lines if event == "end")]
            assert ended == [receipt.id for receipt in receipts]
