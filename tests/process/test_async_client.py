"""The asyncio face against a real coordinator, hosted in this process."""

import asyncio
from pathlib import Path

import pytest

import zq


def test_async_client_does_what_the_client_does(tmp_path: Path) -> None:
    async def scenario(address: str) -> None:
        async with zq.AsyncClient(address) as client:
            receipts = await asyncio.gather(*(client.submit("q", {"n": n}, priority=n % 10) for n in range(50)))
            many = await client.submit_many("q", [{"n": n} for n in range(50, 100)])
            results = [await receipt.result(timeout=30.0) for receipt in [*receipts, *many]]
            assert results == list(range(100))
            with pytest.raises(zq.TaskFailedError, match="KeyError: 'n'"):
                await (await client.submit("q", {}, max_attempts=1)).result(timeout=30.0)
            assert (await client.status(receipts[0].id)).state == "done"
            later = await client.submit("q", {"n": 1}, delay=60.0)
            assert await client.cancel(later.id) == 1
            with pytest.raises(zq.TaskCancelledError):
                await later.result(timeout=30.0)
            await client.submit("pulled", "by hand")
            (task,) = await client.pull("pulled", wait=5.0)
            assert task.payload == "by hand"
            await task.done("thanks")
            assert await client.result(task.id, timeout=30.0) == "thanks"

    with zq.Coordinator(tmp_path / "s.zq") as coordinator:
        worker = zq.Worker(coordinator.address, concurrency=2)

        @worker.task("q")
        def take(task: zq.Task) -> int:
            return int(task.payload["n"])

        with worker:
            asyncio.run(scenario(coordinator.address))


def test_embedded_coordinator_keeps_its_tasks_over_a_restart(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.Client(coordinator.address) as client:
        receipt = client.submit("q", "kept")
    with zq.Coordinator(tmp_path / "s.zq") as coordinator, zq.Client(coordinator.address) as client:
        (task,) = client.pull("q")
        task.done(task.payload)

        assert client.result(receipt.id) == "kept"


def test_embedded_coordinator_raises_where_it_is_opened(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "s.zq"), pytest.raises(zq.StoreLockedError):
        zq.Coordinator(tmp_path / "s.zq").open()


def test_embedded_coordinator_says_when_it_cannot_bind(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "one.zq") as taken, pytest.raises(OSError, match=f"cannot bind {taken.address}"):
        zq.Coordinator(tmp_path / "two.zq", bind=taken.address).open()
