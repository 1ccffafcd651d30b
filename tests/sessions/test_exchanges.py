"""Requests that callers carry themselves, and the session that adopts what they could not end."""

from __future__ import annotations

from typing import Any

import pytest

from zq.errors import StaleLeaseError
from zq.sessions.client import ClientSession
from zq.sessions.exchanges import (
    NO_ANSWER,
    NOT_YET,
    AskExchange,
    RequestExchange,
    SettleExchange,
    SubmitExchange,
    WatchExchange,
)
from zq.sessions.outcomes import BatchOutcome
from zq.sessions.settles import Settling
from zq.sessions.submits import SMALL_MESSAGES
from zq.wire.batch import pack_payload
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Accepted,
    Answer,
    Batch,
    Done,
    Ended,
    Error,
    Extend,
    Outcome,
    Pong,
    Query,
    Receipt,
    Refused,
    Settle,
    Settled,
    Span,
    ToCoordinator,
    Wait,
    Withdraw,
)
from zq.wire.proofs import Proof

ENTRY = Done(7, "b", 0, 1, b"", b"", ())
DONE = Ended(0, 1, "done", "", b"", b"")


class Kept:
    def __init__(self) -> None:
        self.values: list[Any] = []
        self.errors: list[Exception] = []

    def resolve(self, value: Any) -> None:
        self.values.append(value)

    def reject(self, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def session() -> ClientSession:
    one = ClientSession("0123456789ab", "client")
    one.connected(0.0)
    return one


def batch(id: str = "a") -> Batch:
    return Batch(id, "orders", DEFAULT_OPTIONS, *pack_payload(b"\1"))


def said(session: ClientSession, now: float) -> list[ToCoordinator]:
    session.tick(now)
    return session.take_outbox()


def test_a_plain_answer_is_read_and_nothing_else_is(session: ClientSession) -> None:
    submit = SubmitExchange(session, 1.0, batch(), 9.0, Kept())
    ask = AskExchange(session, 1.0, Query(0, "status", {}), 9.0, Kept())
    outcome, index, accepted = submit.read(session, Receipt(submit.number, (Accepted("a", 3, None),), ()))
    assert (outcome.id, outcome.size, index, accepted.position) == ("a", 1, 0, 3)
    settle = SettleExchange(session, 1.0, ENTRY, Proof(7, b""), 9.0, Kept())
    assert ask.read(session, Answer(ask.number, None)) is None
    assert settle.read(session, Settled(settle.number, ())) is None
    for other in (Settled(settle.number, (Span(7, 0, 1),)), Settled(ask.number, ()), Answer(settle.number, None)):
        assert settle.read(session, other) is NO_ANSWER
    for message in (
        Receipt(ask.number, (Accepted("a", 3, None),), ()),
        Receipt(submit.number, (Accepted("b", 3, None),), ()),
        Receipt(submit.number, (), (Refused("a", "busy", 1.0, "full"),)),
        Error(submit.number, "invalid", "no"),
        Answer(submit.number, 1),
    ):
        assert submit.read(session, message) is NO_ANSWER


def test_a_wait_goes_on_until_its_end_is_told(session: ClientSession) -> None:
    outcome = BatchOutcome("a", 1, 0, 1)
    wait = WatchExchange(session, 1.0, outcome, 9.0, Kept())
    assert wait.read(session, Outcome(wait.number, (), is_last=False)) is NOT_YET
    assert outcome.get(0) is None
    assert wait.read(session, Outcome(wait.number, (DONE,), is_last=True)) == DONE
    assert outcome.get(0) == DONE


def request_of(session: ClientSession, reply: Kept) -> tuple[RequestExchange, int]:
    """A request, and the number of its wait."""
    exchange = RequestExchange(session, 1.0, batch(), 9.0, 5.0, reply)
    assert isinstance(exchange.behind, Wait)
    return exchange, exchange.behind.request


def test_a_request_ends_with_the_end_of_its_task(session: ClientSession) -> None:
    exchange, wait = request_of(session, Kept())
    receipt = Receipt(exchange.number, (Accepted("a", 3, None),), ())
    assert exchange.deadline == 5.0
    assert exchange.read(session, Outcome(wait, (DONE,), is_last=True)) is NO_ANSWER
    assert exchange.read(session, receipt) is NOT_YET
    assert exchange.read(session, receipt) is NO_ANSWER
    assert exchange.read(session, Outcome(wait, (), is_last=False)) is NOT_YET
    outcome, index, accepted = exchange.read(session, Outcome(wait, (DONE,), is_last=True))
    assert (outcome.get(index), accepted.id) == (DONE, "a")


@pytest.mark.parametrize("is_accepted", [True, False])
def test_a_request_that_is_adopted_is_a_submit_and_gives_up_its_wait(
    session: ClientSession, *, is_accepted: bool
) -> None:
    reply = Kept()
    exchange, wait = request_of(session, reply)
    exchange.is_sent = True
    receipt = Receipt(exchange.number, (Accepted("a", 3, None),), ())
    if is_accepted:
        exchange.read(session, receipt)
    exchange.adopt(session)
    assert Withdraw((wait,)) in said(session, 2.0)
    if not is_accepted:
        said(session, 5.5)
        assert not reply.errors  # it is the wait that had until then
        session.receive(6.0, receipt)
    ((outcome, _, accepted),) = reply.values
    assert (outcome.get(0), accepted.id) == (None, "a")
    session.receive(6.0, Outcome(wait, (DONE,), is_last=True))
    assert not reply.errors


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_is_adopted_is_said_unless_it_was_and_again_when_it_is_lost(
    session: ClientSession, *, is_sent: bool
) -> None:
    replies = [Kept(), Kept(), Kept(), Kept()]
    outcome = BatchOutcome("b", 1, 0, 1)
    exchanges = [
        SubmitExchange(session, 1.0, batch(), 9.0, replies[0]),
        AskExchange(session, 1.0, Query(0, "status", {}), 9.0, replies[1]),
        WatchExchange(session, 1.0, outcome, 9.0, replies[2]),
        SettleExchange(session, 1.0, ENTRY, Proof(7, b"12345678"), 9.0, replies[3]),
    ]
    messages = [one.message for one in exchanges]
    for one in exchanges:
        one.is_sent = is_sent
        one.adopt(session)
    first = said(session, 1.0)
    assert first[:-1] == ([] if is_sent else messages), "and a ping"
    session.receive(1.1, Pong(first[-1].request, 1))  # type: ignore[union-attr]  # it is a ping
    assert sorted(map(repr, session.take_outbox())) == sorted(map(repr, messages))
    session.receive(1.2, Receipt(exchanges[0].number, (Accepted("a", 1, None),), ()))
    session.receive(1.2, Answer(exchanges[1].number, 5))
    session.receive(1.2, Outcome(exchanges[2].number, (DONE,), is_last=True))
    session.receive(1.2, Settled(exchanges[3].number, ()))
    assert [one.values for one in replies[1:]] == [[5], [DONE], [None]]
    assert len(replies[0].values) == 1
    assert not session.is_asking


def test_an_adopted_submit_is_one_of_those_in_flight(session: ClientSession) -> None:
    for number in range(SMALL_MESSAGES):
        SubmitExchange(session, 1.0, batch(str(number)), 9.0, Kept()).adopt(session)
    said(session, 1.0)
    session.submit_batch(1.0, batch("late"), 9.0, Kept())
    assert said(session, 1.0) == []


def test_an_adopted_settle_that_is_stale_ends_so_and_others_wait_for_it(session: ClientSession) -> None:
    reply, later = Kept(), Kept()
    exchange = SettleExchange(session, 1.0, ENTRY, Proof(7, b""), 9.0, reply)
    exchange.adopt(session)
    session.settle(1.0, Settling(ENTRY, 9.0, later))
    assert [message for message in said(session, 1.0) if isinstance(message, Settle)] == [exchange.message]

    session.receive(1.1, Settled(exchange.number, (Span(7, 0, 1),)))

    assert [type(error) for error in reply.errors] == [StaleLeaseError]
    assert len([message for message in said(session, 1.1) if isinstance(message, Settle)]) == 1


def test_an_older_coordinator_hears_of_no_proofs(session: ClientSession) -> None:
    session.receive(0.1, Error(None, "unknown-kind", "expected a kind that I know"))

    settle = SettleExchange(session, 1.0, ENTRY, Proof(7, b"12345678"), 9.0, Kept())
    extend = AskExchange(session, 1.0, Extend(0, 7, 30.0, b"12345678"), 9.0, Kept())

    assert settle.message == Settle(settle.number, None, (ENTRY,), ())
    assert extend.message == Extend(extend.number, 7, 30.0)


def test_a_session_that_has_failed_ends_what_it_is_to_adopt(session: ClientSession) -> None:
    session.failed(RuntimeError("over"))
    reply = Kept()
    SubmitExchange(session, 1.0, batch(), 9.0, reply).adopt(session)
    WatchExchange(session, 1.0, BatchOutcome("a", 1, 0, 1), 9.0, reply).adopt(session)
    assert len(reply.errors) == 2
