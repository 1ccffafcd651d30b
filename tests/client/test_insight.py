"""What can be seen of tasks, over a real coordinator."""

import asyncio

import zq
from tests.client.test_with_coordinator import client, coordinator

__all__ = ["client", "coordinator"]  # fixtures


def test_trace_tells_what_happened_to_a_task(client: zq.Client) -> None:
    receipt = client.submit("q", 1)
    [task] = client.pull("q", wait=10)
    task.done()

    events = client.trace(receipt.id)

    assert [event.event for event in events] == ["accepted", "assigned", "done"]
    assert events[1].detail["token"] == task.token
    assert client.trace("never") == ()


def test_async_client_has_the_same_trace(client: zq.Client) -> None:
    receipt = client.submit("q", 1)

    async def look() -> tuple[zq.TaskEvent, ...]:
        async with zq.AsyncClient(client.address) as other:
            return await other.trace(receipt.id)

    assert asyncio.run(look()) == client.trace(receipt.id)
