"""A worker's name belongs to who has it, while it lives; who it is nobody can see."""

from __future__ import annotations

from typing import Any

from tests.core.desk import CLIENT, Desk, assigned, done, only
from zq.core.state.step import Step
from zq.core.tasks import liveness
from zq.wire.messages import (
    Assignment,
    Cancelled,
    Error,
    Events,
    Follow,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Settled,
    Started,
    Welcome,
)

W, V = b"worker-1", b"worker-2"
ONE, TWO = "no one can guess this", "nor that"


def hello(incarnation: str, *held: int, name: str = "shop") -> Hello:
    return Hello(name, incarnation, ("q",), 1, 1, tuple(Held(token, ()) for token in held))


def desk_with_a_worker_at_work(**options: Any) -> tuple[Desk, Assignment]:
    """A desk where `shop` runs the one task, which would be cancelled if it were lost."""
    desk = Desk(**options)
    desk.submit("a", on_lost="cancel")
    (one,) = assigned(desk.say(W, hello(ONE)))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.now += 1.0
    desk.say(W, Heartbeat(1, (Held(one.token, (0,)),)))
    return desk, one


def test_a_hello_with_the_name_of_a_worker_that_lives_is_refused_in_words() -> None:
    desk, one = desk_with_a_worker_at_work(suspect_after=3.0)

    refused = only(desk.say(V, hello(TWO)), Error)

    assert refused.code == "name-taken"
    assert refused.patience == 6.0
    assert "try again soon" in refused.text
    assert desk.task("a")["state"] == "leased"
    assert only(desk.settle(W, done(one)), Settled).stale == ()
    assert desk.query("status")["counters"]["error name-taken"] == 1


def test_whoever_asks_for_a_name_has_no_session() -> None:
    desk, one = desk_with_a_worker_at_work()
    desk.say(V, hello(TWO, one.token))

    assert only(desk.say(V, Heartbeat(1, (Held(one.token, ()),))), Error).code == "say-hello"
    assert only(desk.settle(V, done(one)), Error).code == "say-hello"
    assert only(desk.settle(V, done(one), credit=None), Settled).stale
    assert only(desk.say(V, Goodbye("shop", TWO)), Error).code == "say-hello"
    assert desk.task("a")["state"] == "leased"


def test_a_name_is_free_at_once_when_the_connection_of_its_worker_turns_out_to_be_gone() -> None:
    desk, one = desk_with_a_worker_at_work()
    sent = desk.turn((V, hello(TWO)))
    assert (W, Cancelled(())) in sent  # a sign of life is asked for

    desk.lose(W)

    assert only(desk.say(V, hello(TWO)), Welcome)
    assert desk.task("a")["state"] == "cancelled"
    assert only(desk.say(W, hello(ONE, one.token)), Error).code == "fenced"
    assert only(desk.settle(W, done(one), credit=None), Settled).stale


def test_a_name_is_free_when_its_worker_has_not_been_heard_for_a_while() -> None:
    desk, _ = desk_with_a_worker_at_work(suspect_after=3.0, gone_after=15.0)
    desk.wait(2.5)
    assert only(desk.say(V, hello(TWO)), Error).code == "name-taken"
    desk.wait(1.0)

    assert only(desk.say(V, hello(TWO)), Welcome)
    assert desk.query("workers")[0]["state"] == "live"


def test_a_worker_is_not_called_on_more_often_than_it_beats_however_often_its_name_is_asked_for() -> None:
    desk, _ = desk_with_a_worker_at_work(heartbeat_interval=1.0)
    asked = [(bytes([n]), hello(TWO)) for n in range(100)]
    sent = desk.turn(*asked)
    desk.now += 0.5
    sent += desk.turn(*asked)

    assert sent.count((W, Cancelled(()))) == 1
    desk.now += 0.5
    assert desk.turn(*asked).count((W, Cancelled(()))) == 1


def test_a_stall_of_the_coordinator_frees_no_name() -> None:
    desk, _ = desk_with_a_worker_at_work(suspect_after=3.0)
    desk.now += 60.0

    assert only(desk.say(V, hello(TWO)), Error).code == "name-taken"


def test_after_a_restart_a_worker_has_a_while_to_come_back_to_its_name() -> None:
    desk, one = desk_with_a_worker_at_work(suspect_after=3.0)
    desk.restart()
    assert only(desk.say(V, hello(TWO)), Error).code == "name-taken"
    desk.wait(2.0)
    assert only(desk.say(b"again", hello(ONE, one.token)), Welcome).refused == ()
    desk.restart()
    desk.wait(3.5)

    assert only(desk.say(V, hello(TWO)), Welcome)


def test_the_same_worker_on_another_connection_goes_on_at_once() -> None:
    desk, one = desk_with_a_worker_at_work()

    assert only(desk.say(V, hello(ONE, one.token)), Welcome).refused == ()
    assert only(desk.settle(W, done(one)), Error).code == "say-hello"
    assert only(desk.settle(V, done(one)), Settled).stale == ()


def test_who_was_authenticated_as_the_owner_of_a_worker_may_replace_it_at_once() -> None:
    desk, one = desk_with_a_worker_at_work()
    books, tx = desk.machine.books, desk.store.begin()
    step = Step(desk.clocks(), tx)
    books.workers["shop"].owner = "key of the shop"

    step.owner = "another key"
    liveness.hello(books, step, V, hello(TWO))
    assert [message.code for to, message in step.outbox if to == V and isinstance(message, Error)] == ["name-taken"]
    step.owner = "key of the shop"
    liveness.hello(books, step, V, hello(TWO))

    assert [type(message) for to, message in step.outbox if to == V] == [Error, Welcome]
    assert books.workers["shop"].owner == "key of the shop"
    assert not books.leases
    assert one.token
    tx.abort()


def test_nothing_that_is_told_of_a_worker_says_who_it_is() -> None:
    desk, _ = desk_with_a_worker_at_work()
    desk.say(b"watcher", Follow(1, None, (), 60.0, 0))
    told: list[Any] = desk.turn((V, hello(TWO)), (b"v", hello(TWO, name="v")))
    desk.lose(W)
    told += desk.turn((V, hello(TWO)), (W, hello(ONE)), (CLIENT, Follow(2, None, (), 60.0, 0)))
    told += desk.turn((b"v", Goodbye("v", TWO, "tired")))
    assert any(isinstance(message, Events) and message.events for _, message in told)
    told += [desk.query(what, id="a") for what in ("task", "trace", "why")]
    told += [desk.query(what) for what in ("workers", "queues", "status", "operations", "replays")]
    told += [desk.query("tasks", state="any", limit=100), desk.query("queue", queue="q")]

    assert ONE not in repr(told)
    assert TWO not in repr(told)
