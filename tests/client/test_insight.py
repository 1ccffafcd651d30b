"""What can be seen of tasks, over a real coordinator."""

import asyncio

import pytest

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


def test_tasks_are_found_beyond_the_rows_of_one_answer(client: zq.Client) -> None:
    client.submit_many("q", range(2300), batch_size=1000, headers={"city": "rome"})
    client.submit("q", "other", id="other")

    assert len(list(client.tasks(queue="q", headers={"city": "rome"}))) == 2300
    assert len({task.id for task in client.tasks("unfinished")}) == 2301
    assert [task.id for task in client.tasks(limit=3)] == [task.id for task in client.tasks()][:3]
    with pytest.raises(zq.RemoteProtocolError, match="there is no queue 'r'"):
        list(client.tasks(queue="r"))
    with pytest.raises(ValueError, match="expected limit from 1"):
        client.tasks(limit=0)


def test_async_client_finds_the_same(client: zq.Client) -> None:
    client.submit_many("q", range(700))

    async def look() -> list[str]:
        async with zq.AsyncClient(client.address) as other:
            assert await other.payload((await other.query("tasks"))["rows"][3]["id"]) == 3
            return [task.id async for task in other.tasks()]

    assert asyncio.run(look()) == [task.id for task in client.tasks()]


def test_payload_is_what_was_submitted_while_the_task_is_there(client: zq.Client) -> None:
    client.submit("q", {"pizza": [1, b"raw"]}, id="a")

    assert client.payload("a") == {"pizza": [1, b"raw"]}
    with pytest.raises(zq.TaskUnknownError, match="its payload is not there"):
        client.payload("b")
