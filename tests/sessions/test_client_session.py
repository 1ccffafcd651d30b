"""The client's session, without sockets: literal times, and replies that remember how they ended."""

import gc
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from zq.errors import (
    BusyError,
    ClosedError,
    InvalidTaskError,
    RemoteProtocolError,
    StaleLeaseError,
    TimedOutError,
    UnreachableError,
)
from zq.sessions import client
from zq.sessions.client import ClientSession
from zq.sessions.outcomes import FOREVER, UNWATCHED_MAX, BatchOutcome
from zq.sessions.settles import Settling
from zq.sessions.streams import Stream
from zq.sessions.submits import SMALL_MESSAGES, WINDOW_MESSAGES, Single
from zq.wire.batch import iterate_payloads, pack_payloads
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.messages import (
    DEFAULT_OPTIONS,
    Accepted,
    Answer,
    Assignment,
    Batch,
    Cancelled,
    Confirm,
    Done,
    Ended,
    Error,
    Events,
    Failed,
    Follow,
    Outcome,
    Ping,
    Pong,
    Pull,
    Query,
    Receipt,
    Refused,
    Release,
    Settle,
    Settled,
    Span,
    Submit,
    Tasks,
    ToCoordinator,
    Wait,
    Withdraw,
)

M = TypeVar("M")
LATER = 1000.0


class FakeReply:
    """A reply that fails the test when it ends twice."""

    def __init__(self) -> None:
        self.ends: list[Any] = []
        self.value: Any = None

    def resolve(self, value: Any) -> None:
        assert not self.ends
        self.ends.append(value)

    def reject(self, error: Exception) -> None:
        assert not self.ends
        self.ends.append(error)

    @property
    def end(self) -> Any:
        assert self.ends, "the reply has not ended"
        return self.ends[0]


def make_session(now: float = 0.0) -> ClientSession:
    session = ClientSession("prefix", "puller")
    session.connected(now)
    return session


def turn(session: ClientSession, now: float) -> list[ToCoordinator]:
    """Returns what the session says in a turn."""
    session.tick(now)
    return session.take_outbox()


def said(session: ClientSession, now: float) -> list[ToCoordinator]:
    """Returns what the session says in a turn, pings left out."""
    return [message for message in turn(session, now) if not isinstance(message, Ping)]


def only(kind: type[M], messages: list[ToCoordinator]) -> M:
    [message] = messages
    assert isinstance(message, kind)
    return message


def batch(id: str, *payloads: bytes) -> Batch:
    return Batch(id, "queue", DEFAULT_OPTIONS, *pack_payloads(list(payloads) or [b"x"]))


def submit_single(
    session: ClientSession, now: float = 0.0, payload: bytes = b"x", queue: str = "queue", deadline: float = LATER
) -> FakeReply:
    reply = FakeReply()
    session.submit_single(now, Single(queue, DEFAULT_OPTIONS, payload, deadline, reply))
    return reply


def submit_batch(session: ClientSession, one: Batch, now: float = 0.0, deadline: float = LATER) -> FakeReply:
    reply = FakeReply()
    session.submit_batch(now, one, deadline, reply)
    return reply


def accept(session: ClientSession, submit: Submit, now: float = 0.0) -> None:
    session.receive(now, Receipt(submit.request, tuple(Accepted(one.id, 1, None) for one in submit.batches), ()))


def refuse(session: ClientSession, submit: Submit, code: str, now: float = 0.0) -> None:
    refused = tuple(Refused(one.id, code, 2.0 if code == "busy" else None, "no") for one in submit.batches)
    session.receive(now, Receipt(submit.request, (), refused))


def fill_small_window(session: ClientSession) -> list[Submit]:
    """Has as many small submits in flight as may be, so that what comes now gathers."""
    submits = []
    for _ in range(SMALL_MESSAGES):
        submit_single(session)
        submits.append(only(Submit, said(session, 0.0)))
    return submits


# Submits.


def test_a_submit_with_nothing_in_flight_goes_at_once() -> None:
    session = make_session()
    reply = submit_single(session, payload=b"one")
    submit = only(Submit, said(session, 0.0))
    [one] = submit.batches
    assert (one.id, one.queue, one.blob) == ("prefix-00000001", "queue", b"one")
    accept(session, submit)
    outcome, index, accepted = reply.end
    assert (outcome.id, outcome.size, index, accepted) == ("prefix-00000001", 1, 0, Accepted(one.id, 1, None))


def test_submits_gather_while_messages_are_in_flight_and_leave_as_one_batch() -> None:
    session = make_session()
    in_flight = fill_small_window(session)
    replies = [submit_single(session, payload=bytes([place])) for place in range(5)]
    assert said(session, 0.1) == []
    accept(session, in_flight[0])
    submit = only(Submit, said(session, 0.2))
    [one] = submit.batches
    assert list(iterate_payloads(one.ends, one.blob)) == [bytes([place]) for place in range(5)]
    accept(session, submit)
    assert [reply.end[1] for reply in replies] == [0, 1, 2, 3, 4]
    assert len({id(reply.end[0]) for reply in replies}) == 1


def test_tasks_of_other_queues_and_options_get_their_own_batches_in_one_message() -> None:
    session = make_session()
    in_flight = fill_small_window(session)
    submit_single(session, queue="one")
    submit_single(session, queue="two")
    urgent = Single("one", DEFAULT_OPTIONS._replace(priority=9, headers={"a": "b"}), b"x", LATER, FakeReply())
    session.submit_single(0.0, urgent)
    submit_single(session, queue="one")
    accept(session, in_flight[0])
    submit = only(Submit, said(session, 0.0))
    assert [(one.queue, one.options.priority, len(one.ends) // 4) for one in submit.batches] == [
        ("one", 4, 2),
        ("two", 4, 1),
        ("one", 9, 1),
    ]


def test_gathered_tasks_are_cut_at_a_thousand_and_at_a_mebibyte() -> None:
    session = make_session()
    in_flight = fill_small_window(session)
    for _ in range(1001):
        submit_single(session, queue="many")
    for _ in range(3):
        submit_single(session, queue="large", payload=bytes(400_000))
    accept(session, in_flight[0])
    submits = [message for message in said(session, 0.0) if isinstance(message, Submit)]
    counts = [(one.queue, len(one.ends) // 4) for submit in submits for one in submit.batches]
    assert counts == [("many", 1000), ("many", 1), ("large", 2), ("large", 1)]


def test_full_messages_do_not_wait_for_receipts_until_the_window_is_full() -> None:
    session = make_session()
    for place in range(20):
        submit_batch(session, batch(f"b{place}", bytes(1_500_000)))
    first = [message for message in said(session, 0.0) if isinstance(message, Submit)]
    assert 1 < len(first) <= WINDOW_MESSAGES
    assert sum(len(one.blob) for submit in first for one in submit.batches) < 11 << 20
    accept(session, first[0])
    assert [one.id for one in only(Submit, said(session, 0.0)).batches] == [f"b{len(first)}"]


def test_small_tasks_stream_in_bounded_messages() -> None:
    session = make_session()
    for place in range(1200):
        submit_batch(session, batch(f"b{place}"))
    submits = [message for message in said(session, 0.0) if isinstance(message, Submit)]
    assert [len(submit.batches) for submit in submits] == [1000, 200]


def test_the_same_id_twice_goes_in_two_messages() -> None:
    session = make_session()
    replies = [submit_batch(session, batch("same")), submit_batch(session, batch("same"))]
    submits = [message for message in said(session, 0.0) if isinstance(message, Submit)]
    assert [[one.id for one in submit.batches] for submit in submits] == [["same"], ["same"]]
    for submit in submits:
        accept(session, submit)
    assert all(reply.end[2].id == "same" for reply in replies)


def test_a_refused_batch_ends_with_busy_or_invalid() -> None:
    session = make_session()
    busy, invalid = submit_batch(session, batch("a")), submit_batch(session, batch("b"))
    submit = only(Submit, said(session, 0.0))
    refused = (Refused("a", "busy", 2.5, "full"), Refused("b", "invalid", None, "never"))
    session.receive(0.0, Receipt(submit.request, (), refused))
    assert isinstance(busy.end, BusyError)
    assert (busy.end.retry_after, busy.end.reason) == (2.5, "full")
    assert isinstance(invalid.end, InvalidTaskError)
    assert str(invalid.end) == "never"


@pytest.mark.parametrize("code", ["busy", "invalid"])
def test_a_refused_merged_batch_is_submitted_again_task_by_task_under_new_ids(code: str) -> None:
    session = make_session()
    in_flight = fill_small_window(session)
    replies = [submit_single(session, payload=bytes([place])) for place in range(3)]
    accept(session, in_flight[0])
    merged = only(Submit, said(session, 0.0))
    refuse(session, merged, code)
    apart = only(Submit, said(session, 0.0))
    assert [one.blob for one in apart.batches] == [b"\0", b"\1", b"\2"]
    assert merged.batches[0].id not in {one.id for one in apart.batches}
    accepted = tuple(Accepted(one.id, 1, None) for one in apart.batches[:2])
    session.receive(0.0, Receipt(apart.request, accepted, (Refused(apart.batches[2].id, code, 1.0, "no"),)))
    assert [reply.end[0].id for reply in replies[:2]] == [one.id for one in accepted]
    assert isinstance(replies[2].end, BusyError | InvalidTaskError)


def test_an_error_for_a_submit_of_many_batches_hits_only_the_batch_at_fault() -> None:
    session = make_session()
    good, bad = submit_batch(session, batch("good")), submit_batch(session, batch("bad"))
    together = only(Submit, said(session, 0.0))
    session.receive(0.0, Error(together.request, "malformed", "what"))
    apart = [message for message in said(session, 0.0) if isinstance(message, Submit)]
    assert [[one.id for one in submit.batches] for submit in apart] == [["good"], ["bad"]]
    accept(session, apart[0])
    session.receive(0.0, Error(apart[1].request, "malformed", "what"))
    assert good.end[2].id == "good"
    assert isinstance(bad.end, RemoteProtocolError)
    assert said(session, 0.0) == []


def test_a_receipt_that_leaves_a_batch_out_fails_it() -> None:
    session = make_session()
    reply = submit_batch(session, batch("a"))
    session.receive(0.0, Receipt(only(Submit, said(session, 0.0)).request, (), ()))
    assert isinstance(reply.end, RemoteProtocolError)


def test_a_receipt_that_comes_twice_changes_nothing() -> None:
    session = make_session()
    reply = submit_batch(session, batch("a"))
    submit = only(Submit, said(session, 0.0))
    accept(session, submit)
    accept(session, submit)
    assert len(reply.ends) == 1
    submit_batch(session, batch("b"))
    assert only(Submit, said(session, 0.0)).batches[0].id == "b"


# Silence.


def test_all_that_is_outstanding_is_sent_again_on_a_new_connection_with_the_same_numbers() -> None:
    session = make_session()
    submit_single(session)
    session.ask(0.0, Query(0, "status", {}), LATER, FakeReply())
    session.ask(0.0, Pull(0, "puller", "queue", 1, 20.0, 30.0), LATER, FakeReply())
    session.watch(0.0, BatchOutcome("b", 4, 0, 4), 1, LATER, FakeReply())
    first = said(session, 0.0)
    assert len(first) == 4
    session.connected(5.0)
    assert sorted(said(session, 5.0), key=repr) == sorted(first, key=repr)


def test_what_was_said_before_a_ping_and_is_unanswered_at_its_pong_is_sent_again() -> None:
    session = make_session()
    submit_single(session)
    session.tick(0.0)
    submit, ping = session.take_outbox()
    assert isinstance(submit, Submit)
    assert isinstance(ping, Ping)
    later = FakeReply()
    session.ask(0.1, Query(0, "status", {}), LATER, later)
    assert isinstance(only(Query, said(session, 0.1)), Query)
    session.receive(0.2, Pong(ping.request, 7))
    assert said(session, 0.2) == [submit]


def test_pulls_and_confirmed_waits_are_not_sent_again_at_a_pong_but_in_a_new_epoch() -> None:
    session = make_session()
    session.ask(0.0, Pull(0, "puller", "queue", 1, 20.0, 30.0), LATER, FakeReply())
    session.watch(0.0, BatchOutcome("b", 1, 0, 1), 0, LATER, FakeReply())
    pull, wait, ping = turn(session, 0.0)
    assert isinstance(pull, Pull)
    assert isinstance(wait, Wait)
    assert isinstance(ping, Ping)
    session.receive(0.0, Outcome(wait.request, (), is_last=False))
    session.receive(0.1, Pong(ping.request, 7))
    assert said(session, 0.1) == []
    pings = turn(session, 2.0)
    assert isinstance(pings[0], Ping)
    session.receive(2.1, Pong(pings[0].request, 8))
    assert said(session, 2.1) == [pull, wait]


def test_a_wait_without_a_first_outcome_is_sent_again_at_a_pong() -> None:
    session = make_session()
    session.watch(0.0, BatchOutcome("b", 1, 0, 1), 0, LATER, FakeReply())
    wait, ping = turn(session, 0.0)
    assert isinstance(ping, Ping)
    session.receive(0.1, Pong(ping.request, 7))
    assert said(session, 0.1) == [wait]


def test_a_ping_goes_out_each_second_while_something_is_outstanding_and_never_otherwise() -> None:
    session = make_session()
    session.tick(0.0)
    assert session.take_outbox() == []
    assert session.next_at() == float("inf")
    session.ask(0.0, Query(0, "status", {}), LATER, FakeReply())
    pings = 0
    for tenth in range(50):
        session.tick(tenth / 10)
        for message in session.take_outbox():
            if isinstance(message, Ping):
                pings += 1
                session.receive(tenth / 10, Pong(message.request, 1))
    assert pings == 5


def test_silence_asks_for_a_new_connection_with_growing_patience() -> None:
    session = make_session()
    session.ask(0.0, Query(0, "status", {}), LATER, FakeReply())
    asked_at = []
    now = 0.0
    while now < 40.0:
        session.tick(now)
        session.take_outbox()
        if session.wants_reconnect:
            asked_at.append(now)
            session.wants_reconnect = False
            session.connected(now)
        now += 0.5
    assert asked_at == [3.0, 9.5, 22.0, 34.5]  # 3, 6, 12 and 12 seconds after the first ping on each connection


def test_an_idle_session_never_asks_for_a_new_connection() -> None:
    session = make_session()
    for now in range(100):
        session.tick(float(now))
        assert session.take_outbox() == []
        assert not session.wants_reconnect


# Deadlines.


def test_a_request_past_its_deadline_is_unreachable_when_nothing_was_heard() -> None:
    session = make_session()
    replies = [
        submit_single(session, deadline=5.0),
        submit_batch(session, batch("b"), deadline=5.0),
    ]
    asked = FakeReply()
    session.ask(0.0, Query(0, "status", {}), 5.0, asked)
    said(session, 0.0)
    assert session.next_at() <= 5.0
    said(session, 5.0)
    assert [type(reply.end) for reply in [*replies, asked]] == [UnreachableError] * 3
    said(session, 6.0)
    assert session.next_at() == float("inf")


def test_a_request_past_its_deadline_is_late_when_the_coordinator_was_heard() -> None:
    session = make_session()
    reply = FakeReply()
    session.ask(0.0, Query(0, "status", {}), 5.0, reply)
    for now in (0.0, 1.0, 2.0, 3.0, 4.0):
        session.tick(now)
        for message in session.take_outbox():
            if isinstance(message, Ping):
                session.receive(now, Pong(message.request, 1))
    said(session, 5.0)
    assert type(reply.end) is TimedOutError


def test_each_gathered_task_has_its_own_deadline() -> None:
    session = make_session()
    fill_small_window(session)
    short, long = submit_single(session, deadline=1.0), submit_single(session, payload=b"long")
    said(session, 1.0)
    assert isinstance(short.end, UnreachableError)
    assert short.end.id is None, "it was not sent"
    assert not long.ends


def test_a_task_that_timed_out_before_it_was_sent_is_not_sent() -> None:
    session = make_session()
    in_flight = fill_small_window(session)
    submit_single(session, payload=b"late", deadline=1.0)
    kept = submit_single(session, payload=b"kept")
    said(session, 1.0)
    accept(session, in_flight[0], 1.1)
    submit = only(Submit, said(session, 1.1))
    assert [one.blob for one in submit.batches] == [b"kept"]
    accept(session, submit, 1.2)
    assert kept.end[1] == 0


def test_a_submit_that_nobody_waits_for_any_more_makes_room_for_others() -> None:
    session = make_session()
    for _ in range(SMALL_MESSAGES):
        submit_single(session, deadline=1.0)
        only(Submit, said(session, 0.0))
    submit_single(session, payload=b"next")
    assert said(session, 0.5) == []
    assert only(Submit, said(session, 1.0)).batches[0].blob == b"next"


def test_a_receipt_for_a_task_that_timed_out_in_a_batch_keeps_the_others_places() -> None:
    session = make_session()
    in_flight = fill_small_window(session)
    kept = submit_single(session, payload=b"a")
    late = submit_single(session, payload=b"b", deadline=1.0)
    accept(session, in_flight[0])
    submit = only(Submit, said(session, 0.0))
    said(session, 1.0)
    assert late.end.id == f"{submit.batches[0].id}#1", "it may have been stored"
    assert f"whether {late.end.id} was stored is unknown" in str(late.end)
    accept(session, submit, 1.1)
    assert kept.end[1] == 0


# Outcomes.


def ended(lo: int, hi: int, outcome: str = "done", results: list[bytes] | None = None) -> Ended:
    return Ended(lo, hi, outcome, "", *(pack_payloads(results) if results else (b"", b"")))


def test_one_wait_serves_all_who_watch_a_batch() -> None:
    session = make_session()
    outcome = BatchOutcome("b", 4, 0, 4)
    first, second = FakeReply(), FakeReply()
    session.watch(0.0, outcome, 0, LATER, first)
    session.watch(0.0, outcome, 3, LATER, second)
    wait = only(Wait, said(session, 0.0))
    assert wait[1:] == ("b", 0, 4)
    session.receive(0.1, Outcome(wait.request, (ended(0, 2),), is_last=False))
    assert first.end == ended(0, 2)
    assert not second.ends
    session.receive(0.2, Outcome(wait.request, (ended(2, 4),), is_last=True))
    assert second.end == ended(2, 4)
    assert session.next_at() >= LATER


def test_an_end_that_is_known_is_told_without_asking() -> None:
    session = make_session()
    outcome = BatchOutcome("b", 2, 0, 2)
    session.watch(0.0, outcome, 0, LATER, FakeReply())
    wait = only(Wait, said(session, 0.0))
    session.receive(0.1, Outcome(wait.request, (ended(0, 2),), is_last=True))
    again = FakeReply()
    session.watch(0.2, outcome, 1, LATER, again)
    assert again.end == ended(0, 2)
    assert said(session, 0.2) == []


def test_only_what_is_missing_is_asked_again_on_a_new_connection() -> None:
    session = make_session()
    outcome = BatchOutcome("b", 10, 0, 10)
    session.watch(0.0, outcome, 5, LATER, FakeReply())
    wait = only(Wait, said(session, 0.0))
    session.receive(0.1, Outcome(wait.request, (ended(0, 3), ended(8, 10)), is_last=False))
    session.connected(1.0)
    assert only(Wait, said(session, 1.0)) == Wait(wait.request, "b", 3, 8)


def test_a_wait_that_nobody_watches_needs_no_pings_and_does_not_outlive_the_connection() -> None:
    session = make_session()
    outcome = BatchOutcome("b", 2, 0, 2)
    session.watch(0.0, outcome, 0, LATER, FakeReply())
    wait = only(Wait, said(session, 0.0))
    session.receive(0.1, Outcome(wait.request, (ended(0, 1),), is_last=False))
    for now in range(1, 10):
        session.tick(float(now))
        assert session.take_outbox() == []
    session.receive(10.0, Outcome(wait.request, (), is_last=False))
    session.connected(11.0)
    assert said(session, 11.0) == []
    session.watch(11.0, outcome, 1, LATER, FakeReply())
    assert only(Wait, said(session, 11.0)).lo == 1


def test_a_forgotten_end_is_asked_again_while_the_wait_still_runs() -> None:
    session = make_session()
    outcome = BatchOutcome("b", 2, 0, 2)
    session.watch(0.0, outcome, 0, LATER, FakeReply())
    wait = only(Wait, said(session, 0.0))
    session.receive(0.1, Outcome(wait.request, (ended(0, 1, "dead"),), is_last=False))
    outcome.forget(0)
    again = FakeReply()
    session.watch(0.2, outcome, 0, LATER, again)
    assert said(session, 0.2) == [wait]
    session.receive(0.3, Outcome(wait.request, (ended(0, 1),), is_last=False))
    assert again.end.outcome == "done"


def test_waits_that_time_out_leave_nothing_on_either_side() -> None:
    session = make_session()
    for number in range(3 * UNWATCHED_MAX):
        now = float(number)
        session.watch(now, BatchOutcome("b", 1, 0, 1), 0, now + 0.5, FakeReply())
        wait = next(one for one in turn(session, now) if isinstance(one, Wait))
        session.receive(now, Outcome(wait.request, (), is_last=False))
        assert Withdraw((wait.request,)) in turn(session, now + 0.5)

    assert session._watches.numbers() == []


def test_wait_is_forgotten_with_the_last_of_those_who_give_up() -> None:
    session = make_session()
    outcome, first, second = BatchOutcome("b", 4, 0, 4), FakeReply(), FakeReply()
    session.watch(0.0, outcome, 0, FOREVER, first)
    session.watch(0.0, outcome, 1, FOREVER, second)
    wait = only(Wait, said(session, 0.0))
    session.unwatch(outcome, first)
    session.unwatch(outcome, first)  # a reply that has gone already
    assert said(session, 1.0) == []
    session.unwatch(outcome, second)
    assert said(session, 1.0) == [Withdraw((wait.request,))]
    session.receive(1.1, Outcome(wait.request, (Ended(0, 4, "done", "", b"", b""),), is_last=True))

    assert not first.ends
    assert not second.ends
    again = FakeReply()
    session.watch(2.0, outcome, 0, FOREVER, again)
    assert only(Wait, said(session, 2.0)).request > wait.request


def test_wait_whose_receipts_are_gone_is_forgotten() -> None:
    session = make_session()
    outcome, reply = BatchOutcome("b", 2, 0, 2), FakeReply()
    session.watch(0.0, outcome, 0, FOREVER, reply)
    wait = only(Wait, said(session, 0.0))
    session.receive(0.1, Outcome(wait.request, (Ended(0, 1, "done", "", b"", b""),), is_last=False))
    assert reply.ends
    assert said(session, 1.0) == []  # the other receipt may be asked next
    del outcome
    gc.collect()

    assert said(session, 2.0) == [Withdraw((wait.request,))]
    assert session._watches.numbers() == []


def test_of_too_many_waits_that_nobody_watches_the_oldest_is_forgotten() -> None:
    session = make_session()
    outcomes = [BatchOutcome(f"b{number}", 2, 0, 2) for number in range(UNWATCHED_MAX + 1)]
    waits = []
    for outcome in outcomes:
        session.watch(0.0, outcome, 0, FOREVER, FakeReply())
        wait = next(one for one in session.take_outbox() if isinstance(one, Wait))
        session.receive(0.0, Outcome(wait.request, (Ended(0, 1, "done", "", b"", b""),), is_last=False))
        waits.append(wait.request)

    assert Withdraw((waits[0],)) in turn(session, 1.0)
    assert outcomes[0].wait is None
    assert session._watches.numbers() == waits[1:]


def test_events_that_nobody_looked_at_are_not_lost() -> None:
    session = make_session()
    stream = Stream(None, ())
    session.follow(0.0, stream, LATER, FakeReply())
    follow = only(Follow, said(session, 0.0))
    waiting, got, after = FakeReply(), FakeReply(), FakeReply()
    session.streams.take(stream, FOREVER, waiting)
    session.streams.leave(stream, waiting)
    first, second = (Events(follow.request, number, 0.0, 0, number == 1, ()) for number in (1, 2))
    session.receive(1.0, first)
    assert not waiting.ends
    session.streams.take(stream, FOREVER, got)
    assert got.end == [first]
    got.value = got.end  # it has come, and the one who waited was cancelled at that moment
    session.streams.leave(stream, got)
    session.receive(1.0, second)
    session.streams.take(stream, FOREVER, after)

    assert after.end == [first, second]


def test_a_watcher_times_out_alone() -> None:
    session = make_session()
    outcome = BatchOutcome("b", 2, 0, 2)
    short, long = FakeReply(), FakeReply()
    session.watch(0.0, outcome, 0, 1.0, short)
    session.watch(0.0, outcome, 1, LATER, long)
    wait = only(Wait, said(session, 0.0))
    session.receive(0.1, Outcome(wait.request, (), is_last=False))
    said(session, 1.0)
    assert type(short.end) is TimedOutError
    session.receive(2.0, Outcome(wait.request, (ended(0, 2),), is_last=True))
    assert long.end == ended(0, 2)


def test_a_last_outcome_that_leaves_a_task_out_is_an_error_and_no_loop() -> None:
    session = make_session()
    reply = FakeReply()
    session.watch(0.0, BatchOutcome("b", 1, 0, 1), 0, LATER, reply)
    session.receive(0.1, Outcome(only(Wait, said(session, 0.0)).request, (), is_last=True))
    assert isinstance(reply.end, RemoteProtocolError)
    assert said(session, 0.2) == []


# Pulling and settling.


def assignment(token: int, count: int = 2) -> Assignment:
    return Assignment(token, "b", 5, "queue", DEFAULT_OPTIONS, 1, 1, *pack_payloads([b"x"] * count))


def done(token: int, index: int) -> Done:
    return Done(token, "b", index, index + 1, b"", b"", ())


def settle(session: ClientSession, entry: Done | Failed) -> FakeReply:
    reply = FakeReply()
    session.settle(0.0, Settling(entry, LATER, reply))
    return reply


def ask_older(session: ClientSession, deadline: float) -> tuple[FakeReply, Pull]:
    """Pulls from a coordinator that does not know that pulls can be confirmed."""
    reply = FakeReply()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 1.0, 30.0), deadline, reply)
    pull = only(Pull, said(session, 0.0))
    assert pull.confirms
    session.receive(0.0, Error(pull.request, "malformed", "expected 6 fields in pull, got 7"))
    again = only(Pull, said(session, 0.0))
    assert again == pull._replace(confirms=False)
    return reply, again


def test_leases_that_have_come_are_confirmed() -> None:
    session = make_session()
    reply = FakeReply()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, reply)
    pull = only(Pull, said(session, 0.0))
    session.receive(1.0, Tasks(pull.request, (assignment(7), assignment(8))))

    assert len(reply.end) == 2
    assert only(Confirm, said(session, 1.0)) == Confirm((7, 8))
    session.receive(1.0, Tasks(pull.request, (assignment(7), assignment(8))))
    assert said(session, 1.0) == []


def test_confirmation_that_may_be_lost_is_said_again_on_a_new_connection() -> None:
    session = make_session()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, FakeReply())
    pull = only(Pull, said(session, 0.0))
    session.receive(1.0, Tasks(pull.request, (assignment(7),)))
    said(session, 1.0)
    session.connected(2.0)
    assert said(session, 2.0) == [Confirm((7,))]
    session.ask(2.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, FakeReply())
    ping = next(one for one in turn(session, 3.1) if isinstance(one, Ping))
    session.receive(3.2, Pong(ping.request, 1))
    session.connected(4.0)

    assert not [one for one in said(session, 4.0) if isinstance(one, Confirm)]


def test_pull_that_was_said_twice_in_a_new_epoch_is_withdrawn_after_its_first_answer() -> None:
    session = make_session()
    reply = FakeReply()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, reply)
    pull, ping = turn(session, 0.0)
    assert isinstance(pull, Pull)
    assert isinstance(ping, Ping)
    session.receive(0.1, Pong(ping.request, 7))
    session.connected(1.0)
    _, ping = turn(session, 1.0)
    assert isinstance(ping, Ping)
    session.receive(1.1, Pong(ping.request, 8))  # it answers the pull as well, before it hears it again
    session.receive(1.1, Tasks(pull.request, (assignment(7),)))

    assert reply.end == (assignment(7),)
    assert said(session, 1.2) == [pull, Confirm((7,)), Withdraw((pull.request,))]


def test_pull_that_was_given_up_is_forgotten_on_both_sides() -> None:
    session = make_session()
    reply = FakeReply()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, reply)
    pull = only(Pull, said(session, 0.0))
    session.abandon_pull(1.0, reply)
    assert only(Withdraw, said(session, 1.0)) == Withdraw((pull.request,))
    session.receive(2.0, Tasks(pull.request, (assignment(7),)))  # on its way when the coordinator heard of it

    assert said(session, 2.0) == []
    assert not reply.ends
    session.connected(3.0)
    assert said(session, 3.0) == []


def test_pull_that_timed_out_is_forgotten_on_both_sides() -> None:
    session = make_session()
    reply = FakeReply()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 1.0, 30.0), 2.0, reply)
    pull = only(Pull, said(session, 0.0))

    assert Withdraw((pull.request,)) in turn(session, 2.0)
    assert isinstance(reply.end, UnreachableError)


def test_what_waits_when_the_client_leaves_is_forgotten() -> None:
    session = make_session()
    session.ask(0.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, FakeReply())
    session.watch(0.0, BatchOutcome("b", 1, 0, 1), 0, FOREVER, FakeReply())
    pull, wait = said(session, 0.0)
    session.leave()

    assert isinstance(pull, Pull)
    assert isinstance(wait, Wait)
    assert session.take_outbox() == [Withdraw((pull.request, wait.request))]


def test_older_coordinator_is_told_of_no_more_than_it_understands() -> None:
    session = make_session()
    outcome, reply = BatchOutcome("b", 1, 0, 1), FakeReply()
    session.watch(0.0, outcome, 0, FOREVER, reply)
    said(session, 0.0)
    session.unwatch(outcome, reply)
    only(Withdraw, said(session, 0.0))
    session.receive(0.1, Error(None, "unknown-kind", "expected a kind of [1, 2], got 13"))
    session.watch(0.2, outcome, 0, FOREVER, reply)
    said(session, 0.2)
    session.unwatch(outcome, reply)
    assert said(session, 0.2) == []

    session.connected(1.0)  # to one that may be newer
    session.ask(1.0, Pull(0, "puller", "queue", 5, 20.0, 30.0), LATER, FakeReply())
    assert only(Pull, said(session, 1.0)).confirms


def test_tasks_for_an_abandoned_pull_go_back_to_an_older_coordinator() -> None:
    session = make_session()
    reply, pull = ask_older(session, LATER)
    session.abandon_pull(1.0, reply)
    session.receive(2.0, Tasks(pull.request, (assignment(7),)))
    release = only(Release, said(session, 2.0))
    assert release[1:] == (None, (Span(7, 1, 3),), ())
    assert not reply.ends
    session.receive(2.1, Settled(release.number, ()))
    session.tick(20.0)
    assert session.take_outbox() == []


def test_tasks_for_a_pull_that_timed_out_go_back_to_an_older_coordinator() -> None:
    session = make_session()
    reply, pull = ask_older(session, 2.0)
    said(session, 2.0)
    assert isinstance(reply.end, TimedOutError)
    session.receive(3.0, Tasks(pull.request, (assignment(7),)))
    assert only(Release, said(session, 3.0)).spans == (Span(7, 1, 3),)


def test_settles_gather_while_one_is_in_flight() -> None:
    session = make_session()
    first = settle(session, done(7, 1))
    message = only(Settle, said(session, 0.0))
    others = [settle(session, done(7, 2)), settle(session, Failed(8, "b", 0, "oh", None, False))]
    assert said(session, 0.1) == []
    session.receive(0.2, Settled(message.number, ()))
    assert first.end is None
    message = only(Settle, said(session, 0.2))
    assert (message.credit, message.done, len(message.failed)) == (None, (done(7, 2),), 1)
    session.receive(0.3, Settled(message.number, (Span(8, 0, 1),)))
    assert others[0].end is None
    assert isinstance(others[1].end, StaleLeaseError)


def test_completions_of_neighbours_in_a_lease_are_one_entry() -> None:
    session = make_session()
    returns = done(7, 2)._replace(ends=b"\x01\0\0\0", blob=b"x")
    forwards = done(7, 4)._replace(forwards=(batch("f"),))
    entries = [done(7, 1), returns, done(7, 3), forwards, done(7, 5), done(8, 6), done(8, 7)._replace(id="c")]
    replies = [settle(session, entry) for entry in [*entries, done(8, 9), done(8, 9)]]

    message = only(Settle, said(session, 0.0))
    session.receive(0.2, Settled(message.number, (Span(7, 2, 3), Span(8, 9, 10))))

    joined = Done(7, "b", 1, 4, pack_payloads([b"", b"x", b""])[0], b"x", ())
    assert message.done == (joined, *entries[3:], done(8, 9), done(8, 9))
    assert decode_for_coordinator(encode(message)) == message
    assert [isinstance(reply.end, StaleLeaseError) for reply in replies] == [at in (1, 7, 8) for at in range(9)]


def test_a_settle_is_sent_again_on_a_new_connection_under_its_number() -> None:
    session = make_session()
    settle(session, done(7, 1))
    message = only(Settle, said(session, 0.0))
    session.connected(1.0)
    assert said(session, 1.0) == [message]


def test_a_cancelled_span_is_remembered() -> None:
    session = make_session()
    session.receive(0.0, Cancelled((Span(7, 1, 3),)))
    assert session.is_cancelled(7, 2)
    assert not session.is_cancelled(7, 3)
    assert not session.is_cancelled(8, 2)


# Ends.


def test_an_answer_ends_its_request_and_an_error_fails_it() -> None:
    session = make_session()
    good, bad = FakeReply(), FakeReply()
    session.ask(0.0, Query(0, "status", {}), LATER, good)
    session.ask(0.0, Query(0, "nonsense", {}), LATER, bad)
    first, second = said(session, 0.0)
    assert isinstance(first, Query)
    assert isinstance(second, Query)
    session.receive(0.1, Answer(first.request, {"a": 1}))
    session.receive(0.1, Error(second.request, "invalid", "no such query"))
    assert good.end == {"a": 1}
    assert isinstance(bad.end, RemoteProtocolError)
    assert (bad.end.code, bad.end.request) == ("invalid", second.request)


def test_an_error_that_names_nothing_is_counted() -> None:
    session = make_session()
    session.receive(0.0, Error(None, "malformed", "what"))
    session.receive(0.0, Error(99, "malformed", "what"))
    assert session.unassigned_errors == 2


def every_request(session: ClientSession) -> Iterator[FakeReply]:
    yield submit_single(session)
    yield submit_batch(session, batch("b"))
    yield settle(session, done(7, 1))
    reply = FakeReply()
    session.ask(0.0, Query(0, "status", {}), LATER, reply)
    yield reply
    reply = FakeReply()
    session.watch(0.0, BatchOutcome("b", 1, 0, 1), 0, LATER, reply)
    yield reply


@pytest.mark.parametrize("is_sent", [False, True])
def test_a_failed_session_ends_all_that_waits_and_all_that_comes(is_sent: bool) -> None:
    session = make_session()
    before = list(every_request(session))
    if is_sent:
        assert len(said(session, 0.0)) == 4  # both submits in one message
    session.failed(RuntimeError("broken"))
    after = list(every_request(session))
    assert [type(reply.end) for reply in before + after] == [ClosedError] * 10
    assert "broken" in str(before[0].end)
    assert session.next_at() == float("inf")


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    session = make_session()
    ids = [session.make_id() for _ in range(300)]
    assert ids == sorted(ids)
    assert ids[46] == "prefix-0000002f"


def test_thousands_of_deadlines_are_looked_at_a_bounded_number_of_times() -> None:
    session = make_session()
    replies = []
    for place in range(1000):
        reply = FakeReply()
        session.ask(0.0, Query(0, "status", {}), 1.0 + place / 1_000_000, reply)
        replies.append(reply)
    said(session, 1.0)
    assert session.next_at() >= 1.0 + client.SCAN_INTERVAL / 2
    said(session, 1.0 + client.SCAN_INTERVAL)
    assert all(reply.ends for reply in replies)
