"""What a worker holds and never starts: it goes back, whatever the worker says, and its time to live is kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import Desk, assigned, done, only
from zq.core.tasks.liveness import GAPS_MAX, IDLE_MIN
from zq.wire.messages import Cancelled, Done, Heartbeat, Held, Ping, Release, Settle, Settled, Span, Started

LIAR, HONEST = b"liar", b"honest"


class Liar:
    """A worker that takes all it gets, beats, and starts nothing."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.told: list[Span] = []
        self.tokens: list[int] = []
        self.hear(desk.hello(LIAR, "liar", 10_000))

    def hear(self, answers: list[Any]) -> None:
        self.tokens += [one.token for one in assigned(answers)]
        self.told += [span for answer in answers if isinstance(answer, Cancelled) for span in answer.spans]

    def beat(self, seconds: float, every: float = 1.0) -> None:
        for number in range(round(seconds / every)):
            self.hear([message for to, message in self.desk.wait(every) if to == LIAR])
            self.hear(self.desk.say(LIAR, Heartbeat(number, tuple(Held(token, ()) for token in self.tokens))))


def test_tasks_that_a_worker_holds_and_never_starts_expire() -> None:
    desk = Desk(suspect_after=3.0)
    for number in range(20):
        desk.submit(f"t{number}", timeout=1.0, ttl=3.0)
    desk.submit("many", 3, ttl=3.0)
    liar = Liar(desk)
    liar.beat(5)
    assert desk.task("t0")["state"] == "leased"  # the worker knows the ttl, too, and is the first to act on it

    liar.beat(2)

    assert {desk.task(f"t{number}")["state"] for number in range(20)} == {"expired"}
    assert desk.task("many#2")["state"] == "expired"
    assert Span(liar.tokens[-1], 0, 3) in liar.told
    assert "liar" in desk.query("trace", id="t0")[-2]["detail"]["reason"]


def test_what_was_started_in_time_goes_on_after_its_ttl() -> None:
    desk = Desk(suspect_after=3.0)
    desk.submit("a", 2, ttl=3.0)
    (one,) = assigned(desk.hello(LIAR, "w", 2))
    desk.say(LIAR, Started((Held(one.token, (1,)),)))
    for number in range(9):
        desk.wait(1.0)
        desk.say(LIAR, Heartbeat(number, (Held(one.token, (1,)),)))

    assert [desk.task(f"a#{index}")["state"] for index in range(2)] == ["expired", "leased"]
    assert only(desk.settle(LIAR, done(one, 1, 2)), Settled).stale == ()


def test_what_a_worker_started_while_it_was_cut_off_is_its_own_when_it_comes_back() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.submit("a", ttl=3.0)
    (one,) = assigned(desk.hello(LIAR, "w"))
    desk.kill(LIAR)
    desk.wait(8.0)
    assert desk.task("a")["state"] == "leased"
    desk.hello(HONEST, "w", 1, one.token)
    desk.say(HONEST, Started((Held(one.token, (0,)),)))
    desk.wait(4.0)

    assert only(desk.settle(HONEST, done(one)), Settled).stale == ()


def test_a_jump_of_the_wall_clock_takes_nothing_back() -> None:
    desk = Desk(suspect_after=3.0)
    desk.submit("a", ttl=60.0)
    liar = Liar(desk)
    desk.wall += 86_400.0
    liar.beat(5)

    assert desk.task("a")["state"] == "leased"


def test_the_ttl_of_what_is_leased_is_kept_over_a_restart() -> None:
    desk = Desk(suspect_after=3.0)
    desk.submit("a", ttl=5.0)
    liar = Liar(desk)
    desk.restart()
    desk.hello(LIAR, "liar", 10_000, *liar.tokens)
    liar.beat(9)

    assert desk.task("a")["state"] == "expired"


def test_a_task_behind_an_ordered_key_and_an_honest_worker_do_not_wait_for_a_liar() -> None:
    desk = Desk(gone_after=15.0)
    desk.submit("first", key="k", ordered=True)
    desk.submit("second", key="k", ordered=True)
    desk.submit("other")
    liar = Liar(desk)
    desk.hello(HONEST, "honest", 10)
    for second in range(17):
        held = [Held(lease.token, (0,)) for lease in desk.leases if lease.holder.name == "honest"]
        desk.say(HONEST, Heartbeat(second, tuple(held)))
        liar.beat(1)

    assert {desk.task(id)["worker"] for id in ("first", "other")} == {"honest"}
    (one,) = [lease for lease in desk.leases if lease.batch.id == "first"]
    desk.say(HONEST, Settle(1, 10, (Done(one.token, "first", 0, 1, b"", b"", ()),), ()))
    assert desk.task("second")["worker"] == "honest"


LIVES: dict[str, tuple[float, Any]] = {
    "says nothing but ping": (2.0, lambda _: Ping(1)),
    "says nothing but what it wants": (2.0, lambda _: Release(1, 10_000, ())),
    "is silent now and then": (3.5, lambda tokens: Heartbeat(1, tuple(Held(token, ()) for token in tokens))),
}


@pytest.mark.parametrize(("every", "say"), LIVES.values(), ids=LIVES)
def test_whatever_a_worker_says_it_keeps_nothing_for_ever_that_it_does_not_start(every: float, say: Any) -> None:
    desk = Desk(suspect_after=3.0, gone_after=5.0)
    desk.submit("a")
    liar = Liar(desk)
    for _ in range(round((GAPS_MAX + 3) * IDLE_MIN / every)):
        desk.wait(every)
        desk.say(LIAR, say(liar.tokens))
        if desk.task("a")["timeline"]:
            break

    assert desk.task("a")["timeline"][0]["event"] == "returned"
    assert desk.task("a")["attempts"] == 0


def test_a_worker_that_says_hello_again_and_again_keeps_nothing_for_ever_that_it_does_not_start() -> None:
    desk = Desk(suspect_after=3.0, gone_after=5.0)
    desk.submit("a")
    liar = Liar(desk)
    for number in range(round((GAPS_MAX + 3) * IDLE_MIN)):
        desk.wait(1.0)
        peer = b"liar-%d" % number
        desk.hello(peer, "liar", 1, *liar.tokens)
        desk.say(peer, Heartbeat(1, tuple(Held(token, ()) for token in liar.tokens)))

    assert "returned" in [one["event"] for one in desk.query("trace", id="a")]


def test_gaps_of_a_worker_that_works_are_forgotten() -> None:
    desk = Desk(suspect_after=3.0, gone_after=5.0)
    desk.submit("a", 50)
    (one,) = assigned(desk.hello(LIAR, "w", 50))
    for index in range(20):
        desk.wait(4.0)
        desk.say(LIAR, Heartbeat(1, (Held(one.token, ()),)))
        desk.settle(LIAR, done(one, index, index + 1), credit=50)

    assert desk.leases[0].token == one.token
    assert desk.task("a#30")["attempts"] == 0
