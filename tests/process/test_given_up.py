"""Waits and pulls that are given up, over real sockets and by real processes: they leave nothing at the coordinator,
and nobody gets a task who is not there.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

import zq
from tests.client.fake_coordinator import wait_until
from tests.core.test_given_up import sizes_of
from zq.core.state.books import Books
from zq.server.loop import Server
from zq.wire.codec import encode
from zq.wire.messages import Follow, Pull, Wait

OPTIONS = zq.CoordinatorOptions(heartbeat_interval=0.1, suspect_after=0.3, gone_after=5.0)


class Shop:
    """A coordinator in a thread, whose books can be looked at."""

    def __init__(self, path: Path) -> None:
        self.server = Server(path / "data.zq", bind="tcp://127.0.0.1:*", options=OPTIONS)
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        assert self._opened.wait(20)

    def _serve(self) -> None:
        try:
            self.server.open()
            self._opened.set()
            self.server.run()
        finally:
            self.server.close()

    def close(self) -> None:
        self.server.stop()
        self._thread.join()

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def books(self) -> Books:
        return self.server._machine.books


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def client(shop: Shop) -> Iterator[zq.Client]:
    with zq.Client(shop.address, timeout=30.0) as client:
        yield client


SCRIPTS = {
    "client": "import sys, zq\nwith zq.Client(sys.argv[1]) as client: client.pull('q', wait=600, max_tasks=3)",
    "coroutine": """
import asyncio, sys, zq
async def main():
    async with zq.AsyncClient(sys.argv[1]) as client:
        await client.pull("q", wait=600, max_tasks=3)
asyncio.run(main())
""",
}


def start_puller(shop: Shop, kind: str) -> subprocess.Popen[bytes]:
    arguments = ["-m", "zq.cli", "pull", "q", "--for", "600", "--address", shop.address]
    if kind != "command":
        arguments = ["-c", SCRIPTS[kind], shop.address]
    command = [sys.executable, *arguments]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(shop.books.pulls) == 1)
    return child


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(20)


@pytest.mark.parametrize("on_lost", ["reassign", "cancel", "dead"])
@pytest.mark.parametrize("kind", ["client", "coroutine", "command"])
def test_task_is_not_given_to_a_pull_whose_process_was_killed(
    shop: Shop, client: zq.Client, kind: str, on_lost: Any
) -> None:
    end(start_puller(shop, kind))
    client.submit_many("q", [1, 2], on_lost=on_lost, key="k", ordered=True, max_attempts=1)

    (task,) = client.pull("q", wait=30)
    assert (task.payload, task.attempt) == (1, 1)
    task.done()
    (task,) = client.pull("q", wait=30)
    task.done()
    assert client.queues.show("q").done == 2


@pytest.mark.parametrize("kind", ["client", "coroutine", "command"])
def test_pull_that_was_interrupted_leaves_nothing(shop: Shop, client: zq.Client, kind: str) -> None:
    child = start_puller(shop, kind)
    child.send_signal(signal.SIGINT)
    child.wait(30)
    client.ping()

    assert not shop.books.pulls
    assert not shop.books.guests


def test_task_is_taken_back_from_a_pull_whose_process_stands_still(shop: Shop, client: zq.Client) -> None:
    child = start_puller(shop, "client")
    try:
        child.send_signal(signal.SIGSTOP)
        client.submit("q", 1, on_lost="cancel", key="k", ordered=True, max_attempts=1, id="only")

        (task,) = client.pull("q", wait=30)
        assert (task.id, task.attempt) == ("only", 1)
        task.done()
    finally:
        end(child)
    wait_until(lambda: not shop.books.pulls)
    assert client.status("only").state == "done"


def test_hundreds_of_connections_that_come_and_go_leave_nothing(shop: Shop, client: zq.Client) -> None:
    client.submit("none", None, id="none-1")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    before: dict[str, int] = {}
    for life in range(5):
        sockets = []
        for number in range(100):
            socket = context.socket(zmq.DEALER)
            socket.linger = 0
            socket.connect(shop.address)
            socket.send(encode(Wait(1, "none-1", 0, 1)))
            socket.send(encode(Pull(2, f"guest-{life}-{number}", "q", 1, 60.0, 30.0, confirms=True)))
            if number % 10 == 0:
                socket.send(encode(Follow(3, None, (), 60.0, 0)))
            sockets.append(socket)
        wait_until(lambda: len(shop.books.guests) == 100)
        for socket in sockets:
            socket.close(0)
        wait_until(lambda: not shop.books.guests)
        wait_until(lambda: shop.books.events is None)
        client.ping()
        found = sizes_of(shop.books)
        before = before or found
        assert found == before
    context.term()


GIVEN_UP: dict[str, Callable[[zq.Client, zq.Receipt, Any], Any]] = {
    "result by id": lambda client, receipt, group: client.result(receipt.id, timeout=0.01),
    "result": lambda client, receipt, group: receipt.result(0.01),
    "progress": lambda client, receipt, group: next(receipt.progress(0.01)),
    "result of a group": lambda client, receipt, group: group.result(0.01),
    "request": lambda client, receipt, group: client.request("none", None, 0.05),
}


@pytest.mark.parametrize("way", GIVEN_UP)
def test_waits_that_time_out_leave_nothing(shop: Shop, client: zq.Client, way: str) -> None:
    receipt = client.submit("none", None)
    group = client.group([1, 2], queue="none")
    for _ in range(20):
        with pytest.raises(zq.TimedOutError):
            GIVEN_UP[way](client, receipt, group)

    wait_until(lambda: not shop.books.guests)
    assert not shop.books.waits.entries
    assert client._calls.session._watches.numbers() == []


AWAITED: dict[str, Callable[[zq.AsyncClient, zq.AsyncReceipt, Any], Any]] = {
    "result by id": lambda client, receipt, group: client.result(receipt.id),
    "result": lambda client, receipt, group: receipt.result(),
    "progress": lambda client, receipt, group: anext(receipt.progress()),
    "result of a group": lambda client, receipt, group: group.result(),
    "request": lambda client, receipt, group: client.request("none", None, 60.0),
    "pull": lambda client, receipt, group: client.pull("q", wait=60.0),
    "events": lambda client, receipt, group: anext(client.events("q")),
}


@pytest.mark.parametrize("way", AWAITED)
def test_awaits_that_are_cancelled_leave_nothing(shop: Shop, way: str) -> None:
    async def body() -> None:
        async with zq.AsyncClient(shop.address) as client:
            receipt = await client.submit("none", None)
            group = await client.group([1, 2], queue="none")
            for _ in range(20):
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(AWAITED[way](client, receipt, group), 0.05)
            await asyncio.to_thread(wait_until, lambda: not shop.books.guests and shop.books.events is None)
            session = client._calls.session
            assert session._watches.numbers() == []
            assert not [one for one in session._outstanding.values() if one.reply is not None]
            assert session.streams.by_number == {}

    asyncio.run(body())
    assert not shop.books.pulls


def test_client_that_is_closed_leaves_nothing(shop: Shop, client: zq.Client) -> None:
    other = zq.Client(shop.address)
    receipt = other.submit("none", None)
    waiting = [
        threading.Thread(target=ends_closed, args=(call,))
        for call in (receipt.result, lambda: other.pull("q", wait=60.0))
    ]
    for thread in waiting:
        thread.start()
    wait_until(lambda: any(guest.waits and guest.pulls for guest in shop.books.guests.values()))
    other.close()
    for thread in waiting:
        thread.join(20)
    client.ping()

    assert not shop.books.guests  # at once: it said so


def ends_closed(call: Callable[[], Any]) -> None:
    with pytest.raises(zq.ClosedError):
        call()


def test_pull_whose_loop_was_closed_keeps_no_task(shop: Shop) -> None:
    async def open_client() -> zq.AsyncClient:
        return zq.AsyncClient(shop.address)

    loop = asyncio.new_event_loop()
    client = loop.run_until_complete(open_client())
    pull = loop.create_task(client.pull("q", wait=50, lease=30))
    while not any(guest.pulls for guest in list(shop.books.guests.values())):
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    with zq.Client(shop.address, timeout=60) as other:
        receipt = other.submit("q", 1, on_lost="cancel", max_attempts=1)
        [task] = other.pull("q", wait=50, lease=30)
        assert task.id == receipt.id
        task.done()
    pull._log_destroy_pending = False  # type: ignore[attr-defined]
    client.close_now()
