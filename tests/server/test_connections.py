"""What one connection may have of a coordinator, over both transports: what waits for it, what it piles up, how much it
says, and how many there may be.
"""

from __future__ import annotations

import socket as system_sockets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

import zq
from tests.process.kitchen import wait_until
from tests.server import raw
from zq.core.peer_limits import PeerLimits
from zq.server import connections
from zq.server.peer_connection import PeerConnection
from zq.wire.codec import decode_from_coordinator, encode
from zq.wire.messages import Answer, Error, Events, Follow, Message, Ping, Pong, Query

Host = Callable[..., tuple[zq.Coordinator, zq.Client]]

LARGE = 1 << 20

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count the bytes of a connection")


@pytest.fixture(params=["tcp", "ipc"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """Makes a coordinator with limits, and a client of it."""
    with ExitStack() as opened:

        def make(host_options: zq.HostOptions | None = None, **limits: int) -> tuple[zq.Coordinator, zq.Client]:
            bind = "tcp://127.0.0.1:*" if request.param == "tcp" else f"ipc://{tmp_path}/socket"
            options = zq.CoordinatorOptions(peer_limits=PeerLimits(**limits))
            coordinator = opened.enter_context(
                zq.Coordinator(tmp_path / "s.zq", bind=bind, options=options, host_options=host_options)
            )
            return coordinator, opened.enter_context(zq.Client(coordinator.address))

        yield make


@pytest.fixture
def dealer() -> Iterator[Callable[[str], AbstractContextManager[zmq.Socket[bytes]]]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    opened: list[zmq.Socket[bytes]] = []

    def make(address: str) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.DEALER)
        opened.append(socket)
        socket.linger = 0
        socket.rcvhwm = 1
        socket.rcvbuf = 100_000
        socket.connect(address)
        return socket

    yield make
    for socket in opened:
        socket.close()
    context.term()


def hear(socket: zmq.Socket[bytes]) -> Message:
    assert socket.poll(30_000), "no answer came"
    return decode_from_coordinator(socket.recv())


def about(client: zq.Client) -> dict[str, Any]:
    found: dict[str, Any] = client.query("status")["connections"]
    return found


@linux
def test_requests_of_one_who_does_not_read_wait_until_it_does(host: Host, dealer: Any) -> None:
    coordinator, client = host(bytes_out=8 * LARGE)
    client.submit("q", bytes(LARGE - 1000), id="large")
    lazy = dealer(coordinator.address)
    for number in range(60):
        lazy.send(encode(Query(number, "payload", {"id": "large"})))

    wait_until(lambda: about(client)["waiting_bytes"] > 2 * LARGE, "answers to wait")
    client.submit("q", "others do not notice")
    assert about(client)["waiting_bytes"] <= 8 * LARGE
    answers = [hear(lazy) for _ in range(60)]

    assert all(isinstance(answer, Answer) for answer in answers)
    assert about(client)["cut"] == {}


@linux
def test_one_who_reads_nothing_for_long_is_cut_off(
    host: Host, dealer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 0.1)
    coordinator, client = host(bytes_out=8 * LARGE)
    client.submit("q", bytes(LARGE - 1000), id="large")
    lazy = dealer(coordinator.address)
    for number in range(60):
        lazy.send(encode(Query(number, "payload", {"id": "large"})))

    wait_until(lambda: about(client)["cut"], "the connection to end")

    assert about(client)["cut"] == {"does not read": 1}
    wait_until(lambda: about(client)["waiting_bytes"] < LARGE, "its memory to be free")
    assert "ended a connection" in caplog.text
    assert "does not read" in caplog.text
    client.submit("q", "others go on")


@linux
def test_one_who_reads_slowly_is_cut_off_only_when_it_reads_no_more() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    ours, theirs = system_sockets.socketpair()
    with context, context.socket(zmq.ROUTER) as router, ours, theirs:
        limits = PeerLimits()
        all_of_them = connections.Connections(
            router, limits, connections_max=10, bytes_max=limits.bytes_out, clock=lambda: 0.0
        )
        slow = PeerConnection(ours.fileno(), limits, 0.0)
        slow.sent = 30 * LARGE
        fill(ours)
        all_of_them.look(slow, 0.0)
        for number in range(1, 10):
            for _ in range(number):
                theirs.recv(8192)
            all_of_them.look_at_slow(number * (connections.STALL_SECONDS - 1.0))
            fill(ours)
        ended_at = 9 * (connections.STALL_SECONDS - 1.0)
        all_of_them.look_at_slow(ended_at)  # the system is full again
        assert slow.reads_slowly and not slow.is_cut
        assert 20 * LARGE < slow.waiting < 30 * LARGE

        all_of_them.look_at_slow(ended_at + connections.STALL_SECONDS + 0.1)

        assert all_of_them.cuts == {"does not read": 1}
        all_of_them.close()


def fill(ours: system_sockets.socket) -> None:
    """Hands the system as much as it takes."""
    ours.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            ours.send(bytes(8192))


@linux
def test_events_to_one_who_lies_about_what_it_has_seen_end_its_connection(
    host: Host, dealer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALL_SECONDS", 1e9)  # it is what waits that ends it
    coordinator, client = host(bytes_out=LARGE)
    liar = dealer(coordinator.address)
    for number in range(16):
        liar.send(encode(zq_follow(number, 0)))
        hear(liar)

    def provoke() -> dict[str, int]:
        for number in range(16):
            liar.send(encode(zq_follow(number, 1 << 40)), zmq.NOBLOCK)
        client.submit_many("q", (bytes(10) for _ in range(2000)), batch_size=1)
        return dict(about(client)["cut"])

    wait_until(provoke, "the connection to end")

    assert about(client)["cut"] == {"does not read": 1}


def zq_follow(number: int, seen: int) -> Message:
    from zq.wire.messages import Follow

    return Follow(number, None, (), 60.0, seen)


@linux
def test_parts_without_end_are_cut_off_before_they_fill_the_memory(tmp_path: Path) -> None:
    options = zq.CoordinatorOptions(peer_limits=PeerLimits(bytes_in=8 * LARGE))
    with (
        zq.Coordinator(tmp_path / "s.zq", options=options) as coordinator,
        zq.Client(coordinator.address) as client,
        raw.shake_hands(coordinator.address) as endless,
    ):
        part = raw.frame(bytes(LARGE), raw.MORE)
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            for _ in range(10_000):
                endless.sendall(part)

        assert about(client)["cut"] == {"sends too much": 1}
        client.submit("q", "others go on")


@linux
def test_empty_parts_without_end_are_cut_off_by_the_memory_that_they_cost(tmp_path: Path) -> None:
    with (
        zq.Coordinator(tmp_path / "s.zq") as coordinator,
        zq.Client(coordinator.address) as client,
        raw.shake_hands(coordinator.address) as endless,
    ):
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            for _ in range(20):
                endless.sendall(b"\x01\x00" * LARGE)

        assert about(client)["cut"] == {"sends without end": 1}
        client.submit("q", "others go on")


def test_one_who_says_too_much_is_refused_as_busy_and_goes_on_later(host: Host) -> None:
    _, client = host(messages_per_second=20, tasks_per_second=50)

    with pytest.raises(zq.BusyError, match="tasks a second") as caught:
        for _ in range(60):
            client.submit_many("q", [b""] * 100)
    assert 0 < caught.value.retry_after < 60
    with pytest.raises(zq.BusyError, match="messages a second"):
        for _ in range(1000):
            client.query("status")


def test_one_who_goes_on_after_refusals_is_cut_off(host: Host, dealer: Any) -> None:
    coordinator, client = host(messages_per_second=50)
    loud = dealer(coordinator.address)
    loud.rcvhwm = 10_000
    for number in range(2000):
        loud.send(encode(Ping(number)))

    wait_until(lambda: about(client)["cut"], "the connection to end")

    assert about(client)["cut"] == {"messages a second": 1}
    assert client.query("status")["refused"]["messages a second"] > 400
    assert isinstance(hear(loud), Pong | Error)


def test_silent_connections_make_room_for_one_who_speaks(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.0)
    coordinator, client = host(zq.HostOptions(connections_max=5))
    client.ping()
    with ExitStack() as opened:
        for _ in range(20):
            opened.enter_context(raw.connect(coordinator.address))
        with zq.Client(coordinator.address) as other:
            assert other.submit("q", 1).id
            assert about(client)["cut"]["too many connections"] >= 15
            assert about(client)["open"] <= 6

    wait_until(lambda: about(client)["open"] == 1, "the connections to end")
    cut = about(client)["cut"]
    with zq.Client(coordinator.address) as other:
        assert other.submit("q", 1).id
    assert about(client)["cut"] == cut


@pytest.fixture
def _few_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are fewer than for all connections that there may be, and who has said nothing yet may go at once."""
    monkeypatch.setattr(connections, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(connections, "HostOptions", lambda: zq.HostOptions(connections_max=5))


@pytest.mark.usefixtures("_few_descriptors")
def test_silent_connections_make_room_where_descriptors_are_few(host: Host) -> None:
    coordinator, client = host(zq.HostOptions(connections_max=1000))
    client.ping()
    with ExitStack() as opened:
        for _ in range(5):  # one more than there are descriptors for, with the client's
            opened.enter_context(raw.shake_hands(coordinator.address))
        for _ in range(20):
            client.ping()
        assert about(client)["cut"] == {}  # nobody waits

        with zq.Client(coordinator.address) as other:
            assert other.submit("q", 1).id
            assert about(client)["cut"] in ({}, {"too many connections": 1})  # by TCP nobody is made to wait


def test_more_connections_than_there_may_be_are_turned_away_and_those_that_speak_stay(host: Host) -> None:
    coordinator, client = host(zq.HostOptions(connections_max=3))
    with zq.Client(coordinator.address) as second, zq.Client(coordinator.address) as third:
        for one in (client, second, third):
            one.ping()
        with zq.Client(coordinator.address, timeout=1.0) as fourth, pytest.raises(zq.UnreachableError):
            fourth.ping()
        for one in (client, second, third):
            one.ping()
    wait_until(lambda: about(client)["open"] == 1, "the connections to end")
    with zq.Client(coordinator.address) as another:
        another.ping()


def test_watchers_of_a_connection_that_has_ended_are_forgotten(host: Host, dealer: Any) -> None:
    coordinator, client = host()
    watcher = dealer(coordinator.address)
    watcher.send(encode(Follow(1, None, ("done",), 60.0, 0)))
    assert isinstance(hear(watcher), Events)
    assert client.query("status")["usage"]["follows"] == 1
    watcher.close()

    wait_until(lambda: client.query("status")["usage"]["follows"] == 0, "its watcher is forgotten")
