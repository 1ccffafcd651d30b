"""Operations on whole queues through the clients, over a real socket and a real store."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import zq


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "orders.zq", bind=f"ipc://{tmp_path}/socket") as one:
        yield one


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address, timeout=20.0) as one:
        yield one


def test_purge_of_more_than_a_step_holds_ends_everything(client: zq.Client) -> None:
    receipts = client.submit_many("orders", range(30_000), batch_size=20)

    assert client.queues.purge("orders") == 30_000

    with pytest.raises(zq.TaskCancelledError, match="its queue was purged"):
        receipts[29_999].result(10)
    assert client.queues.show("orders").waiting == 0


def test_move_of_more_than_a_step_holds_keeps_the_order(client: zq.Client) -> None:
    client.submit_many("orders", range(5000), batch_size=7)

    assert client.queues.move("orders", "later") == 5000

    moved = [task.payload for _ in range(5) for task in client.pull("later", max_tasks=1000, wait=5)]
    assert moved == list(range(5000))


def test_drain_and_delete(client: zq.Client) -> None:
    client.submit("orders", 1)
    client.queues.drain("orders")
    with pytest.raises(zq.BusyError, match="draining"):
        client.submit("orders", 2)
    with pytest.raises(zq.RemoteProtocolError, match="not empty"):
        client.queues.delete("orders")
    [task] = client.pull("orders", wait=5)
    assert client.queues.delete("orders", may_purge=True) is False
    task.done()
    assert client.submit("orders", 3).status().state == "waiting"
    assert [one.state for one in client.queues.operations()] == ["done"]


def test_states_are_checked_before_anything_is_sent(client: zq.Client) -> None:
    with pytest.raises(ValueError, match="expected states of waiting"):
        client.queues.purge("orders", ["running"])  # type: ignore[list-item]  # that is what it is about


def test_async_client_has_the_same_operations(coordinator: zq.Coordinator) -> None:
    async def work() -> None:
        async with zq.AsyncClient(coordinator.address) as client:
            await client.submit_many("orders", range(10))
            assert await client.queues.move("orders", "later") == 10
            assert await client.queues.purge("later", ["waiting"]) == 10
            await client.queues.drain("later")
            assert await client.queues.delete("later") is True
            assert len(await client.queues.operations()) == 3

    asyncio.run(work())
