"""Workers: whether they live, and what becomes of the leases of one that does not."""

import itertools
from typing import Any

import pytest

from tests.core.desk import Desk, assigned, done, only
from zq.core.options import CoordinatorOptions
from zq.core.tasks.liveness import IDLE_MIN
from zq.wire.messages import (
    Beat,
    Cancelled,
    Error,
    Goodbye,
    Heartbeat,
    Held,
    Hello,
    Progress,
    Release,
    Settled,
    Span,
    Started,
    Welcome,
)
from zq.wire.steering import About

W, V = b"worker-1", b"worker-2"


def test_silent_worker_gets_nothing_new_and_then_loses_its_leases() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.submit("a", 2)
    desk.hello(W, "w", 1)
    desk.wait(3.5)
    assert desk.query("workers")[0]["state"] == "suspect"
    desk.wait(11.0)
    assert desk.task("a#0")["state"] == "leased"

    desk.wait(1.0)

    assert desk.query("workers") == []
    assert desk.task("a#0")["state"] == "waiting"


def test_any_message_counts_as_life() -> None:
    desk = Desk(suspect_after=3.0, gone_after=5.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    for fraction in (0.1, 0.5, 0.9):
        desk.wait(2.5)
        desk.say(W, Progress(one.token, 0, fraction))

    assert desk.query("workers")[0]["state"] == "live"
    assert desk.task("a")["progress"] == 0.9


def test_stall_of_the_coordinator_kills_nobody() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.hello(W, "w")

    desk.now += 60.0
    desk.turn()

    assert desk.query("workers")[0]["state"] == "live"


def test_worker_that_was_heard_after_a_stall_is_suspected_in_time() -> None:
    desk = Desk(suspect_after=3.0, gone_after=6.0)
    desk.hello(W, "w")
    desk.now += 5.0  # four of them are a stall
    desk.say(W, Heartbeat(1, ()))
    desk.say(W, Heartbeat(2, ()))
    desk.wait(2.9)
    assert desk.query("workers")[0]["state"] == "live"
    desk.wait(0.1)

    assert desk.query("workers")[0]["state"] == "suspect"


def test_jump_of_the_wall_clock_kills_nobody_and_loses_no_lease() -> None:
    desk = Desk()
    desk.submit("a")
    desk.hello(W, "w")
    for jump in (-86_400.0, 2 * 86_400.0):
        desk.wall += jump
        desk.turn()

    assert desk.query("workers")[0]["state"] == "live"
    assert desk.task("a")["state"] == "leased"


def test_worker_is_suspected_at_the_time_for_which_the_coordinator_woke() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.now = 125.2
    desk.turn()
    desk.hello(W, "w", 1)
    for now in (125.7, 126.2, 126.7, 127.2, 127.7):
        desk.now = now
        desk.turn()

    desk.now = desk.machine.next_at(desk.clocks())  # 128.2, which is 2.999999999999986 s later
    desk.turn()

    assert desk.query("workers")[0]["state"] == "suspect"


def test_worker_whose_connection_another_takes_gets_nothing_any_more() -> None:
    desk = Desk()
    desk.hello(W, "w", 1)
    desk.hello(W, "v", 1)

    desk.submit("a")
    desk.submit("b")

    assert [lease.holder.name for lease in desk.leases] == ["v"]
    assert desk.query("queue", queue="q")["waiting"] == 1


def test_second_incarnation_of_a_name_fences_the_first_that_is_not_heard() -> None:
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    desk.submit("a", on_lost="cancel")
    (one,) = assigned(desk.hello(W, "w"))
    desk.say(W, Started((Held(one.token, (0,)),)))
    desk.wait(3.5)

    sent = desk.turn((V, Hello("w", "second", ("q",), 1, 1, ())))

    assert (W, Error(None, "fenced", "another worker took the name w")) in sent
    assert desk.task("a")["state"] == "cancelled"
    assert only(desk.hello(W, "w", 1, one.token), Error).code == "fenced"
    assert desk.query("workers")[0]["state"] == "live"


def test_fenced_incarnations_are_remembered_of_so_many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zq.core.tasks.liveness.FENCED_NAMES_MAX", 2)
    desk = Desk(suspect_after=3.0, gone_after=15.0)
    for number, name in enumerate("abac"):  # the one that was fenced longest ago is b
        for incarnation in (f"{number}", f"{number} more"):
            desk.say(f"{name} {incarnation}".encode(), Hello(name, incarnation, ("q",), 1, 1, ()))
            desk.wait(3.5)
        desk.say(f"{name} {incarnation}".encode(), Goodbye(name, incarnation))

    remembered = {name: list(fenced) for name, fenced in desk.machine.books.fenced.items()}
    assert remembered == {"a": ["0", "2"], "c": ["3"]}


def test_worker_without_hello_is_told_to_say_it() -> None:
    desk = Desk()
    for message in (Heartbeat(1, ()), Started(()), Goodbye("w", "w"), Release(1, 1, ())):
        assert only(desk.say(W, message), Error).code == "say-hello"
    assert only(desk.settle(W), Error).code == "say-hello"
    assert desk.query("status")["counters"]["error say-hello"] == 5


def test_hello_gives_back_what_it_does_not_list_and_refuses_what_is_not_its_own() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b")
    one, two = assigned(desk.hello(W, "w", 2))

    answers = desk.hello(b"new connection", "w", 0, two.token, 12345)

    assert only(answers, Welcome).refused == (12345,)
    assert desk.task("a")["state"] == "waiting"
    assert desk.task("a")["attempts"] == 0
    assert desk.task("b")["token"] == two.token
    assert one.token != two.token


def test_lease_that_heartbeats_never_list_goes_back() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a")
    desk.hello(W, "w")
    for number in range(5):
        desk.wait(1.0)
        desk.say(W, Heartbeat(number, ()))
    desk.wait(0.5)

    sent = desk.say(W, Heartbeat(9, ()))

    assert [one.id for one in assigned(sent)] == ["a"]  # lost on the way, so assigned again
    assert desk.query("status")["counters"]["never arrived"] == 1


def test_beat_lists_the_tokens_that_are_no_longer_the_workers() -> None:
    desk = Desk()
    desk.hello(W, "w")

    assert only(desk.say(W, Heartbeat(7, (Held(99, ()),))), Beat) == Beat(7, 1, (99,))


ABOUT = About("oven", 1, 0, 1, is_draining=False, trouble=None, takes_intervals=True)


def test_one_of_many_workers_is_told_to_beat_less_often_while_it_has_nothing_in_hand() -> None:
    desk = Desk(heartbeat_interval=1.0, suspect_after=4.0, gone_after=15.0, idle_beats_max=2)
    for number in range(5):
        desk.hello(b"%d" % number, f"w{number}")
    desk.say(b"0", ABOUT)

    assert only(desk.say(b"0", Heartbeat(7, ())), Beat) == Beat(7, 1, (), 2.5)
    assert only(desk.say(b"1", Heartbeat(7, ())), Beat) == Beat(7, 1, ())  # it is older than that
    assert not any(isinstance(said, Beat) for _, said in desk.say(b"0", Heartbeat(0, ())))
    assert only(desk.say(b"1", Heartbeat(0, ())), Beat) == Beat(0, 1, ())


@pytest.mark.parametrize(
    ("workers", "suspect_after", "seconds"),
    [(200, 3.0, 0.0), (300, 3.0, 1.5), (400, 3.0, 2.0), (100_000, 3.0, 2.0), (100_000, 2.0, 0.0), (100_000, 9.0, 8.0)],
)
def test_idle_workers_beat_so_often_that_one_may_be_late_by_an_interval(
    workers: int, suspect_after: float, seconds: float
) -> None:
    options = CoordinatorOptions(heartbeat_interval=1.0, suspect_after=suspect_after, gone_after=15.0)

    assert options.idle_interval(workers) == seconds


def test_goodbye_gives_everything_back_uncharged() -> None:
    desk = Desk()
    desk.submit("a", on_lost="cancel")
    (one,) = assigned(desk.hello(W, "w"))
    desk.say(W, Started((Held(one.token, (0,)),)))

    desk.say(W, Goodbye("w", "w"))

    assert (desk.task("a")["state"], desk.task("a")["attempts"]) == ("waiting", 0)
    assert desk.query("workers") == []


def test_restart_keeps_leases_for_workers_that_claim_them() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a", 2)
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.restart()
    assert desk.query("status")["leased"] == 2
    desk.wait(4.0)

    welcome = only(desk.hello(V, "w", 2, one.token), Welcome)

    assert (welcome.epoch, welcome.refused) == (2, ())
    assert not only(desk.settle(V, done(one)), Settled).stale


def test_restart_loses_leases_that_nobody_claims_within_the_grace() -> None:
    desk = Desk(gone_after=5.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.restart()

    desk.wait(5.5)

    (again,) = assigned(desk.hello(V, "v"))
    assert again.token > one.token
    desk.hello(W, "w", 0, one.token)
    assert only(desk.settle(W, done(one), credit=0), Settled).stale


def test_last_word_of_a_worker_counts_when_its_connection_is_known_to_be_closed() -> None:
    desk = Desk()
    desk.submit("a")
    desk.hello(W, "w")
    desk.lose(W)
    assert desk.query("workers")[0]["state"] == "suspect"

    stranger = desk.say(V, Goodbye("w", "another"))
    assert [one.code for one in stranger if isinstance(one, Error)] == ["say-hello"]
    desk.say(W, Goodbye("w", "w"))

    assert desk.query("workers") == []
    assert desk.task("a")["state"] == "waiting"


# Workers that live, and do not work on what they hold.


def cancelled(answers: list[Any]) -> list[Span]:
    return [span for answer in answers if isinstance(answer, Cancelled) for span in answer.spans]


def beat(desk: Desk, seconds: float, *held: Held) -> list[Any]:
    """Lets time pass in which the worker beats; returns what it is sent."""
    sent: list[Any] = []
    for _ in range(round(seconds)):
        desk.wait(1.0)
        sent += desk.say(W, Heartbeat(1, held))
    return sent


def test_what_a_worker_holds_and_does_not_start_goes_back_uncharged_and_it_is_told() -> None:
    desk = Desk(gone_after=12.0)
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    assert cancelled(beat(desk, 11, Held(one.token, ()))) == []

    told = cancelled(beat(desk, 2, Held(one.token, ())))

    assert told == [Span(one.token, 0, 3)]
    assert desk.task("a#1")["state"] == "waiting"
    assert desk.task("a#1")["attempts"] == 0
    (event,) = [one for one in desk.query("trace", id="a#1") if one["event"] == "returned"]
    assert event["detail"]["reason"] == "worker w held it for 12 s and did not start it"
    assert desk.query("workers")[0]["state"] == "stuck"


def test_what_waits_behind_a_task_that_runs_goes_back_and_the_task_runs_on() -> None:
    desk = Desk(gone_after=12.0)
    desk.submit("a", 3)
    (one,) = assigned(desk.hello(W, "w", 3))
    desk.say(W, Started((Held(one.token, (0,)),)))

    told = cancelled(beat(desk, 14, Held(one.token, (0,))))

    assert told == [Span(one.token, 1, 3)]
    assert desk.task("a#0")["state"] == "leased"
    assert desk.task("a#2")["state"] == "waiting"


def test_worker_that_goes_on_keeps_what_it_holds() -> None:
    desk = Desk(gone_after=12.0)
    desk.submit("a", 5)
    (one,) = assigned(desk.hello(W, "w", 5))
    for index in range(4):
        assert cancelled(beat(desk, 8, Held(one.token, (index,)))) == []
        desk.settle(W, done(one, index, index + 1), credit=5)

    assert desk.task("a#4")["state"] == "leased"
    assert desk.query("workers")[0]["state"] == "live"


def test_what_was_started_and_is_not_listed_any_more_is_lost() -> None:
    desk = Desk(gone_after=12.0)
    desk.submit("a", 2, on_lost="cancel")
    (one,) = assigned(desk.hello(W, "w", 2))
    desk.say(W, Started((Held(one.token, (0, 1)),)))

    told = cancelled(beat(desk, 14, Held(one.token, (1,))))

    assert told == [Span(one.token, 0, 1)]
    assert desk.task("a#0")["state"] == "cancelled"
    assert desk.task("a#1")["state"] == "leased"


def test_stuck_worker_gets_one_task_at_a_time_and_then_none_for_longer_and_longer() -> None:
    desk = Desk(gone_after=12.0)
    desk.submit("a", 9)
    desk.hello(W, "w", 9)
    got: list[tuple[float, int]] = []
    token = desk.leases[0].token
    for second in range(120):
        for assignment in assigned(beat(desk, 1, Held(token, ()))):
            token = assignment.token
            got.append((second, assignment.tasks))

    assert [tasks for _, tasks in got] == [1, 1, 1]
    pauses = [late - early for (early, _), (late, _) in itertools.pairwise(got)]
    assert pauses == [24, 48]


def test_stuck_worker_that_settles_a_task_gets_as_many_as_it_wants_again() -> None:
    desk = Desk(gone_after=12.0)
    desk.submit("a", 9)
    (one,) = assigned(desk.hello(W, "w", 9))
    (trial,) = assigned(beat(desk, 13, Held(one.token, ())))
    assert trial.tasks == 1

    assert [one.tasks for one in assigned(desk.settle(W, done(trial, 0, 1), credit=9))] == [8]
    assert desk.query("workers")[0]["state"] == "live"


def test_worker_has_time_to_start_its_children_however_soon_it_would_be_gone() -> None:
    desk = Desk(suspect_after=0.3, gone_after=0.6, heartbeat_interval=0.1)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    told: list[Span] = []
    seconds = 0.0
    while not told:
        desk.wait(0.2, every=0.1)
        seconds += 0.2
        told = cancelled(desk.say(W, Heartbeat(1, (Held(one.token, ()),))))

    assert seconds == pytest.approx(IDLE_MIN, abs=0.5)


def test_stall_and_silence_are_not_taken_for_idleness() -> None:
    desk = Desk(suspect_after=3.0, gone_after=12.0)
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.now += 60.0  # the coordinator stands still
    assert cancelled(desk.say(W, Heartbeat(1, (Held(one.token, ()),)))) == []
    assert cancelled(beat(desk, 5, Held(one.token, ()))) == []
    desk.wait(4.0)  # the worker is silent
    assert cancelled(beat(desk, 5, Held(one.token, ()))) == []

    assert desk.task("a")["state"] == "leased"
