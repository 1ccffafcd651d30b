"""Waits and pulls die with those who wait (docs/protocol.md, 2.4): what was given up, or whose connection is gone,
leaves nothing and is never served, and a lease that nobody got goes back as if it had never been granted.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from tests.simulation.invariants import check_grants
from zq.core.state.books import Books
from zq.core.tasks.assignment import OFFER_SECONDS
from zq.wire.batch import pack_payloads
from zq.wire.limits import BATCH_TASKS_MAX
from zq.wire.messages import (
    Assign,
    Batch,
    Cancelled,
    Confirm,
    Extend,
    Follow,
    Options,
    Outcome,
    Ping,
    Progress,
    Pull,
    Release,
    Settled,
    Span,
    Submit,
    Tasks,
    Wait,
    Withdraw,
)
from zq.wire.retry import RetryPolicy

W = b"w-1"
DEAD = b"dead"
LIVE = b"live"


def pull(desk: Desk, peer: bytes, *, wait: float = 0.0, most: int = 1, lease: float = 30.0, **changes: Any) -> Any:
    """Pulls as a client of today does; returns its message and the assignments of the answer."""
    desk.number += 1
    message = Pull(desk.number, peer.decode(), "q", most, wait, lease, confirms=True, secret="its own")._replace(
        **changes
    )
    return message, assigned(desk.say(peer, message))


def uncharged(desk: Desk, id: str = "a") -> Any:
    """Returns the row of a task, of which everything but its history is as if it had never been leased."""
    row = desk.task(id)
    assert (row["state"], row["attempts"], row["failures"]) == ("waiting", 0, 0)
    assert "lost" not in [event["event"] for event in row["timeline"]]
    return row


def is_empty(desk: Desk) -> bool:
    books = desk.machine.books
    kept: list[Any] = [books.guests, books.pulls, books.offers, books.unsure, books.pullers, books.waits.entries]
    kept += [queue.pull_waits for queue in books.queues.values()]
    check_grants(books, desk.now)
    return not any(kept)


# Offers.


def test_confirmed_lease_is_the_clients_and_its_loss_is_charged() -> None:
    desk = Desk(retry=RetryPolicy.constant(0.0))
    desk.submit("a")
    _, [one] = pull(desk, CLIENT, lease=30.0)
    assert desk.say(CLIENT, Confirm((one.token,))) == []
    desk.wait(OFFER_SECONDS + 1)
    assert desk.task("a")["state"] == "leased"
    desk.wait(30.0)

    row = desk.task("a")
    assert (row["state"], row["attempts"]) == ("waiting", 1)
    assert is_empty(desk)


@pytest.mark.parametrize("on_lost", ["reassign", "cancel", "dead"])
@pytest.mark.parametrize("lease", [1.0, 600.0])
def test_lease_that_is_not_confirmed_goes_back_uncharged(on_lost: str, lease: float) -> None:
    desk = Desk()
    desk.submit("a", on_lost=on_lost, max_attempts=1)
    _, [one] = pull(desk, DEAD, lease=lease)
    desk.wait(OFFER_SECONDS + 1)

    assert uncharged(desk)["timeline"][-1]["detail"]["reason"] == "it never reached its puller"
    assert desk.machine.books.counters["never arrived"] == 1
    assert is_empty(desk)
    _, [again] = pull(desk, LIVE)
    assert again.token > one.token
    assert desk.settle(LIVE, done(again), credit=None)
    assert desk.task("a")["state"] == "done"


def test_all_leases_of_one_pull_are_on_offer_and_those_that_are_confirmed_stay() -> None:
    desk = Desk()
    desk.submit("a", 2)
    desk.submit("b", 3)
    _, [first, second] = pull(desk, DEAD, most=5)
    desk.say(DEAD, Confirm((first.token,)))
    desk.wait(OFFER_SECONDS + 1)

    assert [desk.task(f"a#{i}")["state"] for i in range(2)] == ["leased"] * 2
    assert [desk.task(f"b#{i}")["state"] for i in range(3)] == ["waiting"] * 3
    assert second.token not in desk.machine.books.leases


def test_key_is_not_locked_by_a_lease_that_nobody_has() -> None:
    desk = Desk()
    for id in ("a", "b"):
        desk.submit(id, key="k", ordered=True, on_lost="cancel")
    pull(desk, DEAD)
    assert pull(desk, LIVE)[1] == []
    desk.wait(OFFER_SECONDS + 1)

    assert [one.id for one in pull(desk, LIVE)[1]] == ["a"]


@pytest.mark.parametrize("way", ["settle", "fail", "extend", "release"])
def test_whoever_uses_a_lease_has_it(way: str) -> None:
    desk = Desk(retry=RetryPolicy.constant(60.0))
    desk.submit("a", 2)
    _, [one] = pull(desk, CLIENT, most=2)
    match way:
        case "settle":
            assert only(desk.settle(CLIENT, done(one), credit=None), Settled).stale == ()
        case "fail":
            assert only(desk.settle(CLIENT, failed(one, 0), failed(one, 1), credit=None), Settled).stale == ()
        case "extend":
            desk.say(CLIENT, Extend(9, one.token, 60.0))
        case "release":
            desk.say(CLIENT, Release(9, None, (Span(one.token, 0, 2),)))

    assert not desk.machine.books.offers
    desk.wait(OFFER_SECONDS + 1)
    assert (
        desk.task("a#1")["state"]
        == {"settle": "done", "fail": "scheduled", "extend": "leased", "release": "waiting"}[way]
    )


def test_late_confirmation_is_told_that_the_tasks_are_gone() -> None:
    desk = Desk()
    desk.submit("a")
    _, [one] = pull(desk, CLIENT)
    desk.wait(OFFER_SECONDS + 1)

    assert desk.say(CLIENT, Confirm((one.token,))) == [Cancelled((Span(one.token, 0, BATCH_TASKS_MAX),))]
    assert only(desk.settle(CLIENT, done(one), credit=None), Settled).stale


def test_pull_that_is_said_again_has_its_time_again() -> None:
    desk = Desk()
    desk.submit("a")
    message, [one] = pull(desk, CLIENT)
    desk.wait(OFFER_SECONDS - 1)
    assert assigned(desk.say(LIVE, message)) == [one]
    desk.wait(OFFER_SECONDS - 1)
    assert desk.task("a")["state"] == "leased"
    desk.wait(2.0)

    uncharged(desk)


def test_pull_that_is_said_again_after_a_restart_is_on_offer() -> None:
    desk = Desk()
    desk.submit("a", on_lost="cancel")
    message, [one] = pull(desk, CLIENT)
    desk.restart()
    assert assigned(desk.say(LIVE, message)) == [one]
    assert desk.lose(LIVE) == []

    uncharged(desk)


def test_lease_of_a_client_that_does_not_confirm_is_its_own() -> None:
    desk = Desk()
    desk.submit("a")
    pull(desk, CLIENT, confirms=False)
    desk.wait(OFFER_SECONDS + 1)

    assert desk.task("a")["state"] == "leased"


# Connections that are gone.


@pytest.mark.parametrize("confirms", [True, False])
@pytest.mark.parametrize("on_lost", ["reassign", "cancel", "dead"])
def test_answer_that_could_not_be_delivered_gives_its_leases_back_at_once(confirms: bool, on_lost: str) -> None:
    desk = Desk()
    pull(desk, DEAD, wait=20.0, confirms=confirms)
    desk.hello(W, "w")
    desk.submit("a", on_lost=on_lost, max_attempts=1)
    [lease] = desk.leases
    assert lease.holder.is_puller

    sent = desk.lose(DEAD)

    assert [to for to, one in sent if isinstance(one, Assign)] == [W]
    row = desk.task("a")
    assert (row["worker"], row["attempts"]) == ("w", 0)
    assert is_empty(desk)


def test_lease_that_was_delivered_to_an_older_client_is_not_taken_back_when_it_leaves() -> None:
    desk = Desk()
    desk.submit("a")
    pull(desk, CLIENT, confirms=False)
    desk.turn()
    desk.lose(CLIENT)

    assert desk.task("a")["state"] == "leased"


def test_last_words_of_a_client_that_left_confirm_what_it_pulled() -> None:
    desk = Desk()
    desk.submit("a")
    _, [one] = pull(desk, CLIENT)
    desk.machine.turn(desk.clocks(), [(CLIENT, Confirm((one.token,)))], unreachable=[CLIENT])

    assert desk.task("a")["state"] == "leased"


def test_confirmed_lease_is_not_taken_back_when_its_client_leaves() -> None:
    desk = Desk()
    desk.submit("a")
    _, [one] = pull(desk, CLIENT)
    desk.say(CLIENT, Confirm((one.token,)))
    desk.lose(CLIENT)

    assert desk.task("a")["state"] == "leased"


def test_connection_that_is_gone_leaves_nothing() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b", 5, queue="r")
    desk.say(DEAD, Wait(1, "a", 0, 1))
    desk.say(DEAD, Wait(2, "b", 0, 5))
    desk.say(DEAD, Follow(3, None, (), 60.0, 0))
    pull(desk, DEAD, wait=20.0, queue="s")
    pull(desk, DEAD)
    desk.say(LIVE, Wait(1, "a", 0, 1))
    assert set(desk.machine.books.guests) == {DEAD, LIVE}

    desk.lose(DEAD)

    assert set(desk.machine.books.guests) == {LIVE}
    assert desk.machine.books.events is None or not desk.machine.books.events.by_request
    desk.lose(LIVE)
    assert is_empty(desk)
    uncharged(desk)


def test_silent_connection_is_called_on_while_it_waits_and_only_then() -> None:
    desk = Desk(suspect_after=3.0)
    desk.submit("a")
    desk.say(CLIENT, Wait(1, "a", 0, 1))
    for number in range(5):
        assert desk.wait(1.0) == []
        desk.say(CLIENT, Ping(number))
    assert (CLIENT, Cancelled(())) in desk.wait(7.0)
    desk.say(CLIENT, Withdraw((1,)))

    assert desk.wait(20.0) == []


def test_ten_thousand_clients_that_came_and_went_leave_nothing() -> None:
    desk = Desk()
    desk.submit("a", 3)
    desk.submit("busy", queue="none")
    before = sizes_of(desk.machine.books)
    for number in range(10_000):
        peer = b"guest-%d" % number
        desk.number += 3
        request = desk.number
        desk.turn(
            (peer, Wait(request, "a", 0, 3)),
            (peer, Wait(request + 1, "busy", 0, 1)),
            (peer, Pull(request + 2, peer.decode(), "r", 1, 60.0, 30.0, confirms=True)),
            (peer, Follow(request + 3, "r", (), 60.0, 0)),
        )
        desk.lose(peer)
    assert sizes_of(desk.machine.books) == before


def sizes_of(books: Books) -> dict[str, int]:
    """Returns how much the coordinator keeps, table by table."""
    found = {name: len(value) for name, value in vars(books).items() if hasattr(value, "__len__")}
    for queue in ("r", "q", "none"):
        found[f"pulls of {queue}"] = len(books.queues[queue].pull_waits) if queue in books.queues else 0
    found["waits"] = len(books.waits.entries)
    found["followers"] = 0 if books.events is None else len(books.events.by_request)
    return {name: count for name, count in found.items() if name not in ("queues", "queues_by_number", "counters")}


# What was given up.


def test_wait_that_was_withdrawn_is_not_answered() -> None:
    desk = Desk()
    desk.hello(W, "w", queues=("q",))
    desk.submit("a")
    desk.say(CLIENT, Wait(1, "a", 0, 1))
    desk.say(LIVE, Wait(1, "a", 0, 1))
    assert desk.say(CLIENT, Withdraw((1, 77))) == []
    [lease] = desk.leases
    told = [to for to, one in desk.turn((W, Progress(lease.token, 0, 0.5))) if isinstance(one, Outcome)]

    assert told == [LIVE]


def test_six_thousand_waits_that_were_withdrawn_leave_nothing() -> None:
    desk = Desk()
    desk.submit("a")
    for number in range(6000):
        desk.turn((CLIENT, Wait(number, "a", 0, 1)), (CLIENT, Withdraw((number,))))

    assert is_empty(desk)


def test_pull_that_was_withdrawn_is_never_served() -> None:
    desk = Desk()
    message, _ = pull(desk, CLIENT, wait=20.0)
    desk.say(LIVE, Withdraw((message.request,)))  # somebody else's number
    assert len(desk.machine.books.pulls) == 1
    desk.say(CLIENT, Withdraw((message.request,)))
    desk.submit("a")

    assert desk.task("a")["timeline"] == []
    assert is_empty(desk)


def test_leases_on_their_way_to_a_pull_that_was_withdrawn_go_back() -> None:
    desk = Desk()
    desk.submit("a", on_lost="cancel")
    desk.submit("b")
    message, [one] = pull(desk, CLIENT)
    _, [other] = pull(desk, CLIENT)
    desk.say(CLIENT, Withdraw((message.request,)))

    uncharged(desk)
    assert list(desk.machine.books.leases) == [other.token]
    desk.say(CLIENT, Confirm((other.token,)))
    desk.say(CLIENT, Withdraw((message.request + 1,)))  # too late: it has come
    assert list(desk.machine.books.leases) == [other.token]
    assert one.id == "a"


def test_wait_that_is_said_again_is_the_same_one() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b")
    for id in ("a", "a", "b"):
        desk.say(CLIENT, Wait(1, id, 0, 1))
    assert list(desk.machine.books.waits.entries) == ["b"]
    desk.say(CLIENT, Withdraw((1,)))

    assert is_empty(desk)


# Who comes first.


def test_pull_of_a_silent_client_waits_behind_workers_and_other_pulls() -> None:
    desk = Desk(suspect_after=3.0, gone_after=60.0)
    pull(desk, DEAD, wait=60.0)
    desk.wait(4.0)
    desk.hello(W, "w")
    desk.submit("a")
    assert desk.task("a")["worker"] == "w"
    pull(desk, LIVE, wait=60.0)
    desk.submit("b")
    assert desk.task("b")["worker"].startswith("live/")
    desk.submit("c")  # nobody else is there

    assert desk.task("c")["worker"].startswith("dead/")


def test_new_pull_goes_before_that_of_a_silent_client() -> None:
    desk = Desk(suspect_after=3.0)
    desk.command("set-queue", queue="q", paused=True)
    desk.submit("a")
    pull(desk, DEAD, wait=60.0)
    desk.wait(4.0)
    desk.command("set-queue", queue="q", paused=False)

    assert desk.task("a")["worker"].startswith("dead/")  # at once: it is better than nobody
    desk.wait(OFFER_SECONDS + 1)
    assert [one.id for one in pull(desk, LIVE)[1]] == ["a"]


def test_client_that_is_heard_again_has_its_place_again() -> None:
    desk = Desk(suspect_after=3.0)
    pull(desk, CLIENT, wait=60.0)
    desk.wait(4.0)
    pull(desk, LIVE, wait=60.0)
    desk.say(CLIENT, Ping(1))
    desk.submit("a")

    assert desk.task("a")["worker"].startswith("client/")
    assert [to for to, one in desk.turn() if isinstance(one, Tasks)] == []


# Workers, too.


@pytest.mark.parametrize("on_lost", ["reassign", "cancel", "dead"])
def test_assignment_that_could_not_be_delivered_goes_back_at_once(on_lost: str) -> None:
    desk = Desk()
    desk.hello(DEAD, "dead", credit=2)
    desk.submit("held", on_lost=on_lost)
    desk.now += 0.1
    batch = Batch("a", "q", Options(on_lost=on_lost, max_attempts=1), *pack_payloads([b"\xc0"]))
    desk.turn((CLIENT, Submit(7, (batch,))))
    [held, lease] = desk.leases
    assert lease.holder.name == "dead"

    desk.lose(DEAD)

    uncharged(desk)
    assert [event["event"] for event in desk.task("a")["timeline"]] == ["returned"]
    assert desk.leases == [held]  # that one it may have
    desk.hello(W, "w")
    assert desk.task("a")["worker"] == "w"


def test_clients_are_not_blamed_for_the_time_in_which_the_coordinator_stood_still() -> None:
    desk = Desk(heartbeat_interval=1.0, suspect_after=3.0)
    desk.submit("a")
    _, [one] = pull(desk, CLIENT)
    desk.now += 20.0
    desk.turn()  # its confirmation is not read yet

    assert [lease.token for lease in desk.leases] == [one.token]
    assert desk.say(CLIENT, Confirm((one.token,))) == []
    desk.wait(5.0)
    assert desk.task("a")["state"] == "leased"
