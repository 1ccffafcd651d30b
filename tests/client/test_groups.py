"""Groups, requests and settling together, over a real coordinator."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.client.test_with_coordinator import client, coordinator

__all__ = ["client", "coordinator"]  # fixtures


def done(client: zq.Client, queue: str, work: Any, count: int = 1) -> None:
    """Does so many tasks of a queue."""
    while count > 0:
        tasks = client.pull(queue, max_tasks=min(count, 1000), wait=10)
        assert client.settle([(task, work(task)) for task in tasks]) == []
        count -= len(tasks)


def test_group_joins_the_results_of_its_members(client: zq.Client) -> None:
    group = client.group([1, 2, 3], queue="square", callback="sum")
    assert group.status() == zq.GroupStatus(
        group.id, "open", "all", 3, 3, 3, "sum", None, group.status().opened_time, None
    )
    done(client, "square", lambda task: task.payload**2, 3)

    done(client, "sum", lambda task: sum(task.payload))

    assert group.result(10) == 14
    assert group.status().state == "done"


@pytest.mark.parametrize(
    "arguments",
    [
        {"members": [1], "queue": "q", "unique": "k"},
        {"members": [("q", 1, {"unique": "k"})]},
        {"members": [1], "queue": "q", "callback": ("sum", {"unique": "k"})},
    ],
)
def test_neither_members_nor_callbacks_can_be_unique(client: zq.Client, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot have a unique key"):
        client.group(**arguments)


def test_members_may_be_of_several_queues_and_options_and_are_joined_in_their_order(client: zq.Client) -> None:
    members = [("a", 1), ("b", 2, {"priority": 9}), ("a", 3), ("a", 4)]
    group = client.group(members)
    for queue, count in (("b", 1), ("a", 3)):
        done(client, queue, lambda task: [task.queue, task.payload, task.priority], count)

    assert group.result(10) == [["a", 1, 4], ["b", 2, 9], ["a", 3, 4], ["a", 4, 4]]


def test_group_that_is_opened_again_by_the_same_call_is_the_same(client: zq.Client) -> None:
    for _ in range(2):
        group = client.group(range(1500), queue="square", id="squares")
    assert client.query("status")["waiting"] == 1500

    done(client, "square", lambda task: task.payload, 1500)

    assert group.result(10) == list(range(1500))


def test_group_fails_with_its_member_and_says_why(client: zq.Client) -> None:
    group = client.group([1, 2], queue="q", callback=("joined", {"on_dead": "complaints"}))
    [task] = client.pull("q", wait=10)
    task.fail("burnt", is_final=True)

    with pytest.raises(zq.TaskFailedError, match="member 0 ended as dead: burnt"):
        group.result(10)
    [notice] = client.pull("complaints", wait=10)
    assert (notice.payload, notice.headers["zq-id"]) == (None, group.id)


def test_cancelled_group_is_told_to_all_who_wait(client: zq.Client) -> None:
    group = client.group([1, 2], queue="q", callback="joined")

    assert group.cancel() == 3
    assert group.cancel() == 0
    with pytest.raises(zq.TaskCancelledError):
        client.result(group.id, 10)
    assert client.pull("q") == []


def test_member_of_a_group_that_is_not_there_is_refused(client: zq.Client) -> None:
    with pytest.raises(zq.InvalidTaskError, match="there is no group nobody"):
        client.submit("q", 1, group=("nobody", (0,)))


def test_refused_members_say_how_to_go_on(client: zq.Client) -> None:
    client.queues.set("small", max_tasks=1)
    with pytest.raises(zq.BusyError) as caught:
        client.group([("other", 0), ("small", 1), ("small", 2)], id="g")
    assert "call again with id='g'" in caught.value.__notes__[-1]
    client.queues.set("small", max_tasks=None)

    group = client.group([("other", 0), ("small", 1), ("small", 2)], id="g")

    done(client, "other", lambda task: task.payload)
    done(client, "small", lambda task: task.payload, 2)
    assert group.result(10) == [0, 1, 2]


def test_pulled_task_opens_a_group_that_takes_its_place_in_its_own(client: zq.Client) -> None:
    outer = client.group([2, 3], queue="split", callback="all")
    for task in client.pull("split", max_tasks=2, wait=10):
        task.group(range(task.payload), queue="part", callback="join")
        task.done()
    done(client, "part", lambda task: task.payload + 1, 5)
    done(client, "join", lambda task: sum(task.payload), 2)
    done(client, "all", lambda task: task.payload)

    assert outer.result(10) == [3, 6]


@pytest.fixture
def worker(coordinator: zq.Coordinator) -> Iterator[zq.Worker]:
    worker = zq.Worker(coordinator.address, name="shop", concurrency=2)

    @worker.task("split")
    def split(task: zq.Task) -> None:
        task.group(task.payload, queue="part", callback="join", skips_none=True)

    @worker.task("part")
    def part(task: zq.Task) -> Any:
        if task.payload < 0:
            return None
        if task.payload > 9:  # a fork of members: both take its place
            id, path = task.member_of or ("", ())
            for digit in (0, 1):
                task.forward("part", int(str(task.payload)[digit]), group=(id, (*path, digit)))
            return None
        return task.payload

    @worker.task("join")
    def join(task: zq.Task) -> Any:
        return task.payload

    @worker.task("steps")
    def steps(task: zq.Task) -> None:
        for fraction in (0.25, 0.5):
            task.progress(fraction)
            threading.Event().wait(0.3)  # longer than the least time between two reports

    with worker:
        yield worker


def test_handlers_open_groups_fork_and_join(client: zq.Client, worker: zq.Worker) -> None:
    receipts = [client.submit("split", numbers) for numbers in ([1, 42, -1, 3, 78], [], [-1], [5])]
    outer = client.group([[1, 2], [34]], queue="split")

    assert [receipt.result(20) for receipt in receipts] == [None] * 4  # the opener is done, its callback goes on
    assert outer.result(20) == [[1, 2], [3, 4]]
    joined = [client.result(row["id"], 20) for row in client.query("groups", state="done") if row["callback"] == "join"]
    assert sorted(joined) == [[], [], [1, 2], [1, 4, 2, 3, 7, 8], [3, 4], [5]]


def test_request_is_a_submit_and_its_result(client: zq.Client, worker: zq.Worker) -> None:
    assert client.request("join", {"a": 1}, 20) == {"a": 1}
    with pytest.raises(zq.TimedOutError, match=r"has not ended within 0\.3 s"):
        client.request("nobody", 1, 0.3)


def test_settling_together_answers_for_each_task(client: zq.Client) -> None:
    client.submit_many("q", range(5))
    tasks = client.pull("q", max_tasks=5, wait=10)
    client.cancel(tasks[1].id)
    tasks[0].forward("next", "box")

    stale = client.settle([(tasks[0], "zero"), tasks[1], tasks[2], tasks[3]], [(tasks[4], "burnt")])

    assert stale == [tasks[1]]
    assert client.result(tasks[0].id) == "zero"
    states = [client.status(task.id).state for task in tasks]
    assert states[:4] == ["done", "cancelled", "done", "done"]
    assert states[4] in ("scheduled", "waiting")  # it is tried again
    assert [task.payload for task in client.pull("next", wait=10)] == ["box"]


def test_settling_as_a_whole_stores_nothing_when_one_task_is_lost(client: zq.Client) -> None:
    client.submit_many("q", range(2))
    tasks = client.pull("q", max_tasks=2, wait=10)
    client.cancel(tasks[1].id)
    tasks[0].forward("next", "box")

    assert client.settle(tasks, is_whole=True) == [tasks[1]]
    assert client.status(tasks[0].id).state == "leased"
    assert client.settle(tasks[:1], is_whole=True) == []
    assert client.settle(tasks[:1], is_whole=True) == []  # again, as after an answer that was lost


def test_settling_too_much_at_once_is_refused_before_it_is_sent(client: zq.Client) -> None:
    client.submit_many("q", range(20))
    tasks = client.pull("q", max_tasks=20, wait=10)
    for task in tasks:
        task.forward("next", bytes(1_000_000))

    with pytest.raises(ValueError, match="settle fewer at once"):
        client.settle(tasks)
    assert client.settle(tasks[:10]) == []


def test_groups_and_settles_can_be_awaited(coordinator: zq.Coordinator) -> None:
    async def main() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as client:
            group = await client.group([1, 2], queue="q", policy="settled")
            tasks = await client.pull("q", max_tasks=2, wait=10)
            assert await client.settle([(tasks[0], 10)]) == []
            assert (await group.status()).outstanding == 1
            await tasks[1].fail("burnt", is_final=True)
            assert await group.result(10) == [["done", 10], ["dead", "burnt"]]
            assert await group.cancel() == 0
            with pytest.raises(zq.TimedOutError):
                await client.request("nobody", 1, 0.05)

    asyncio.run(main())


def test_completions_that_are_awaited_together_end_each_as_it_says(coordinator: zq.Coordinator) -> None:
    async def main() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as client:
            await client.submit_many("q", range(6))
            tasks = await client.pull("q", max_tasks=6, wait=10)
            await client.cancel(tasks[2].id)

            ends = await asyncio.gather(*(task.done(task.payload or None) for task in tasks), return_exceptions=True)

            assert [isinstance(end, zq.StaleLeaseError) for end in ends] == [at == 2 for at in range(6)]
            assert [await client.result(tasks[at].id) for at in (0, 1, 3, 5)] == [None, 1, 3, 5]
            await tasks[3].done(3)  # again, as after an answer that was lost
            with pytest.raises(zq.StaleLeaseError):
                await tasks[3].done(4)

    asyncio.run(main())


def test_open_group_survives_a_restart(tmp_path: Path) -> None:
    for part in range(3):
        with zq.Coordinator(tmp_path / "orders.zq") as coordinator, zq.Client(coordinator.address) as client:
            group = client.group([0, 1, 2], queue="q", id="g")
            done(client, "q", lambda task: task.payload)
            if part == 2:
                assert group.result(10) == [0, 1, 2]


def test_receipt_tells_the_progress_of_its_task(client: zq.Client, worker: zq.Worker) -> None:
    receipt = client.submit("steps", None, delay=0.3)

    assert list(receipt.progress(20.0)) == [0.25, 0.5]
    assert list(receipt.progress(20.0)) == []
    with pytest.raises(zq.TimedOutError):
        next(client.submit("nobody", 1).progress(0.05))
