"""A link whose turns are taken by its own thread and by those that have something to say."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from math import inf

import pytest

from tests.client.fake_coordinator import FakeCoordinator, wait_until
from zq.errors import AccessDeniedError, ClosedError
from zq.sessions.outcomes import Reply
from zq.sockets.shared_link import SharedLink
from zq.wire.messages import FromCoordinator, Ping, Pong, ToCoordinator


class Talk:
    """A session that says pings and hears pongs, and is never due by itself."""

    def __init__(self) -> None:
        self.wants_reconnect = self.is_asking = self.is_connected = False
        self.to_say: deque[int] = deque()
        self.heard: set[int] = set()
        self.speakers: set[str] = set()  # threads in which something was said
        self.is_faulty = False
        self.failure: Exception | None = None
        self._outbox: list[ToCoordinator] = []

    def connected(self, now: float) -> None:
        self.is_connected = True

    def receive(self, now: float, message: FromCoordinator) -> None:
        assert isinstance(message, Pong)
        self.heard.add(message.request)

    def tick(self, now: float) -> None:
        if self.is_faulty:
            raise RuntimeError("a fault of the session")
        while self.to_say and self.is_connected:
            self._outbox.append(Ping(self.to_say.popleft()))
            self.speakers.add(threading.current_thread().name)

    def next_at(self) -> float:
        return inf

    def take_outbox(self) -> list[ToCoordinator]:
        outbox, self._outbox = self._outbox, []
        return outbox

    def refused(self, error: AccessDeniedError) -> None:
        self.failed(error)

    def drop(self, reply: Reply) -> None: ...

    def failed(self, error: Exception) -> None:
        self.failure = error


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def link(talk: Talk) -> Iterator[SharedLink]:
    with FakeCoordinator() as coordinator:
        link = SharedLink(coordinator.address, talk, "link", rest=lambda: None)
        link.start()
        wait_until(lambda: talk.is_connected)
        yield link
        link.close()


def test_thread_that_has_something_to_say_says_it_itself(link: SharedLink, talk: Talk) -> None:
    own = threading.current_thread().name

    def say() -> bool:
        talk.to_say.append(1)
        link.nudge()
        return own in talk.speakers

    wait_until(say)
    wait_until(lambda: talk.heard == {1})


def test_nothing_is_left_behind_when_many_speak_and_hear_at_once(link: SharedLink, talk: Talk) -> None:
    def say(first: int) -> None:
        for number in range(first, first + 500):
            talk.to_say.append(number)
            link.nudge()

    threads = [threading.Thread(target=say, args=(first,)) for first in range(0, 2000, 500)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_until(lambda: talk.heard == set(range(2000)))
    assert talk.failure is None


def test_fault_in_the_turn_of_another_thread_ends_the_link(link: SharedLink, talk: Talk) -> None:
    talk.is_faulty = True
    link.nudge()

    wait_until(lambda: link.is_over)
    assert str(talk.failure) == "a fault of the session"
    link.nudge()
    with pytest.raises(ClosedError):
        link.call(lambda: None)
