"""What one peer may have: at the limit it is served, beyond it is refused in words, others notice nothing, and the
count falls when the thing ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.desk import Desk, assigned, done, only
from zq.core.accounts import COUNTED
from zq.core.peer_limits import PeerLimits
from zq.wire.batch import pack_payloads
from zq.wire.messages import (
    Answer,
    Batch,
    Cancel,
    Command,
    Error,
    Events,
    Follow,
    Goodbye,
    Hello,
    Options,
    Outcome,
    Pull,
    Receipt,
    Schedule,
    Submit,
    Tasks,
    Wait,
    Withdraw,
)

ME, OTHER = b"me", b"other"


def desk_with(**limits: int) -> Desk:
    return Desk(peer_limits=PeerLimits(**limits))


def usage(desk: Desk, kind: str) -> int:
    return int(desk.query("status")["usage"][kind])


def counter(desk: Desk, name: str) -> int:
    return int(desk.query("status")["counters"].get(name, 0))


def task(desk: Desk, id: str, queue: str = "q", peer: bytes = ME) -> Receipt:
    batch = Batch(id, queue, Options(), *pack_payloads([b"\xc0"]))
    return only(desk.say(peer, Submit(1, (batch,))), Receipt)


def hello(desk: Desk, peer: bytes, name: str, *queues: str, credit: int = 1) -> list[Any]:
    return desk.say(peer, Hello(name, name, queues or ("q",), credit, 1, ()))


def ask(desk: Desk, peer: bytes, verb: str, **arguments: Any) -> Any:
    [answer] = [one for one in desk.say(peer, Command(1, verb, arguments)) if isinstance(one, Answer | Error)]
    return answer


def schedule(desk: Desk, name: str, peer: bytes = ME) -> Any:
    batch = Batch(name, "s", Options(), *pack_payloads([b"\xc0"]))
    [answer] = desk.say(peer, Schedule(1, batch, 60.0, None, "UTC", "skip"))
    return answer


def wait(desk: Desk, request: int, id: str, peer: bytes = ME) -> list[Any]:
    """Returns what is said beside that it waits."""
    return [one for one in desk.say(peer, Wait(request, id, 0, 1)) if not isinstance(one, Outcome)]


def refused(answers: Any, kind: str, most: int) -> None:
    """Checks that an answer is a refusal that names the limit."""
    [error] = answers if isinstance(answers, list) else [answers]
    assert isinstance(error, Error)
    text = f"a peer may have {most} {kind}, and this one has {most}; peer_limits ({kind}=...) says how many"
    assert (error.code, error.text) == ("busy", text)


def test_waits_beyond_the_limit_cost_their_peer_the_oldest() -> None:
    desk = desk_with(waits=2)
    for id in "abc":
        task(desk, id)
    wait(desk, 1, "a", OTHER)
    for request, id in ((1, "a"), (2, "b")):
        assert wait(desk, request, id) == []
    assert wait(desk, 2, "b") == []  # again, which is none more

    [oldest] = wait(desk, 3, "c")

    refused(oldest, "waits", 2)
    assert oldest.request == 1
    assert (usage(desk, "waits"), counter(desk, "limit waits")) == (3, 1)
    told = desk.turn((OTHER, Command(9, "purge", {"id": "p", "queue": "q"})))
    outcomes = sorted((peer, one.request) for peer, one in told if isinstance(one, Outcome))
    assert outcomes == [(ME, 2), (ME, 3), (OTHER, 1)]
    assert usage(desk, "waits") == 0


def test_waits_that_were_given_up_make_room() -> None:
    desk = desk_with(waits=1)
    task(desk, "a")
    desk.say(ME, Wait(1, "a", 0, 1))
    desk.say(ME, Withdraw((1,)))

    assert wait(desk, 2, "a") == []


def test_pulls_beyond_the_limit_are_refused() -> None:
    desk = desk_with(pulls=2)
    for request in (1, 2):
        assert desk.say(ME, Pull(request, "me", "q", 1, 20.0, 30.0)) == []

    refused(desk.say(ME, Pull(3, "me", "new", 1, 20.0, 30.0)), "pulls", 2)
    assert usage(desk, "queues") == 1  # what is refused leaves nothing
    assert desk.say(OTHER, Pull(1, "other", "q", 1, 20.0, 30.0)) == []
    desk.say(ME, Withdraw((1,)))
    assert desk.say(ME, Pull(3, "me", "q", 1, 20.0, 30.0)) == []
    assert counter(desk, "limit pulls") == 1


def test_follows_beyond_the_limit_are_refused() -> None:
    desk = desk_with(follows=2)
    for request in (1, 2):
        assert isinstance(desk.say(ME, Follow(request, None, (), 15.0, 0))[0], Events)

    refused(desk.say(ME, Follow(3, None, (), 15.0, 0)), "follows", 2)
    assert isinstance(desk.say(OTHER, Follow(3, None, (), 15.0, 0))[0], Events)
    desk.say(ME, Follow(1, None, (), 0.0, 0))
    assert isinstance(desk.say(ME, Follow(3, None, (), 15.0, 0))[0], Events)


def test_follows_that_ran_out_make_room() -> None:
    desk = desk_with(follows=1)
    desk.say(ME, Follow(1, None, (), 5.0, 0))
    desk.wait(6.0)

    assert isinstance(desk.say(ME, Follow(2, None, (), 15.0, 0))[0], Events)
    assert usage(desk, "follows") == 1


def test_names_of_workers_beyond_the_limit_are_refused() -> None:
    desk = desk_with(workers=2)
    hello(desk, ME, "a")
    hello(desk, ME, "b")

    refused(hello(desk, ME, "c"), "workers", 2)
    assert "c" not in desk.machine.books.workers
    assert not isinstance(hello(desk, OTHER, "c")[0], Error)
    assert not isinstance(hello(desk, ME, "b")[0], Error)  # one that it has
    desk.say(ME, Goodbye("b", "b", None))
    assert not isinstance(hello(desk, ME, "d")[0], Error)


def test_worker_gets_no_more_than_its_peer_may_hold() -> None:
    desk = desk_with(leases=3)
    desk.submit("a", 10)
    [mine] = assigned(hello(desk, ME, "w", credit=10))
    assert len(mine.ends) >> 2 == 3
    assert len(assigned(hello(desk, OTHER, "v", credit=10))[0].ends) >> 2 == 3
    assert usage(desk, "leases") == 6

    [more] = assigned(desk.settle(ME, done(mine, 0, 2), credit=10))
    assert len(more.ends) >> 2 == 2
    assert desk.machine.books.accounts.account_of(ME).leases == 3


def test_other_names_of_a_peer_are_served_when_it_has_room_again() -> None:
    desk = desk_with(leases=2)
    desk.submit("a", 2)
    [mine] = assigned(hello(desk, ME, "w", credit=2))
    desk.submit("b", 2)
    assert assigned(hello(desk, ME, "x", credit=2)) == []

    assert mine.id == "a"
    answers = desk.say(ME, Cancel(1, "a"))

    assert sum(len(one.ends) >> 2 for one in assigned(answers)) == 2


def test_pull_gets_no_more_than_its_peer_may_hold() -> None:
    desk = desk_with(leases=3)
    desk.submit("a", 10)
    [mine] = assigned(desk.say(ME, Pull(1, "me", "q", 10, 0.0, 30.0)))
    assert len(mine.ends) >> 2 == 3

    refused(desk.say(ME, Pull(2, "me", "q", 1, 0.0, 30.0)), "leases", 3)
    assert assigned(desk.say(OTHER, Pull(2, "other", "q", 1, 0.0, 30.0)))
    desk.settle(ME, done(mine, 0, 1), credit=None)
    assert assigned(desk.say(ME, Pull(2, "me", "q", 10, 0.0, 30.0)))


def test_pull_that_waits_is_refused_when_its_peer_holds_all_it_may_and_others_are_served() -> None:
    desk = desk_with(leases=1)
    for request, peer in ((1, ME), (2, ME), (1, OTHER)):
        assert desk.say(peer, Pull(request, peer.decode(), "q", 1, 20.0, 30.0)) == []

    batch = Batch("a", "q", Options(), *pack_payloads([b"\xc0", b"\xc0"]))
    sent = desk.turn((b"c", Submit(1, (batch,))))

    assert [one.request for to, one in sent if to == ME and isinstance(one, Tasks)] == [1]
    refused([one for to, one in sent if to == ME and isinstance(one, Error)], "leases", 1)
    assert len(assigned([one for to, one in sent if to == OTHER])) == 1


def test_leases_go_with_a_worker_that_comes_back_by_another_connection() -> None:
    desk = desk_with(leases=2)
    desk.submit("a", 2)
    [mine] = assigned(hello(desk, ME, "w", credit=2))
    desk.hello(b"again", "w", 2, mine.token)

    accounts = desk.machine.books.accounts
    assert (accounts.account_of(ME).leases, accounts.account_of(b"again").leases) == (0, 2)


@pytest.mark.parametrize("makes", ["submit", "hello", "pull", "set-queue", "bind", "move", "schedule"])
def test_queues_beyond_the_limit_are_refused_however_they_are_made(makes: str) -> None:
    desk = desk_with(queues=2)
    desk.submit("there", queue="old")
    for name in ("x", "y"):
        task(desk, name, name)

    text = "a peer may have 2 queues, and this one has 2; peer_limits (queues=...) says how many"
    match makes:
        case "submit":
            receipt = task(desk, "z", "z")
            assert [(one.code, one.reason) for one in receipt.refused] == [("busy", text)]
        case "hello":
            refused(hello(desk, ME, "w", "x", "z"), "queues", 2)
        case "pull":
            refused(desk.say(ME, Pull(1, "me", "z", 1, 20.0, 30.0)), "queues", 2)
        case "set-queue":
            refused(ask(desk, ME, "set-queue", queue="z", fair=True), "queues", 2)
        case "bind":
            refused(ask(desk, ME, "bind", queue="z", pattern="a"), "queues", 2)
        case "move":
            refused(ask(desk, ME, "move", id="m", queue="old", to="z"), "queues", 2)
        case _:
            refused(schedule(desk, "nightly"), "queues", 2)

    assert "z" not in desk.machine.books.queues
    assert desk.machine.books.bindings.numbers == {}
    assert task(desk, "a", "z", OTHER).accepted
    desk.command("delete", id="d", queue="x", purge=True)
    assert task(desk, "b", "x2").accepted


def test_queues_that_nobody_uses_are_stored_nowhere_and_forgotten() -> None:
    desk = Desk()
    before = dict(desk.store.values["queues"])
    hello(desk, ME, "w", *(f"q{number}" for number in range(5)))
    desk.say(ME, Pull(1, "me", "p", 1, 5.0, 30.0))
    assert (usage(desk, "queues"), desk.store.values["queues"]) == (6, before)

    desk.say(ME, Goodbye("w", "w", None))
    desk.wait(6.0)
    desk.say(ME, Goodbye("w", "w", None))

    assert usage(desk, "queues") == 0
    assert len(desk.machine.books.accounts) == 0


def test_queue_with_a_policy_or_a_past_stays() -> None:
    desk = Desk()
    hello(desk, ME, "w", "a", "b", "c")
    desk.command("set-queue", queue="a", fair=True)
    task(desk, "t", "b")
    desk.say(ME, Goodbye("w", "w", None))
    desk.restart()

    assert sorted(desk.machine.books.queues) == ["a", "b"]


def test_submit_that_is_refused_leaves_no_queue() -> None:
    desk = Desk(payload_bytes_max=3)
    batch = Batch("big", "new", Options(), *pack_payloads([b"x" * 9]))
    assert only(desk.say(ME, Submit(1, (batch,))), Receipt).refused

    assert "new" not in desk.machine.books.queues


def test_numbers_of_forgotten_queues_are_used_again() -> None:
    desk = Desk()
    for round in range(5):
        hello(desk, ME, "w", *(f"q{round}-{number}" for number in range(3)))

    assert max(queue.number for queue in desk.machine.books.queues.values()) <= 6
    task(desk, "a", "q4-1")
    assert [one.batch.id for one in desk.leases] == ["a"]


def test_bindings_beyond_the_limit_are_refused() -> None:
    desk = desk_with(bindings=2)
    for pattern in ("a", "b"):
        assert ask(desk, ME, "bind", queue="q", pattern=pattern).value is True

    refused(ask(desk, ME, "bind", queue="q", pattern="c"), "bindings", 2)
    assert ask(desk, ME, "bind", queue="q", pattern="b").value is False  # one that is there
    assert ask(desk, OTHER, "bind", queue="q", pattern="c").value is True
    ask(desk, OTHER, "unbind", queue="q", pattern="a")  # whoever takes it away
    assert ask(desk, ME, "bind", queue="q", pattern="d").value is True


def test_schedules_beyond_the_limit_are_refused() -> None:
    desk = desk_with(schedules=2)
    for name in ("a", "b"):
        assert isinstance(schedule(desk, name), Answer)

    refused(schedule(desk, "c"), "schedules", 2)
    assert isinstance(schedule(desk, "b"), Answer)  # one that is there
    assert isinstance(schedule(desk, "c", OTHER), Answer)
    assert ask(desk, OTHER, "delete-schedule", name="a").value is True
    assert isinstance(schedule(desk, "d"), Answer)
    assert usage(desk, "schedules") == 3
    desk.restart()
    assert usage(desk, "schedules") == 3


@pytest.mark.parametrize(("kind", "most"), [("queues", 3), ("bindings", 2), ("schedules", 2)])
def test_ceilings_hold_over_all_peers_and_restarts(kind: str, most: int) -> None:
    desk = Desk(**{f"{kind}_max": most})
    make: Callable[[int], Any] = {
        "queues": lambda number: ask(desk, b"%d" % number, "set-queue", queue=f"q{number}", fair=True),
        "bindings": lambda number: ask(desk, b"%d" % number, "bind", queue="q", pattern=f"p{number}"),
        "schedules": lambda number: schedule(desk, f"s{number}", b"%d" % number),
    }[kind]
    for number in range(most):
        assert isinstance(make(number), Answer)
    desk.restart()

    answer = make(most)

    assert (answer.code, answer.text) == (
        "busy",
        f"there are {most} {kind}, and {kind}_max says that there may be {most}",
    )
    assert counter(desk, f"limit {kind}_max") == 1


def test_what_was_forwarded_is_stored_in_a_new_queue_whatever_the_limits() -> None:
    desk = Desk(queues_max=1, peer_limits=PeerLimits(queues=1))
    task(desk, "a")
    [mine] = assigned(hello(desk, ME, "w"))
    forward = Batch("next", "other", Options(), *pack_payloads([b"\xc0"]))

    desk.settle(ME, done(mine)._replace(forwards=(forward,)))

    assert desk.task("next")["state"] == "waiting"


def test_account_of_a_connection_that_is_gone_is_forgotten() -> None:
    desk = Desk()
    task(desk, "a", "made")
    desk.say(ME, Wait(1, "a", 0, 1))
    assert len(desk.machine.books.accounts) == 1
    desk.lose(ME)

    assert len(desk.machine.books.accounts) == 0
    desk.command("delete", id="d", queue="made", purge=True)


def test_status_shows_what_is_limited_and_how_much_there_is() -> None:
    status = Desk(queues_max=7, peer_limits=PeerLimits(waits=5)).query("status")

    assert tuple(status["usage"]) == COUNTED
    assert status["limits"]["queues_max"] == 7
    assert status["peer_limits"]["waits"] == 5


def test_limits_are_read_as_people_write_them() -> None:
    assert PeerLimits.parse("waits=5000, leases=100") == PeerLimits(waits=5000, leases=100)
    assert PeerLimits.parse("") == PeerLimits()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("wait=5", "expected limits of waits, pulls"),
        ("waits=1,waits=2", "got waits twice"),
        ("waits=-1", "expected waits as a whole number from 1, got '-1'"),
        ("waits=0", "expected waits of a peer as a whole number from 1"),
        ("waits", "expected waits as a whole number from 1, got ''"),
        ("waits=1e3", "expected waits as a whole number"),
        ("waits=" + "9" * 5000, "expected waits as a whole number"),
    ],
)
def test_limits_that_cannot_be_are_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        PeerLimits.parse(text)

    assert fault in str(caught.value)
