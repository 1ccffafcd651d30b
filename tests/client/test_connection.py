"""What happens to calls when the connection or the coordinator breaks."""

import logging
import socket as sockets
import threading
from typing import Any

import pytest

from tests.client.conftest import Spawned
from tests.client.fake_coordinator import FakeCoordinator, pack, wait_until
from zq.client.client import Client
from zq.errors import ClosedError, RemoteProtocolError
from zq.sockets.link import Link, resolve_address
from zq.wire.messages import (
    Answer,
    Ended,
    FromCoordinator,
    Outcome,
    Ping,
    Pull,
    Query,
    Receipt,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
)


def test_a_submit_outlives_a_restart_and_keeps_its_number_and_id(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.is_deaf = True
    call = Spawned(client.submit, "orders", 1)
    [before] = coordinator.wait_for(Submit)
    coordinator.stop()
    coordinator.is_deaf = False
    coordinator.start()
    receipt = call.join()
    after = coordinator.of_kind(Submit)[-1]
    assert after == before
    assert [receipt.id] == list(coordinator.stored) == [before.batches[0].id]


def test_everything_that_was_asked_is_asked_again_after_a_restart(coordinator: FakeCoordinator, client: Client) -> None:
    receipt = client.submit("orders", 1)
    result = Spawned(receipt.result, 20)
    query = Spawned(client.query, "status")
    pull = Spawned(client.pull, "orders", wait=20)
    kinds = (Wait, Query, Pull)
    before = [coordinator.wait_for(kind)[0] for kind in kinds]
    coordinator.stop()

    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        match message:
            case Wait(request):
                return [Outcome(request, (Ended(0, 1, "done", "", b"", b""),), is_last=True)]
            case Query(request):
                return [Answer(request, 5)]
        return None

    coordinator.handler = handle
    coordinator.start()
    assert (result.join(), query.join()) == (None, 5)
    wait_until(lambda: len(coordinator.of_kind(Pull)) >= 2)
    assert [coordinator.of_kind(kind)[1] for kind in kinds] == before
    assert pull.is_running
    client.close()
    with pytest.raises(ClosedError):
        pull.join()


def test_many_calls_from_many_threads_survive_restarts(coordinator: FakeCoordinator, client: Client) -> None:
    receipts: list[str] = []

    def submit(name: int) -> None:
        receipts.extend(client.submit("orders", [name, place]).id for place in range(100))

    calls = [Spawned(submit, name) for name in range(4)]
    for restart in range(3):
        wait_until(lambda: len(receipts) >= 50 * (restart + 1))  # noqa: B023  # called before the next turn
        coordinator.stop()
        coordinator.start()
    for call in calls:
        call.join()
    assert len(set(receipts)) == 400
    assert {id.partition("#")[0] for id in receipts} == set(coordinator.stored)
    assert sum(len(one.ends) // 4 for one in coordinator.stored.values()) == 400


def test_a_message_that_was_lost_on_a_live_connection_is_sent_again(
    coordinator: FakeCoordinator, client: Client
) -> None:
    lost: list[ToCoordinator] = []

    def lose_first(message: ToCoordinator) -> list[FromCoordinator] | None:
        if isinstance(message, Submit) and not lost:
            lost.append(message)
            return []
        return None

    coordinator.handler = lose_first
    client.submit("orders", 1)
    assert coordinator.of_kind(Submit) == [lost[0], lost[0]]
    assert len(coordinator.peers) == 1


def test_a_silent_coordinator_gets_a_new_connection(coordinator: FakeCoordinator, client: Client) -> None:
    coordinator.is_deaf = True
    call = Spawned(client.query, "status")
    wait_until(lambda: len(coordinator.peers) >= 2)
    first, second = coordinator.of_kind(Query)[:2]
    assert first == second
    coordinator.handler = lambda message: [Answer(message.request, 1)] if isinstance(message, Query) else None
    coordinator.is_deaf = False
    assert call.join() == 1


def test_a_call_waits_for_a_coordinator_that_starts_later() -> None:
    with sockets.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
    with Client(address, timeout=20) as client:
        call = Spawned(client.submit, "orders", 1)
        with FakeCoordinator(address) as coordinator:
            assert call.join().id in coordinator.stored


def test_an_ipc_address_works(tmp_path: Any) -> None:
    with FakeCoordinator(f"ipc://{tmp_path}/zq") as coordinator, Client(coordinator.address, timeout=20) as client:
        assert client.submit("orders", 1).id in coordinator.stored


def test_bad_frames_from_the_coordinator_are_counted_and_do_no_harm(
    coordinator: FakeCoordinator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.ping()
    frames = [
        b"",
        b"\xff",
        b"\xc1" * 100,
        pack(1, 40),
        pack(9, 44, 1, 1),
        pack(1, 1, 1, []),
        pack(1, 99, 1),
        bytes(5000),
    ]
    link = client._calls.link
    assert isinstance(link, Link)
    with caplog.at_level(logging.WARNING, logger="zq.sockets.channel"):
        coordinator.send_frames(*frames)
        wait_until(lambda: client.ping() and link.bad_frames == len(frames))
    assert len(caplog.records) == len(frames)
    assert client.submit("orders", 1).id in coordinator.stored


def test_answers_to_nothing_are_ignored(coordinator: FakeCoordinator, client: Client) -> None:
    client.ping()
    coordinator.send(Answer(77, 1), Receipt(78, (), ()), Outcome(79, (), is_last=True), Tasks(80, ()))
    assert client.submit("orders", 1).id in coordinator.stored


# The link itself.


class FakeSession:
    """A session that says nothing, and fails when it is told to."""

    def __init__(self) -> None:
        self.wants_reconnect = False
        self.is_asking = False
        self.connections = 0
        self.failures: list[Exception] = []
        self.outbox: list[ToCoordinator] = []
        self.breaks_at_message = False

    def connected(self, now: float) -> None:
        self.connections += 1

    def receive(self, now: float, message: FromCoordinator) -> None:
        if self.breaks_at_message:
            raise RuntimeError("a bug")

    def tick(self, now: float) -> None:
        pass

    def next_at(self) -> float:
        return float("inf")

    def drop(self, reply: object) -> None:
        pass

    def take_outbox(self) -> list[ToCoordinator]:
        outbox, self.outbox = self.outbox, []
        return outbox

    def refused(self, error: Exception) -> None:
        self.failures.append(error)

    def failed(self, error: Exception) -> None:
        self.failures.append(error)


def test_calls_run_on_the_links_thread_in_order_and_each_once(coordinator: FakeCoordinator) -> None:
    link = Link(coordinator.address, FakeSession(), "zq-test")
    link.start()
    seen: list[tuple[int, str]] = []
    for place in range(5000):
        # mypy cannot infer a lambda with a default
        link.call(lambda place=place: seen.append((place, threading.current_thread().name)))  # type: ignore[misc]
    link.close()
    assert seen == [(place, "zq-test") for place in range(5000)]


def test_a_session_that_wants_another_connection_gets_one(coordinator: FakeCoordinator) -> None:
    session = FakeSession()
    link = Link(coordinator.address, session, "zq-test")
    link.start()

    def ask() -> None:
        session.wants_reconnect = True

    wait_until(lambda: session.connections == 1)
    link.call(ask)
    wait_until(lambda: session.connections == 2)
    link.close()
    assert not session.wants_reconnect


def test_the_last_words_leave_before_a_link_closes(coordinator: FakeCoordinator) -> None:
    session = FakeSession()
    link = Link(coordinator.address, session, "zq-test")
    link.start()
    wait_until(lambda: session.connections == 1)
    session.outbox.append(Ping(1))
    link.call(lambda: None)
    coordinator.wait_for(Ping)
    link.call(lambda: session.outbox.append(Ping(2)))
    link.close()
    assert coordinator.wait_for(Ping, 2) == [Ping(1), Ping(2)]


@pytest.mark.parametrize("where", ["call", "message"])
def test_a_bug_in_the_thread_fails_the_session_and_refuses_what_comes(
    coordinator: FakeCoordinator, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    def break_down() -> None:
        raise RuntimeError("a bug")

    session = FakeSession()
    link = Link(coordinator.address, session, "zq-test")
    link.start()
    with caplog.at_level(logging.ERROR, logger="zq.sockets.link"):
        if where == "call":
            link.call(break_down)
        else:
            wait_until(lambda: session.connections == 1)
            session.breaks_at_message = True
            session.outbox.append(Ping(1))
            link.call(lambda: None)
        wait_until(lambda: link.is_over)
    assert len(session.failures) == 1
    assert "everything that waits on it fails" in caplog.text
    with pytest.raises(ClosedError):
        link.call(lambda: None)
    link.close()


def test_a_link_that_was_never_started_closes() -> None:
    session = FakeSession()
    link = Link("tcp://127.0.0.1:1", session, "zq-test")
    link.close()
    assert [type(error) for error in session.failures] == [ClosedError]


def test_address_that_is_no_text_is_refused_in_words() -> None:
    with pytest.raises(TypeError, match=r"^expected an address as text, got 7700$"):
        resolve_address(7700)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [{str(number): 1 for number in range(101)}, [[[[[[[[[1]]]]]]]]], ["x" * 70_000]],
    ids=["a map of many", "too deep", "a text too long"],
)
def test_answer_that_cannot_be_read_ends_its_request_in_words(
    coordinator: FakeCoordinator, client: Client, value: Any
) -> None:
    coordinator.handler = lambda message: [Answer(message.request, value)] if isinstance(message, Query) else None

    with pytest.raises(RemoteProtocolError, match="unreadable: an answer came that cannot be read"):
        client.query("status")

    assert len(coordinator.of_kind(Query)) == 1, "it was asked again"
