"""Client and coordinator together: what each promises the other, over a real socket and a real store."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zq.client.async_client import AsyncClient
from zq.client.client import Client
from zq.client.pulled import PulledTask
from zq.errors import BusyError, InvalidTaskError, StaleLeaseError, TaskCancelledError, TaskFailedError
from zq.server.embedded import Coordinator


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[Coordinator]:
    with Coordinator(tmp_path / "orders.zq") as one:
        yield one


@pytest.fixture
def client(coordinator: Coordinator) -> Iterator[Client]:
    with Client(coordinator.address, timeout=20.0) as one:
        yield one


def test_a_task_goes_from_submit_to_result(client: Client) -> None:
    receipt = client.submit("orders", {"pizza": 1}, priority=7)
    assert receipt.status().state == "waiting"
    [task] = client.pull("orders", wait=10)
    assert (task.id, task.payload, task.priority) == (receipt.id, {"pizza": 1}, 7)
    task.forward("delivery", "box")
    task.extend(20)
    task.done({"baked": 1})
    assert receipt.result(10) == {"baked": 1}
    assert [one.payload for one in client.pull("delivery", wait=10)] == ["box"]
    with pytest.raises(StaleLeaseError):
        task.fail("too late")


ENDS: dict[str, tuple[Callable[[Client, PulledTask], object], str]] = {
    "done": (lambda client, task: task.done("hot"), "it was done"),
    "failed": (lambda client, task: task.fail("no dough", retry_in=100.0), "it was reported as failed"),
    "dead": (lambda client, task: task.fail("no dough", is_final=True), "it is a dead letter: no dough"),
    "released": (lambda client, task: task.release(), "it was given back"),
    "cancelled": (lambda client, task: client.cancel(task.id), "it was cancelled"),
    "buried": (lambda client, task: client.dead.bury(task.id, "for good"), "it is a dead letter: for good"),
    "given to another": (lambda client, task: _give_away(client, task), "it was given back"),
}


def _give_away(client: Client, task: PulledTask) -> None:
    task.release()
    client.pull(task.queue, max_tasks=2)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("size", [1, 2])
def test_a_stale_handle_is_told_what_became_of_its_task(client: Client, end: str, size: int) -> None:
    client.submit_many("orders", [None] * size)
    task = client.pull("orders", max_tasks=size, wait=10)[-1]
    end_it, why = ENDS[end]
    end_it(client, task)

    calls: list[Callable[[], None]] = [lambda: task.done("cold"), lambda: task.fail("cold"), task.release]
    if size == 1:  # else the lease goes on for its neighbour
        calls.append(lambda: task.extend(5))
    for call in calls:
        with pytest.raises(StaleLeaseError, match=f"task {task.id} is no longer held here: {why}"):
            call()


def test_a_lease_that_ran_out_is_said_so(client: Client) -> None:
    receipt = client.submit("orders", None)
    [task] = client.pull("orders", wait=10, lease=0.001)
    [again] = client.pull("orders", wait=10)

    with pytest.raises(StaleLeaseError, match=r"the lease of 0\.001 s ran out|it was given back"):
        task.done()
    again.done("hot")
    again.done("hot")  # the same word again is no other
    assert receipt.result(10) == "hot"


def test_results_of_many_tasks_come_as_they_end(client: Client) -> None:
    receipts = client.submit_many("orders", range(200), batch_size=80)
    for task in client.pull("orders", max_tasks=150, wait=10):
        task.done(task.payload * 2)
    assert [receipt.result(10) for receipt in receipts[:150]] == [n * 2 for n in range(150)]
    with pytest.raises(TimeoutError):
        receipts[199].result(0.05)
    left = 50
    while left:
        for task in client.pull("orders", max_tasks=150, wait=10):
            task.done()
            left -= 1
    assert receipts[199].result(10) is None


def test_the_same_id_is_stored_once(client: Client) -> None:
    assert client.submit("orders", 1, id="a").id == client.submit("orders", 1, id="a").id
    assert len(client.pull("orders", max_tasks=10)) == 1


def test_cancelled_and_failed_tasks_raise_and_a_dead_letter_can_be_retried(client: Client) -> None:
    receipts = client.submit_many("orders", range(3))
    assert receipts[1].cancel()
    assert not receipts[1].cancel()
    with pytest.raises(TaskCancelledError):
        receipts[1].result(10)
    tasks = client.pull("orders", max_tasks=3, wait=10)
    tasks[0].fail("oven broken", is_final=True)
    with pytest.raises(TaskFailedError, match="oven broken"):
        receipts[0].result(10)
    assert client.dead.replay(receipts[0].id)
    [again] = client.pull("orders", wait=10)
    again.done("mended")
    assert receipts[0].result(10) == "mended"


def test_a_full_queue_takes_as_many_as_it_has_room_for(client: Client) -> None:
    assert client.queues.set("orders", max_tasks=10).max_tasks == 10

    async def submit_all() -> list[object]:
        async with AsyncClient(client.address, timeout=20.0) as one:
            return await asyncio.gather(*(one.submit("orders", n) for n in range(40)), return_exceptions=True)

    ends = asyncio.run(submit_all())
    assert sum(isinstance(end, BusyError) for end in ends) == 30
    assert len(client.pull("orders", max_tasks=100)) == 10


def test_a_paused_queue_says_why_its_tasks_wait(client: Client) -> None:
    assert client.queues.pause("orders").closed_by == ("paused",)
    receipt = client.submit("orders", 1)
    reason = client.why(receipt.id)
    assert (reason.code, str(reason)) == ("paused", f"{receipt.id}: queue orders is paused")
    assert client.pull("orders") == []

    async def resume() -> tuple[str, str]:
        async with AsyncClient(client.address, timeout=20.0) as one:
            await one.queues.pause("orders")
            first = await one.why(receipt.id)
            await one.queues.resume("orders")
            return first.code, (await one.why(receipt.id)).code

    assert asyncio.run(resume()) == ("paused", "no-worker")
    assert len(client.pull("orders")) == 1


def test_ordered_tasks_of_a_key_are_pulled_one_by_one(client: Client) -> None:
    for number in range(3):
        client.submit("orders", number, key="k", ordered=True)
    payloads = []
    while tasks := client.pull("orders", max_tasks=10):
        payloads.append([task.payload for task in tasks])
        tasks[0].done()
    assert payloads == [[0], [1], [2]]


def test_a_payload_over_the_coordinators_limit_hurts_no_neighbour(coordinator: Coordinator) -> None:
    async def submit_all() -> list[object]:
        async with AsyncClient(coordinator.address, timeout=20.0, payload_bytes_max=4 << 20) as one:
            payloads = [bytes(2 << 20) if n == 5 else b"small" for n in range(10)]
            calls = (one.submit("orders", payload) for payload in payloads)
            return await asyncio.gather(*calls, return_exceptions=True)

    ends = asyncio.run(submit_all())
    assert [isinstance(end, Exception) for end in ends] == [n == 5 for n in range(10)]
    assert isinstance(ends[5], InvalidTaskError)


def test_calls_survive_a_restart_of_the_coordinator(tmp_path: Path) -> None:
    with Coordinator(tmp_path / "orders.zq") as first:
        address = first.address
        client = Client(address, timeout=20.0)
        receipt = client.submit("orders", 1)
        [task] = client.pull("orders", wait=10)
    with client, Coordinator(tmp_path / "orders.zq", bind=address):
        task.done("ok")
        assert receipt.result(10) == "ok"
