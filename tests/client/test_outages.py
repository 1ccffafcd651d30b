"""What one call meets is its own: others go on; and a silence of the coordinator is told to those who wait."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.client.conftest import Spawned
from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.client.client import Client
from zq.client.driving import Ask, Call
from zq.errors import ClosedError
from zq.sessions import pings
from zq.sessions.outcomes import FOREVER, BatchOutcome, Reply
from zq.sessions.streams import Stream
from zq.sockets import silence
from zq.sockets.silence import QUIET_TOLD, STALL, Silence
from zq.wire.messages import Answer, FromCoordinator, Query, ToCoordinator


def started(start: Callable[[Reply], None], deadline: Any = FOREVER) -> Call[Any]:
    return (yield Ask(start, deadline))


def odd_calls(client: Client) -> dict[str, Callable[[Reply], None]]:
    """Returns calls that raise where they are carried out, before and after the session has noted them."""
    calls, session, now = client._calls, client._calls.session, client._calls.clock()
    odd: Any = 1j

    def noted(start: Callable[..., None], *arguments: Any) -> Callable[[Reply], None]:
        def carry_out(reply: Reply) -> None:
            start(*arguments, reply)
            raise ValueError("odd")

        return partial(calls.post, carry_out)

    def bug(_: Reply) -> None:
        raise KeyError("bug")

    outcome = BatchOutcome("a", 1, 0, 1)
    return {
        "deadline of a request": partial(calls.post, session.ask, now, Query(0, "status", {}), odd),
        "deadline of a wait": lambda reply: calls.post(session.watch, now, outcome, 0, odd, reply),
        "bug before": partial(calls.post, bug),
        "bug after a request": noted(session.ask, now, Query(0, "status", {}), FOREVER),
        "bug after a wait": noted(session.watch, now, outcome, 0, FOREVER),
        "bug after a stream": noted(session.streams.take, Stream(None, ()), FOREVER),
    }


ODD = (
    *("deadline of a request", "deadline of a wait", "bug before"),
    *("bug after a request", "bug after a wait", "bug after a stream"),
)


@pytest.mark.parametrize("which", ODD)
def test_what_a_call_raises_is_its_callers_and_nobody_elses(
    coordinator: FakeCoordinator, client: Client, which: str
) -> None:
    def handle(message: ToCoordinator) -> list[FromCoordinator] | None:
        return [Answer(message.request, 5)] if isinstance(message, Query) and message.what != "slow" else None

    coordinator.handler = handle
    other = Spawned(client.query, "slow")
    slow = coordinator.wait_for(Query)[0]
    start = odd_calls(client)[which]

    with pytest.raises((TypeError, ValueError, KeyError)):
        client._run(started(start))

    assert client.query("status") == 5
    assert client.submit("orders", 1).id in coordinator.stored
    coordinator.send(Answer(slow.request, 6))
    assert other.join() == 6


def test_a_silence_is_told_once_and_its_end_too(
    coordinator: FakeCoordinator, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pings, "PING_INTERVAL", 0.02)
    monkeypatch.setattr(pings, "SILENCE_MAX", 0.1)
    monkeypatch.setattr(silence, "QUIET_TOLD", 0.2)
    monkeypatch.setattr(pings, "SILENCE_FIRST", 0.1)
    receipt = client.submit("orders", 1)
    with caplog.at_level(logging.WARNING, logger="zq.sockets.silence"):
        result = Spawned(receipt.result, 600)
        pull = Spawned(client.pull, "orders", wait=600)
        peers = len(coordinator.peers)
        coordinator.is_deaf = True
        wait_until(lambda: len(set(coordinator.peers)) >= peers + 3 and caplog.records)
        told = [one.getMessage() for one in caplog.records]
        assert len(told) == 1
        assert re.fullmatch(rf"no answer from {coordinator.address} for \d+ s; trying on", told[0])

        coordinator.is_deaf = False
        wait_until(lambda: len(caplog.records) >= 2)
        assert caplog.records[1].getMessage().startswith(f"{coordinator.address} is heard again, after ")
    assert result.is_running
    assert pull.is_running
    client.close()
    for call in (result, pull):
        with pytest.raises(ClosedError):
            call.join()


# Without sockets.


def looked(told: Silence, *times: float, is_asking: bool = True) -> None:
    for now in times:
        told.look(now, is_asking=is_asking)


def test_who_was_never_heard_is_told_as_such_and_that_it_answers_at_last(caplog: pytest.LogCaptureFixture) -> None:
    told = Silence("tcp://nowhere:1")
    looked(told, 10.0, 10.0 + QUIET_TOLD / 2)
    assert caplog.messages == []
    assert told.next_at() == 10.0 + QUIET_TOLD
    looked(told, 10.0 + QUIET_TOLD, 11.0 + QUIET_TOLD, 12.0 + QUIET_TOLD)
    assert told.next_at() == float("inf")
    told.heard(20.0)

    assert caplog.messages == [
        "no answer yet from tcp://nowhere:1; trying on",
        "connected to tcp://nowhere:1, after 10 s",
    ]


def test_who_asks_nothing_hears_nothing_and_is_told_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told = Silence("tcp://nowhere:1")
    looked(told, 10.0, 11.0, 30.0, 60.0, is_asking=False)
    looked(told, 61.0, 62.0)

    assert caplog.messages == []


def test_answers_make_the_time_begin_anew(caplog: pytest.LogCaptureFixture) -> None:
    told = Silence("tcp://nowhere:1")
    for now in range(100):
        looked(told, now, now + 0.5)
        told.heard(now + 0.9)

    assert caplog.messages == []


def test_a_process_that_stood_still_blames_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told = Silence("tcp://nowhere:1")
    looked(told, 10.0, 11.0, 11.0 + QUIET_TOLD + STALL + 60.0)

    assert caplog.messages == []
