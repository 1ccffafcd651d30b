"""The pull side: leases of pulled tasks, their end, and who else takes of the same queue (docs/semantics.md, Pull)."""

from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core.peer_limits import PeerLimits
from zq.core.state.deadlines import ALARMS_SWEEP_MIN
from zq.errors import RemoteProtocolError
from zq.wire.codec import decode_for_coordinator, encode
from zq.wire.limits import LEASE_MAX
from zq.wire.messages import Answer, Batch, Error, Extend, Options, Pull, Release, Settle, Settled, Span, Submit, Tasks
from zq.wire.proofs import proof_of
from zq.wire.retry import RetryPolicy

PULLS = PeerLimits().pulls

W = b"w-1"
OTHER = b"other"


SECRET = "nobody can guess this"


def pull(desk: Desk, most: int = 1, lease: float = 30.0, wait: float = 0.0, peer: bytes = CLIENT) -> list[Any]:
    desk.number += 1
    return assigned(desk.say(peer, Pull(desk.number, peer.decode(), "q", most, wait, lease, secret=SECRET)))


def extend(desk: Desk, token: int, lease: float, peer: bytes = CLIENT) -> bool:
    desk.number += 1
    return bool(only(desk.say(peer, Extend(desk.number, token, lease)), Answer).value)


def release(desk: Desk, one: Any, lo: int, hi: int) -> tuple[Span, ...]:
    desk.number += 1
    return only(desk.say(CLIENT, Release(desk.number, None, (Span(one.token, lo, hi),))), Settled).stale


def test_lease_may_be_twelve_hours_and_no_longer() -> None:
    assert LEASE_MAX == 12 * 3600
    assert decode_for_coordinator(encode(Pull(1, "till", "q", 1, 0.0, LEASE_MAX)))
    for message in (Pull(1, "till", "q", 1, 0.0, LEASE_MAX + 1), Extend(1, 7, LEASE_MAX + 1)):
        with pytest.raises(RemoteProtocolError, match=r"expected lease as a number from 0\.001 to 43200"):
            decode_for_coordinator(encode(message))


def test_long_leases_that_last_a_moment_leave_nothing_in_memory() -> None:
    desk = Desk()
    desk.submit("long")
    (long,) = pull(desk, lease=LEASE_MAX)
    for number in range(2000):
        desk.submit(f"t{number}")
        desk.now += 0.001
        assert extend(desk, long.token, LEASE_MAX - 100.0)
        desk.settle(CLIENT, done(pull(desk, lease=LEASE_MAX)[0]), credit=None)

    assert len(desk.machine.books.alarms) <= ALARMS_SWEEP_MIN
    desk.now += LEASE_MAX - 101.0
    desk.turn()
    assert desk.task("long")["state"] == "leased"
    desk.now += 2.0
    desk.turn()
    assert desk.task("long")["state"] == "waiting"


def test_extension_counts_from_the_call_and_may_shorten_the_lease() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = pull(desk, lease=100.0)
    desk.wait(5.0)
    assert extend(desk, one.token, 2.0)
    desk.wait(1.5)
    assert desk.task("a")["state"] == "leased"
    desk.wait(1.0)

    assert desk.task("a")["state"] == "waiting"


def test_extension_is_not_remembered_for_the_next_lease() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = pull(desk, lease=5.0)
    extend(desk, one.token, 1000.0)
    release(desk, one, 0, 1)
    pull(desk, lease=5.0)
    desk.wait(6.0)

    assert desk.task("a")["state"] == "waiting"


def test_whoever_knows_the_handle_may_extend_and_settle() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = pull(desk)
    proof = proof_of(SECRET, one.token)

    assert only(desk.say(OTHER, Extend(9, one.token, 60.0, proof.proof)), Answer).value is True
    assert only(desk.say(OTHER, Settle(9, None, (done(one),), (), False, (proof,))), Settled).stale == ()
    assert desk.task("a")["state"] == "done"


def test_old_handle_is_refused_and_said_so_in_every_way() -> None:
    # Amazon SQS answers success to the deletion by an old receipt handle, and may not delete.
    desk = Desk(retry=RetryPolicy.constant(0.0))
    desk.submit("a")
    (old,) = pull(desk, lease=5.0)
    desk.wait(6.0)
    (new,) = pull(desk, lease=60.0)

    assert only(desk.settle(CLIENT, done(old), credit=None), Settled).stale == (Span(old.token, 0, 1),)
    assert only(desk.settle(CLIENT, failed(old), credit=None), Settled).stale == (Span(old.token, 0, 1),)
    assert release(desk, old, 0, 1) == (Span(old.token, 0, 1),)
    assert not extend(desk, old.token, 60.0)
    assert [event["event"] for event in desk.task("a")["timeline"]] == ["lost", "retry", "stale", "stale"]
    assert only(desk.settle(CLIENT, done(new), credit=None), Settled).stale == ()
    assert desk.task("a")["token"] == new.token


def test_two_workers_cannot_finish_the_same_task() -> None:
    desk = Desk()
    desk.submit("a")
    (slow,) = pull(desk, lease=5.0)
    desk.wait(6.0)
    (quick,) = pull(desk, peer=OTHER)
    desk.settle(OTHER, done(quick, result="quick"), credit=None)

    assert only(desk.settle(CLIENT, done(slow, result="slow"), credit=None), Settled).stale
    assert desk.query("queue", queue="q")["done"] == 1


def test_batch_that_was_pulled_is_answered_task_by_task() -> None:
    desk = Desk(retry=RetryPolicy.constant(60.0))
    desk.submit("a", 4)
    (one,) = pull(desk, most=4)
    desk.settle(CLIENT, done(one, 0, 1), failed(one, 1), credit=None)
    release(desk, one, 2, 3)

    assert [desk.task(f"a#{index}")["state"] for index in range(4)] == ["done", "scheduled", "waiting", "leased"]
    assert extend(desk, one.token, 60.0)
    desk.settle(CLIENT, done(one, 3, 4), credit=None)
    assert not extend(desk, one.token, 60.0)


def test_released_task_is_at_once_somebody_elses_in_its_place() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b")
    (one,) = pull(desk)
    release(desk, one, 0, 1)

    assert [found.id for found in pull(desk, most=2, peer=OTHER)] == ["a", "b"]


def test_pulls_that_wait_are_served_in_the_order_in_which_they_came() -> None:
    desk = Desk()
    assert pull(desk, wait=20.0) == []
    assert pull(desk, wait=20.0, peer=OTHER) == []
    first = desk.number - 1
    desk.number += 1
    sent = desk.turn(submit_message(desk, "a"))
    assert [(to, message.request) for to, message in sent if isinstance(message, Tasks)] == [(CLIENT, first)]
    sent = desk.turn(submit_message(desk, "b"))

    assert [to for to, message in sent if isinstance(message, Tasks)] == [OTHER]


def submit_message(desk: Desk, id: str) -> tuple[bytes, Any]:
    desk.number += 1
    return b"shopper", Submit(desk.number, (Batch(id, "q", Options(), b"\x01\0\0\0", b"\x01"),))


def test_long_poll_gets_a_task_that_becomes_due_or_comes_back() -> None:
    desk = Desk()
    desk.submit("late", delay=3.0)
    assert pull(desk, wait=20.0) == []
    sent = desk.wait(3.5)
    assert [one.id for one in assigned([message for _, message in sent])] == ["late"]

    desk.submit("back")
    (one,) = pull(desk, peer=OTHER)
    assert pull(desk, wait=20.0) == []
    desk.number += 1
    sent = desk.turn((OTHER, Release(desk.number, None, (Span(one.token, 0, 1),))))
    assert [one.id for one in assigned([message for _, message in sent])] == ["back"]


def test_workers_and_pulls_share_the_order_of_one_queue() -> None:
    desk = Desk()
    for number, priority in enumerate((1, 9, 5, 9)):
        desk.submit(f"t{number}", priority=priority)
    (first,) = pull(desk)
    second = assigned(desk.hello(W, "w", 1))
    (third,) = pull(desk)

    assert [first.id, second[0].id, third.id] == ["t1", "t3", "t2"]


def test_pulled_lease_goes_on_after_a_restart_from_its_beginning() -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = pull(desk, lease=10.0)
    desk.wait(8.0)
    desk.restart()
    desk.wait(8.0)
    assert desk.task("a")["state"] == "leased"
    settle = Settle(9, None, (done(one),), (), False, (proof_of(SECRET, one.token),))
    assert only(desk.say(CLIENT, settle), Settled).stale == ()


@pytest.mark.parametrize(("on_lost", "state"), [("reassign", "waiting"), ("cancel", "cancelled"), ("dead", "dead")])
def test_pulled_task_whose_lease_runs_out_counts_as_started(on_lost: str, state: str) -> None:
    desk = Desk()
    desk.submit("a", on_lost=on_lost)
    pull(desk, lease=5.0)
    desk.wait(6.0)

    assert desk.task("a")["state"] == state


def ask(desk: Desk, request: int, queue: str = "q", wait: float = 20.0, peer: bytes = CLIENT) -> list[Any]:
    return desk.say(peer, Pull(request, "till", queue, 1, wait, 30.0, secret=SECRET))


def test_connection_has_a_limited_number_of_pulls_waiting() -> None:
    desk = Desk()
    for request in range(PULLS):
        assert ask(desk, request) == []

    [refused] = ask(desk, PULLS, "r")
    assert (refused.request, refused.code) == (PULLS, "busy")
    assert refused.text.startswith("a peer may have 1000 pulls, and this one has 1000; peer_limits (pulls=...)")
    assert ask(desk, 7) == []  # one that comes again takes no more room
    assert desk.say(OTHER, Pull(1, "other", "q", 1, 20.0, 30.0)) == []
    desk.submit("a")  # one of them is served
    assert ask(desk, PULLS, "r") == []


def test_room_of_pulls_that_have_waited_long_enough_is_free_again() -> None:
    desk = Desk()
    for request in range(PULLS):
        ask(desk, request, wait=5.0)
    desk.wait(6.0)

    assert desk.machine.books.guests == {}
    assert ask(desk, PULLS) == []


def test_pull_that_waits_may_not_be_one_of_another_queue_too() -> None:
    desk = Desk()
    ask(desk, 1, "q")

    [refused] = ask(desk, 1, "r", peer=OTHER)

    assert refused == Error(1, "invalid", "pull 1 of till is for queue q; give one for r another number")
    desk.submit("a", queue="r")
    assert desk.task("a")["state"] == "waiting"


def test_pull_that_has_leases_may_not_be_one_of_another_queue_too() -> None:
    desk = Desk()
    desk.submit("a")
    desk.submit("b", queue="r")
    [one] = assigned(ask(desk, 1, "q"))

    [refused] = ask(desk, 1, "r")

    assert refused.code == "invalid"
    assert desk.task("b")["state"] == "waiting"
    assert [again.token for again in assigned(ask(desk, 1, "q"))] == [one.token]


def test_pull_that_waits_and_comes_again_on_another_connection_is_answered_there() -> None:
    desk = Desk()
    ask(desk, 1)
    ask(desk, 1, peer=OTHER)
    sent = desk.turn(submit_message(desk, "a"), submit_message(desk, "b"))

    assert [to for to, message in sent if isinstance(message, Tasks)] == [OTHER]
    assert desk.machine.books.guests == {}
