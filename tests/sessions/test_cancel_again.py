"""A cancel whose answer may be lost is said again as such."""

from __future__ import annotations

from tests.sessions.test_client_session import LATER, FakeReply, make_session, only, said
from zq.sessions.client import ClientSession
from zq.sessions.exchanges import AskExchange
from zq.wire.messages import Answer, Cancel, Error


def ask(session: ClientSession, now: float) -> tuple[FakeReply, Cancel]:
    reply = FakeReply()
    session.ask(now, Cancel(0, "order-1"), LATER, reply)
    return reply, only(Cancel, said(session, now))


def connected_session() -> ClientSession:
    """Returns a session that has a connection, and has not needed to hear which coordinator it leads to."""
    return make_session()


def test_cancel_is_said_again_as_such_on_a_new_connection() -> None:
    session = connected_session()
    reply, first = ask(session, 1.0)
    assert not first.is_again
    session.connected(2.0)
    again = only(Cancel, said(session, 2.0))
    assert again == first._replace(is_again=True)
    session.receive(2.1, Answer(first.request, 1))

    assert reply.end == 1


def test_cancel_that_waited_for_the_first_connection_is_not_said_again() -> None:
    session = ClientSession("prefix", "client")
    ask(session, 0.0)
    session.connected(1.0)
    assert not only(Cancel, said(session, 1.0)).is_again
    session.connected(2.0)
    assert only(Cancel, said(session, 2.0)).is_again


def test_cancel_that_its_caller_has_said_itself_is_said_again_as_such() -> None:
    session = connected_session()
    exchange = AskExchange(session, 1.0, Cancel(0, "order-1"), LATER, FakeReply())
    exchange.is_sent = True
    exchange.adopt(session)
    assert said(session, 1.0) == []
    session.connected(2.0)

    assert only(Cancel, said(session, 2.0)) == Cancel(exchange.number, "order-1", is_again=True)


def test_cancel_is_said_again_in_the_words_of_an_older_coordinator() -> None:
    session = connected_session()
    reply, first = ask(session, 1.0)
    session.connected(2.0)
    only(Cancel, said(session, 2.0))
    session.receive(2.1, Error(first.request, "malformed", "expected 2 fields in cancel, got 3"))
    assert only(Cancel, said(session, 2.1)) == first
    session.receive(2.2, Answer(first.request, 0))

    assert reply.end == 0
