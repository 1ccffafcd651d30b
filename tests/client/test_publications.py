"""Publishing through the clients, over a real socket and a real store."""

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


def test_every_bound_queue_gets_its_own_task_and_its_own_result(client: zq.Client) -> None:
    assert client.topics.bind("orders.#", "kitchen")
    assert client.topics.bind("orders.*", "audit", {"city": "rome"})
    assert client.topics.match("orders.eu", {"city": "rome"}) == ["audit", "kitchen"]

    receipt = client.publish("orders.eu", {"pizza": 1}, headers={"city": "rome"}, priority=7)

    assert receipt.queues == ("audit", "kitchen")
    for queue in receipt.queues:
        [task] = client.pull(queue, wait=10)
        assert (task.payload, task.topic, task.priority) == ({"pizza": 1}, "orders.eu", 7)
        assert task.headers == {"city": "rome", "zq-topic": "orders.eu"}
        task.done(queue)
    assert {queue: one.result(10) for queue, one in receipt.receipts.items()} == {
        "audit": "audit",
        "kitchen": "kitchen",
    }


def test_publication_with_an_id_is_stored_once(client: zq.Client) -> None:
    client.topics.bind("a", "one")
    first = client.publish("a", 1, id="p")
    client.topics.bind("a", "another")
    again = client.publish("a", 1, id="p")

    assert (again.id, again.queues) == (first.id, first.queues) == ("p", ("one",))
    assert [task.id for task in client.pull("one", max_tasks=10, wait=1)] == ["p.1"]


def test_publishing_to_nobody_is_an_error_unless_it_was_allowed(client: zq.Client) -> None:
    with pytest.raises(zq.UnroutableError, match=r"no queue is bound to topic news.*is_mandatory=False") as caught:
        client.publish("news", 1)
    assert caught.value.topic == "news"
    assert client.publish("news", 1, is_mandatory=False).queues == ()
    with pytest.raises(zq.UnroutableError):
        client.publish_many("news", range(5))


def test_many_payloads_are_published_in_batches(client: zq.Client) -> None:
    client.topics.bind("a.#", "one")
    client.topics.bind("a", "two")

    receipts = client.publish_many("a", range(2500), batch_size=1000)

    assert len(receipts) == 2500
    assert receipts[2400].queues == ("one", "two")
    assert receipts[2400].receipts["two"].id.endswith(".2#400")
    assert len(receipts[10:20]) == 10
    assert [queue.waiting for queue in client.queues.list()] == [2500, 2500]


def test_full_queue_holds_up_the_whole_publication(client: zq.Client) -> None:
    client.topics.bind("a", "one")
    client.topics.bind("a", "two")
    client.queues.set("two", max_tasks=10)

    with pytest.raises(zq.BusyError, match="queue two is full") as caught:
        client.publish_many("a", range(25), batch_size=5)

    assert caught.value.refused == tuple(range(10, 25))
    assert len(caught.value.accepted) == 10
    assert [queue.waiting for queue in client.queues.list()] == [10, 10]


def test_what_cannot_be_published_is_not_sent(client: zq.Client) -> None:
    with pytest.raises(ValueError, match="without wildcards"):
        client.publish("a.*", 1)
    with pytest.raises(ValueError, match="word of its own"):
        client.topics.bind("a*", "one")
    with pytest.raises(ValueError, match="group"):
        client.publish("a", 1, group=("g", (0,)))
    with pytest.raises(ValueError, match="123 bytes"):
        client.publish("a", 1, id="x" * 124)


def test_async_client_publishes_with_the_same_calls(coordinator: zq.Coordinator) -> None:
    async def work() -> None:
        async with zq.AsyncClient(coordinator.address) as client:
            assert await client.topics.bind("a", "one")
            receipt = await client.publish("a", 1)
            [task] = await client.pull("one", wait=10)
            await task.done("eaten")
            assert await receipt.receipts["one"].result(10) == "eaten"
            assert len(await client.publish_many("a", range(3))) == 3
            assert await client.topics.match("a") == ["one"]
            assert await client.topics.unbind("a", "one") == 1

    asyncio.run(work())
