"""The client that awaits, and that cancelling an await loses nothing."""

import asyncio
import select
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import zmq

from tests.client.fake_coordinator import FakeCoordinator, hush, wait_until
from tests.client.test_pulled import TOKEN, assign, serve
from zq.client.async_client import AsyncClient
from zq.errors import BusyError, ClosedError, StaleLeaseError, TaskFailedError, TimedOutError, UnreachableError
from zq.sockets.loop_link import EventLoopLink
from zq.wire.batch import encode_payload, pack_payloads
from zq.wire.messages import (
    Answer,
    Cancel,
    Command,
    Ended,
    FromCoordinator,
    Outcome,
    Pull,
    Query,
    Receipt,
    Refused,
    Release,
    Settle,
    Span,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
    Withdraw,
)

Body = Callable[[AsyncClient], Coroutine[Any, Any, None]]


def run(coordinator: FakeCoordinator, body: Body) -> None:
    async def main() -> None:
        async with AsyncClient(coordinator.address, timeout=20.0) as client:
            await asyncio.wait_for(body(client), 60)

    asyncio.run(main())


async def wait_for(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


def test_submits_that_are_awaited_together_travel_together(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        receipts = await asyncio.gather(*(client.submit("orders", place) for place in range(500)))
        assert len({receipt.id for receipt in receipts}) == 500
        assert len(coordinator.stored) < 100
        assert sum(len(one.ends) // 4 for one in coordinator.stored.values()) == 500

    run(coordinator, body)


@pytest.mark.parametrize("queue", ["", "a b"])
def test_a_queue_that_cannot_be_is_refused_at_the_first_submit(coordinator: FakeCoordinator, queue: str) -> None:
    async def body(client: AsyncClient) -> None:
        with pytest.raises(ValueError, match="queue"):
            await client.submit(queue, 1)

    run(coordinator, body)


def test_results_are_awaited(coordinator: FakeCoordinator) -> None:
    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Wait):
            results = [encode_payload(place) for place in range(10)]
            ended = (
                Ended(0, 10, "done", "", *pack_payloads(results)),
                Ended(10, 11, "dead", "oven broken", b"", b""),
            )
            return [Outcome(message.request, ended, is_last=True)]
        return None

    async def body(client: AsyncClient) -> None:
        receipts = await client.submit_many("orders", range(11))
        assert await asyncio.gather(*(one.result(20) for one in receipts[:10])) == list(range(10))
        with pytest.raises(TaskFailedError, match="oven broken"):
            await receipts[10].result(20)
        assert await client.result("b#4", 20) == 4
        assert len(coordinator.of_kind(Wait)) == 2

    coordinator.handler = handle
    run(coordinator, body)


def test_questions_are_awaited(coordinator: FakeCoordinator) -> None:
    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        match message:
            case Query(request):
                return [Answer(request, {"id": "b", "state": "waiting"})]
            case Cancel(request):
                return [Answer(request, 1)]
            case Command(request, "set-queue", arguments):
                return [Answer(request, arguments)]
        return None

    async def body(client: AsyncClient) -> None:
        receipt = await client.submit("orders", 1, id="b")
        assert (await receipt.status()).state == (await client.status("b")).state == "waiting"
        assert await receipt.cancel()
        assert await client.cancel("b") == 1
        assert await client.query("status") == {"id": "b", "state": "waiting"}
        assert await client.command("set-queue", queue="orders", max_tasks=3) == {"queue": "orders", "max_tasks": 3}
        assert await client.ping() > 0

    coordinator.handler = handle
    run(coordinator, body)


def test_errors_are_raised_in_the_await(coordinator: FakeCoordinator) -> None:
    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit):
            refused = tuple(Refused(one.id, "busy", 1.0, "full") for one in message.batches)
            return [Receipt(message.request, (), refused)]
        return None

    async def body(client: AsyncClient) -> None:
        with pytest.raises(BusyError, match="full"):
            await client.submit("orders", 1)
        with pytest.raises(BusyError, match="full") as caught:
            await client.submit_many("orders", range(3))
        assert caught.value.refused == (0, 1, 2)
        with pytest.raises(ValueError, match="queue"):
            await client.submit("", 1)
        with pytest.raises(TimedOutError):
            await client.result("b", 0.05)

    coordinator.handler = handle
    run(coordinator, body)


def test_pulled_tasks_are_settled_with_await(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        serve(coordinator, "one", "two", "three")
        tasks = await client.pull("orders", max_tasks=3, wait=5)
        tasks[0].forward("next", 1)
        await asyncio.gather(tasks[0].done("ok"), tasks[1].fail("no"), tasks[2].release())
        await tasks[0].extend(5)
        settled = coordinator.of_kind(Settle)
        assert sum(len(one.done) for one in settled) == sum(len(one.failed) for one in settled) == 1
        serve(coordinator, stale=(Span(TOKEN, 0, 10),))
        with pytest.raises(StaleLeaseError):
            await tasks[0].done("again")

    run(coordinator, body)


def test_a_cancelled_submit_harms_no_other(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        await client.ping()
        coordinator.is_deaf = True
        calls = [asyncio.create_task(client.submit("orders", place)) for place in range(20)]
        await wait_for(lambda: coordinator.of_kind(Submit))
        for call in calls[::2]:
            call.cancel()
        await asyncio.gather(*calls[::2], return_exceptions=True)
        coordinator.is_deaf = False
        receipts = await asyncio.gather(*calls[1::2])
        assert len({receipt.id for receipt in receipts}) == 10
        assert all(call.cancelled() for call in calls[::2])

    run(coordinator, body)


def test_cancelled_pull_is_forgotten(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        call = asyncio.create_task(client.pull("orders", wait=20))
        await wait_for(lambda: coordinator.of_kind(Pull))
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await wait_for(lambda: coordinator.of_kind(Withdraw))
        assert coordinator.of_kind(Withdraw)[0].requests == (coordinator.of_kind(Pull)[0].request,)

    run(coordinator, body)


def _is_readable(socket: zmq.Socket[bytes]) -> bool:
    """Whether the loop would look at a socket; leaves it so."""
    descriptor = socket.getsockopt(zmq.FD)
    assert isinstance(descriptor, int)
    return bool(select.select([descriptor], [], [], 0)[0])


def _has_come(coordinator: FakeCoordinator, number: int) -> bool:
    return len(coordinator.of_kind(Wait)) > number


def test_cancelled_wait_is_forgotten(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        receipt = await client.submit("orders", None)
        for number in range(3):
            call = asyncio.create_task(receipt.result())
            await wait_for(partial(_has_come, coordinator, number))
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        await wait_for(lambda: sum(len(one.requests) for one in coordinator.of_kind(Withdraw)) == 3)
        forgotten = [number for one in coordinator.of_kind(Withdraw) for number in one.requests]
        assert forgotten == [one.request for one in coordinator.of_kind(Wait)]
        assert client._calls.session._watches.numbers() == []

    run(coordinator, body)


@pytest.mark.parametrize("is_taken", [False, True], ids=["in the socket", "on their way to the coroutine"])
def test_tasks_that_came_just_before_their_pull_was_cancelled_go_back(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    async def body(client: AsyncClient) -> None:
        await hush(client, monkeypatch)
        call = asyncio.create_task(client.pull("orders", wait=20))
        await wait_for(lambda: coordinator.of_kind(Pull))
        coordinator.send(Tasks(coordinator.of_kind(Pull)[0].request, (assign(b"x"),)))
        link = client._calls.link
        assert isinstance(link, EventLoopLink)
        # The loop is held here until they are there: the coroutine is cancelled before it sees them.
        assert link._channel.socket is not None
        wait_until(partial(_is_readable, link._channel.socket))
        if is_taken:
            link._readable()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await wait_for(lambda: coordinator.of_kind(Release))
        assert coordinator.of_kind(Release)[0].spans == (Span(TOKEN, 3, 4),)

    run(coordinator, body)


def test_closing_ends_all_who_await(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        coordinator.is_deaf = True
        calls = [asyncio.create_task(call) for call in (client.submit("orders", 1), client.result("b"), client.ping())]
        await wait_for(lambda: coordinator.of_kind(Submit) and coordinator.of_kind(Wait))
        await client.close()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [ClosedError] * 3
        with pytest.raises(ClosedError):
            await client.submit("orders", 1)

    run(coordinator, body)


def test_an_absent_coordinator_is_unreachable() -> None:
    async def main() -> None:
        async with AsyncClient("tcp://127.0.0.1:1", timeout=0.2) as client:
            with pytest.raises(UnreachableError):
                await client.submit("orders", 1)

    asyncio.run(main())


def test_a_client_outlives_its_event_loop(coordinator: FakeCoordinator) -> None:
    client = AsyncClient(coordinator.address, timeout=20.0)

    async def submit() -> str:
        return (await client.submit("orders", 1)).id

    async def leave_one_behind() -> None:
        coordinator.is_deaf = True
        asyncio.create_task(client.ping())  # noqa: RUF006  # it is cancelled with its loop
        await asyncio.sleep(0)

    first = asyncio.run(submit())
    asyncio.run(leave_one_behind())
    coordinator.is_deaf = False
    assert asyncio.run(submit()) != first
    asyncio.run(client.close())
