"""When tasks start, expire, fail and come back, as a program sees it: over a real socket and a real store, with both
clients.
"""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zq


@pytest.fixture
def coordinator(tmp_path: Path) -> Iterator[zq.Coordinator]:
    with zq.Coordinator(tmp_path / "orders.zq") as one:
        yield one


@pytest.fixture
def client(coordinator: zq.Coordinator) -> Iterator[zq.Client]:
    with zq.Client(coordinator.address, timeout=20.0) as one:
        yield one


def wait_until(client: zq.Client, id: str, state: str) -> zq.TaskStatus:
    give_up_at = time.monotonic() + 20.0
    while (status := client.status(id)).state != state:
        assert time.monotonic() < give_up_at, status
    return status


# Time.


def test_a_task_may_be_given_a_date(client: zq.Client) -> None:
    christmas = datetime(2100, 12, 24, 18, tzinfo=UTC)
    late = client.submit("orders", 1, at=christmas)
    at_once = client.submit("orders", 2, at=datetime.now(UTC) - timedelta(hours=1))

    assert late.status().due_time == christmas.timestamp()
    assert [task.id for task in client.pull("orders", max_tasks=5)] == [at_once.id]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"at": datetime(2100, 1, 1)}, ValueError, "expected at with a time zone"),
        ({"at": "tomorrow"}, TypeError, "expected at as a datetime with a time zone or as seconds since 1970"),
        ({"at": -1.0}, ValueError, "expected at from the year 1970 to 9999"),
        ({"at": 10.0, "delay": 5.0}, ValueError, "expected delay or at, got both"),
        ({"ttl": 0}, ValueError, "expected ttl of at least 0.001 seconds"),
        ({"retry": "sometimes"}, ValueError, "expected a retry policy such as none"),
    ],
)
def test_a_time_that_cannot_be_is_refused_in_words(
    client: zq.Client, options: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        client.submit("orders", 1, **options)


def test_a_task_that_nobody_starts_in_time_raises_that_it_expired(client: zq.Client) -> None:
    receipt = client.submit("orders", 1, ttl=0.05)

    with pytest.raises(zq.TaskExpiredError, match=r"not started within its ttl of 0\.05 s"):
        receipt.result(20)
    assert client.pull("orders") == []


def test_an_awaited_task_that_nobody_starts_in_time_raises_that_it_expired(coordinator: zq.Coordinator) -> None:
    async def order() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as client:
            receipt = await client.submit("orders", 1, ttl=0.05, at=time.time() + 3600)
            with pytest.raises(zq.TaskExpiredError):
                await receipt.result(20)

    asyncio.run(order())


def test_a_task_in_the_hands_of_a_busy_worker_expires_and_is_not_run(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    worker = zq.Worker(coordinator.address, concurrency=1)
    ran: list[Any] = []

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        ran.append(task.payload)
        if task.payload == "fast":
            return
        give_up_at = time.monotonic() + 20
        while client.status("late").state != "expired" and time.monotonic() < give_up_at:
            pass

    with worker:
        client.submit_many("orders", ["fast"] * 20)[19].result(20)  # it has learnt to hold more than it runs
        slow = client.submit("orders", "slow")
        wait_until(client, slow.id, "leased")
        client.submit("orders", "late", id="late", ttl=0.2)
        slow.result(30)

    assert ran == ["fast"] * 20 + ["slow"]
    assert client.status("late").state == "expired"


# Failure.


def test_a_retry_policy_and_a_handler_that_knows_better(coordinator: zq.Coordinator, client: zq.Client) -> None:
    worker = zq.Worker(coordinator.address)

    @worker.task("orders")
    def bake(task: zq.Task) -> int:
        if task.attempt == 1:
            raise zq.Retry(0.01, "the oven is cold")
        if task.attempt == 2:
            raise RuntimeError("burnt")
        if task.payload == "nowhere":
            raise zq.Bury("there is no such street")
        return task.attempt

    with worker:
        good = client.submit("orders", "here", retry=zq.RetryPolicy.constant(0.01), max_attempts=9)
        bad = client.submit("orders", "nowhere", retry="constant:0.01", max_attempts=9)
        assert good.result(20) == 3
        with pytest.raises(zq.TaskFailedError, match="there is no such street"):
            bad.result(20)

    assert (good.status().attempts, good.status().failures) == (2, 2)
    assert (bad.status().attempts, bad.status().failures) == (3, 3)
    assert [event.event for event in bad.status().timeline] == ["retry", "retry", "dead"]


# Dead letters.


def die(client: zq.Client, id: str, reason: str) -> None:
    client.submit("orders", id, id=id)
    client.dead.bury(id, reason)


def test_dead_letters_are_found_brought_back_and_given_up(client: zq.Client) -> None:
    for id, reason in (("a", "no oven"), ("b", "burnt"), ("c", "no oven"), ("d", "wet")):
        die(client, id, reason)

    assert [letter.id for letter in client.dead.list(queue="orders", reason="oven")] == ["a", "c"]
    assert client.dead.replay("b") == 1
    assert client.dead.replay(reason="oven", to="repair") == 2
    assert client.dead.purge("d") == 1
    assert client.dead.replay(queue="orders", limit=5) == 0
    assert [client.status(id).queue for id in "abc"] == ["repair", "orders", "repair"]
    with pytest.raises(zq.RemoteProtocolError, match="there is no queue 'nowhere'"):
        client.dead.replay(queue="nowhere")


def test_dead_letters_are_brought_back_at_a_rate_by_an_awaiting_client(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    for number in range(4):
        die(client, f"t{number}", "no oven")

    async def replay() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as awaiting:
            slow = await awaiting.dead.start_replay(0.001, queue="orders", reason="oven")
            assert [one.id for one in await awaiting.dead.replays()] == [slow.id]
            assert await awaiting.dead.stop_replay(slow.id)
            await awaiting.dead.start_replay(10_000.0)
            assert len(await awaiting.dead.list()) < 4
            assert await awaiting.dead.replay(queue="orders", limit=1) <= 1
            assert await awaiting.dead.replay(queue="orders") <= 3
            assert await awaiting.dead.purge(queue="orders") == 0
            assert await awaiting.dead.bury("t0") == 1

    asyncio.run(replay())
    assert wait_until(client, "t3", "waiting").queue == "orders"


# Uniqueness.


def test_a_duplicate_gets_the_receipt_of_the_task_that_has_its_key(client: zq.Client) -> None:
    first = client.submit("orders", 1, unique="table-7")
    second = client.submit("orders", 2, unique="table-7", id="mine")
    (task,) = client.pull("orders", max_tasks=9)
    task.done("served")

    assert (first.is_duplicate, second.is_duplicate) == (False, True)
    assert second.id == first.id
    assert second.result(20) == "served"
    assert client.status("mine").state == "duplicate"
    with pytest.raises(zq.TaskCancelledError, match=f"a duplicate of task {first.id}"):
        client.result("mine", 20)
    assert not client.submit("orders", 3, unique="table-7").is_duplicate


def test_a_waiting_task_is_replaced_for_an_awaiting_client(coordinator: zq.Coordinator) -> None:
    async def order() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as client:
            newest = zq.Unique("table-7", policy="replace")
            first = await client.submit("orders", 1, unique=newest)
            second = await client.submit("orders", 2, unique=newest)
            assert not second.is_duplicate
            with pytest.raises(zq.TaskCancelledError, match=f"replaced by task {second.id}"):
                await first.result(20)
            assert [task.payload for task in await client.pull("orders", max_tasks=9)] == [2]
            assert (await client.submit("orders", 3, unique=newest)).id == second.id

    asyncio.run(order())


def test_several_tasks_cannot_be_unique(client: zq.Client) -> None:
    with pytest.raises(ValueError, match="a unique key is for one task"):
        client.submit_many("orders", [1, 2], unique="table-7")
    with pytest.raises(ValueError, match="expected until of a unique key as ended or started, got 'noon'"):
        client.submit("orders", 1, unique=zq.Unique("table-7", until="noon"))


def test_a_handler_forwards_many_unique_tasks_and_each_key_once(coordinator: zq.Coordinator, client: zq.Client) -> None:
    worker = zq.Worker(coordinator.address)

    @worker.task("orders")
    def bake(task: zq.Task) -> None:
        for number in (1, 2, 1, 3):
            task.forward("boxes", number, unique=f"box-{number}")

    with worker:
        client.submit("orders", None).result(20)

    assert [task.payload for task in client.pull("boxes", max_tasks=9)] == [1, 2, 3]


# Recurring tasks.


def test_a_schedule_stores_its_tasks_by_itself(client: zq.Client) -> None:
    made = client.schedules.define("beat", "beats", {"n": 1}, every=1.0, priority=7)
    (task,) = client.pull("beats", wait=20)

    assert (
        task.id == f"beat@{datetime.fromtimestamp(made.next_time or 0.0, UTC).isoformat(timespec='milliseconds')[:-6]}Z"
    )
    assert (task.payload, task.priority) == ({"n": 1}, 7)
    assert client.schedules.show("beat").fired >= 1
    assert client.schedules.pause("beat").is_paused
    assert client.schedules.resume("beat").next_time is not None
    assert client.schedules.set("beat", every=3600.0, catch_up="skip").every == 3600.0
    assert [one.name for one in client.schedules.list()] == ["beat"]
    assert client.schedules.delete("beat")


def test_an_awaiting_client_keeps_schedules_by_cron(coordinator: zq.Coordinator) -> None:
    pytest.importorskip("cronsim", reason="the extra cron is not installed")

    async def keep() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as client:
            made = await client.schedules.define(
                "nightly", "reports", None, cron="30 2 * * *", timezone="Europe/Berlin"
            )
            assert made == await client.schedules.show("nightly")
            assert (await client.schedules.pause("nightly")).next_time is None
            assert (await client.schedules.resume("nightly")).next_time == made.next_time
            assert (await client.schedules.set("nightly", every=60.0)).cron is None
            assert len(await client.schedules.list()) == 1
            assert await client.schedules.delete("nightly")
            with pytest.raises(zq.RemoteProtocolError, match="expected a time zone"):
                await client.schedules.define("nightly", "reports", None, cron="30 2 * * *", timezone="Mars/Olympus")
            with pytest.raises(ValueError, match="expected either every or cron"):
                await client.schedules.define("nightly", "reports", None)

    asyncio.run(keep())


# Pulling.


def test_a_pulled_task_is_ended_elsewhere_by_its_handle(coordinator: zq.Coordinator, client: zq.Client) -> None:
    receipts = client.submit_many("orders", [1, 2])
    handles = [task.handle for task in client.pull("orders", max_tasks=2)]

    async def end() -> None:
        async with zq.AsyncClient(coordinator.address, timeout=20.0) as elsewhere:
            await elsewhere.pulled(handles[0]).extend(60.0)
            await elsewhere.pulled(handles[0]).done("here")
            with pytest.raises(zq.StaleLeaseError):
                await elsewhere.pulled(handles[0]).release()

    asyncio.run(end())
    client.pulled(handles[1]).fail("burnt", is_final=True)
    assert receipts[0].result(20) == "here"
    assert receipts[1].status().state == "dead"
    with pytest.raises(ValueError, match="expected a handle such as"):
        client.pulled("7")


def test_a_handle_that_was_guessed_is_refused_in_every_way(coordinator: zq.Coordinator, client: zq.Client) -> None:
    client.submit("orders", 1, id="order-1")
    (task,) = client.pull("orders")
    right = task.handle.partition(":")[0].partition(".")[2]
    wrong = f"{int(right, 16) ^ 1:016x}"
    with zq.Client(coordinator.address, timeout=20.0) as stranger:
        for handle in (
            f"{task.token}:{task.id}",
            f"{task.token}.{wrong}:{task.id}",
            f"{task.token + 1}.{right}:{task.id}",
        ):
            guessed = stranger.pulled(handle)
            for end in (guessed.done, partial(guessed.fail, "evil"), guessed.release, partial(guessed.extend, 60.0)):
                with pytest.raises(zq.StaleLeaseError):
                    end()
            assert stranger.settle(done=[(guessed, "evil")], is_whole=True) == [guessed]
        with pytest.raises(ValueError, match="expected a handle such as"):
            stranger.pulled(f"{task.token}.{right[:8]}:{task.id}")
        task.done("mine")

        assert stranger.result("order-1", timeout=20.0) == "mine"
