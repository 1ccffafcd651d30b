"""The event loop that drives the connection of a client itself: what it must not miss, and where it goes on."""

import asyncio
import gc
import logging
import select
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import zmq

from tests.client.fake_coordinator import FakeCoordinator, hush, wait_until
from tests.client.test_dropped import descriptors, run_script
from zq.client.async_client import AsyncClient
from zq.errors import ClosedError
from zq.sockets.loop_link import PIECE_FRAMES, EventLoopLink
from zq.wire.messages import Answer, FromCoordinator, Pull, Query, Submit, ToCoordinator, Wait, Withdraw

Body = Callable[[AsyncClient], Coroutine[Any, Any, None]]


def run(coordinator: FakeCoordinator, body: Body, loop: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    async def main() -> None:
        async with AsyncClient(coordinator.address, timeout=20.0) as client:
            await asyncio.wait_for(body(client), 60)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


async def wait_for(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(wait_until, condition)


def link_of(client: AsyncClient) -> EventLoopLink:
    link = client._calls.link
    assert isinstance(link, EventLoopLink)
    return link


def has_news(link: EventLoopLink) -> bool:
    """Whether the loop would look at a socket; leaves it so."""
    assert link._channel.socket is not None
    descriptor: Any = link._channel.socket.getsockopt(zmq.FD)
    return bool(select.select([descriptor], [], [], 0)[0])


def answer_queries(message: ToCoordinator) -> list[FromCoordinator] | None:
    return [Answer(message.request, message.what)] if isinstance(message, Query) else None


# What it must not miss.


def test_no_thread_stands_between_a_coroutine_and_its_coordinator(coordinator: FakeCoordinator) -> None:
    before = set(threading.enumerate())

    async def body(client: AsyncClient) -> None:
        await client.submit("orders", 1)
        assert [one for one in set(threading.enumerate()) - before if one.name.startswith("zq-")] == []

    run(coordinator, body)


def test_what_is_asked_in_one_turn_of_the_loop_leaves_in_one_message(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        await client.ping()
        for rounds in range(1, 4):
            await asyncio.gather(*(client.submit("orders", number) for number in range(16)))
            assert [len(one.ends) // 4 for one in coordinator.stored.values()] == [16] * rounds

    run(coordinator, body)


def test_an_answer_that_a_send_has_hidden_is_found(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.handler = lambda message: [] if isinstance(message, Query) else None

    async def body(client: AsyncClient) -> None:
        link = link_of(client)
        await hush(client, monkeypatch)
        first = asyncio.create_task(client.query("first"))
        await wait_for(lambda: coordinator.of_kind(Query))
        coordinator.is_deaf = True  # no other frame comes, to which the descriptor would speak again
        coordinator.send(Answer(coordinator.of_kind(Query)[0].request, 1))
        wait_until(partial(has_news, link))  # the loop is held, and does not see it
        socket = link._channel.socket
        assert socket is not None
        socket.getsockopt(zmq.EVENTS)  # as each send may do: the descriptor speaks of what comes after that
        assert not has_news(link)
        second = asyncio.create_task(client.query("second"))

        assert await first == 1

        second.cancel()

    run(coordinator, body)


def test_all_of_a_burst_is_taken_and_others_have_their_turn_meanwhile(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zq.sockets.loop_link.PIECE_SECONDS", 0.0)
    count = 10 * PIECE_FRAMES
    coordinator.handler = lambda message: [] if isinstance(message, Query) else None
    turns = 0

    async def body(client: AsyncClient) -> None:
        nonlocal turns
        calls = [asyncio.create_task(client.query(f"q{number}")) for number in range(count)]
        await wait_for(lambda: len({one.what for one in coordinator.of_kind(Query)}) == count)
        asked = {one.what: one.request for one in coordinator.of_kind(Query)}
        coordinator.send(*(Answer(request, what) for what, request in asked.items()))
        wait_until(partial(has_news, link_of(client)))
        while not calls[-1].done():
            turns += 1
            await asyncio.sleep(0)
        assert await asyncio.gather(*calls) == [f"q{number}" for number in range(count)]

    run(coordinator, body)
    assert turns >= count / PIECE_FRAMES


def test_an_answer_that_came_while_the_loop_was_held_counts_before_the_deadline(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator.handler = lambda message: [] if isinstance(message, Query) else None

    async def body(client: AsyncClient) -> None:
        await hush(client, monkeypatch)
        client._calls.timeout = 2.0
        call = asyncio.create_task(client.query("status"))
        while not coordinator.of_kind(Query):
            await asyncio.sleep(0)
        late_at = time.monotonic() + 2.0
        coordinator.send(Answer(coordinator.of_kind(Query)[0].request, "in time"))
        wait_until(partial(has_news, link_of(client)))
        wait_until(lambda: time.monotonic() > late_at)
        client._calls.timeout = 20.0
        await client.ping()  # whose turn comes before that of the descriptor
        assert await call == "in time"

    run(coordinator, body)


def test_what_waited_outlives_a_restart_of_the_coordinator(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        coordinator.is_deaf = True
        calls = [asyncio.create_task(one) for one in (client.submit("orders", 1), client.query("status"))]
        await wait_for(lambda: coordinator.of_kind(Submit) and coordinator.of_kind(Query))
        await asyncio.to_thread(coordinator.stop)
        coordinator.is_deaf = False
        coordinator.handler = answer_queries
        await asyncio.to_thread(coordinator.start)
        receipt, answer = await asyncio.gather(*calls)
        assert (list(coordinator.stored), answer) == ([receipt.id], "status")
        assert coordinator.of_kind(Submit)[-1] == coordinator.of_kind(Submit)[0]

    run(coordinator, body)


def test_a_name_is_looked_up_beside_the_loop(coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def look_up(address: str) -> bool:
        asked.append(threading.current_thread().name)
        return False

    monkeypatch.setattr("zq.sockets.loop_link.needs_ipv6", look_up)

    async def main() -> None:
        async with AsyncClient(coordinator.address.replace("127.0.0.1", "localhost"), timeout=20.0) as client:
            assert (await client.submit("orders", 1)).id in coordinator.stored

    asyncio.run(main())
    assert asked == ["zq-client-helper"]


# Cancelling.

STEPS = range(4)
"""After how many turns of the loop a call is cancelled: before it has begun, when it has asked, and later."""

CALLS: dict[str, Callable[[AsyncClient], Awaitable[Any]]] = {
    "submit": lambda client: client.submit("orders", 1),
    "submit with an id": lambda client: client.submit("orders", 1, id="mine"),
    "submit many": lambda client: client.submit_many("orders", range(5), batch_size=1),
    "request": lambda client: client.request("orders", 1, 20),
    "result": lambda client: client.result("b"),
    "query": lambda client: client.query("status"),
    "ping": lambda client: client.ping(),
    "pull": lambda client: client.pull("orders", wait=20),
    "events": lambda client: anext(client.events()),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_is_cancelled_anywhere_leaves_nothing_behind(coordinator: FakeCoordinator, name: str) -> None:
    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        return [Answer(message.request, 1)] if isinstance(message, Query) else None

    coordinator.handler = handle

    async def body(client: AsyncClient) -> None:
        await client.ping()
        session = client._calls.session
        for steps in STEPS:
            call = asyncio.ensure_future(CALLS[name](client))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            del call
            if name == "events":
                continue  # what it asked is ended by the coordinator, which answers nothing here
            while session.is_asking:
                await client.ping()
        assert await client.ping() > 0
        waits = [
            *(one.request for one in coordinator.of_kind(Wait)),
            *(one.request for one in coordinator.of_kind(Pull)),
        ]
        assert sorted(one for two in coordinator.of_kind(Withdraw) for one in two.requests) == sorted(waits)

    run(coordinator, body)


# Where it goes on.


def test_a_client_goes_on_in_another_loop_when_the_first_is_closed(coordinator: FakeCoordinator) -> None:
    client = AsyncClient(coordinator.address, timeout=20.0)
    first = asyncio.new_event_loop()
    coordinator.is_deaf = True
    left = first.create_task(client.submit("orders", "left"))
    first.run_until_complete(asyncio.sleep(0))
    wait_until(lambda: first.run_until_complete(asyncio.sleep(0)) or coordinator.of_kind(Submit))
    first.close()
    coordinator.is_deaf = False

    for _ in range(3):
        asyncio.run(_submit(client, coordinator))
        assert link_of(client)._link is None, "a thread drives it"

    left._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop is closed on purpose
    asyncio.run(client.close())


async def _submit(client: AsyncClient, coordinator: FakeCoordinator) -> None:
    receipts = await asyncio.gather(*(client.submit("orders", number) for number in range(5)))
    assert {receipt.id.partition("#")[0] for receipt in receipts} <= set(coordinator.stored)


def test_a_client_in_two_loops_at_once_serves_both(coordinator: FakeCoordinator) -> None:
    client = AsyncClient(coordinator.address, timeout=20.0)
    coordinator.handler = lambda message: [] if isinstance(message, Query) else None
    has_begun, may_end = threading.Event(), threading.Event()

    async def first() -> str:
        asked = asyncio.create_task(client.query("first"))
        await wait_for(lambda: coordinator.of_kind(Query))
        has_begun.set()
        answer = await asked
        await asyncio.to_thread(may_end.wait, 20)
        await _submit(client, coordinator)
        return str(answer)

    async def second() -> None:
        await _submit(client, coordinator)
        coordinator.send(Answer(coordinator.of_kind(Query)[0].request, "answered"))
        may_end.set()
        await _submit(client, coordinator)

    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(first())))
    thread.start()
    assert has_begun.wait(20)
    asyncio.run(second())
    thread.join(20)

    assert answers == ["answered"]
    client.close_now()


def test_two_loops_in_one_thread_by_turns_serve_both(coordinator: FakeCoordinator) -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]
    client = AsyncClient(coordinator.address, timeout=20.0)
    for loop in loops * 3:
        loop.run_until_complete(_submit(client, coordinator))
    loops[0].run_until_complete(client.close())
    for loop in loops:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class WithoutReaders(asyncio.SelectorEventLoop):
    """A loop that watches no descriptors, as that of Windows does not."""

    add_reader = asyncio.AbstractEventLoop.add_reader
    remove_reader = asyncio.AbstractEventLoop.remove_reader


def test_a_loop_that_cannot_watch_descriptors_has_a_thread(coordinator: FakeCoordinator) -> None:
    before = set(threading.enumerate())

    async def body(client: AsyncClient) -> None:
        await _submit(client, coordinator)
        assert [one.name for one in set(threading.enumerate()) - before if one.name.startswith("zq-")] == ["zq-client"]

    run(coordinator, body, WithoutReaders)


def test_uvloop_drives_it(coordinator: FakeCoordinator) -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed: only the loops of asyncio were tried")
    coordinator.handler = answer_queries

    async def body(client: AsyncClient) -> None:
        await _submit(client, coordinator)
        assert await asyncio.gather(*(client.query(f"q{one}") for one in range(50))) == [f"q{one}" for one in range(50)]
        await asyncio.to_thread(coordinator.stop)
        await asyncio.to_thread(coordinator.start)
        await _submit(client, coordinator)
        assert link_of(client)._link is None, "a thread drives it"

    run(coordinator, body, uvloop.new_event_loop)


# The end.


def test_a_fault_in_the_session_ends_what_waits_and_no_other_callback(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(client: AsyncClient) -> None:
        await client.ping()

        def break_down(*_: Any) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, logger="zq.sockets"):
            patch.setattr(client._calls.session, "receive", break_down)
            ends = await asyncio.gather(client.ping(), client.result("b"), return_exceptions=True)
        assert [type(end) for end in ends] == [ClosedError, ClosedError]
        assert "everything that waits on it fails" in caplog.text
        with pytest.raises(ClosedError):
            await client.ping()

    run(coordinator, body)


def test_what_a_call_raises_is_its_awaiters_and_nobody_elses(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(client: AsyncClient) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(client._calls.session, "submit_single", _break_down)
            other = asyncio.create_task(client.query("status"))
            with pytest.raises(RuntimeError, match="a bug"):
                await client.submit("orders", 1)
        assert await other == "status"
        await _submit(client, coordinator)

    coordinator.handler = answer_queries
    run(coordinator, body)


def _break_down(*_: Any) -> None:
    raise RuntimeError("a bug")


def test_an_interrupt_in_the_middle_of_its_work_ends_the_client(
    coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    client = AsyncClient(coordinator.address, timeout=20.0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_submit(client, coordinator))
    call = loop.create_task(client.query("status"))
    with monkeypatch.context() as patch:
        patch.setattr(client._calls.session, "tick", interrupt)
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(call)
    with pytest.raises(ClosedError):
        loop.run_until_complete(client.ping())
    loop.run_until_complete(client.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.mark.parametrize("where", ["another thread", "the loop", "a loop that stands still", "no loop"])
def test_closing_from_anywhere_ends_what_waits(coordinator: FakeCoordinator, where: str) -> None:
    client = AsyncClient(coordinator.address, timeout=20.0)

    async def main() -> list[Any]:
        coordinator.is_deaf = True
        calls = [asyncio.create_task(one) for one in (client.submit("orders", 1), client.result("b"))]
        await wait_for(lambda: coordinator.of_kind(Submit) and coordinator.of_kind(Wait))
        if where == "another thread":
            await asyncio.to_thread(client.close_now)
        elif where == "the loop":
            client.close_now()
        else:
            return calls
        return await asyncio.gather(*calls, return_exceptions=True)

    with asyncio.Runner() as runner:
        ends = runner.run(main())
        if where == "a loop that stands still":
            client.close_now()
            ends = runner.run(_ended(ends))
    if where == "no loop":
        client.close_now()
        assert all(one.cancelled() for one in ends)
    else:
        assert [type(end) for end in ends] == [ClosedError] * 2
    with pytest.raises(ClosedError):
        asyncio.run(client.ping())


async def _ended(calls: list[Any]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def test_last_words_leave_before_it_closes(coordinator: FakeCoordinator) -> None:
    async def body(client: AsyncClient) -> None:
        call = asyncio.create_task(client.pull("orders", wait=20))
        await wait_for(lambda: coordinator.of_kind(Pull))
        await client.close()
        with pytest.raises(ClosedError):
            await call

    run(coordinator, body)
    [told] = coordinator.wait_for(Withdraw)
    assert told.requests == (coordinator.of_kind(Pull)[0].request,)


@pytest.mark.parametrize("is_loop_closed", [False, True])
def test_a_dropped_client_that_was_used_frees_what_it_had(coordinator: FakeCoordinator, is_loop_closed: bool) -> None:
    async def use() -> None:
        client = AsyncClient(coordinator.address)
        await client.submit("orders", 1)
        if not is_loop_closed:
            before = descriptors()
            del client
            gc.collect()
            await wait_for(lambda: descriptors() < before)

    before = descriptors()
    with pytest.warns(ResourceWarning, match="unclosed client of"):
        _run_and_collect(use())
    wait_until(lambda: descriptors() <= before + 1)  # the connection's other end closes when it is noticed


def _run_and_collect(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)
    gc.collect()


def test_a_loop_in_debug_mode_has_nothing_to_say_of_it_nor_the_end_of_the_program(coordinator: FakeCoordinator) -> None:
    script = """
import asyncio, os, sys, warnings, zq

async def main():
    asyncio.get_running_loop().slow_callback_duration = 1e9
    async with zq.AsyncClient(sys.argv[1]) as client:
        await asyncio.gather(*(client.submit("orders", number) for number in range(5)))
    print((await left.submit("orders", 2)).position)

left = zq.AsyncClient(sys.argv[1])
asyncio.run(main(), debug=True)
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
child = os.fork()
if not child:
    try:
        asyncio.run(left.ping(), debug=True)
    except zq.ClosedError as error:
        os._exit(7 if "after a fork" in str(error) else 1)
    os._exit(2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
asyncio.run(left.ping())
"""
    ended = run_script(script, coordinator.address)

    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, ["1", "7"], "")
