"""The event stream: what browsers are told, once for all of them, and what a slow or lost one costs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

import zq
from zq.dashboard import looking, streams
from zq.dashboard.options import DashboardOptions
from zq.dashboard.problems import ProblemError
from zq.dashboard.serving import listen, make_server
from zq.dashboard.streams import PORTIONS_MAX, Browser, Hub, frame

Message = tuple[str, Any]


@contextmanager
def served(*, is_logging: bool = False, **options: Any) -> Iterator[str]:
    """Serves a dashboard in a thread; yields its address."""
    listening = listen("127.0.0.1", 0)
    host, port = listening.getsockname()
    server = make_server(DashboardOptions(bind=f"{host}:{port}", **options), is_logging=is_logging)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


@contextmanager
def followed(url: str, query: str = "") -> Iterator[Iterator[Message]]:
    """Opens a stream; yields its messages."""
    with httpx2.Client(timeout=60) as browser, browser.stream("GET", f"{url}/api/v1/events{query}") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield read_messages(answer)


def read_messages(answer: httpx2.Response) -> Iterator[Message]:
    event = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, json.loads(line.removeprefix("data: "))


def wait_message(messages: Iterator[Message], event: str, is_wanted: Callable[[Any], bool] = lambda value: True) -> Any:
    return next(value for name, value in messages if name == event and is_wanted(value))


def test_browser_is_told_of_the_connection_the_state_and_what_happens(
    coordinator: zq.Coordinator, client: zq.Client
) -> None:
    client.submit("orders", 1)
    with served(address=coordinator.address) as url, followed(url) as messages:
        connection = wait_message(messages, "connection")
        pulse = wait_message(messages, "pulse")
        again = wait_message(messages, "pulse")
        client.submit("orders", 2)  # events are followed since before the first pulse, or they are seen late
        wait_message(messages, "pulse", lambda value: value["queues"][0]["waiting"] == 2)
        (task,) = client.pull("orders")
        task.done()
        happened = wait_message(messages, "happened", lambda events: any(one["kind"] == "done" for one in events))

    assert connection == {"is_connected": True, "message": f"connected to {coordinator.address}"}
    assert [row["name"] for row in pulse["queues"]] == ["orders"]
    assert "peer_limits" not in pulse["overview"]["status"]
    assert again["overview"]["status"]["uptime"] > pulse["overview"]["status"]["uptime"]
    assert {"time", "kind", "queue", "id", "lo", "hi", "worker", "text", "dropped"} == happened[0].keys()


def test_coordinator_that_goes_away_is_told_and_comes_back_by_itself(tmp_path: Path) -> None:
    bind = f"ipc://{tmp_path}/socket"
    with served(address=bind) as url, followed(url, "?happened=false") as messages:
        with zq.Coordinator(tmp_path / "d.zq", bind=bind):
            wait_message(messages, "connection", lambda value: value["is_connected"])
            wait_message(messages, "pulse")
        gone = wait_message(messages, "connection", lambda value: not value["is_connected"])
        refused = httpx2.get(f"{url}/api/v1/queues", timeout=30)
        ready = httpx2.get(f"{url}/readyz", timeout=30)
        session = httpx2.get(f"{url}/api/v1/session", timeout=30).json()
        with zq.Coordinator(tmp_path / "d.zq", bind=bind):
            wait_message(messages, "connection", lambda value: value["is_connected"])
            pulse = wait_message(messages, "pulse")
            assert httpx2.get(f"{url}/api/v1/queues", timeout=30).json() == {"rows": [], "cursor": None}

    assert "no answer" in gone["message"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unreachable")
    assert refused.json()["error"]["message"]
    assert (ready.status_code, ready.text[:10]) == (503, "not ready:")
    assert session["is_connected"] is False
    assert pulse["overview"]["status"]["epoch"] == 2


def test_of_a_flood_of_events_the_beginning_is_shown(
    coordinator: zq.Coordinator, client: zq.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "REST_SECONDS", 0.1)
    monkeypatch.setattr(looking, "EVENTS_INTERVAL", 3600.0)  # so that it is a flood on any machine
    with served(address=coordinator.address) as url, followed(url) as messages:
        wait_until(lambda: client.query("status")["usage"]["follows"] == 1)
        client.submit_many("orders", range(500), batch_size=1)
        flood = wait_message(messages, "happened")
        wait_until(lambda: client.query("status")["usage"]["follows"] == 1)

    assert 0 < len(flood) <= looking.PORTION_EVENTS_MAX + 1
    assert "left out" in flood[-1]["text"]


def test_all_browsers_cost_the_coordinator_one_look(coordinator: zq.Coordinator, client: zq.Client) -> None:
    with served(address=coordinator.address) as url:
        with followed(url) as first, followed(url) as second:
            wait_message(first, "pulse")
            wait_message(second, "pulse")
            assert client.query("status")["usage"]["follows"] == 1
            times = [wait_message(one, "pulse")["overview"]["status"]["uptime"] for one in (first, second)]
        # Nobody watches: the dashboard follows no events any more.
        wait_until(lambda: client.query("status")["usage"]["follows"] == 0)

    assert times


def wait_until(is_so: Callable[[], bool]) -> None:
    waiter = threading.Event()
    for _ in range(600):
        if is_so():
            return
        waiter.wait(0.05)
    raise AssertionError("it did not come to be so")


def test_streams_are_bounded(coordinator: zq.Coordinator) -> None:
    with served(address=coordinator.address, streams_max=1) as url, followed(url) as messages:
        wait_message(messages, "pulse")
        second = httpx2.get(f"{url}/api/v1/events", timeout=30)

    assert second.status_code == 503
    assert second.json()["error"]["code"] == "busy"


def test_browser_that_takes_nothing_is_let_go(coordinator: zq.Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SEND_PATIENCE", 0.2)
    monkeypatch.setattr(Hub, "tell_pulse", lambda self, value: _flood(self))
    with served(address=coordinator.address) as url:
        place = url.removeprefix("http://")
        with socket.create_connection(("127.0.0.1", int(place.rpartition(":")[2]))) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            slow.settimeout(60)
            assert slow.recv(8) == b"HTTP/1.1"
            wait_until(lambda: not _HUBS[-1].browsers)


def _flood(hub: Hub) -> None:
    for browser in hub.browsers:
        browser.put_pulse(b"x" * (1 << 24))


_HUBS: list[Hub] = []


@pytest.fixture(autouse=True)
def hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remembers the hubs that are made."""
    make = Hub.__init__

    def remember(self: Hub, most: int) -> None:
        make(self, most)
        _HUBS.append(self)

    monkeypatch.setattr(Hub, "__init__", remember)


# What waits for a browser, without one.


def test_slow_browser_gets_the_newest_pulse_and_is_told_what_it_missed() -> None:
    async def run() -> bytes:
        browser = Browser(wants_events=True)
        browser.put_connection(frame("connection", 1))
        for number in range(10):
            browser.put_pulse(frame("pulse", number))
        for number in range(PORTIONS_MAX + 3):
            browser.put_portion(100, frame("happened", [number]))
        return await browser.take()

    text = asyncio.run(run()).decode()

    assert text.count("event: pulse") == 1
    assert "event: pulse\ndata: 9\n\n" in text
    assert '"kind":"dropped"' in text
    assert '"dropped":300' in text
    assert text.count("event: happened") == PORTIONS_MAX + 1
    assert text.index("connection") < text.index("happened") < text.index("pulse")


def test_line_breaks_of_strangers_break_no_message() -> None:
    assert frame("happened", ["a\nb\r\u2028\n\nevent: pulse"]).count(b"\n") == 3


def test_no_more_browsers_follow_than_may() -> None:
    async def run() -> None:
        hub = Hub(2)
        first = hub.join(wants_events=True)
        hub.join(wants_events=False)
        with pytest.raises(ProblemError, match="2 event streams are open"):
            hub.join(wants_events=True)
        hub.leave(first)
        assert hub.wants_events is False
        hub.join(wants_events=True)

    asyncio.run(run())
