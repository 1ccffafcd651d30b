"""Whoever has not pulled a task, and was not given its handle, cannot say a word about it; nor a worker about what is
another's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.core.desk import CLIENT, Desk, assigned, done, failed, only
from zq.core.tasks.assignment import OFFER_SECONDS
from zq.wire.messages import (
    Answer,
    Assignment,
    Cancelled,
    Confirm,
    Extend,
    Follow,
    Heartbeat,
    Held,
    Progress,
    Pull,
    Release,
    Settle,
    Settled,
    Span,
    Started,
    Tasks,
    Withdraw,
)
from zq.wire.proofs import PROOF_BYTES, Proof, proof_of

STRANGER, ELSEWHERE, W, V = b"stranger", b"elsewhere", b"worker-1", b"worker-2"
SECRET = "nobody can guess this"


def pulled(desk: Desk, *, secret: str = SECRET, confirms: bool = False) -> Assignment:
    desk.submit("a")
    (one,) = assigned(desk.say(CLIENT, Pull(1, "till", "q", 1, 0.0, 30.0, confirms, secret)))
    return one


def all_guesses(token: int) -> list[tuple[Proof, ...]]:
    return [
        (),
        (Proof(token, bytes(PROOF_BYTES)),),
        (proof_of("another secret", token),),
        (proof_of(SECRET, token + 1),),
    ]


ENDS: dict[str, Callable[[Assignment, tuple[Proof, ...]], Any]] = {
    "done": lambda one, proofs: Settle(9, None, (done(one, result="evil"),), (), False, proofs),
    "done as a whole": lambda one, proofs: Settle(9, None, (done(one, result="evil"),), (), True, proofs),
    "failed": lambda one, proofs: Settle(9, None, (), (failed(one),), False, proofs),
    "released": lambda one, proofs: Release(9, None, (Span(one.token, one.lo, one.hi),), proofs),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("is_worker", [False, True])
def test_a_stranger_ends_nothing_that_was_pulled(end: Callable[..., Any], is_worker: bool) -> None:
    desk = Desk()
    one = pulled(desk)
    if is_worker:
        desk.hello(STRANGER, "w", 0)
    for proofs in all_guesses(one.token):
        assert only(desk.say(STRANGER, end(one, proofs)), Settled).stale == (Span(one.token, one.lo, one.hi),)

    assert desk.task("a")["state"] == "leased"
    assert only(desk.say(CLIENT, ENDS["done"](one, ())), Settled).stale == ()


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("restarts", [False, True])
def test_whoever_was_given_the_proof_ends_what_was_pulled_from_anywhere(
    end: Callable[..., Any], restarts: bool
) -> None:
    desk = Desk()
    one = pulled(desk)
    if restarts:
        desk.restart()

    assert only(desk.say(ELSEWHERE, end(one, (proof_of(SECRET, one.token),))), Settled).stale == ()
    assert desk.leases == []


def test_a_stranger_prolongs_nothing() -> None:
    desk = Desk()
    one = pulled(desk)
    for proofs in all_guesses(one.token):
        proof = proofs[0].proof if proofs else b""
        assert only(desk.say(STRANGER, Extend(9, one.token, 0.001, proof)), Answer).value is False
    assert (
        only(desk.say(ELSEWHERE, Extend(9, one.token, 60.0, proof_of(SECRET, one.token).proof)), Answer).value is True
    )
    assert only(desk.say(CLIENT, Extend(9, one.token, 60.0)), Answer).value is True


def test_a_stranger_confirms_and_withdraws_nothing() -> None:
    desk = Desk()
    one = pulled(desk, confirms=True)
    for proofs in all_guesses(one.token):
        assert desk.say(STRANGER, Confirm((one.token,), proofs)) == []
    desk.say(STRANGER, Withdraw((1,)))
    assert desk.task("a")["state"] == "leased"
    desk.wait(OFFER_SECONDS + 1)

    assert desk.task("a")["state"] == "waiting"


def test_a_client_confirms_on_another_connection() -> None:
    desk = Desk()
    one = pulled(desk, confirms=True)
    desk.say(ELSEWHERE, Confirm((one.token,), (proof_of(SECRET, one.token),)))
    desk.wait(OFFER_SECONDS + 1)

    assert desk.task("a")["state"] == "leased"
    assert desk.say(STRANGER, Confirm((one.token + 1,))) == [Cancelled((Span(one.token + 1, 0, 1000),))]


@pytest.mark.parametrize("secret", ["", "another secret"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_stranger_who_says_the_pull_of_another_gets_other_tasks(secret: str, restarts: bool) -> None:
    desk = Desk()
    one = pulled(desk)
    if restarts:
        desk.restart()
    assert only(desk.say(STRANGER, Pull(1, "till", "q", 1, 0.0, 30.0, False, secret)), Tasks).assignments == ()
    desk.submit("b")
    (other,) = assigned(desk.say(STRANGER, Pull(1, "till", "q", 1, 0.0, 30.0, False, secret)))

    assert other.id == "b"
    assert assigned(desk.say(ELSEWHERE, Pull(1, "till", "q", 1, 0.0, 30.0, False, SECRET))) == [one]


@pytest.mark.parametrize("secret", ["", "another secret"])
def test_a_stranger_does_not_take_the_place_of_a_pull_that_waits(secret: str) -> None:
    desk = Desk()
    desk.say(CLIENT, Pull(1, "till", "q", 1, 9.0, 30.0, False, SECRET))
    assert desk.say(STRANGER, Pull(1, "till", "r", 1, 9.0, 30.0, False, secret)) == []
    desk.say(STRANGER, Withdraw((1,)))
    desk.submit("a")

    assert [lease.holder.peer for lease in desk.leases] == [CLIENT]


def test_without_a_secret_only_the_connection_that_pulled_speaks_for_a_lease() -> None:
    desk = Desk()
    one = pulled(desk, secret="")
    for secret in ("", f" {CLIENT.hex()}", CLIENT.hex()):
        proofs = (proof_of(secret, one.token),)
        assert only(desk.say(STRANGER, ENDS["done"](one, proofs)), Settled).stale
    assert only(desk.say(CLIENT, ENDS["done"](one, ())), Settled).stale == ()


@pytest.mark.parametrize("end", [ENDS["done"], ENDS["done as a whole"], ENDS["failed"]])
def test_a_lease_ends_only_tasks_of_its_own_batch(end: Callable[..., Any]) -> None:
    desk = Desk()
    one = pulled(desk)
    desk.submit("b")

    assert only(desk.say(CLIENT, end(one._replace(id="b"), ())), Settled).stale == (Span(one.token, 0, 1),)
    assert desk.task("a")["state"] == "leased"
    assert desk.task("b")["state"] == "waiting"


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_nobody_but_the_worker_ends_what_a_worker_has(end: Callable[..., Any]) -> None:
    desk = Desk()
    desk.submit("a")
    (one,) = assigned(desk.hello(W, "w"))
    desk.hello(V, "v", 0)
    for peer in (V, STRANGER):
        for secret in ("", "w"):
            assert only(desk.say(peer, end(one, (proof_of(secret, one.token),))), Settled).stale
    assert only(desk.say(STRANGER, Extend(9, one.token, 9.0, proof_of("w", one.token).proof)), Answer).value is False
    desk.say(V, Progress(one.token, 0, 0.5))
    desk.say(V, Started((Held(one.token, (0,)),)))
    desk.say(V, Heartbeat(1, (Held(one.token, (0,)),)))

    assert desk.leases[0].started == {}
    assert desk.leases[0].progress == {}
    assert only(desk.settle(W, done(one._replace(id="b"))), Settled).stale
    assert only(desk.settle(W, done(one)), Settled).stale == ()


def test_nothing_that_is_told_of_a_pull_says_its_secret_or_its_proof() -> None:
    desk = Desk()
    told: list[Any] = desk.say(b"watcher", Follow(1, None, (), 60.0, 0))
    told += desk.turn((STRANGER, Pull(1, "till", "q", 1, 9.0, 30.0, True, SECRET)))
    one = pulled(desk)
    told += [desk.query(what, id="a") for what in ("task", "trace", "why")]
    told += [desk.query(what) for what in ("workers", "queues", "status")]
    told += [desk.query("tasks", state="any", limit=100), desk.query("queue", queue="q")]
    told += desk.turn((CLIENT, ENDS["failed"](one, ())))
    told += [desk.query("trace", id="a")]

    assert "till/1" in repr(told)
    assert SECRET not in repr(told)
    assert repr(proof_of(SECRET, one.token).proof) not in repr(told)


def test_a_proof_has_64_bits_and_is_that_of_its_lease_and_secret() -> None:
    proofs = {proof_of(secret, token).proof for secret in ("a", "b", "c") for token in range(100)}

    assert len(proofs) == 300
    assert {len(proof) for proof in proofs} == {8}
    assert proof_of("", 1) == Proof(1, b"")
