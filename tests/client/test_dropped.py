"""What is dropped without `close` says so, and gives back what it had: its thread, its descriptors, what it follows."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import zq
from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.client.async_client import AsyncClient
from zq.client.client import Client
from zq.errors import ClosedError
from zq.wire.messages import Events, Follow, FromCoordinator, ToCoordinator

UNCLOSED = r"unclosed client of tcp://127\.0\.0\.1:\d+: close it with close\(\), or use it in a with statement"


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def threads(name: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == name]


def dropped(make: Callable[[], Any], match: str) -> None:
    """Makes something and drops it, which must be told."""
    with pytest.warns(ResourceWarning, match=match):
        _make_and_drop(make)


def _make_and_drop(make: Callable[[], Any]) -> None:
    made = make()
    del made
    gc.collect()


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_dropped_client_says_so_and_frees_what_it_had(kind: Any, coordinator: FakeCoordinator) -> None:
    before = descriptors()
    with pytest.warns(ResourceWarning, match=UNCLOSED) as told:
        _make_and_drop(lambda: [kind(coordinator.address, name="forgotten") for _ in range(30)])

    assert len([one for one in told if one.category is ResourceWarning]) == 30
    wait_until(lambda: not threads("zq-forgotten"))
    wait_until(lambda: descriptors() <= before)


def test_dropped_client_that_was_used_frees_what_it_had(coordinator: FakeCoordinator) -> None:
    def use() -> None:
        client = Client(coordinator.address, name="forgotten")
        assert client.submit("orders", 1).id
        assert client.queues

    before = descriptors()
    dropped(use, UNCLOSED)
    wait_until(lambda: not threads("zq-forgotten"))
    wait_until(lambda: descriptors() <= before + 1)  # the connection's other end closes when it is noticed


def test_receipt_keeps_its_client(coordinator: FakeCoordinator) -> None:
    def submit() -> Any:
        return Client(coordinator.address, name="kept").submit("orders", 1)

    receipt = submit()
    gc.collect()
    assert threads("zq-kept")
    assert receipt._calls.link.is_over is False
    receipt._calls.close()


def test_closed_client_is_dropped_in_silence(coordinator: FakeCoordinator, recwarn: pytest.WarningsRecorder) -> None:
    with Client(coordinator.address) as client:
        client.submit("orders", 1)
    del client
    gc.collect()

    assert not recwarn.list


def test_client_whose_making_has_failed_is_dropped_in_silence(recwarn: pytest.WarningsRecorder) -> None:
    for arguments in ({"timeout": 0.0}, {"address": "nowhere"}, {"name": "with space"}):
        with pytest.raises(ValueError):
            Client(**arguments)
    gc.collect()

    assert not recwarn.list


def test_client_that_is_dropped_by_its_own_thread_ends(coordinator: FakeCoordinator) -> None:
    held: list[Any] = [Client(coordinator.address, name="suicidal")]
    link = held[0]._calls.link

    def drop() -> None:
        link.call(held.clear)
        wait_until(lambda: not threads("zq-suicidal"))

    with pytest.warns(ResourceWarning, match=UNCLOSED):
        drop()

    with pytest.raises(ClosedError):
        link.call(gc.collect)


def follow(message: ToCoordinator) -> list[FromCoordinator] | None:
    if isinstance(message, Follow):
        is_new = message.lease and not message.seen
        return [Events(message.request, 1, 0.0, 0, is_first=True, events=())] if is_new else []
    return None


def has_ended(coordinator: FakeCoordinator, count: int) -> bool:
    return sum(not one.lease for one in coordinator.of_kind(Follow)) == count


def test_dropped_stream_of_events_is_followed_no_more(coordinator: FakeCoordinator) -> None:
    coordinator.handler = follow
    with Client(coordinator.address) as client:
        for number in range(20):
            stream = client.events()
            del stream
            wait_until(partial(has_ended, coordinator, number + 1))
        assert client._calls.session.streams.by_number == {}


def test_dropped_stream_of_awaited_events_is_followed_no_more(coordinator: FakeCoordinator) -> None:
    coordinator.handler = follow

    async def body() -> None:
        async with AsyncClient(coordinator.address) as client:
            stream = client.events()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(stream), 0.05)
            del stream
            await asyncio.to_thread(wait_until, lambda: any(not one.lease for one in coordinator.of_kind(Follow)))

    asyncio.run(body())


def run_script(text: str, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", text, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_interpreter_ends_in_silence_whoever_has_not_closed(tmp_path: Path) -> None:
    script = """
import sys, zq
coordinator = zq.Coordinator(sys.argv[1]).open()
client = zq.Client(coordinator.address)
receipt = client.submit("orders", 1)
stream = client.events()
worker = zq.Worker(coordinator.address)
worker.task("others")(print)
worker.start()
print("end")
"""
    ended = run_script(script, str(tmp_path / "data.zq"))

    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "end", "")


def test_fork_leaves_the_client_to_its_process(coordinator: FakeCoordinator) -> None:
    client = Client(coordinator.address)
    client.submit("orders", 1)
    child = os.fork()
    if child == 0:
        try:
            import warnings

            warnings.simplefilter("error")
            holder = [client]
            del client
            holder.clear()
            gc.collect()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert client.submit("orders", 2).id
    client.close()


def test_dropped_worker_says_so_and_ends(tmp_path: Path) -> None:
    with zq.Coordinator(tmp_path / "data.zq") as coordinator, Client(coordinator.address) as client:
        started = threading.Event()

        def work() -> None:
            worker = zq.Worker(coordinator.address, name="forgotten")

            @worker.task("orders")
            def bake(task: zq.Task) -> int:
                started.set()
                return 7

            worker.start()
            assert client.submit("orders", 1).result(20) == 7

        dropped(work, r"worker forgotten was not stopped: end it with stop\(\), or use it in a with statement")
        wait_until(lambda: not threads("zq-forgotten"))
        wait_until(lambda: client.workers.list() == [])
        assert started.is_set()


def test_signal_handler_may_submit_while_its_thread_does(coordinator: FakeCoordinator) -> None:
    # In a process of its own: what it pins is that it does not stand still.
    script = """
import collections, signal, sys, zq

class Interrupted(collections.deque):
    def append(self, call):
        super().append(call)
        if not ids:
            ids.append("")
            signal.raise_signal(signal.SIGUSR1)

def handler(number, frame):
    ids.append(client.submit("orders", "from the handler").id)

ids = []
signal.signal(signal.SIGUSR1, handler)
with zq.Client(sys.argv[1]) as client:
    client.ping()
    client._calls._exchange = client._calls.carrier = None  # by way of the connection's thread
    client._calls.link._calls = Interrupted()
    ids.append(client.submit("orders", "from the thread").id)
print(len(set(ids)))
"""
    ended = run_script(script, coordinator.address)

    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "3", "")


def test_storm_of_signals_that_submit_leaves_nobody_standing(coordinator: FakeCoordinator) -> None:
    with Client(coordinator.address) as client:
        from_handler: list[str] = []

        def handler(number: int, frame: Any) -> None:
            from_handler.append(client.submit("orders", "handler").id)

        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.005)
        try:
            count = 0
            while len(from_handler) < 100 or count < 100:
                client.submit("orders", "thread")
                count += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)

    assert len(set(from_handler)) == len(from_handler) >= 100


def test_dropped_coordinator_says_so_and_gives_its_directory_up(tmp_path: Path) -> None:
    addresses: list[str] = []

    def serve() -> None:
        coordinator = zq.Coordinator(tmp_path / "data.zq").open()
        addresses.append(coordinator.address)
        with Client(coordinator.address) as client:
            client.submit("orders", 1, id="order-1")

    dropped(serve, r"unclosed coordinator of .*data\.zq: close it with close\(\), or use it in a with statement")
    wait_until(lambda: not threads("zq-coordinator"))
    with zq.Coordinator(tmp_path / "data.zq") as again, Client(again.address) as client:
        assert client.status("order-1").state == "waiting"


def test_coordinator_that_is_closed_or_never_opened_is_dropped_in_silence(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    zq.Coordinator(tmp_path / "other.zq")
    with zq.Coordinator(tmp_path / "data.zq") as coordinator:
        pass
    del coordinator
    gc.collect()

    assert not recwarn.list
