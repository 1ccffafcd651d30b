"""What callers are told where the coordinator answers with an error."""

import pytest

from zq.errors import BusyError, RemoteProtocolError
from zq.sessions.client import ClientSession
from zq.sessions.refusals import BUSY_RETRY_AFTER, remote_error
from zq.wire.messages import Command, Error


class Told:
    """A reply that keeps how it ended."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def resolve(self, value: object) -> None:
        raise AssertionError(f"expected an error, got {value!r}")

    def reject(self, error: Exception) -> None:
        self.error = error


@pytest.mark.parametrize(("code", "kind"), [("busy", BusyError), ("invalid", RemoteProtocolError)])
def test_request_that_is_refused_for_now_is_busy(code: str, kind: type[Exception]) -> None:
    session, told = ClientSession("c", "c"), Told()
    session.connected(0.0)
    session.ask(0.0, Command(0, "bind", {"queue": "q", "pattern": "a"}), 30.0, told)
    [command] = [one for one in session.take_outbox() if isinstance(one, Command)]

    session.receive(0.1, Error(command.request, code, "the store is full"))

    assert type(told.error) is kind
    assert "the store is full" in str(told.error)


def test_busy_says_when_to_come_back() -> None:
    error = remote_error("busy", "the store is full")

    assert isinstance(error, BusyError)
    assert (error.retry_after, error.reason) == (BUSY_RETRY_AFTER, "the store is full")
